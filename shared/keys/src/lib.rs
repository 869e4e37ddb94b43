//! Key material: what a stored seed becomes, tokens that it signs and how they are verified, and sealed personal data.
//!
//! Two kinds of tokens exist and never mix: a **user token** says who a person is, a **service token** which of our own
//! services calls. They have their own keys, audiences and key sets (`/.well-known/jwks.json`,
//! `/.well-known/service-jwks.json`).

pub mod hashing;
pub mod sealing;
pub mod seed;
pub mod service_token;
pub mod signing;
pub mod user_token;
pub mod verifying;

pub use hashing::KeyedHash;
pub use sealing::{Seal, SealError};
pub use seed::{Seed, SeedError};
pub use service_token::{ServiceName, ServiceTokens};
pub use signing::SigningKeys;
pub use user_token::{Privilege, User};
pub use verifying::{KeySet, Revocation, TokenError};
