//! Slashes at the end of paths: every call answers the same with and without one, behind the front and without it.

use cfmp::Options;
use cfmp::template::model::Route;
use serde_json::{Value, json};

use crate::inside;
use crate::world::{Answer, Ask, Member, World, in_world, in_world_with, uuid_text};

/// A query whose spelling has to survive a redirect as it is.
const QUERY: &str = "page=1&x=%E4%BD%A0+%2F&x=&y&z=%zz";

/// The request of somebody who is logged in and names things that nobody has.
fn ask<'a>(member: &Member<'a>, route: &Route, path: &str) -> Ask<'a> {
    let ask = member.ask(&route.method, path);
    if route.method == "GET" {
        ask
    } else {
        ask.json(&json!({}))
    }
}

/// Status and body, without what is of one call only.
fn essence(answer: &Answer) -> (u16, Value) {
    let mut body = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Value::from(answer.text()));
    if let Some(object) = body.as_object_mut() {
        object.remove("request_id");
        // Every assessment is one of its own.
        if let Some(assessment) = object.get_mut("data").and_then(Value::as_object_mut)
            && assessment.contains_key("assessment_uuid")
        {
            assessment.remove("assessment_uuid");
            assessment.remove("created_at");
        }
    }
    (answer.status.as_u16(), body)
}

/// The routes below `/api`, with a path that leads there. Elsewhere no client writes the slash.
fn api(world: &World) -> Vec<(&Route, String)> {
    let Some(platform) = world.platform() else {
        return Vec::new();
    };
    let id = uuid::Uuid::new_v4().to_string();
    inside::routes(platform)
        .filter(|route| route.path.starts_with("/api/"))
        .map(|route| (route, inside::filled(&route.path, |_| id.clone())))
        .collect()
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    in_world(async |world| {
        for (method, path, allowed) in [
            ("PUT", "/api/orders", "GET, POST"),
            ("GET", "/api/orders/7/cancel/", "PATCH, POST, PUT"),
            ("TRACE", "/api/orders", "GET, HEAD, OPTIONS, PUT, POST, PATCH, DELETE"),
        ] {
            let refused = world.ask(method, path).expect(405).await;
            assert_eq!(refused.kind(), "method-not-allowed");
            assert_eq!(refused.headers["allow"], allowed);
        }
    });
}

#[test]
fn behind_the_front_both_forms_answer_the_same_for_every_method() {
    in_world(async |world| {
        let member = world.member("买家").await;
        for (route, path) in api(world) {
            let slashless = ask(&member, route, &format!("{path}?{QUERY}")).send().await;
            let slashed = ask(&member, route, &format!("{path}/?{QUERY}")).send().await;
            assert_eq!(essence(&slashless), essence(&slashed), "{}", slashed.asked);
        }
        for path in ["/api/nowhere", "/api/nowhere/"] {
            assert_eq!(world.get(path).expect(404).await.kind(), "no-such-route");
        }
    });
}

#[test]
fn without_the_front_the_slashed_form_leads_to_the_other_one() {
    in_world_with(
        Options {
            edge: false,
            ..Options::test()
        },
        async |world| {
            let Some(platform) = world.platform() else { return };
            // Registration writes the slash, which nobody folds here.
            let token = "null";
            for (route, path) in api(world) {
                let moment = inside::now(platform);
                let redirected = world
                    .ask(&route.method, &format!("{path}/?{QUERY}"))
                    .bearer(token)
                    .expect(308)
                    .await;
                let location = redirected.headers["location"].to_str().unwrap();
                assert_eq!(location, format!("{path}?{QUERY}"), "{}", redirected.asked);
                let invoked = inside::invoked_over_http(platform, moment);
                assert_eq!(
                    invoked,
                    [("FoldTrailingSlashFunction".to_owned(), "$default".to_owned())]
                );

                let moment = inside::now(platform);
                world.ask(&route.method, location).bearer(token).send().await;
                let invoked = inside::invoked_over_http(platform, moment);
                assert_eq!(invoked[0].0, route.function, "{} {location}", route.method);
            }
            for path in [
                "/api/nowhere",
                "/nowhere",
                "/nowhere/",
                &format!("/api/orders/{}/x", uuid_text()),
            ] {
                let refused = world.get(path).expect(404).await.json();
                assert_eq!(
                    (&refused["code"], &refused["data"], &refused["error"]["type"]),
                    (&json!(404), &Value::Null, &json!("no-such-route")),
                    "{path}"
                );
                assert!(
                    refused["message"].is_string() && refused["request_id"].is_string(),
                    "{path}"
                );
            }
        },
    );
}
