//! SecurityService, as create-order needs it: may this order be placed?
//!
//! It learns who buys from whom for how much, and of the phone and the address only keyed fingerprints, which are made
//! here, where the plain text is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloud::{Cloud, StartError};
use contracts::security::{Decision, Fingerprint, OrderAssessment, OrderToAssess, WhenUnreachable};
use http_function::StatusCode;
use keys::{KeyedHash, Seed, SeedError, ServiceName};
use service_client::{CallError, Services};

use crate::delivery::Particulars;
use crate::error::OrderError;
use crate::order::Order;

/// Asks about orders before they are placed.
#[derive(Debug)]
pub struct RiskCheck {
    services: Services,
    contacts: ContactKey,
    time_limit: Duration,
    /// What the last answer said of the next order that nobody can assess.
    refuses_unassessed: AtomicBool,
}

impl RiskCheck {
    /// Through `services`. Reads `RISK_TIME_LIMIT_MS`, and `RISK_WHEN_UNREACHABLE` (`allow` or `refuse`), which holds until
    /// the first answer says otherwise.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud, services: Services, contacts: ContactKey) -> Result<Self, StartError> {
        let unheard: WhenUnreachable = cloud.settings().parsed("RISK_WHEN_UNREACHABLE")?;
        Ok(Self {
            services,
            contacts,
            time_limit: Duration::from_millis(cloud.settings().parsed("RISK_TIME_LIMIT_MS")?),
            refuses_unassessed: AtomicBool::new(unheard == WhenUnreachable::Refuse),
        })
    }

    /// Whether the order may be placed. One that nobody can assess in time is placed and logged, unless a policy insists.
    ///
    /// # Errors
    /// [`OrderError::Risky`]; [`OrderError::Service`] when nobody can assess it and a policy insists.
    pub async fn pass(&self, order: &Order, particulars: &Particulars) -> Result<(), OrderError> {
        match self.assess(order, particulars).await {
            Ok(answer) => {
                let refuses = answer.when_unreachable == WhenUnreachable::Refuse;
                self.refuses_unassessed.store(refuses, Ordering::Relaxed);
                match answer.decision {
                    Decision::Allow | Decision::Warn => Ok(()),
                    Decision::Block => Err(OrderError::Risky),
                }
            }
            Err(error) if self.refuses_unassessed.load(Ordering::Relaxed) => Err(error.into()),
            Err(error) => {
                tracing::warn!(order = %order.id, cause = %error, "an order goes on without a risk assessment");
                Ok(())
            }
        }
    }

    async fn assess(&self, order: &Order, particulars: &Particulars) -> Result<OrderAssessment, CallError> {
        let question = OrderToAssess {
            order_uuid: order.id,
            buyer_uuid: order.buyer,
            seller_uuid: order.seller,
            total_amount: order.total,
            phone_fingerprint: self.contacts.phone(&particulars.shipping_phone),
            address_fingerprint: self.contacts.address(&particulars.shipping_address),
        };
        let path = "/api/internal/security/assess-order";
        let answer = self
            .services
            .post_once(ServiceName::SecurityService, path, &question, self.time_limit)
            .await?;
        match answer.status {
            StatusCode::OK => answer.json(),
            _ => Err(answer.not_understood("an order could not be assessed")),
        }
    }
}

/// Makes fingerprints of phones and addresses.
#[derive(Debug)]
pub struct ContactKey(KeyedHash);

impl ContactKey {
    /// The key that `seed` determines.
    ///
    /// # Errors
    /// Why the seed is none.
    pub fn derive(seed: &Seed) -> Result<Self, SeedError> {
        KeyedHash::derive(seed, "contact-fingerprints").map(Self)
    }

    /// However it is written: digits only, without China's prefix.
    fn phone(&self, phone: &str) -> Fingerprint {
        let digits: String = phone.chars().filter_map(digit).collect();
        let national = match digits.len() {
            13 => digits.strip_prefix("86"),
            15 => digits.strip_prefix("0086"),
            _ => None,
        };
        self.fingerprint("phone", national.unwrap_or(&digits))
    }

    /// However it is spaced, punctuated and capitalised.
    fn address(&self, address: &str) -> Fingerprint {
        let letters = address.chars().filter(|c| c.is_alphanumeric());
        let plain: String = letters
            .map(|c| digit(c).unwrap_or(c))
            .flat_map(char::to_lowercase)
            .collect();
        self.fingerprint("address", &plain)
    }

    fn fingerprint(&self, kind: &str, text: &str) -> Fingerprint {
        Fingerprint::of(self.0.of(&format!("{kind}\u{1f}{text}")))
    }
}

/// An ASCII digit; a full-width one counts as the same.
fn digit(c: char) -> Option<char> {
    match c {
        '0'..='9' => Some(c),
        '０'..='９' => char::from_digit(u32::from(c) - u32::from('０'), 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: &str) -> ContactKey {
        let seed = format!(r#"{{"seed": "{}"}}"#, letter.repeat(40));
        ContactKey::derive(&seed.parse().unwrap()).unwrap()
    }

    #[test]
    fn every_spelling_of_a_phone_or_an_address_has_one_fingerprint() {
        let key = key("a");
        for phone in [
            "138 0013 8000",
            "+86 138-0013-8000",
            "0086 13800138000",
            "１３８００１３８０００",
        ] {
            assert_eq!(key.phone(phone), key.phone("13800138000"), "{phone}");
        }
        for address in ["大学城北区8号楼,404", "大学城 北区 ８ 号楼-404。"] {
            assert_eq!(key.address(address), key.address("大学城北区 8 号楼 404"), "{address}");
        }
        assert_ne!(key.phone("13800138000"), key.phone("13800138001"));
        assert_ne!(key.phone("13800138000"), key.address("13800138000"));
    }

    #[test]
    fn a_fingerprint_tells_nothing_without_its_key() {
        assert_ne!(key("a").phone("13800138000"), key("b").phone("13800138000"));
        assert!(!key("a").phone("13800138000").as_str().contains("138001"));
    }
}
