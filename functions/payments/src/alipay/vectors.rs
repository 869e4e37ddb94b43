//! Test vectors that another implementation made: `tests/peers/alipay-vectors.py`.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::keys::Keys;

pub(super) static VECTORS: LazyLock<Vectors> =
    LazyLock::new(|| Vectors(serde_json::from_str(include_str!("../../../../tests/vectors/alipay.json")).unwrap()));

pub(super) struct Vectors(Value);

impl Vectors {
    pub(super) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    pub(super) fn key(&self, name: &str) -> &str {
        self.of("keys", name)
    }

    pub(super) fn serial_number(&self, name: &str) -> &str {
        self.of("serial_numbers", name)
    }

    pub(super) fn of(&self, group: &str, name: &str) -> &str {
        self.0[group][name]
            .as_str()
            .unwrap_or_else(|| panic!("{group}: {name}"))
    }

    pub(super) fn names(&self, group: &str) -> Vec<&str> {
        self.0[group].as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Our keys in key mode. Alipay's next key stands first, so that the current one is also found behind another.
    pub(super) fn our_keys(&self) -> Keys {
        let theirs = [self.key("alipay_next_public_key"), self.key("alipay_public_key")];
        keys(&json!({"app_private_key": self.key("app_private_key_pkcs8"), "alipay_public_keys": theirs}))
    }

    /// Our keys in certificate mode.
    pub(super) fn our_certificates(&self) -> Keys {
        keys(&json!({
            "app_private_key": self.key("app_private_key_pkcs8"),
            "app_certificate": self.key("app_certificate"),
            "alipay_root_certificate": self.key("alipay_root_certificate"),
            "alipay_certificates": [self.key("alipay_next_certificate"), self.key("alipay_certificate")],
        }))
    }

    /// The keys with which Alipay signs.
    pub(super) fn keys_of_alipay(&self) -> Keys {
        self.keys_of("alipay_private_key")
    }

    /// Whoever has that private key.
    pub(super) fn keys_of(&self, private_key: &str) -> Keys {
        keys(&json!({"app_private_key": self.key(private_key), "alipay_public_keys": [self.key("app_public_key")]}))
    }
}

fn keys(secret: &Value) -> Keys {
    secret.to_string().parse().unwrap()
}
