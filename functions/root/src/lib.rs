//! Root: what belongs to the whole system and to none of its services.

pub mod routes;
pub mod slashes;

/// What this API is, as an OpenAPI document. Made from the types of all functions: `cargo run -- openapi`.
pub const DOCUMENT: &str = include_str!("../openapi.json");
