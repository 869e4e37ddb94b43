//! Service tokens: which of our services calls another.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kernel::Timestamp;
use serde::{Deserialize, Serialize};

use crate::verifying::Claims;
use crate::{KeySet, Seed, SeedError, SigningKeys, TokenError};

/// `iss` of service tokens.
const ISSUER: &str = "cfmp-services";
/// `aud` of service tokens.
pub const AUDIENCE: &str = "cfmp-internal";
/// Long enough for one call with its retry, short enough to be useless when it leaks.
pub const LIFETIME: Duration = Duration::from_secs(120);

/// A service of this system, by the name its tokens carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceName {
    /// Orders.
    OrderService,
    /// Payments.
    PaymentService,
    /// Notifications.
    NotificationService,
    /// Users.
    UserService,
    /// Products.
    ProductService,
    /// Security policies and risk.
    SecurityService,
    /// Management.
    RootService,
}

impl ServiceName {
    /// Every service.
    pub const ALL: [Self; 7] = [
        Self::OrderService,
        Self::PaymentService,
        Self::NotificationService,
        Self::UserService,
        Self::ProductService,
        Self::SecurityService,
        Self::RootService,
    ];

    /// The name in tokens, settings and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrderService => "order-service",
            Self::PaymentService => "payment-service",
            Self::NotificationService => "notification-service",
            Self::UserService => "user-service",
            Self::ProductService => "product-service",
            Self::SecurityService => "security-service",
            Self::RootService => "root-service",
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no service has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a service: there are order-service, payment-service, notification-service, user-service, product-service, security-service and root-service"
)]
pub struct NotAService(String);

impl FromStr for ServiceName {
    type Err = NotAService;

    fn from_str(text: &str) -> Result<Self, NotAService> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| NotAService(text.to_owned()))
    }
}

#[derive(Serialize, Deserialize)]
struct Service {
    sub: String,
}

/// Issues the tokens of services.
#[derive(Debug)]
pub struct ServiceTokens(SigningKeys);

impl ServiceTokens {
    /// Tokens signed with the service keys of `seed`.
    ///
    /// # Errors
    /// [`SeedError::Derivation`].
    pub fn derive(seed: &Seed) -> Result<Self, SeedError> {
        SigningKeys::derive(seed, "service-tokens").map(Self)
    }

    /// The public keys.
    #[must_use]
    pub fn keys(&self) -> &SigningKeys {
        &self.0
    }

    /// A token for `service`, valid from `now` for [`LIFETIME`].
    ///
    /// # Errors
    /// [`SeedError::Derivation`] when signing fails.
    pub fn issue(&self, service: ServiceName, now: Timestamp) -> Result<String, SeedError> {
        self.0.sign(&Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now.seconds(),
            exp: now.plus(LIFETIME).seconds(),
            nbf: None,
            kind: Service {
                sub: service.to_string(),
            },
        })
    }
}

impl ServiceName {
    /// The service that `token` proves, at the time `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(token: &str, keys: &KeySet, now: Timestamp) -> Result<Self, TokenError> {
        let claims: Claims<Service> = keys.claims(token, ISSUER, AUDIENCE, now)?;
        claims.kind.sub.parse().map_err(|_| TokenError::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_token::{self, UserTokens};
    use crate::{Privilege, User};
    use kernel::UserId;

    fn seed(letter: &str) -> Seed {
        format!(r#"{{"seed": "{}"}}"#, letter.repeat(40)).parse().unwrap()
    }

    fn published(keys: &SigningKeys) -> KeySet {
        KeySet::parse(&serde_json::to_vec(keys.published()).unwrap()).unwrap()
    }

    #[test]
    fn a_token_proves_its_service_until_it_expires() {
        let tokens = ServiceTokens::derive(&seed("a")).unwrap();
        let keys = published(tokens.keys());
        let now = Timestamp::from_millis(1_800_000_000_000);
        let token = tokens.issue(ServiceName::OrderService, now).unwrap();
        assert_eq!(ServiceName::verify(&token, &keys, now), Ok(ServiceName::OrderService));
        let late = now.plus(LIFETIME + Duration::from_secs(6));
        assert_eq!(ServiceName::verify(&token, &keys, late), Err(TokenError::Expired));
        let stranger = published(ServiceTokens::derive(&seed("b")).unwrap().keys());
        assert_eq!(ServiceName::verify(&token, &stranger, now), Err(TokenError::UnknownKey));
    }

    #[test]
    fn user_and_service_tokens_do_not_stand_in_for_each_other() {
        let (services, users) = (
            ServiceTokens::derive(&seed("a")).unwrap(),
            UserTokens::derive(&seed("a")).unwrap(),
        );
        let now = Timestamp::from_millis(1_800_000_000_000);
        let service = services.issue(ServiceName::OrderService, now).unwrap();
        let user = users.issue(UserId::random(), "ann", Privilege::Member, now).unwrap();
        assert!(User::verify(&service, &published(users.keys()), user_token::ISSUER, now).is_err());
        assert!(ServiceName::verify(&user, &published(services.keys()), now).is_err());
        assert!(User::verify(&user, &published(users.keys()), user_token::ISSUER, now).is_ok());
    }

    #[test]
    fn a_revocation_ends_the_tokens_issued_until_then_and_no_others() {
        let users = UserTokens::derive(&seed("a")).unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let (banned, other) = (UserId::random(), UserId::random());
        let mut set = serde_json::to_value(users.keys().published()).unwrap();
        set["revoked"] = serde_json::json!([{"user_uuid": banned, "until": now.seconds()}]);
        let keys = KeySet::parse(&serde_json::to_vec(&set).unwrap()).unwrap();
        let outcome = |id, at| {
            let token = users.issue(id, "ann", Privilege::Member, at).unwrap();
            User::verify(&token, &keys, user_token::ISSUER, at).map(|user| user.id)
        };
        let second = Duration::from_secs(1);
        assert_eq!(outcome(banned, now.minus(second)), Err(TokenError::Revoked));
        assert_eq!(outcome(banned, now), Err(TokenError::Revoked));
        assert_eq!(outcome(banned, now.plus(second)), Ok(banned));
        assert_eq!(outcome(other, now), Ok(other));
        set["revoked"] = serde_json::json!("x");
        assert!(KeySet::parse(&serde_json::to_vec(&set).unwrap()).is_err());
    }

    #[test]
    fn an_unsigned_or_foreign_algorithm_token_is_invalid() {
        use base64::Engine as _;
        let b64 = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        let users = UserTokens::derive(&seed("a")).unwrap();
        let keys = published(users.keys());
        let kid = users.keys().published().keys[0].common.key_id.clone().unwrap();
        let claims = format!(
            r#"{{"iss":"cfmp","aud":"cfmp-users","sub":"{}","iat":1,"exp":99999999999}}"#,
            UserId::random()
        );
        let now = Timestamp::from_millis(1_800_000_000_000);
        for header in [
            r#"{"alg":"none"}"#.to_owned(),
            format!(r#"{{"alg":"none","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#),
        ] {
            let token = format!("{}.{}.", b64(&header), b64(&claims));
            assert_eq!(
                User::verify(&token, &keys, user_token::ISSUER, now),
                Err(TokenError::Invalid)
            );
        }
    }
}
