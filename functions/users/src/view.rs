//! The JSON that clients read.

use std::fmt::Display;
use std::str::FromStr;

use http_function::{Call, PageLinks, Problem};
use kernel::{Page, Timestamp, UserId, Zone};
use keys::{Privilege, Revocation, SigningKeys};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use utoipa::ToSchema;

use crate::address::Address;
use crate::roll::PrivilegeNumber;
use crate::user::{Language, Status, User};

/// A user as everybody may see him. Never the e-mail address, never where he lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicView {
    user_id: UserId,
    username: String,
    /// URL of the picture; empty where there is none.
    avatar: String,
    /// 0 normal, 1 banned.
    #[schema(minimum = 0, maximum = 1)]
    status: u8,
    #[schema(format = DateTime)]
    created_at: String,
    /// 0 member, 1 administrator.
    #[schema(minimum = 0, maximum = 1)]
    privilege: u8,
}

/// A user as he sees himself.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnView {
    #[serde(flatten)]
    public: PublicView,
    email: String,
    address: String,
    language: Language,
}

/// How services reach a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactView {
    email: String,
    language: Language,
}

/// A user as administrators see him. Never where he lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManagedView {
    #[serde(flatten)]
    public: PublicView,
    email: String,
}

/// A list of users, in the shape of its own that the administration pages read.
#[derive(Debug, Serialize, ToSchema)]
pub struct RollView {
    links: PageLinks,
    count: usize,
    total_pages: usize,
    current_page: u32,
    results: Vec<ManagedView>,
    data: RollDataView,
}

/// The same list once more, for clients that look for it one level down.
#[derive(Debug, Serialize, ToSchema)]
pub struct RollDataView {
    results: Vec<ManagedView>,
    count: usize,
}

/// Whom a token proves.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProofView {
    valid: bool,
    user_uuid: UserId,
    username: String,
    privilege: u8,
    /// When the token ends, in seconds since 1970.
    exp: i64,
}

/// The answer to a registration.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegistrationView {
    success: bool,
    user_id: UserId,
}

/// The answer to the wish for a captcha.
#[derive(Debug, Serialize, ToSchema)]
pub struct CaptchaView {
    success: bool,
    msg: &'static str,
}

/// The public keys of one kind of token (RFC 7517), and which user tokens prove nothing any more.
#[derive(Debug, Serialize)]
pub struct KeySetView {
    #[serde(flatten)]
    keys: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<Vec<Revocation>>,
}

/// The answer to a log-in.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginView {
    success: bool,
    access_token: String,
    username: String,
    user_id: UserId,
    avatar: String,
    privilege: u8,
}

impl PublicView {
    /// What everybody may see of `user`.
    #[must_use]
    pub fn of(user: &User, zone: Zone) -> Self {
        Self {
            user_id: user.id,
            username: user.username.as_str().to_owned(),
            // Text even where there is no picture: null blanks every page of the front-end's /user.
            avatar: user.avatar.clone().unwrap_or_default(),
            status: user.status.number(),
            created_at: zone.show(user.created_at),
            privilege: user.privilege.number(),
        }
    }
}

impl OwnView {
    /// What `user`, who lives at `address`, sees of himself.
    #[must_use]
    pub fn of(user: &User, address: Address, zone: Zone) -> Self {
        Self {
            public: PublicView::of(user, zone),
            email: user.email.as_str().to_owned(),
            address: address.into_string(),
            language: user.language,
        }
    }
}

impl ContactView {
    /// How `user` is reached.
    #[must_use]
    pub fn of(user: &User) -> Self {
        Self {
            email: user.email.as_str().to_owned(),
            language: user.language,
        }
    }
}

impl ManagedView {
    /// What administrators see of `user`.
    #[must_use]
    pub fn of(user: &User, zone: Zone) -> Self {
        Self {
            public: PublicView::of(user, zone),
            email: user.email.as_str().to_owned(),
        }
    }
}

impl RollView {
    /// A page of the roll.
    #[must_use]
    pub fn of(page: &Page<User>, call: &Call) -> Self {
        let entries = || {
            page.entries
                .iter()
                .map(|user| ManagedView::of(user, call.zone()))
                .collect()
        };
        Self {
            links: PageLinks::of(page, call),
            count: page.count,
            total_pages: page.total_pages(),
            current_page: page.request.number(),
            results: entries(),
            data: RollDataView {
                results: entries(),
                count: page.count,
            },
        }
    }
}

impl ProofView {
    /// That `user` is logged in until `expires_at`.
    #[must_use]
    pub fn of(user: &User, expires_at: Timestamp) -> Self {
        Self {
            valid: true,
            user_uuid: user.id,
            username: user.username.as_str().to_owned(),
            privilege: user.privilege.number(),
            exp: expires_at.seconds(),
        }
    }
}

impl RegistrationView {
    /// That `user` has an account now.
    #[must_use]
    pub fn of(user: UserId) -> Self {
        Self {
            success: true,
            user_id: user,
        }
    }
}

impl CaptchaView {
    /// That the captcha is on its way.
    #[must_use]
    pub fn sent() -> Self {
        Self {
            success: true,
            msg: "发送成功",
        }
    }
}

impl KeySetView {
    /// Those of user tokens, with the log-ins that were ended.
    ///
    /// # Errors
    /// [`Problem::internal`] when they can not be written as JSON.
    pub fn of_users(keys: &SigningKeys, revoked: Vec<Revocation>) -> Result<Self, Problem> {
        Ok(Self {
            revoked: Some(revoked),
            ..Self::of_services(keys)?
        })
    }

    /// Those of service tokens.
    ///
    /// # Errors
    /// [`Problem::internal`] when they can not be written as JSON.
    pub fn of_services(keys: &SigningKeys) -> Result<Self, Problem> {
        Ok(Self {
            keys: serde_json::to_value(keys.published()).map_err(Problem::internal)?,
            revoked: None,
        })
    }
}

/// Reads `status`: 0 normal, 1 banned.
///
/// # Errors
/// Refuses other numbers and other types.
pub fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Status>, D::Error> {
    number(deserializer)
}

/// Reads `privilege`: 0 member, 1 administrator.
///
/// # Errors
/// Refuses other numbers and other types.
pub fn privilege<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Privilege>, D::Error> {
    Ok(number(deserializer)?.map(|PrivilegeNumber(privilege)| privilege))
}

fn number<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<u64>::deserialize(deserializer)?
        .map(|number| number.to_string().parse().map_err(de::Error::custom))
        .transpose()
}

impl LoginView {
    /// The log-in of `user`, proved by `access_token` from now on.
    #[must_use]
    pub fn of(user: &User, access_token: String) -> Self {
        Self {
            success: true,
            access_token,
            username: user.username.as_str().to_owned(),
            user_id: user.id,
            avatar: user.avatar.clone().unwrap_or_default(),
            privilege: user.privilege.number(),
        }
    }
}
