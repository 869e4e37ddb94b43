//! A function that does nothing: what starting a Lambda function in Rust costs at least.

use std::convert::Infallible;

use lambda_http::{Body, Request, Response, service_fn};

fn main() -> Result<(), lambda_http::Error> {
    lambda_http::tracing::init_default_subscriber();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(lambda_http::run(service_fn(async |_: Request| {
        Ok::<_, Infallible>(Response::new(Body::Empty))
    })))
}
