//! Start-up shared by all event functions, and what is done otherwise where a person waits for the outcome.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::rehearsal::Rehearsal;
use cloud::{Cloud, StartError};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

use crate::attended::{ATTENDED, Attendance, Attended};
use crate::{Boxed, EventError};

/// What an invocation came to.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// What Lambda is told.
    pub(crate) body: Value,
    /// Why something failed, if anything did.
    pub(crate) cause: Option<String>,
}

/// Answers one invocation's payload.
pub(crate) type Handler = Box<dyn Fn(Value) -> Boxed<Result<Answer, EventError>> + Send + Sync>;
/// Makes the handler from the environment.
pub(crate) type Build = Box<dyn FnOnce(Cloud) -> Boxed<Result<Handler, StartError>>>;

pub(crate) fn serve(build: Build) -> ExitCode {
    cloud::instance::run(Box::pin(run(build)))
}

async fn run(build: Build) -> Result<(), lambda_runtime::Error> {
    let handler = Arc::new(build(Cloud::from_env()?).await?);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let handler = handler.clone();
        async move { answer(&handler, event.payload).await }
    }))
    .await
}

async fn answer(handler: &Handler, payload: Value) -> Result<Value, EventError> {
    // Queues and streams never send it; who invokes the function itself may.
    let attendance = payload.get(ATTENDED).cloned();
    let Some(attendance) = attendance else {
        return handler(payload).await.map(|answer| answer.body);
    };
    let attended = match serde_json::from_value(attendance).map_err(EventError::never)? {
        Attendance::Redrive => Attended::of(handler(payload).await, None),
        Attendance::Rehearsal => {
            let rehearsal = Rehearsal::begin();
            let answer = handler(payload).await;
            Attended::of(answer, rehearsal.end())
        }
    };
    serde_json::to_value(attended).map_err(EventError::never)
}

#[cfg(test)]
mod tests {
    use cloud::rehearsal::{Effect, Facts, stop_before};
    use serde_json::json;

    use super::*;

    fn handler(fails: bool) -> Handler {
        Box::new(move |_| {
            Box::pin(async move {
                let effect = || Effect {
                    action: "dynamodb:PutItem".to_owned(),
                    target: "orders".to_owned(),
                    before: Facts::new(),
                    after: Facts::new(),
                };
                stop_before(effect).map_err(EventError::again)?;
                Ok(Answer {
                    body: json!({"batchItemFailures": []}),
                    cause: fails.then(|| "the order is not there".to_owned()),
                })
            })
        })
    }

    #[tokio::test]
    async fn only_who_attends_is_told_more_than_lambda_is() {
        let unattended = answer(&handler(true), json!({"Records": []})).await.unwrap();
        assert_eq!(unattended, json!({"batchItemFailures": []}));
        let redrive = answer(&handler(true), json!({"Records": [], "attended": "redrive"})).await;
        assert_eq!(
            redrive.unwrap(),
            json!({"cause": "the order is not there", "effect": null})
        );
        let handled = answer(&handler(false), json!({"Records": [], "attended": "redrive"})).await;
        assert_eq!(handled.unwrap(), json!({"cause": null, "effect": null}));
        let rehearsed = answer(&handler(false), json!({"Records": [], "attended": "rehearsal"})).await;
        assert_eq!(rehearsed.unwrap()["effect"]["target"], "orders");
        assert!(!cloud::rehearsal::is_on());
        assert!(answer(&handler(false), json!({"attended": "other"})).await.is_err());
    }
}
