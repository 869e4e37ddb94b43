//! The JSON that clients read.

use http_function::Call;
use kernel::{UserId, Zone};
use serde::Serialize;

use crate::user::User;

/// A user as everybody may see him. Never the e-mail address, never where he lives.
#[derive(Debug, Serialize)]
pub struct PublicView {
    user_id: UserId,
    username: String,
    avatar: String,
    status: u8,
    created_at: String,
    privilege: u8,
}

/// A user as he sees himself.
#[derive(Debug, Serialize)]
pub struct OwnView {
    #[serde(flatten)]
    public: PublicView,
    email: String,
    address: String,
}

/// The answer to a log-in.
#[derive(Debug, Serialize)]
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
    /// What `user` sees of himself.
    #[must_use]
    pub fn of(user: &User, call: &Call) -> Self {
        Self {
            public: PublicView::of(user, call.zone()),
            email: user.email.as_str().to_owned(),
            address: user.address.as_deref().unwrap_or_default().to_owned(),
        }
    }
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
