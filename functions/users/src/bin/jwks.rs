//! `GET /.well-known/jwks.json` and `GET /.well-known/service-jwks.json`: the public keys that user tokens and service
//! tokens are verified with.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use keys::user_token::UserTokens;
use keys::{Seed, ServiceTokens};

fn main() -> ExitCode {
    http_function::open_described(Seeds::from_env, jwks, describe)
}

struct Seeds {
    users: Seed,
    services: Seed,
}

impl Seeds {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            users: cloud.secret("USER_TOKEN_SECRET").await?,
            services: cloud.secret("SERVICE_TOKEN_SECRET").await?,
        })
    }
}

async fn jwks(seeds: Arc<Seeds>, call: Call) -> Result<Reply, Problem> {
    let answer = if call.path().ends_with("/service-jwks.json") {
        let tokens = ServiceTokens::derive(&seeds.services).map_err(Problem::internal)?;
        Reply::bare(StatusCode::OK, tokens.keys().published())?
    } else {
        let tokens = UserTokens::derive(&seeds.users).map_err(Problem::internal)?;
        Reply::bare(StatusCode::OK, tokens.keys().published())?
    };
    // Shorter than functions keep a key set, so that a new key is known everywhere soon after a rotation.
    answer.header(http_function::header::CACHE_CONTROL, "public, max-age=300")
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
