//! Every file in `events/` is fed to its function, as `cargo lambda invoke` and `sam local invoke` do.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::inside;
use crate::world::{Answer, in_world};

/// What a function makes of its sample event in an empty system.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// The HTTP status.
    Answers(u16),
    /// Every message or record is handled.
    Handles,
    /// So many messages stay in their queue, because what they speak of is not there (yet).
    Leaves(usize),
    /// So many things were due.
    Sweeps(u64),
}

use Outcome::{Answers, Handles, Leaves, Sweeps};

/// The samples hold no tokens, so whatever needs one answers 401.
const EXPECTED: &[(&str, Outcome)] = &[
    ("api-documentation", Answers(200)),
    ("apply-order-event", Handles),
    ("apply-payment-event", Leaves(1)),
    ("apply-refund-outcome", Leaves(1)),
    ("assess-order", Answers(401)),
    ("assess-risk", Answers(401)),
    ("back-test-policies", Answers(401)),
    ("cancel-order", Answers(401)),
    ("cancel-payment", Answers(401)),
    ("captcha", Answers(200)),
    ("collect-product", Answers(401)),
    ("complete-order", Answers(401)),
    ("count-orders", Handles),
    ("create-notification", Answers(401)),
    ("create-order", Answers(401)),
    ("create-payment", Answers(401)),
    ("create-product", Answers(401)),
    ("current-user", Answers(401)),
    ("delete-notification", Answers(401)),
    ("discard-dead-letter", Answers(401)),
    ("expire-orders", Sweeps(0)),
    ("explain-dead-letter", Answers(401)),
    ("fold-trailing-slash", Answers(308)),
    ("get-notification", Answers(401)),
    ("get-order", Answers(401)),
    ("get-payment", Answers(401)),
    ("get-product", Answers(404)),
    ("get-user", Answers(404)),
    ("hide-order", Answers(401)),
    ("internal-contact", Answers(401)),
    ("internal-order", Answers(401)),
    ("judge-product", Answers(401)),
    ("jwks", Answers(200)),
    ("keep-dead-letters", Handles),
    ("learn-from-orders", Handles),
    ("list-categories", Answers(200)),
    ("list-dead-letters", Answers(401)),
    ("list-messages", Answers(401)),
    ("list-notifications", Answers(401)),
    ("list-orders", Answers(401)),
    ("list-payments", Answers(401)),
    ("list-placed-orders", Answers(401)),
    ("list-policies", Answers(401)),
    ("list-products", Answers(200)),
    ("list-published", Answers(200)),
    ("list-reviews", Answers(404)),
    ("list-risk-assessments", Answers(401)),
    ("list-users", Answers(401)),
    ("login", Answers(400)),
    ("mail-people", Handles),
    ("manage-user", Answers(401)),
    ("mark-notification-read", Answers(401)),
    ("notification-preferences", Answers(401)),
    ("notify-people", Handles),
    ("order-statistics", Answers(401)),
    ("payment-callback", Answers(401)),
    ("preview-redrive", Answers(401)),
    ("process-refund", Leaves(1)),
    ("publish-order-events", Handles),
    ("publish-payment-events", Handles),
    ("read-all-notifications", Answers(401)),
    ("redrive-dead-letter", Answers(401)),
    ("refund-order", Answers(401)),
    ("refund-payment", Answers(401)),
    ("push-notification", Handles),
    ("register", Answers(400)),
    ("release-reservations", Sweeps(0)),
    ("remove-product", Answers(401)),
    ("reserve-stock", Answers(401)),
    ("restore-stock", Answers(401)),
    ("reconciliation-report", Answers(401)),
    ("reconcile-payments", Sweeps(0)),
    ("reconcile-refunds", Sweeps(0)),
    ("retry-sandbox-notifications", Sweeps(0)),
    ("return-stock", Leaves(1)),
    ("review-product", Answers(401)),
    ("sandbox-provider", Answers(403)),
    ("unread-count", Answers(401)),
    ("update-policies", Answers(401)),
    ("update-product", Answers(401)),
    ("update-stock", Answers(401)),
    ("verify-token", Answers(401)),
    ("watch-dead-letters", Sweeps(0)),
    ("ws-connect", Answers(401)),
    ("ws-disconnect", Answers(200)),
    ("ws-message", Answers(200)),
];

#[test]
fn every_function_starts_and_does_with_its_sample_event_what_it_should() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let functions: BTreeSet<_> = platform
            .template()
            .functions
            .values()
            .map(|f| f.binary.as_str())
            .collect();
        let expected: BTreeSet<_> = EXPECTED.iter().map(|(binary, _)| *binary).collect();
        assert_eq!(functions, expected);

        let mut wrong = Vec::new();
        for (binary, outcome) in EXPECTED {
            let answer = world.invoke(binary, &inside::sample_event(binary)).await;
            if let Err(reason) = check(*outcome, &answer) {
                // A function that did not start says why in its log: it names the variable or secret.
                let id = &platform
                    .template()
                    .functions
                    .values()
                    .find(|f| f.binary == *binary)
                    .unwrap()
                    .logical_id;
                let said: Vec<_> = platform.logs().of(Some(id)).into_iter().map(|line| line.text).collect();
                wrong.push(format!(
                    "{binary}: {outcome:?} expected: {reason}: {}\n{}",
                    answer.text(),
                    said.join("\n")
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));

        // The sample change of a payment was announced: money for an order that is not there, which a person has to see.
        // So is the sample dead letter, which is kept.
        world.expect_dead_letters(2);
        world
            .until("the payment without an order is a dead letter", async || {
                world.advance(Duration::from_secs(60)).await;
                world.dead_letters().await.len() == 2
            })
            .await;
    });
}

fn check(expected: Outcome, answer: &Answer) -> Result<(), String> {
    if let Some(error) = answer.headers.get("x-amz-function-error") {
        return Err(format!("{error:?}"));
    }
    let returned = answer.json();
    match expected {
        Answers(status) => {
            let response = Response::of(&returned).ok_or("no payload-v2 response")?;
            let is_json = response.content_type.starts_with("application/json");
            if is_json && serde_json::from_str::<Value>(&response.body).is_err() {
                return Err("the body is not the JSON that it says it is".to_owned());
            }
            if response.status == u64::from(status) {
                Ok(())
            } else {
                Err("another status".to_owned())
            }
        }
        Handles | Leaves(_) => {
            let left = returned["batchItemFailures"]
                .as_array()
                .ok_or("no batch response")?
                .len();
            let expected = if let Leaves(count) = expected { count } else { 0 };
            if left == expected {
                Ok(())
            } else {
                Err(format!("{left} failures"))
            }
        }
        Sweeps(due) if returned == json!({"due": due}) => Ok(()),
        Sweeps(_) => Err("another outcome".to_owned()),
    }
}

/// What API Gateway makes a response of.
struct Response {
    status: u64,
    content_type: String,
    body: String,
}

impl Response {
    fn of(returned: &Value) -> Option<Self> {
        Some(Self {
            status: returned["statusCode"].as_u64()?,
            content_type: returned["headers"]["content-type"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            body: returned["body"].as_str().unwrap_or_default().to_owned(),
        })
    }
}
