//! The tables of accounts. The only file that knows their attributes.
//!
//! - `users`, by `user_uuid`: the accounts. The index `by-roll` lists them all, `revoked` those whose log-ins were ended.
//! - `logins`, by `login`: `email#...` and `username#...` lead to the account that has them, so that no two accounts
//!   can; `attempts#...` counts the log-ins of an e-mail address, whether or not it has an account.
//! - `captchas`, by `captcha`, which is the address: what was sent to it last.

use std::time::Duration;

use cloud::{Cloud, StartError};
use futures::future::try_join_all;
use kernel::{Timestamp, UserId};
use keys::user_token::LIFETIME;
use keys::{Privilege, Revocation};
use serde::{Deserialize, Serialize};
use tables::{Import, Key, Place, Query, Scanned, Table, TableError, Transaction, Update, WhenConditionFails};

use crate::UserError;
use crate::address::SealedAddress;
use crate::captcha::{Captcha, Code, ONE_IN, Scene, TRIES};
use crate::email::Email;
use crate::password::PasswordHash;
use crate::roll::Entry;
use crate::user::{Language, Status, User, Username};

/// How many log-ins of one address may fail within [`ATTEMPTS_WITHIN`].
pub const ATTEMPTS: i64 = 10;
/// See [`ATTEMPTS`].
pub const ATTEMPTS_WITHIN: Duration = Duration::from_secs(15 * 60);

/// How long a captcha is remembered after it was sent, so that a late one is told to be late.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// On how many partitions of the index `by-roll` accounts are spread: a look at the roll reads all of them side by side.
const ROLLS: u8 = 8;

fn roll(user: UserId) -> String {
    (user.uuid().as_bytes()[15] % ROLLS).to_string()
}

#[derive(Serialize, Deserialize)]
struct UserRow {
    user_uuid: UserId,
    username: Username,
    email: Email,
    password_hash: PasswordHash,
    status: Status,
    privilege: PrivilegeWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed_address: Option<SealedAddress>,
    #[serde(default)]
    language: Language,
    created_at: Timestamp,
    version: u64,
    /// Partition of the index `by-roll`.
    roll: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    /// Partition of the sparse index `revoked`; there are few bans a day, so one is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Revoked>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Revoked {
    Tokens,
}

/// What the index `by-roll` holds of an account.
#[derive(Deserialize)]
struct RollRow {
    user_uuid: UserId,
    username: Username,
    status: Status,
    privilege: PrivilegeWord,
    created_at: Timestamp,
}

/// What the index `revoked` holds of an account.
#[derive(Deserialize)]
struct RevokedRow {
    user_uuid: UserId,
    revoked_at: Timestamp,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PrivilegeWord {
    Member,
    Administrator,
}

impl From<PrivilegeWord> for Privilege {
    fn from(word: PrivilegeWord) -> Self {
        match word {
            PrivilegeWord::Member => Self::Member,
            PrivilegeWord::Administrator => Self::Administrator,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct LoginRow {
    login: String,
    user_uuid: UserId,
}

#[derive(Serialize, Deserialize)]
struct CaptchaRow {
    captcha: Email,
    scene: Scene,
    code: Code,
    sent_at: Timestamp,
    tries: u8,
    /// Seconds, as the table's time to live counts.
    expires_at: i64,
}

/// Reads accounts.
#[derive(Debug)]
pub struct ReadUsers(Table);

/// Reads the roll of all accounts, and whole accounts by the page.
#[derive(Debug)]
pub struct ReadRoll(Table);

/// Reads which log-ins were ended.
#[derive(Debug)]
pub struct ReadRevocations(Table);

/// Reads and changes accounts, their names included.
#[derive(Debug)]
pub struct ChangeUsers {
    users: ReadUsers,
    logins: Table,
}

/// Finds accounts by e-mail address and counts failed log-ins.
#[derive(Debug)]
pub struct LogIns {
    users: ReadUsers,
    logins: Table,
}

/// Makes accounts.
#[derive(Debug)]
pub struct Registrations {
    users: Table,
    logins: Table,
    captchas: Table,
}

/// Keeps the captchas that are sent.
#[derive(Debug)]
pub struct Captchas(Table);

impl ReadUsers {
    /// Reads `USERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Table::from_env(cloud, "USERS_TABLE").map(Self)
    }

    /// The account `id`, if there is one.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn find(&self, id: UserId) -> Result<Option<User>, UserError> {
        let row: Option<UserRow> = self.0.find(&user_key(id)).await?;
        Ok(row.map(User::from))
    }
}

impl ReadRoll {
    /// Reads `USERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Table::from_env(cloud, "USERS_TABLE").map(Self)
    }

