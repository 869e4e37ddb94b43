//! Moves the data of the older systems here: a Django monolith and its later split services, both on MySQL.
//!
//! The one crate that may depend on the services' libraries: their own types write the items, so that these are exactly
//! what the functions read.

pub mod convert;
pub mod fernet;
pub mod identity;
pub mod legacy;
pub mod progress;
pub mod report;
pub mod rules;
pub mod run;
pub mod source;
pub mod state;
pub mod target;
pub mod verify;
