//! Secrets Manager: what the template lets it generate is generated once and kept in the data folder.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::template::model::{GenerateSecret, Secret};

const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The secrets of the template with their values.
#[derive(Debug)]
pub struct Secrets {
    secrets: BTreeMap<String, (Secret, Version)>,
}

/// One version of a secret's value, as kept in the file.
#[derive(Clone, Serialize, Deserialize)]
pub struct Version {
    /// Id of the version.
    pub id: String,
    /// The value.
    pub value: String,
    /// When it was generated.
    pub created_ms: i64,
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Reads the values from `file` and generates those that are missing.
    pub fn open(file: &Path, secrets: &BTreeMap<String, Secret>, now_ms: i64) -> io::Result<Self> {
        let mut kept: BTreeMap<String, Version> = match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };

        let mut opened = BTreeMap::new();
        let mut generated = false;
        for (id, secret) in secrets {
            let stale = |version: &Version| secret.value.as_ref().is_some_and(|stated| *stated != version.value);
            let version = match kept.get(id).filter(|version| !stale(version)) {
                Some(version) => version.clone(),
                None => {
                    generated = true;
                    let version = Version {
                        id: Uuid::new_v4().to_string(),
                        value: generate(secret)?,
                        created_ms: now_ms,
                    };
                    kept.insert(id.clone(), version.clone());
                    version
                }
            };
            opened.insert(id.clone(), (secret.clone(), version));
        }
        if generated {
            write_privately(file, &serde_json::to_vec_pretty(&kept)?)?;
        }
        Ok(Self { secrets: opened })
    }

    /// Value of the secret with this logical id.
    pub fn value(&self, logical_id: &str) -> Option<&str> {
        self.secrets.get(logical_id).map(|(_, version)| version.value.as_str())
    }

    /// The secret with this ARN or name.
    pub fn find(&self, arn_or_name: &str) -> Option<(&Secret, &Version)> {
        self.secrets
            .values()
            .find(|(secret, _)| secret.arn == arn_or_name || secret.name == arn_or_name)
            .map(|(secret, version)| (secret, version))
    }
}

fn generate(secret: &Secret) -> io::Result<String> {
    match (&secret.value, &secret.generate) {
        (Some(value), _) => Ok(value.clone()),
        (
            None,
            Some(GenerateSecret {
                template: Some(template),
                key: Some(key),
                length,
            }),
        ) => {
            let mut object: Value = serde_json::from_str(template)?;
            let members = object.as_object_mut().ok_or_else(|| {
                io::Error::other(format!(
                    "SecretStringTemplate of {} is not a JSON object",
                    secret.logical_id
                ))
            })?;
            members.insert(key.clone(), Value::String(random_text(*length)?));
            Ok(object.to_string())
        }
        (None, Some(generate)) => random_text(generate.length),
        // Secrets Manager creates a secret without a value; reading it would fail there too.
        (None, None) => Ok(String::new()),
    }
}

fn random_text(length: usize) -> io::Result<String> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0_u8; 64];
    while text.len() < length {
        rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
        // The bytes above the fourth round of all characters would favour the first ones.
        let characters = bytes
            .iter()
            .filter(|byte| **byte < 4 * 62)
            .filter_map(|byte| CHARACTERS.get(usize::from(byte % 62)));
        text.extend(characters.take(length - text.len()).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

/// Writes a file that only its owner can read, and replaces the old one as a whole.
pub(crate) fn write_privately(file: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;

    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // Temporary files are created with mode 0600.
    let mut next = tempfile::NamedTempFile::new_in(parent)?;
    next.write_all(content)?;
    next.as_file().sync_all()?;
    next.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> BTreeMap<String, Secret> {
        let secret = |id: &str, generate, value: Option<&str>| Secret {
            logical_id: id.to_owned(),
            name: format!("cfmp/{id}"),
            arn: format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:cfmp/{id}-abcdef"),
            generate,
            value: value.map(str::to_owned),
        };
        let template = Some(r#"{"kid":"1"}"#.to_owned());
        [
            secret(
                "Random",
                Some(GenerateSecret {
                    template: None,
                    key: None,
                    length: 100,
                }),
                None,
            ),
            secret(
                "Object",
                Some(GenerateSecret {
                    template,
                    key: Some("key".to_owned()),
                    length: 32,
                }),
                None,
            ),
            secret("Stated", None, Some("stated")),
        ]
        .into_iter()
        .map(|secret| (secret.logical_id.clone(), secret))
        .collect()
    }

    #[test]
    fn values_are_generated_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.json");
        let first = Secrets::open(&file, &secrets(), 1).unwrap();
        let second = Secrets::open(&file, &secrets(), 2).unwrap();
        for id in ["Random", "Object", "Stated"] {
            assert_eq!(first.value(id).unwrap(), second.value(id).unwrap());
        }
        assert_eq!(first.value("Random").unwrap().len(), 100);
        assert_eq!(first.value("Stated"), Some("stated"));
        let object: Value = serde_json::from_str(first.value("Object").unwrap()).unwrap();
        assert_eq!(
            (&object["kid"], object["key"].as_str().unwrap().len()),
            (&Value::from("1"), 32)
        );

        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_secret_is_found_by_arn_and_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(&folder.path().join("secrets.json"), &secrets(), 1).unwrap();
        assert!(secrets.find("cfmp/Stated").is_some());
        assert!(
            secrets
                .find("arn:aws:secretsmanager:us-east-1:000000000000:secret:cfmp/Stated-abcdef")
                .is_some()
        );
        assert!(secrets.find("Stated").is_none());
    }
}