    /// Every account, as far as looking for it needs: all partitions of the roll side by side, in one round trip up to
    /// some 50 000 accounts.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn entries(&self) -> Result<Vec<Entry>, UserError> {
        let rolls = (0..ROLLS).map(|roll| self.0.query::<RollRow>(Query::partition(Some("by-roll"), "roll", roll)));
        let rows = try_join_all(rolls).await?;
        Ok(rows.into_iter().flatten().map(Entry::from).collect())
    }

    /// The accounts of `ids` (at most 100), in this order; absent ones are left out.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn find_all(&self, ids: &[UserId]) -> Result<Vec<User>, UserError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows: Vec<UserRow> = self.0.find_all(ids.iter().copied().map(user_key).collect()).await?;
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.user_uuid));
        Ok(rows.into_iter().map(User::from).collect())
    }
}

impl ReadRevocations {
    /// Reads `USERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Table::from_env(cloud, "USERS_TABLE").map(Self)
    }

    /// Whose log-ins were ended while a token of then can still be valid at `now`.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn still_to_be_told(&self, now: Timestamp) -> Result<Vec<Revocation>, UserError> {
        // Clocks of two hosts may differ by some seconds.
        let since = now.minus(LIFETIME + Duration::from_secs(60));
        let recent = Query::partition(Some("revoked"), "revoked", "tokens").from("revoked_at", since.millis());
        let rows: Vec<RevokedRow> = self.0.query(recent).await?;
        Ok(rows
            .into_iter()
            .map(|row| Revocation {
                user_uuid: row.user_uuid,
                until: row.revoked_at.seconds(),
            })
            .collect())
    }
}

impl ChangeUsers {
    /// Reads `USERS_TABLE` and `LOGINS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            users: ReadUsers::from_env(cloud)?,
            logins: Table::from_env(cloud, "LOGINS_TABLE")?,
        })
    }

    /// See [`ReadUsers::find`].
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn find(&self, id: UserId) -> Result<Option<User>, UserError> {
        self.users.find(id).await
    }

    /// Writes `changed` in place of `seen`. A new name is taken and the old one freed in the same moment.
    ///
    /// # Errors
    /// [`UserError::ChangedMeanwhile`], [`UserError::UsernameTaken`], [`UserError::Table`].
    pub async fn replace(&self, seen: &User, changed: &User) -> Result<(), UserError> {
        let users = &self.users.0;
        let row = UserRow::from(changed);
        if changed.username == seen.username {
            return users
                .replace(row, seen.version)
                .await
                .when_condition_fails(|| UserError::ChangedMeanwhile);
        }
        let (old, new) = (username_login(&seen.username), username_login(&changed.username));
        let outcome = Transaction::new()
            .replace(users, row, seen.version)
            .insert(
                &self.logins,
                &login_key(&new),
                LoginRow {
                    login: new.clone(),
                    user_uuid: changed.id,
                },
            )
            .delete_if(&self.logins, &login_key(&old), "user_uuid", seen.id)
            .commit()
            .await;
        match outcome {
            Err(TableError::TransactionRefused { actions }) if actions == [1] => Err(UserError::UsernameTaken),
            outcome => outcome.when_condition_fails(|| UserError::ChangedMeanwhile),
        }
    }
}

impl LogIns {
    /// Reads `USERS_TABLE` and `LOGINS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            users: ReadUsers::from_env(cloud)?,
            logins: Table::from_env(cloud, "LOGINS_TABLE")?,
        })
    }

    /// The account with this address, if there is one. Reads as much when there is none.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn find_by_email(&self, email: &Email) -> Result<Option<User>, UserError> {
        let row: Option<LoginRow> = self.logins.find(&login_key(&email_login(email))).await?;
        let id = row.map_or_else(|| UserId::derived(&["nobody"]), |row| row.user_uuid);
        self.users.find(id).await
    }

    /// Counts a log-in with this address before its password is looked at: however many are made at once, no more than
    /// [`ATTEMPTS`] learn anything.
    ///
    /// # Errors
    /// [`UserError::TooManyAttempts`], [`UserError::Table`].
    pub async fn count_attempt(&self, email: &Email, now: Timestamp) -> Result<(), UserError> {
        for _ in 0..2 {
            if self.open_window(email, now).await? || self.count_in_window(email, now).await? {
                return Ok(());
            }
            // Another log-in opened the window between the two writes: there may be room in it.
        }
        Err(UserError::TooManyAttempts)
    }

    /// Takes back the attempt that a log-in made, because it did not fail.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn forgive_attempt(&self, email: &Email) -> Result<(), UserError> {
        let forgive = Update::new(
            attempts_key(email),
            "SET attempts = attempts - :one",
            "attempts > :none",
        )
        .number(":one", 1)
        .number(":none", 0);
        unless_refused(self.logins.update(forgive).await).map(|_| ())
    }

    /// Replaces a hash by a newer one of the same password, unless the password was changed meanwhile.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn rehash(&self, user: &User, newer: PasswordHash) -> Result<(), UserError> {
        let rehashed = User {
            password: newer,
            version: user.version + 1,
            ..user.clone()
        };
        unless_refused(self.users.0.replace(UserRow::from(&rehashed), user.version).await).map(|_| ())
    }

    async fn open_window(&self, email: &Email, now: Timestamp) -> Result<bool, UserError> {
        let until = now.plus(ATTEMPTS_WITHIN);
        let open = Update::new(
            attempts_key(email),
            "SET attempts = :one, counted_until = :until, expires_at = :until_seconds",
            "attribute_not_exists(login) OR counted_until <= :now",
        )
        .number(":one", 1)
        .number(":until", until.millis())
        .number(":until_seconds", until.seconds())
        .number(":now", now.millis());
        unless_refused(self.logins.update(open).await)
    }

    async fn count_in_window(&self, email: &Email, now: Timestamp) -> Result<bool, UserError> {
        let count = Update::new(
            attempts_key(email),
            "SET attempts = attempts + :one",
            "counted_until > :now AND attempts < :limit",
        )
        .number(":one", 1)
        .number(":now", now.millis())
        .number(":limit", ATTEMPTS);
        unless_refused(self.logins.update(count).await)
    }
}

