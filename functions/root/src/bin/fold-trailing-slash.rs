//! The `$default` route: whatever no other route takes.
//!
//! Nearly every path in the clients ends in a slash, and no route of API Gateway can. The deployed front strips it;
//! who reaches the API behind the front is sent to the slash-less path with 308, which keeps method and body.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Problem, Reply, StatusCode};
use root::slashes;

fn main() -> ExitCode {
    // No route of its own: there is nothing to describe.
    http_function::open(|_| async { Ok(()) }, fold_trailing_slash, |_| {})
}

async fn fold_trailing_slash(_: Arc<()>, call: Call) -> Result<Reply, Problem> {
    match slashes::folded(call.raw_path(), call.raw_query()) {
        Some(target) => Reply::redirect(StatusCode::PERMANENT_REDIRECT, &target),
        // A slug of its own: "not-found" means that the thing is not there, which callers act upon.
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-route",
            "There is no such route.",
        )),
    }
}
