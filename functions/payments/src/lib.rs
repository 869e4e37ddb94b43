#![doc = include_str!("../README.md")]

pub mod alipay;
pub mod announcements;
#[cfg(test)]
#[path = "../fuzz/callbacks.rs"]
mod callbacks;
pub mod cashier;
pub mod error;
pub mod head;
pub mod ledger;
pub mod legacy;
pub mod orders;
pub mod payment;
pub mod provider;
pub mod providers;
pub mod reconciliation;
pub mod refund;
pub mod refunds;
pub mod sandbox;
mod signing_key;
pub mod spreadsheet;
pub mod statement;
pub mod status;
pub mod table;
pub mod view;
pub mod wechat_pay;