impl Registrations {
    /// Reads `USERS_TABLE`, `LOGINS_TABLE` and `CAPTCHAS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            users: Table::from_env(cloud, "USERS_TABLE")?,
            logins: Table::from_env(cloud, "LOGINS_TABLE")?,
            captchas: Table::from_env(cloud, "CAPTCHAS_TABLE")?,
        })
    }

    /// The captcha that was sent to this address last, if it is remembered.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn captcha_of(&self, email: &Email) -> Result<Option<Captcha>, UserError> {
        find_captcha(&self.captchas, email).await
    }

    /// Takes one of the captcha's tries, before the code is compared: however many guesses come at once, no more than
    /// [`TRIES`] are looked at.
    ///
    /// # Errors
    /// [`UserError::CaptchaNotFound`] when none is left, [`UserError::Table`].
    pub async fn take_try(&self, captcha: &Captcha) -> Result<(), UserError> {
        let take = Update::new(
            captcha_key(&captcha.email),
            "SET tries = tries + :one",
            "#code = :code AND tries < :limit",
        )
        .name("#code", "code")
        .text(":code", captcha.code.digits())
        .number(":one", 1)
        .number(":limit", i64::from(TRIES));
        self.captchas
            .update(take)
            .await
            .when_condition_fails(|| UserError::CaptchaNotFound)
    }

    /// Makes the account, takes its address and its name, and uses up the captcha: all of it, or nothing.
    ///
    /// # Errors
    /// [`UserError::EmailTaken`], [`UserError::UsernameTaken`], [`UserError::CaptchaWrong`] when it was used already,
    /// [`UserError::Table`].
    pub async fn register(&self, user: &User, captcha: &Captcha) -> Result<(), UserError> {
        let (email, username) = (email_login(&user.email), username_login(&user.username));
        let use_up = Update::new(
            captcha_key(&captcha.email),
            "SET used_at = :now",
            "#code = :code AND attribute_not_exists(used_at)",
        )
        .name("#code", "code")
        .text(":code", captcha.code.digits())
        .number(":now", user.created_at.millis());
        let outcome = Transaction::new()
            .insert(&self.users, &user_key(user.id), UserRow::from(user))
            .insert(
                &self.logins,
                &login_key(&email),
                LoginRow {
                    login: email.clone(),
                    user_uuid: user.id,
                },
            )
            .insert(
                &self.logins,
                &login_key(&username),
                LoginRow {
                    login: username.clone(),
                    user_uuid: user.id,
                },
            )
            .update(&self.captchas, use_up)
            .commit()
            .await;
        match outcome {
            Err(TableError::TransactionRefused { actions }) if actions.contains(&1) => Err(UserError::EmailTaken),
            Err(TableError::TransactionRefused { actions }) if actions.contains(&2) => Err(UserError::UsernameTaken),
            outcome => outcome.when_condition_fails(|| UserError::CaptchaWrong),
        }
    }
}

/// Writes accounts that come from an older system.
#[derive(Debug, Clone)]
pub struct ImportUsers {
    users: Table,
    logins: Table,
}

