//! Test vectors that another implementation made: `tests/peers/vectors/alipay_open_platform.py`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use kernel::Clock;
use serde_json::{Value, json};
use service_client::Connection;

use super::keys::Keys;
use super::request::signed_text;
use super::{Alipay, Merchant};
use crate::statement::Downloads;

pub(crate) static VECTORS: LazyLock<Vectors> =
    LazyLock::new(|| Vectors(serde_json::from_str(include_str!("../../../../tests/vectors/alipay.json")).unwrap()));

pub(crate) struct Vectors(Value);

/// The adapter in both modes. It calls nobody.
pub(crate) fn adapters() -> [Alipay; 2] {
    [VECTORS.our_keys(), VECTORS.our_certificates()].map(|keys| Alipay {
        connection: Connection::to_the_web_as("test"),
        downloads: Downloads::new(Connection::to_the_web_as("test"), "local"),
        merchant: VECTORS.merchant(keys),
        clock: Clock::default(),
    })
}

/// A notification of these fields, signed by Alipay.
pub(crate) fn signed(mut fields: BTreeMap<String, String>) -> String {
    static ALIPAY: LazyLock<Keys> = LazyLock::new(|| VECTORS.keys_of_alipay());
    fields.retain(|name, _| name != "sign" && name != "sign_type");
    let sign = ALIPAY.sign(&signed_text(&fields)).unwrap();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(&fields);
    form.append_pair("sign", &sign)
        .append_pair("sign_type", "RSA2")
        .finish()
}

impl Vectors {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    pub(super) fn key(&self, name: &str) -> &str {
        self.of("keys", name)
    }

    pub(super) fn serial_number(&self, name: &str) -> &str {
        self.of("serial_numbers", name)
    }

    pub(crate) fn of(&self, group: &str, name: &str) -> &str {
        self.0[group][name]
            .as_str()
            .unwrap_or_else(|| panic!("{group}: {name}"))
    }

    pub(crate) fn names(&self, group: &str) -> Vec<&str> {
        self.0[group].as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// We, in the vectors.
    pub(super) fn merchant(&self, keys: Keys) -> Merchant {
        Merchant {
            gateway: self.text("gateway").into(),
            app_id: self.text("app_id").into(),
            seller_id: self.text("seller_id").into(),
            callback: self.text("callback").into(),
            keys,
        }
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
