//! The `$default` route: whatever no other route takes.
//!
//! Nearly every path in the clients ends in a slash, and no route of API Gateway can. The deployed front strips it;
//! who reaches the API behind the front is sent to the slash-less path with 308, which keeps method and body.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Problem, Reply, StatusCode};
use root::routes::Routes;
use root::{DOCUMENT, slashes};

/// The methods that the front passes on (CloudFront's `AllowedMethods`): with any other, nothing is a route.
const FORWARDED: &str = "GET, HEAD, OPTIONS, PUT, POST, PATCH, DELETE";

fn main() -> ExitCode {
    // No route of its own: there is nothing to describe.
    http_function::open(|_| async { Ok(()) }, fold_trailing_slash, |_| {})
}

async fn fold_trailing_slash(_: Arc<()>, call: Call) -> Result<Reply, Problem> {
    match slashes::folded(call.raw_path(), call.raw_query()) {
        Some(target) => Reply::redirect(StatusCode::PERMANENT_REDIRECT, &target),
        None => Err(no_such_route(&call)?),
    }
}

fn no_such_route(call: &Call) -> Result<Problem, Problem> {
    if !FORWARDED.split(", ").any(|method| method == call.method()) {
        return Ok(Problem::method_not_allowed(FORWARDED.to_owned()));
    }
    // Read for each such call: there are none but mistakes.
    let routes = Routes::of(DOCUMENT).map_err(Problem::internal)?;
    Ok(match routes.allowed(call.path()) {
        Some(allowed) => Problem::method_not_allowed(allowed),
        // A slug of its own: "not-found" means that the thing is not there, which callers act upon.
        None => Problem::new(StatusCode::NOT_FOUND, "no-such-route", "There is no such route."),
    })
}
