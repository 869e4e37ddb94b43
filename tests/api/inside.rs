//! What tests see of the platform's inside: who was invoked, what was written, who administers.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cfmp::Platform;
use cfmp::aws::queues::{MessageAttributes, Outgoing};
use cfmp::dead_letters::DeadLetter;
use cfmp::recording::Call;
use cfmp::template::model::Route;
use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Member, World};

/// Other systems than the one that is built here have no switches.
pub fn is_elsewhere() -> bool {
    std::env::var_os("CFMP_BASE_URL").is_some()
}

/// The template of a system that loses something: nobody returns the stock of cancelled orders. It lies in the folder.
pub fn template_that_loses_stock() -> (TempDir, PathBuf) {
    let template = std::fs::read_to_string(cfmp::root().join("template.yaml")).unwrap();
    let deaf = template.replacen("event_type: [OrderCancelled]", "event_type: [NobodySaysThis]", 1);
    assert_ne!(template, deaf, "the filter of StockReturns is written differently");
    let folder = tempfile::tempdir_in(cfmp::root().join("target")).unwrap();
    let file = folder.path().join("template.yaml");
    std::fs::write(&file, deaf).unwrap();
    (folder, file)
}

/// The place after which nothing has happened yet, in the two records of a platform.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    calls: u64,
    events: u64,
}

/// Now.
pub fn now(platform: &Platform) -> Moment {
    let recording = platform.recording();
    Moment {
        calls: recording.calls(|_| true).last().map_or(0, |call| call.sequence),
        events: recording.events(|_| true).last().map_or(0, |event| event.sequence),
    }
}

/// The functions that HTTP requests invoked since `moment`, in order, with the route key that led there.
pub fn invoked_over_http(platform: &Platform, moment: Moment) -> Vec<(String, String)> {
    let events = platform
        .recording()
        .events(|event| event.sequence > moment.events && event.entry.kind == "invocation");
    events
        .into_iter()
        .filter_map(|event| {
            let route = event.entry.detail["trigger"]
                .as_str()?
                .strip_prefix("http ")?
                .to_owned();
            Some((event.entry.function?, route))
        })
        .collect()
}

/// The calls to tables that `function` made since `moment`.
pub fn calls(platform: &Platform, function: &str, moment: Moment) -> Vec<String> {
    let calls = platform.recording().calls(|call| {
        call.sequence > moment.calls && call.entry.function == function && call.entry.target.starts_with("dynamodb:")
    });
    calls
        .into_iter()
        .map(|call| format!("{} on {}", call.entry.target, call.entry.resource))
        .collect()
}

/// What `function` wrote to tables since `moment`; refused conditions count, for the attempt was made.
pub fn writes(platform: &Platform, function: &str, moment: Moment) -> Vec<String> {
    const WRITING: [&str; 5] = [
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "dynamodb:DeleteItem",
        "dynamodb:BatchWriteItem",
        "dynamodb:TransactWriteItems",
    ];
    let calls = platform.recording().calls(|call| {
        call.sequence > moment.calls && call.entry.function == function && WRITING.contains(&call.entry.target.as_str())
    });
    calls
        .into_iter()
        .map(|call| format!("{} on {}", call.entry.target, call.entry.resource))
        .collect()
}

/// Somebody new who runs the market. Nobody can appoint the first one, so the table is told.
pub async fn administrator<'a>(world: &'a World, platform: &Platform) -> Member<'a> {
    let member = world.member("管理员").await;
    let appointment = json!({
        "TableName": platform.template().tables["UsersTable"].name,
        "Key": {"user_uuid": {"S": member.id}},
        "UpdateExpression": "SET privilege = :administrator",
        "ExpressionAttributeValues": {":administrator": {"S": "administrator"}},
    });
    let (status, answer) = platform.dynamodb("UpdateItem", &appointment).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // The privilege is in the token.
    world.log_in(&member.email).await
}

/// The routes of the HTTP API without `$default`.
pub fn routes(platform: &Platform) -> impl Iterator<Item = &Route> {
    platform
        .template()
        .routes
        .iter()
        .filter(|route| route.path != "$default")
}

/// `path` with every `{parameter}` replaced by what `value` says of it.
pub fn filled(path: &str, value: impl Fn(&str) -> String) -> String {
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => value(name),
        None => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// A sample event.
pub fn sample_event(binary: &str) -> Value {
    let file = cfmp::root().join(format!("events/{binary}.json"));
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The calls that `function` made since `moment`, as they were recorded.
pub fn recorded_calls(platform: &Platform, function: &str, moment: Moment) -> Vec<Call> {
    let calls = platform
        .recording()
        .calls(|call| call.sequence > moment.calls && call.entry.function == function);
    calls.into_iter().map(|call| call.entry).collect()
}

/// Lays a message among the dead letters of a queue, as a topic does that can not deliver it; answers the id under which it
/// is kept. It is announced.
pub async fn dead_letter(world: &World, platform: &Platform, queue: &str, event: &Value) -> String {
    world.expect_dead_letters(1);
    let known = |letters: Vec<DeadLetter>| {
        letters
            .into_iter()
            .filter_map(|letter| letter.id)
            .collect::<BTreeSet<_>>()
    };
    let before = known(platform.dead_letters().await.unwrap());
    let message = Outgoing {
        queue: platform.template().queues[queue].arn.clone(),
        body: event.to_string(),
        attributes: MessageAttributes::new(),
    };
    let now_ms = platform.clock().now_ms();
    platform.aws().queues().send(&[message], now_ms).unwrap();
    world.settle().await;
    let after = known(platform.dead_letters().await.unwrap());
    after.difference(&before).next().expect("a letter more").clone()
}
