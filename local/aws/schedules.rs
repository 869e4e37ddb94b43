//! Schedules to functions, by the platform's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use super::deliveries::Context;
use super::time;
use crate::functions::{Outcome, Trigger};

/// A schedule that starts a function.
#[derive(Debug, Clone)]
pub struct Timetable {
    /// Logical id of the function.
    pub function: String,
    /// Name of the schedule.
    pub name: String,
    /// Time from one start to the next.
    pub every: Duration,
    /// Payload; `None` is the scheduler's default event.
    pub input: Option<String>,
}

impl Timetable {
    /// Starts the function whenever it is due until the deliveries are stopped. However far the clock is moved at
    /// once, the function is started once.
    pub(super) async fn run(self, context: Context, running: Arc<AtomicUsize>) {
        let every = i64::try_from(self.every.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut due_ms = context.clock.now_ms().saturating_add(every);
        loop {
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = context.clock.sleep_until(due_ms) => {}
            }
            let missed = context.clock.now_ms().saturating_sub(due_ms).div_euclid(every);
            let started_ms = due_ms.saturating_add(missed.saturating_mul(every));
            due_ms = started_ms.saturating_add(every);

            running.fetch_add(1, Ordering::SeqCst);
            let trigger = Trigger::Schedule(self.name.clone());
            let fault = context.fault(&self.function, &trigger);
            let outcome = tokio::select! {
                () = context.stop.cancelled() => Outcome::Crashed,
                outcome = context.invoke(&self.function, self.payload(started_ms), trigger, fault) => outcome,
            };
            running.fetch_sub(1, Ordering::SeqCst);
            let detail = json!({"schedule": self.name, "outcome": super::deliveries::outcome_name(&outcome)});
            context.record("schedule", Some(&self.function), detail);
        }
    }

    fn payload(&self, at_ms: i64) -> Bytes {
        let arn = format!(
            "arn:aws:scheduler:us-east-1:000000000000:schedule/default/{}",
            self.name
        );
        let at = time::rfc3339_seconds(at_ms);
        let id = Uuid::new_v4().to_string();
        if let Some(input) = &self.input {
            let input = input
                .replace("<aws.scheduler.scheduled-time>", &at)
                .replace("<aws.scheduler.schedule-arn>", &arn)
                .replace("<aws.scheduler.execution-id>", &id)
                .replace("<aws.scheduler.attempt-number>", "1");
            return Bytes::from(input);
        }
        let event = json!({
            "version": "0",
            "id": id,
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": "000000000000",
            "time": at,
            "region": "us-east-1",
            "resources": [arn],
            "detail": "{}",
        });
        Bytes::from(event.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn payload(input: Option<&str>) -> Value {
        let timetable = Timetable {
            function: "ExpireOrdersFunction".to_owned(),
            name: "every-minute".to_owned(),
            every: Duration::from_secs(60),
            input: input.map(str::to_owned),
        };
        serde_json::from_slice(&timetable.payload(1_769_860_800_000)).unwrap()
    }

    #[test]
    fn the_default_event_is_the_schedulers() {
        let event = payload(None);
        assert_eq!(event["time"], "2026-01-31T12:00:00Z");
        assert_eq!(event["source"], "aws.scheduler");
        assert_eq!(
            event["resources"][0],
            "arn:aws:scheduler:us-east-1:000000000000:schedule/default/every-minute"
        );
    }

    #[test]
    fn a_stated_payload_may_name_the_scheduled_time() {
        assert_eq!(
            payload(Some(r#"{"at":"<aws.scheduler.scheduled-time>"}"#)),
            json!({"at": "2026-01-31T12:00:00Z"})
        );
    }
}
