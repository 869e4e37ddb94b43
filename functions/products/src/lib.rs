#![doc = include_str!("../README.md")]

pub mod category;
pub mod error;
pub mod orders;
pub mod picture;
pub mod product;
pub mod review;
pub mod schema;
pub mod search;
pub mod stock;
pub mod table;
pub mod view;
pub mod visit;
