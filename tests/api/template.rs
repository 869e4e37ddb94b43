//! `template.yaml` and the code say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cfmp::template::model::{EventSource, Function, Template};
use serde_json::Value;
use serde_norway::Value as Yaml;

use crate::inside;
use crate::world::{in_world, uuid_text};

/// Clients give up after this long.
const CLIENTS_PATIENCE: Duration = Duration::from_secs(10);

/// With every provider there is, so that no condition leaves anything out.
pub fn template() -> Template {
    let providers = [("Alipay", "real".to_owned()), ("WechatPay", "real".to_owned())];
    Template::read_with(&cfmp::root().join("template.yaml"), "http://127.0.0.1:3000", &providers).unwrap()
}

/// The crates below `functions/`: folder from the workspace's root, and what cargo knows of it.
fn services() -> BTreeMap<String, Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(cfmp::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .filter_map(|package| {
            let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
            let folder = folder.strip_prefix(cfmp::root()).ok()?.to_str()?;
            folder
                .starts_with("functions/")
                .then(|| (folder.to_owned(), package.clone()))
        })
        .collect()
}

fn binaries(package: &Value) -> Vec<String> {
    let targets = package["targets"].as_array().unwrap();
    targets
        .iter()
        .filter(|target| target["kind"][0] == "bin")
        .map(|target| target["name"].as_str().unwrap().to_owned())
        .collect()
}

/// `create-order` -> `CreateOrderFunction`
fn logical_id(binary: &str) -> String {
    let mut id: String = binary
        .split('-')
        .flat_map(|word| {
            let (first, rest) = word.split_at(1);
            [first.to_uppercase(), rest.to_owned()]
        })
        .collect();
    id.push_str("Function");
    id
}

#[test]
fn every_binary_is_one_function_and_every_function_is_one_binary() {
    let built: BTreeSet<(String, String, String)> = services()
        .iter()
        .flat_map(|(folder, package)| {
            binaries(package)
                .into_iter()
                .map(|binary| (logical_id(&binary), binary, folder.clone()))
        })
        .collect();
    let template = template();
    let named: BTreeSet<(String, String, String)> = template
        .functions
        .values()
        .map(|function| {
            let folder = function.code_uri.trim_end_matches('/').to_owned();
            (function.logical_id.clone(), function.binary.clone(), folder)
        })
        .collect();
    let missing: Vec<_> = built.symmetric_difference(&named).collect();
    assert!(
        missing.is_empty(),
        "in the workspace or in the template, not in both: {missing:#?}"
    );
    assert_eq!(named.len(), template.functions.len());
}

