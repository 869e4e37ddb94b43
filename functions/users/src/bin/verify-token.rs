//! `POST /api/auth/verify-token`: whom a user token proves. For whoever can not verify tokens himself.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Call, Problem, Reply, StatusCode};
use keys::user_token::{ISSUER, UserTokens};
use keys::{KeySet, Seed, TokenError, User};
use serde::Deserialize;
use serde_json::json;
use users::UserError;

fn main() -> ExitCode {
    http_function::open(Verifier::from_env, verify_token)
}

struct Verifier {
    seed: Seed,
}

impl Verifier {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            seed: cloud.secret("USER_TOKEN_SECRET").await?,
        })
    }

    fn keys(&self) -> Result<KeySet, Problem> {
        let tokens = UserTokens::derive(&self.seed).map_err(Problem::internal)?;
        let published = serde_json::to_vec(tokens.keys().published()).map_err(Problem::internal)?;
        KeySet::parse(&published).map_err(Problem::internal)
    }
}

#[derive(Deserialize)]
struct Question {
    token: Option<String>,
}

async fn verify_token(verifier: Arc<Verifier>, call: Call) -> Result<Reply, Problem> {
    let question: Question = call.json().map_err(|p| p.fail_code("INVALID_PARAM"))?;
    let token = question
        .token
        .filter(|token| !token.is_empty())
        .ok_or(UserError::Missing(vec!["token"]))?;

    let user = User::verify(&token, &verifier.keys()?, ISSUER, call.now()).map_err(refusal)?;
    let answer = json!({
        "valid": true,
        "user_uuid": user.id,
        "username": user.username,
        "privilege": user.privilege.number(),
        "exp": user.expires_at.seconds(),
    });
    Reply::bare(StatusCode::OK, answer)
}

fn refusal(error: TokenError) -> Problem {
    let (kind, code) = match error {
        TokenError::Invalid | TokenError::UnknownKey => ("invalid-token", "TOKEN_INVALID"),
        TokenError::Expired => ("expired-token", "TOKEN_EXPIRED"),
    };
    Problem::new(StatusCode::UNAUTHORIZED, kind, "The token proves nothing.")
        .fail_code(code)
        .field("token", error.to_string())
        .with("valid", false)
}
