//! The front door of every HTTP function.
//!
//! `main` is one line: [`open`] takes what builds the function's state, the operation itself, an
//! `async fn(Arc<State>, Call) -> Result<Reply, Error>`, and what describes it. The door verifies the caller's token, hands the call in, turns
//! the reply or the refusal into the published envelope and logs the outcome once.

mod call;
mod callers;
pub mod description;
mod door;
mod problem;
mod reply;

pub use call::{Call, IdempotencyKey};
pub use callers::{Caller, Callers};
pub use description::{Api, operation};
pub use door::open;
pub use problem::Problem;
pub use reply::{PageLinks, Reply};

pub use http::{HeaderMap, Method, StatusCode, header};
