//! A function that does what its event says, for the tests of the platform.

#![expect(clippy::panic, reason = "panicking is one of the things it can be told to do")]

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var("FAIL_INIT").is_ok() {
        std::process::exit(3);
    }
    lambda_runtime::run(service_fn(answer)).await
}

async fn answer(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let LambdaEvent { payload, context } = event;
    // Over HTTP the body is the wish, and what it answers is the response.
    let wish = match payload.get("body").and_then(Value::as_str) {
        Some(body) => serde_json::from_str(body)?,
        None => payload.clone(),
    };
    match wish.get("do").and_then(Value::as_str) {
        Some("fail") => Err("it was told to fail".into()),
        Some("panic") => panic!("it was told to panic"),
        Some("exit") => std::process::exit(1),
        Some("hang") => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            Ok(Value::Null)
        }
        Some("wait") => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(json!({ "pid": std::process::id() }))
        }
        Some("log") => {
            println!("said on stdout");
            eprintln!("said on stderr");
            Ok(Value::Null)
        }
        Some("grow") => Ok(Value::String("x".repeat(7 * 1024 * 1024))),
        Some("answer") => Ok(wish.get("with").cloned().unwrap_or_default()),
        Some("look") => Ok(json!({
            "pid": std::process::id(),
            "environment": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
            "request_id": context.request_id,
            "arn": context.invoked_function_arn,
            "trace": context.xray_trace_id,
            "deadline": context.deadline,
        })),
        _ => Ok(payload),
    }
}
