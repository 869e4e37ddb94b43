//! Users: accounts, passwords, captchas, and the tokens that prove who somebody is.

pub mod address;
pub mod captcha;
pub mod email;
pub mod error;
pub mod mail;
pub mod password;
pub mod roll;
pub mod schema;
pub mod table;
pub mod user;
pub mod view;

pub use error::UserError;
