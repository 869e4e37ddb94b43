//! `POST /api/auth/verify-token`: whom a user token proves. For whoever can not verify tokens himself.
//!
//! The account is looked at: a ban counts at once here, and name and privilege are those of now.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Call, Problem, Reply, StatusCode};
use keys::user_token::{ISSUER, UserTokens};
use keys::{KeySet, Seed, TokenError, User};
use serde::Deserialize;
use users::UserError;
use users::table::ReadUsers;
use users::view::ProofView;

fn main() -> ExitCode {
    http_function::open(Verifier::from_env, verify_token)
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
