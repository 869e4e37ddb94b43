#![doc = include_str!("../README.md")]

pub mod error;
pub mod merchant;
pub mod notification;
pub mod order;
pub mod page;
pub mod signature;
pub mod stage;
pub mod table;
pub mod trade;
