//! `GET /.well-known/jwks.json` and `GET /.well-known/service-jwks.json`: the public keys that user tokens and service
//! tokens are verified with.
//!
//! The first also names the users whose log-ins were ended within the life of a token. Functions fetch the keys anyway, so
//! a ban reaches every one of them without a call more.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use keys::user_token::UserTokens;
use keys::{Seed, ServiceTokens};
use users::table::ReadRevocations;
use users::view::KeySetView;

fn main() -> ExitCode {
    http_function::open(Seeds::from_env, jwks, describe)
}

struct Seeds {
    users: Seed,
    services: Seed,
    revocations: ReadRevocations,
}

impl Seeds {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            users: cloud.secret("USER_TOKEN_SECRET").await?,
            services: cloud.secret("SERVICE_TOKEN_SECRET").await?,
            revocations: ReadRevocations::from_env(&cloud)?,
        })
    }
}

async fn jwks(seeds: Arc<Seeds>, call: Call) -> Result<Reply, Problem> {
    let answer = if call.path().ends_with("/service-jwks.json") {
        let tokens = ServiceTokens::derive(&seeds.services).map_err(Problem::internal)?;
        KeySetView::of_services(tokens.keys())?
    } else {
        let tokens = UserTokens::derive(&seeds.users).map_err(Problem::internal)?;
        // Where they can not be read, functions go on with the set that they have: better than one without the bans.
        let revoked = seeds.revocations.still_to_be_told(call.now()).await?;
        KeySetView::of_users(tokens.keys(), revoked)?
    };
    // No longer than functions keep a key set: a ban, like a new key, is known everywhere soon.
    Reply::bare(StatusCode::OK, answer)?.header(http_function::header::CACHE_CONTROL, "public, max-age=60")
}

fn describe(api: &mut Api) {
    for (path, summary) in [
        (
            "/.well-known/jwks.json",
            "The keys that users' tokens are verified with",
        ),
        (
            "/.well-known/service-jwks.json",
            "The keys that services' tokens are verified with",
        ),
    ] {
        api.add(
            operation([Method::GET], path, summary)
                .bare::<serde_json::Value>(StatusCode::OK, "A JSON Web Key Set (RFC 7517)"),
        );
    }
}