impl ImportUsers {
    /// Reads `USERS_TABLE` and `LOGINS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            users: Table::from_env(cloud, "USERS_TABLE")?,
            logins: Table::from_env(cloud, "LOGINS_TABLE")?,
        })
    }

    /// An account and the two names that lead to it.
    ///
    /// # Errors
    /// Those of the tables.
    pub fn user(&self, user: &User, at: Timestamp) -> Result<[Import; 3], TableError> {
        let login = |login: String| {
            let key = login_key(&login);
            let user_uuid = user.id;
            self.logins.import(&key, LoginRow { login, user_uuid }, at)
        };
        Ok([
            login(email_login(&user.email))?,
            login(username_login(&user.username))?,
            self.users.import(&user_key(user.id), UserRow::from(user), at)?,
        ])
    }

    /// A page of all accounts; see [`Table::scan`].
    ///
    /// # Errors
    /// Those of the table.
    pub async fn page(&self, from: Option<Place>) -> Result<Scanned<User>, TableError> {
        let page: Scanned<UserRow> = self.users.scan(from).await?;
        Ok(Scanned {
            items: page.items.into_iter().map(User::from).collect(),
            next: page.next,
        })
    }
}

impl Captchas {
    /// Reads `CAPTCHAS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Table::from_env(cloud, "CAPTCHAS_TABLE").map(Self)
    }

    /// Keeps a captcha that is about to be sent, in place of an earlier one of its address.
    ///
    /// # Errors
    /// [`UserError::SentTooFrequently`] when the earlier one was sent less than a minute ago, [`UserError::Table`].
    pub async fn keep(&self, captcha: &Captcha) -> Result<(), UserError> {
        let row = CaptchaRow {
            captcha: captcha.email.clone(),
            scene: captcha.scene,
            code: captcha.code.clone(),
            sent_at: captcha.sent_at,
            tries: 0,
            expires_at: captcha.sent_at.plus(REMEMBERED_FOR).seconds(),
        };
        let a_minute_ago = captcha.sent_at.minus(ONE_IN).millis();
        match self
            .0
            .put_if(row, "attribute_not_exists(captcha) OR sent_at <= :now", a_minute_ago)
            .await
        {
            Err(TableError::ConditionFailed) => {
                let earlier = find_captcha(&self.0, &captcha.email).await?;
                let wait = earlier.map_or(1, |earlier| earlier.wait_seconds(captcha.sent_at).max(1));
                Err(UserError::SentTooFrequently { wait_seconds: wait })
            }
            outcome => Ok(outcome?),
        }
    }

    /// Forgets a captcha that could not be sent, so that its address may be sent another one at once.
    ///
    /// # Errors
    /// [`UserError::Table`].
    pub async fn withdraw(&self, captcha: &Captcha) -> Result<(), UserError> {
        let deleted = self
            .0
            .delete_if(&captcha_key(&captcha.email), "code", captcha.code.digits())
            .await;
        unless_refused(deleted).map(|_| ())
    }
}

async fn find_captcha(captchas: &Table, email: &Email) -> Result<Option<Captcha>, UserError> {
    let row: Option<CaptchaRow> = captchas.find(&captcha_key(email)).await?;
    Ok(row.map(|row| Captcha {
        email: row.captcha,
        scene: row.scene,
        code: row.code,
        sent_at: row.sent_at,
    }))
}

/// Whether the write took place: `false` when its condition did not hold.
fn unless_refused(outcome: Result<(), TableError>) -> Result<bool, UserError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TableError::ConditionFailed) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn user_key(id: UserId) -> Key {
    Key::of("user_uuid", id)
}

fn login_key(login: &str) -> Key {
    Key::of("login", login)
}

fn email_login(email: &Email) -> String {
    format!("email#{}", email.as_str())
}

fn username_login(username: &Username) -> String {
    format!("username#{}", username.as_str())
}

fn attempts_key(email: &Email) -> Key {
    Key::of("login", format!("attempts#{}", email.as_str()))
}

fn captcha_key(email: &Email) -> Key {
    Key::of("captcha", email.as_str())
}

impl From<RollRow> for Entry {
    fn from(row: RollRow) -> Self {
        Self {
            id: row.user_uuid,
            username: row.username,
            status: row.status,
            privilege: row.privilege.into(),
            created_at: row.created_at,
        }
    }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.user_uuid,
            username: row.username,
            email: row.email,
            password: row.password_hash,
            status: row.status,
            privilege: row.privilege.into(),
            avatar: row.avatar,
            address: row.sealed_address,
            revoked_at: row.revoked_at,
            language: row.language,
            created_at: row.created_at,
            version: row.version,
        }
    }
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        Self {
            user_uuid: user.id,
            username: user.username.clone(),
            email: user.email.clone(),
            password_hash: user.password.clone(),
            status: user.status,
            privilege: match user.privilege {
                Privilege::Member => PrivilegeWord::Member,
                Privilege::Administrator => PrivilegeWord::Administrator,
            },
            avatar: user.avatar.clone(),
            sealed_address: user.address.clone(),
            language: user.language,
            created_at: user.created_at,
            version: user.version,
            roll: roll(user.id),
            revoked_at: user.revoked_at,
            revoked: user.revoked_at.map(|_| Revoked::Tokens),
        }
    }
}
