//! Root: what belongs to the whole system and to none of its services.

pub mod arrival;
pub mod consumer;
pub mod consumers;
pub mod desk;
pub mod error;
pub mod letter;
pub mod routes;
pub mod slashes;
pub mod table;
pub mod view;

/// What this API is, as an OpenAPI document. Made from the types of all functions: `cargo run -- openapi`.
pub const DOCUMENT: &str = include_str!("../openapi.json");
