//! What a function answers to a batch when it reports the failed items one by one.

use serde_json::Value;

/// Ids of the items that failed, in the function's order; `None` when the answer is malformed, which fails the whole
/// batch. An empty answer, `null` and an empty object mean that nothing failed, as on AWS.
///
/// On AWS an object without `batchItemFailures` succeeds too; here it is malformed, as it is a spelling mistake that
/// would lose messages there.
pub fn failures(answer: &[u8]) -> Option<Vec<String>> {
    if answer.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let object = match serde_json::from_slice(answer).ok()? {
        Value::Null => return Some(Vec::new()),
        Value::Object(object) if object.is_empty() => return Some(Vec::new()),
        Value::Object(object) => object,
        _ => return None,
    };
    match object.get("batchItemFailures")? {
        Value::Null => Some(Vec::new()),
        Value::Array(failures) => failures
            .iter()
            .map(|failure| {
                let id = failure.get("itemIdentifier")?.as_str()?;
                (!id.is_empty()).then(|| id.to_owned())
            })
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read_as_on_aws() {
        let none: Option<Vec<String>> = Some(Vec::new());
        for nothing_failed in [
            "",
            "null",
            "{}",
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
        ] {
            assert_eq!(failures(nothing_failed.as_bytes()), none, "{nothing_failed}");
        }
        let two = br#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"a"}]}"#;
        assert_eq!(failures(two), Some(vec!["b".to_owned(), "a".to_owned()]));
        for malformed in [
            "\"ok\"",
            "[]",
            "{",
            r#"{"batchItemFailure":[]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"id":"a"}]}"#,
        ] {
            assert_eq!(failures(malformed.as_bytes()), None, "{malformed}");
        }
    }
}