#[test]
fn every_function_has_a_sample_event_and_every_sample_event_a_function() {
    let expected: BTreeSet<String> = template()
        .functions
        .values()
        .map(|function| format!("{}.json", function.binary))
        .collect();
    let found: BTreeSet<String> = std::fs::read_dir(cfmp::root().join("events"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let missing: Vec<_> = expected.symmetric_difference(&found).collect();
    assert!(
        missing.is_empty(),
        "of functions or in events/, not in both: {missing:?}"
    );
    for file in found {
        assert!(
            inside::sample_event(file.trim_end_matches(".json")).is_object(),
            "{file}"
        );
    }
}

#[test]
fn no_service_depends_on_another() {
    let services = services();
    for (folder, package) in &services {
        for dependency in package["dependencies"].as_array().unwrap() {
            let path = dependency["path"].as_str().unwrap_or_default();
            let other = Path::new(path).strip_prefix(cfmp::root()).unwrap_or(Path::new(""));
            assert!(
                !other.starts_with("functions"),
                "{folder} depends on {}",
                other.display()
            );
        }
    }
    assert!(services.len() >= 7, "{:?}", services.keys());
}

#[test]
fn only_a_migration_has_a_role_of_its_own_and_it_names_what_it_may_do() {
    assert!(template().roles.is_empty());
    let on = [("Migration", "on".to_owned())];
    let path = cfmp::root().join("template.yaml");
    let template = Template::read_with(&path, "http://127.0.0.1:3000", &on).unwrap();
    let statements = &template.roles["MigrationRole"];
    assert_eq!(template.roles.len(), 1);
    let actions: BTreeSet<&str> = statements
        .iter()
        .flat_map(|statement| &statement.actions)
        .map(String::as_str)
        .collect();
    let expected = [
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Scan",
        "secretsmanager:GetSecretValue",
    ];
    assert_eq!(actions, BTreeSet::from(expected));
    for statement in statements {
        assert!(statement.allow);
        assert!(
            statement.resources.iter().all(|resource| !resource.contains('*')),
            "{statement:?}"
        );
    }
}

#[test]
fn functions_end_before_their_clients_give_up() {
    for function in template().functions.values() {
        assert!(function.timeout < CLIENTS_PATIENCE, "{}", function.logical_id);
    }
}

#[test]
fn sources_report_what_failed_and_queues_wait_long_enough_to_try_again() {
    let template = template();
    for function in template.functions.values() {
        for source in &function.sources {
            let id = &function.logical_id;
            match source {
                EventSource::Stream {
                    report_batch_item_failures,
                    on_failure,
                    ..
                } => {
                    assert!(report_batch_item_failures, "{id}: ReportBatchItemFailures");
                    assert!(on_failure.is_some(), "{id}: what is given up must be kept");
                }
                EventSource::Queue {
                    queue_arn,
                    report_batch_item_failures,
                    ..
                } => {
                    assert!(report_batch_item_failures, "{id}: ReportBatchItemFailures");
                    let queue = template.queues.values().find(|queue| queue.arn == *queue_arn).unwrap();
                    // Lambda asks for six times the function's time limit.
                    assert!(queue.visibility_timeout >= function.timeout * 6, "{}", queue.logical_id);
                }
            }
        }
    }
}

/// The queues that keep what nobody could handle: those that others redrive to, and those of abandoned records.
pub fn last_resorts(template: &Template) -> BTreeSet<String> {
    let redriven = template
        .queues
        .values()
        .filter_map(|queue| queue.redrive.as_ref())
        .map(|(arn, _)| arn);
    let undelivered = template.subscriptions.iter().filter_map(|s| s.dead_letter_arn.as_ref());
    let sources = template.functions.values().flat_map(|function| &function.sources);
    let abandoned = sources.filter_map(|source| match source {
        EventSource::Stream { on_failure, .. } => on_failure.as_ref(),
        EventSource::Queue { .. } => None,
    });
    redriven.chain(undelivered).chain(abandoned).cloned().collect()
}

#[test]
fn no_message_is_lost_and_dead_letters_ring() {
    let template = template();
    let last_resorts = last_resorts(&template);
    for queue in template.queues.values() {
        match &queue.redrive {
            Some((_, receives)) => {
                assert_eq!(*receives, 5, "{}", queue.logical_id);
                assert!(!last_resorts.contains(&queue.arn), "{}", queue.logical_id);
            }
            None => {
                assert!(
                    last_resorts.contains(&queue.arn),
                    "{}: no redrive policy",
                    queue.logical_id
                );
                assert_eq!(
                    queue.retention,
                    Duration::from_secs(14 * 24 * 60 * 60),
                    "{}",
                    queue.logical_id
                );
            }
        }
    }
    for subscription in &template.subscriptions {
        assert!(subscription.dead_letter_arn.is_some(), "{}", subscription.logical_id);
        assert!(
            subscription.raw,
            "{}: functions read the bare event",
            subscription.logical_id
        );
    }
    let alarmed = alarmed_queues();
    let silent: Vec<_> = template
        .queues
        .values()
        .filter(|queue| last_resorts.contains(&queue.arn) && !alarmed.contains(&queue.logical_id))
        .map(|queue| &queue.logical_id)
        .collect();
    assert!(silent.is_empty(), "without an alarm: {silent:?}");
}

/// Letters do not stay in the queues: what rings until a person has seen to them is counted by a function, whose silence
/// rings as well.
#[test]
fn the_alarm_rings_while_letters_wait_and_when_nobody_counts_them() {
    let template = template();
    let watch = &template.functions["WatchDeadLettersFunction"];
    assert_eq!(watch.schedules.len(), 1);
    let source = std::fs::read_to_string(cfmp::root().join("functions/root/src/bin/watch-dead-letters.rs")).unwrap();
    let text = std::fs::read_to_string(cfmp::root().join("template.yaml")).unwrap();
    let yaml: Yaml = serde_norway::from_str(&text).unwrap();
    let filter = &yaml["Resources"]["WaitingDeadLetters"]["Properties"];
    let message = "dead letters wait for a person";
    assert_eq!(
        filter["FilterPattern"],
        format!("{{ $.fields.message = \"{message}\" }}")
    );
    assert!(source.contains(&format!("tracing::info!(waiting, \"{message}\")")));
    let metric = &filter["MetricTransformations"][0];
    assert_eq!(metric["MetricValue"], "$.fields.waiting");
    let alarm = &yaml["Resources"]["WaitingDeadLettersAlarm"]["Properties"];
    assert_eq!(alarm["MetricName"], metric["MetricName"]);
    assert_eq!(
        (&alarm["Statistic"], &alarm["TreatMissingData"]),
        (&"Maximum".into(), &"breaching".into())
    );
    assert_eq!(alarm["Threshold"].as_u64(), Some(0));
    assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold");
    assert!(alarm.get("AlarmActions").is_some());
}

/// Logical ids of the queues whose visible messages raise an alarm. The platform has no alarms, so the file itself is
/// read.
fn alarmed_queues() -> BTreeSet<String> {
    let text = std::fs::read_to_string(cfmp::root().join("template.yaml")).unwrap();
    let template: Yaml = serde_norway::from_str(&text).unwrap();
    let resources = template["Resources"].as_mapping().unwrap();
    resources
        .values()
        .filter(|resource| resource["Type"] == "AWS::CloudWatch::Alarm")
        .map(|alarm| &alarm["Properties"])
        .filter(|alarm| {
            alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
                && alarm["Threshold"].as_u64() == Some(0)
                && alarm["ComparisonOperator"] == "GreaterThanThreshold"
                && alarm.get("AlarmActions").is_some()
        })
        .map(|alarm| {
            let Yaml::Tagged(queue) = &alarm["Dimensions"][0]["Value"] else {
                panic!("an alarm names its queue by !GetAtt: {alarm:?}");
            };
            let name = queue.value.as_str().unwrap();
            name.strip_suffix(".QueueName").unwrap().to_owned()
        })
        .collect()
}

/// Texts in double quotes that look like the names of variables, in the sources below `folder`.
fn names_in_sources(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(names_in_sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let is_name = |text: &&str| {
                text.len() > 2
                    && text
                        .chars()
                        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            };
            names.extend(source.split('"').filter(is_name).map(str::to_owned));
        }
    }
    names
}

/// That a function gets every variable that it needs to start is seen by starting it: `sample_events.rs`.
#[test]
fn variables_that_are_set_are_read_and_those_of_resources_that_are_read_are_set() {
    let shared = names_in_sources(&cfmp::root().join("shared"));
    let template = template();
    for folder in services().keys() {
        let own = names_in_sources(&cfmp::root().join(folder));
        let of_service = || {
            template
                .functions
                .values()
                .filter(|function| function.code_uri.trim_end_matches('/') == folder)
        };
        for Function {
            logical_id,
            environment,
            ..
        } in of_service()
        {
            for name in environment.keys() {
                assert!(
                    own.contains(name) || shared.contains(name),
                    "{logical_id}: nobody reads {name}"
                );
            }
        }
        for name in own {
            let names_a_resource = ["_TABLE", "_TOPIC", "_SECRET"]
                .iter()
                .any(|suffix| name.ends_with(suffix));
            let is_set = of_service().any(|function| function.environment.contains_key(&name));
            assert!(!names_a_resource || is_set, "{folder}: {name} is read and never set");
        }
    }
}

#[test]
fn every_route_reaches_its_function_with_and_without_a_slash_at_its_end() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        for route in inside::routes(platform) {
            let path = inside::filled(&route.path, |_| uuid_text());
            // Only below /api do clients write the slash, and does the edge fold it.
            let forms = if path.starts_with("/api/") {
                vec![path.clone(), format!("{path}/")]
            } else {
                vec![path]
            };
            for path in forms {
                let moment = inside::now(platform);
                let answer = world.ask(&route.method, &path).send().await;
                let invoked = inside::invoked_over_http(platform, moment);
                let key = format!("{} {}", route.method, route.path);
                assert_eq!(
                    invoked,
                    [(route.function.clone(), key)],
                    "{}: {}",
                    answer.asked,
                    answer.text()
                );
            }
        }
        // What no route takes is answered by the function behind `$default`.
        for path in ["/api/nowhere", "/nowhere", "/"] {
            let moment = inside::now(platform);
            assert_eq!(world.get(path).expect(404).await.kind(), "no-such-route");
            let invoked = inside::invoked_over_http(platform, moment);
            assert_eq!(
                invoked,
                [("FoldTrailingSlashFunction".to_owned(), "$default".to_owned())],
                "{path}"
            );
        }
    });
}
