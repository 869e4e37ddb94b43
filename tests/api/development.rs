//! What developers are given works as the documents say.

use std::collections::BTreeMap;

use cfmp::template::model::Template;
use serde_norway::Value as Yaml;

/// `sam local` resolves names of tables by itself, but neither the platform's address nor ARNs: local-env.json has them.
#[test]
fn the_environment_of_sam_local_is_that_of_the_platform() {
    let address = "http://127.0.0.1:3000";
    let text = std::fs::read_to_string(cfmp::root().join("local-env.json")).unwrap();
    let file: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&text).unwrap();
    let mut given = file["Parameters"].clone();
    assert_eq!(given.remove("AWS_ENDPOINT_URL").as_deref(), Some(address));

    let template = Template::read(&cfmp::root().join("template.yaml"), address).unwrap();
    let mut needed = BTreeMap::new();
    for function in template.functions.values() {
        for (name, value) in &function.environment {
            if ["arn:", "ws:", address].iter().any(|start| value.starts_with(start)) {
                needed.insert(name.clone(), value.clone());
            }
        }
    }
    assert_eq!(given, needed);
}

/// Every stage of the template can be deployed by its name.
#[test]
fn every_stage_has_its_settings() {
    let settings = std::fs::read_to_string(cfmp::root().join("samconfig.toml")).unwrap();
    let template = std::fs::read_to_string(cfmp::root().join("template.yaml")).unwrap();
    let template: Yaml = serde_norway::from_str(&template).unwrap();
    let parameters = template["Parameters"].as_mapping().unwrap();
    let stages = parameters["Stage"]["AllowedValues"].as_sequence().unwrap();
    for stage in stages {
        let stage = stage.as_str().unwrap();
        assert!(
            settings.contains(&format!("[{stage}.")),
            "samconfig.toml has no section {stage}"
        );
    }
    // A parameter that the template does not have would fail at deployment only.
    for line in settings.lines().filter(|line| line.starts_with("parameter_overrides")) {
        for override_ in line.split_once('"').unwrap().1.trim_end_matches('"').split(' ') {
            let (name, _) = override_.split_once('=').unwrap();
            assert!(
                parameters.contains_key(name),
                "samconfig.toml sets {name}, which the template does not have"
            );
        }
    }
}
