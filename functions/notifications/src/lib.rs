#![doc = include_str!("../README.md")]

pub mod error;
pub mod inbox;
pub mod news;
pub mod notice;
pub mod notification;
pub mod orders;
pub mod preferences;
pub mod recipient;
pub mod table;
pub mod view;
pub mod wording;
