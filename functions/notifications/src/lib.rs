#![doc = include_str!("../README.md")]

pub mod error;
pub mod inbox;
pub mod news;
pub mod notification;
pub mod recipient;
pub mod table;
pub mod view;
pub mod wording;
