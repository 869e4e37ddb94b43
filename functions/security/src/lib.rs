#![doc = include_str!("../README.md")]

pub mod assessment;
pub mod error;
pub mod facts;
pub mod policy;
pub mod profile;
pub mod risk;
mod schema;
pub mod table;
pub mod users;
pub mod view;
