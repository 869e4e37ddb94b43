#![doc = include_str!("../README.md")]

pub mod announcements;
pub mod catalogue;
pub mod claim;
pub mod delivery;
pub mod error;
pub mod listing;
pub mod order;
pub mod risk;
pub mod statistics;
pub mod status;
pub mod table;
pub mod view;
