//! What the tests of this adapter share: the keys and messages that another library made (`tests/vectors/wechat_pay.json`,
//! by `tests/peers/vectors/wechat_pay_v3.py`), and WeChat Pay's side of the protocol, to make messages that it would not.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::payments::{PaymentMethod, RefundReason};
use http_function::{HeaderMap, StatusCode};
use kernel::{Clock, Money, OrderId, PaymentId, RefundId, Timestamp, UserId};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use service_client::{Connection, Received};

use super::credentials::Credentials;
use super::hosts::Hosts;
use super::signature::{KIND, NONCE, SERIAL, SIGNATURE, SIGNATURE_TYPE, Stamp, TIMESTAMP};
use super::{Account, WechatPay};
use crate::ledger::Ledger;
use crate::payment::{Payment, State};
use crate::provider::{Channel, ProviderName};
use crate::refund::{Refund, RefundStatus};
use crate::statement::Downloads;

/// The vectors, what our credentials make of them, and the keys with which WeChat Pay signs.
pub(crate) struct Fixture {
    pub(crate) vectors: Value,
    pub(super) account: Account,
    pub(super) credentials: Credentials,
    by_public_key: KeyPair,
    by_certificate: KeyPair,
}

/// Who signs as WeChat Pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signer {
    PublicKey,
    Certificate,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let vectors: Value = serde_json::from_str(include_str!("../../../../tests/vectors/wechat_pay.json")).unwrap();
        let key = |name: &str| {
            let pem = vectors["platform"][name].as_str().unwrap();
            let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
            KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap()
        };
        Self {
            account: Account {
                app_id: vectors["app_id"].as_str().unwrap().to_owned(),
                merchant_id: vectors["merchant_id"].as_str().unwrap().to_owned(),
            },
            credentials: vectors["secret"].to_string().parse().unwrap(),
            by_public_key: key("public_key"),
            by_certificate: key("certificate"),
            vectors,
        }
    }

    /// The adapter. It calls nobody.
    pub(crate) fn adapter() -> WechatPay {
        let it = Self::new();
        WechatPay {
            connection: Connection::to_the_web_as("test"),
            downloads: Downloads::new(Connection::to_the_web_as("test"), "local"),
            hosts: Hosts::new(("BASE", "https://api.mch.weixin.qq.com"), None, "local").unwrap(),
            notify_url: "https://api.example.com/api/payment/callback/wechat_pay".into(),
            account: it.account,
            credentials: it.credentials,
            clock: Clock::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.vectors["now"].as_i64().unwrap() * 1000)
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            timestamp: self.now().seconds(),
            nonce: self.text("/jsapi/nonce"),
        }
    }

    /// A text of the vectors.
    pub(crate) fn text(&self, pointer: &str) -> String {
        self.vectors.pointer(pointer).unwrap().as_str().unwrap().to_owned()
    }

    /// A message of the vectors: its headers and its body.
    pub(crate) fn message(&self, pointer: &str) -> (HeaderMap, Vec<u8>) {
        let message = self.vectors.pointer(pointer).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in message["headers"].as_object().unwrap() {
            let name: http::HeaderName = name.parse().unwrap();
            headers.insert(name, value.as_str().unwrap().parse().unwrap());
        }
        (headers, message["body"].as_str().unwrap().as_bytes().to_vec())
    }

    pub(super) fn serial(&self, signer: Signer) -> String {
        match signer {
            Signer::PublicKey => self.text("/secret/public_keys/0/id"),
            Signer::Certificate => self.text("/platform/certificate_serial"),
        }
    }

    /// Headers as WeChat Pay sends them with `body`, under the public key, now.
    pub(super) fn signed(&self, body: &[u8]) -> HeaderMap {
        self.signed_by(Signer::PublicKey, body, &self.now().seconds().to_string())
    }

    pub(crate) fn signed_by(&self, signer: Signer, body: &[u8], timestamp: &str) -> HeaderMap {
        let nonce = "c5ac7061fccab6bf3e254dcf98995b8c";
        let text = [format!("{timestamp}\n{nonce}\n").as_bytes(), body, b"\n"].concat();
        let key = match signer {
            Signer::PublicKey => &self.by_public_key,
            Signer::Certificate => &self.by_certificate,
        };
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &text, &mut signature)
            .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(TIMESTAMP, timestamp.parse().unwrap());
        headers.insert(NONCE, nonce.parse().unwrap());
        headers.insert(SERIAL, self.serial(signer).parse().unwrap());
        headers.insert(SIGNATURE, STANDARD.encode(signature).parse().unwrap());
        headers.insert(SIGNATURE_TYPE, KIND.parse().unwrap());
        headers
    }

    /// A signed answer.
    pub(super) fn answered(&self, status: u16, body: &str) -> Received {
        Received {
            status: StatusCode::from_u16(status).unwrap(),
            headers: self.signed(body.as_bytes()),
            body: body.to_owned().into(),
        }
    }

    /// What a notification seals.
    pub(crate) fn seal(&self, text: &str, original_type: &str) -> Value {
        let (nonce, associated) = ("fdasflkja484", original_type);
        let key = self.text("/secret/api_v3_keys/0");
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).unwrap());
        let mut sealed = text.as_bytes().to_vec();
        let unique = Nonce::try_assume_unique_for_key(nonce.as_bytes()).unwrap();
        key.seal_in_place_append_tag(unique, Aad::from(associated), &mut sealed)
            .unwrap();
        json!({
            "original_type": original_type,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": STANDARD.encode(sealed),
            "associated_data": associated,
            "nonce": nonce,
        })
    }

    /// The body of a notification.
    pub(super) fn notification(&self, event: &str, original_type: &str, content: &Value) -> Value {
        json!({
            "id": "EV-2018022511223320873",
            "create_time": "2026-01-01T08:00:00+08:00",
            "resource_type": "encrypt-resource",
            "event_type": event,
            "summary": "通知",
            "resource": self.seal(&content.to_string(), original_type),
        })
    }

    /// The payment of the vectors.
    pub(super) fn payment(&self, channel: Channel) -> Payment {
        let now = self.now();
        Payment {
            id: self.payment_id(),
            order: OrderId::random(),
            user: UserId::random(),
            amount: Money::from_fen(1990).unwrap(),
            method: PaymentMethod::WechatPay,
            channel,
            provider: ProviderName::WechatPay,
            subject: "台灯 \"a=b+c&d\" 💡".into(),
            created_at: now,
            updated_at: now,
            expires_at: now.plus(Duration::from_millis(1_800_999)),
            state: State::Created,
            ledger: Ledger::default(),
            checks: 0,
            fingerprint: None,
            version: 1,
        }
    }

    /// The refund of the vectors: a part of the payment.
    pub(super) fn refund(&self) -> Refund {
        let now = self.now();
        Refund {
            id: self.refund_id(),
            payment: self.payment_id(),
            order: OrderId::random(),
            user: UserId::random(),
            amount: Money::from_fen(500).unwrap(),
            paid: Money::from_fen(1990).unwrap(),
            reason: RefundReason::Requested,
            provider: ProviderName::WechatPay,
            created_at: now,
            updated_at: now,
            status: RefundStatus::Requested,
            remark: None,
            attempts: 0,
            next_attempt: Refund::first_deadline(now),
            version: 1,
        }
    }

    pub(super) fn payment_id(&self) -> PaymentId {
        self.text("/payment").parse().unwrap()
    }

    pub(super) fn refund_id(&self) -> RefundId {
        self.text("/refund").parse().unwrap()
    }
}
