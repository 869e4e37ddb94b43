//! `POST /api/auth/verify-token`: whom a user token proves. For whoever can not verify tokens himself.
//!
//! The account is looked at: a ban counts at once here, and name and privilege are those of now.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use keys::user_token::{ISSUER, UserTokens};
use keys::{KeySet, Seed, TokenError, User};
use serde::Deserialize;
use users::UserError;
use users::table::ReadUsers;
use users::view::ProofView;
use utoipa::ToSchema;

fn main() -> ExitCode {
    http_function::open(Verifier::from_env, verify_token, describe)
}

struct Verifier {
    seed: Seed,
    users: ReadUsers,
}

impl Verifier {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            seed: cloud.secret("USER_TOKEN_SECRET").await?,
            users: ReadUsers::from_env(&cloud)?,
        })
    }

    fn keys(&self) -> Result<KeySet, Problem> {
        let tokens = UserTokens::derive(&self.seed).map_err(Problem::internal)?;
        let published = serde_json::to_vec(tokens.keys().published()).map_err(Problem::internal)?;
        KeySet::parse(&published).map_err(Problem::internal)
    }
}

/// A token to be verified.
#[derive(Deserialize, ToSchema)]
struct TokenQuestion {
    #[schema(value_type = String, required, min_length = 1)]
    token: Option<String>,
}

async fn verify_token(verifier: Arc<Verifier>, call: Call) -> Result<Reply, Problem> {
    let question: TokenQuestion = call.json().map_err(|p| p.fail_code("INVALID_PARAM"))?;
    let token = question
        .token
        .filter(|token| !token.is_empty())
        .ok_or(UserError::Missing(vec!["token"]))?;

    let proved = User::verify(&token, &verifier.keys()?, ISSUER, call.now()).map_err(refusal)?;
    let user = verifier.users.find(proved.id).await?;
    let user = user.ok_or_else(|| refusal(TokenError::Invalid))?;
    user.admits(proved.issued_at)
        .map_err(|error| Problem::from(error).with("valid", false))?;
    Reply::bare(StatusCode::OK, ProofView::of(&user, proved.expires_at))
}

fn refusal(error: TokenError) -> Problem {
    let (kind, code) = match error {
        TokenError::Invalid | TokenError::UnknownKey => ("invalid-token", "TOKEN_INVALID"),
        TokenError::Expired => ("expired-token", "TOKEN_EXPIRED"),
        TokenError::Revoked => ("logged-out", "TOKEN_REVOKED"),
    };
    Problem::new(StatusCode::UNAUTHORIZED, kind, "The token proves nothing.")
        .fail_code(code)
        .field("token", error.to_string())
        .with("valid", false)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/auth/verify-token", "Whom a token proves")
            .details("For whoever can not verify tokens himself. The account is looked at: a ban counts at once.")
            .body::<TokenQuestion>()
            .bare::<ProofView>(StatusCode::OK, "Who it is")
            .refuses(StatusCode::BAD_REQUEST, "`fail_code` MISSING_PARAM, INVALID_PARAM.")
            .refuses(
                StatusCode::UNAUTHORIZED,
                "`fail_code` TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_REVOKED, BANNED; `valid` is false.",
            ),
    );
}
