//! Start-up shared by all event functions.

use std::process::ExitCode;

use cloud::{Cloud, StartError};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

use crate::Boxed;

/// Answers one invocation's payload.
pub(crate) type Handler = Box<dyn Fn(Value) -> Boxed<Result<Value, crate::EventError>> + Send + Sync>;
/// Makes the handler from the environment.
pub(crate) type Build = Box<dyn FnOnce(Cloud) -> Boxed<Result<Handler, StartError>>>;

pub(crate) fn serve(build: Build) -> ExitCode {
    cloud::instance::run(Box::pin(run(build)))
}

async fn run(build: Build) -> Result<(), lambda_runtime::Error> {
    let handler = std::sync::Arc::new(build(Cloud::from_env()?).await?);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let handler = handler.clone();
        async move { handler(event.payload).await }
    }))
    .await
}
