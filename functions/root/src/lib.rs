//! Root: what belongs to the whole system and to none of its services.

pub mod slashes;
