//! The tables of SecurityService: the only file that knows their attribute names.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cloud::{Cloud, StartError};
use contracts::security::{Decision, Fingerprint};
use futures::future::try_join_all;
use kernel::{AssessmentId, OrderId, Place, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tables::{Key, Order, Query, Table, TableError, Update};

use crate::assessment::{Assessed, KEPT_FOR, Kind, Shelf};
use crate::facts::{Contact, MOST_ACCOUNTS};
use crate::policy::{Config, Level, Mode, OnFailure, Policy, PolicyId, PolicySet, TimeLimit};
use crate::profile::{KnownOrder, Lesson, OrderEntry, Profile};
use crate::risk::{Assessment, Finding};

// ---- policies ----

/// The one partition of the policies' editions.
const EDITIONS: &str = "policies";

/// An edition of the policies. Editions are only ever added: the newest applies, the others are the history.
#[derive(Serialize, Deserialize)]
struct EditionRow {
    set: String,
    edition: String,
    security_level: Level,
    /// JSON text: thresholds are as different as the policies.
    policies: String,
    /// What differs from the edition before, and who wanted it.
    changed: Vec<PolicyId>,
    edited_by: UserId,
    edited_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct PolicyRow {
    policy_id: PolicyId,
    security_level: Level,
    is_enabled: bool,
    mode: Mode,
    on_failure: OnFailure,
    time_limit_ms: TimeLimit,
    config_data: Value,
    updated: Option<(UserId, Timestamp)>,
    version: u32,
}

/// Editions sort as text.
fn edition_text(edition: u32) -> String {
    format!("{edition:010}")
}

fn corrupt(what: &str, error: &dyn std::fmt::Display) -> TableError {
    TableError::Corrupt {
        table: "security".to_owned(),
        reason: format!("{what}: {error}"),
    }
}

impl EditionRow {
    fn of(set: &PolicySet, changed: Vec<PolicyId>, by: UserId, at: Timestamp) -> Result<Self, TableError> {
        let rows = set
            .policies
            .iter()
            .map(|policy| {
                Ok(PolicyRow {
                    policy_id: policy.id(),
                    security_level: policy.level,
                    is_enabled: policy.is_enabled,
                    mode: policy.mode,
                    on_failure: policy.on_failure,
                    time_limit_ms: policy.time_limit,
                    config_data: serde_json::to_value(policy.config)?,
                    updated: policy.updated,
                    version: policy.version,
                })
            })
            .collect::<Result<Vec<_>, serde_json::Error>>()
            .and_then(|rows| serde_json::to_string(&rows))
            .map_err(|error| corrupt("policies", &error))?;
        Ok(Self {
            set: EDITIONS.to_owned(),
            edition: edition_text(set.edition),
            security_level: set.level,
            policies: rows,
            changed,
            edited_by: by,
            edited_at: at,
        })
    }

    /// A policy that the edition does not know yet is as built in.
    fn set(self) -> Result<PolicySet, TableError> {
        let what = format!("edition {}", self.edition);
        let edition = self.edition.parse().map_err(|error| corrupt(&what, &error))?;
        let rows: Vec<PolicyRow> = serde_json::from_str(&self.policies).map_err(|error| corrupt(&what, &error))?;
        let mut set = PolicySet {
            edition,
            ..PolicySet::built_in(self.security_level)
        };
        for row in rows {
            let config = Config::parse(row.policy_id, &row.config_data).map_err(|error| corrupt(&what, &error))?;
            let stored = Policy {
                level: row.security_level,
                is_enabled: row.is_enabled,
                mode: row.mode,
                on_failure: row.on_failure,
                time_limit: row.time_limit_ms,
                config,
                updated: row.updated,
                version: row.version,
            };
            for policy in set.policies.iter_mut().filter(|policy| policy.id() == row.policy_id) {
                *policy = stored;
            }
        }
        Ok(set)
    }
}

/// Reads the policies.
#[derive(Debug)]
pub struct ReadPolicies {
    table: Table,
    kept: Mutex<Option<(PolicySet, Timestamp)>>,
}

/// How long an instance works with the policies that it read: within this time, an edit takes effect everywhere.
pub const POLICIES_KEPT: Duration = Duration::from_secs(10);

impl ReadPolicies {
    /// Reads `SECURITY_POLICIES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            table: Table::from_env(cloud, "SECURITY_POLICIES_TABLE")?,
            kept: Mutex::new(None),
        })
    }

    /// The policies as they are now; built in at [`Level::Medium`], while nobody edited them.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn current(&self) -> Result<PolicySet, TableError> {
        let newest = Query::partition(None, "set", EDITIONS)
            .in_order(Order::Descending)
            .limit(1);
        let rows: Vec<EditionRow> = self.table.query(newest).await?;
        rows.into_iter()
            .next()
            .map_or_else(|| Ok(PolicySet::built_in(Level::Medium)), EditionRow::set)
    }

    /// The policies as they were at most [`POLICIES_KEPT`] ago; older ones, while they can not be read.
    ///
    /// # Errors
    /// Those of the table, when they were never read.
    pub async fn recent(&self, now: Timestamp) -> Result<PolicySet, TableError> {
        let kept = self.kept();
        if let Some((set, read_at)) = &kept
            && now.since(*read_at) < POLICIES_KEPT
        {
            return Ok(set.clone());
        }
        match (self.current().await, kept) {
            (Ok(set), _) => {
                *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((set.clone(), now));
                Ok(set)
            }
            (Err(error), Some((older, _))) => {
                tracing::warn!(cause = %error, "older policies stay in use");
                Ok(older)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn kept(&self) -> Option<(PolicySet, Timestamp)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds an edition that `by` made of `before`. `false`: somebody else made one meanwhile; nothing was written.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn add(
        &self,
        set: &PolicySet,
        before: &PolicySet,
        by: UserId,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let row = EditionRow::of(set, set.changed_since(before).collect(), by, now)?;
        let key = Key::of("set", EDITIONS).and("edition", edition_text(set.edition));
        match self.table.insert(&key, row).await {
            Ok(()) => Ok(true),
            Err(TableError::ConditionFailed) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

// ---- profiles ----

/// After that the table forgets a user of whom nothing was heard.
const USERS_KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// After that the table forgets a phone or an address to which nobody ordered.
const CONTACTS_KEPT: Duration = Duration::from_secs(180 * 24 * 60 * 60);
/// Every write of a profile may be repeated and overtaken by any other, so it needs no other condition than one that
/// always holds.
const ALWAYS: &str = "attribute_exists(subject) OR attribute_not_exists(subject)";

/// Orders are attributes of their own, so that each is written without reading the others.
const ORDER_PREFIX: &str = "order_";

fn order_attribute(order: OrderId) -> String {
    format!("{ORDER_PREFIX}{}", order.uuid().simple())
}

#[derive(Deserialize)]
struct UserRow {
    #[serde(rename = "subject")]
    _subject: String,
    #[serde(default)]
    first_seen: Option<Timestamp>,
    #[serde(default)]
    registered_at: Option<Timestamp>,
    #[serde(default)]
    bought_at: Option<Timestamp>,
    #[serde(default)]
    phone: Option<Fingerprint>,
    #[serde(default)]
    address: Option<Fingerprint>,
    #[serde(rename = "expires_at", default)]
    _expires_at: i64,
    #[serde(flatten)]
    orders: BTreeMap<String, OrderEntry>,
}

impl UserRow {
    fn profile(self) -> Result<Profile, TableError> {
        let orders = self.orders.into_iter().map(|(attribute, entry)| {
            let id = attribute.strip_prefix(ORDER_PREFIX).unwrap_or_default().parse();
            id.map(|id| KnownOrder { id, entry })
                .map_err(|error| corrupt(&attribute, &error))
        });
        Ok(Profile {
            first_seen: self.first_seen,
            registered_at: self.registered_at,
            bought_at: self.bought_at,
            phone: self.phone,
            address: self.address,
            orders: orders.collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Deserialize)]
struct ContactRow {
    subject: String,
    #[serde(default)]
    accounts: Vec<UserId>,
}

fn user_key(user: UserId) -> Key {
    Key::of("subject", format!("user#{user}"))
}

/// A way in which orders reach their buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Phone,
    Address,
}

fn contact_subject(way: Way, fingerprint: &Fingerprint) -> String {
    let kind = match way {
        Way::Phone => "phone",
        Way::Address => "address",
    };
    format!("{kind}#{}", fingerprint.as_str())
}

/// Who orders to one phone or one address.
#[derive(Debug, Clone, Default)]
struct Sharers {
    accounts: Vec<UserId>,
    is_full: bool,
}

impl Sharers {
    fn count(&self) -> u32 {
        if self.is_full {
            MOST_ACCOUNTS
        } else {
            u32::try_from(self.accounts.len()).unwrap_or(MOST_ACCOUNTS)
        }
    }

    fn includes(&self, seller: Option<UserId>) -> bool {
        seller.is_some_and(|seller| self.accounts.contains(&seller))
    }
}

fn contact(phone: &Sharers, address: &Sharers, seller: Option<UserId>) -> Contact {
    Contact {
        phone_accounts: phone.count(),
        address_accounts: address.count(),
        seller_shares_phone: phone.includes(seller),
        seller_shares_address: address.includes(seller),
    }
}

/// An order that a user is about to place, as it is noted in his profile.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Who buys.
    pub buyer: UserId,
    /// The order.
    pub order: OrderId,
    /// What is kept of it.
    pub entry: OrderEntry,
    /// Where it goes.
    pub phone: Fingerprint,
    /// Where it goes.
    pub address: Fingerprint,
}

/// Reads and keeps profiles.
#[derive(Debug, Clone)]
pub struct Profiles {
    table: Table,
}

impl Profiles {
    /// Reads `RISK_PROFILES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            table: Table::from_env(cloud, "RISK_PROFILES_TABLE")?,
        })
    }

    /// The user's profile; an empty one, when nothing was heard of him.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find(&self, user: UserId) -> Result<Profile, TableError> {
        let row: Option<UserRow> = self.table.find(&user_key(user)).await?;
        row.map_or_else(|| Ok(Profile::default()), UserRow::profile)
    }

    /// Notes an attempt and answers the buyer's profile with it, in one write: of attempts at the same time each sees
    /// those that were noted before it, so that the first one too many is known for certain. Noting an attempt again
    /// changes nothing.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn note_attempt(&self, attempt: &Attempt) -> Result<Profile, TableError> {
        let now = attempt.entry.at;
        let note = Update::new(
            user_key(attempt.buyer),
            "SET first_seen = if_not_exists(first_seen, :now), #order = if_not_exists(#order, :entry), \
             phone = :phone, address = :address, expires_at = :forget",
            ALWAYS,
        )
        .name("#order", order_attribute(attempt.order))
        .number(":now", now.millis())
        .value(":entry", attempt.entry)?
        .text(":phone", attempt.phone.as_str())
        .text(":address", attempt.address.as_str())
        .number(":forget", now.plus(USERS_KEPT).seconds());
        self.table.update_and_read::<UserRow>(note).await?.profile()
    }

    /// Notes that the buyer orders to the attempt's phone and address, and answers who else does.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn note_contact(&self, attempt: &Attempt, seller: UserId) -> Result<Contact, TableError> {
        let (phone, address) = tokio::try_join!(
            self.note_sharer(contact_subject(Way::Phone, &attempt.phone), attempt),
            self.note_sharer(contact_subject(Way::Address, &attempt.address), attempt),
        )?;
        Ok(contact(&phone, &address, Some(seller)))
    }

    async fn note_sharer(&self, subject: String, attempt: &Attempt) -> Result<Sharers, TableError> {
        let note = Update::new(
            Key::of("subject", subject),
            "ADD accounts :account SET expires_at = :forget",
            "attribute_not_exists(accounts) OR contains(accounts, :one) OR size(accounts) < :most",
        )
        .set_of(":account", attempt.buyer)
        .text(":one", attempt.buyer)
        .number(":most", i64::from(MOST_ACCOUNTS))
        .number(":forget", attempt.entry.at.plus(CONTACTS_KEPT).seconds());
        match self.table.update_and_read::<ContactRow>(note).await {
            Ok(row) => Ok(Sharers {
                accounts: row.accounts,
                is_full: false,
            }),
            // A set that is full grows no further: more accounts are not told apart.
            Err(TableError::ConditionFailed) => Ok(Sharers {
                accounts: Vec::new(),
                is_full: true,
            }),
            Err(error) => Err(error),
        }
    }

    /// Who orders to the phone and the address that the user ordered to last.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn contact(&self, profile: &Profile, seller: Option<UserId>) -> Result<Contact, TableError> {
        let subject = |way, fingerprint: &Option<Fingerprint>| {
            fingerprint
                .as_ref()
                .map(|fingerprint| contact_subject(way, fingerprint))
        };
        let phone = subject(Way::Phone, &profile.phone);
        let address = subject(Way::Address, &profile.address);
        let keys: Vec<Key> = phone.iter().chain(&address).map(|s| Key::of("subject", s)).collect();
        let rows: Vec<ContactRow> = self.table.find_all(keys).await?;
        let sharers = |subject: Option<String>| {
            let row = rows.iter().find(|row| Some(&row.subject) == subject.as_ref());
            row.map_or_else(Sharers::default, |row| Sharers {
                accounts: row.accounts.clone(),
                is_full: false,
            })
        };
        Ok(contact(&sharers(phone), &sharers(address), seller))
    }

    /// Keeps when the user registered.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn keep_registration(&self, user: UserId, at: Timestamp) -> Result<(), TableError> {
        let keep = Update::new(
            user_key(user),
            "SET registered_at = if_not_exists(registered_at, :at)",
            ALWAYS,
        );
        self.table.update(keep.number(":at", at.millis())).await
    }

    /// Drops orders from the user's profile.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn drop_orders(&self, user: UserId, orders: &[OrderId]) -> Result<(), TableError> {
        let places: Vec<String> = (0..orders.len()).map(|position| format!("#o{position}")).collect();
        let drop = Update::new(user_key(user), format!("REMOVE {}", places.join(", ")), ALWAYS);
        let named = places.iter().zip(orders);
        let drop = named.fold(drop, |drop, (place, order)| drop.name(place, order_attribute(*order)));
        self.table.update(drop).await
    }

    /// Learns how far an order came. Whatever came first, late or twice, what is known in the end is the furthest stage.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn learn(&self, lesson: &Lesson) -> Result<(), TableError> {
        // Attempted orders are in the profile already. One that is not was placed without an assessment, or is too old;
        // it may be noted between the two writes, and is then there for the third.
        for write in [self.advance(lesson)?, self.note_late(lesson)?, self.advance(lesson)?] {
            match self.table.update(write).await {
                Err(TableError::ConditionFailed) => {}
                learned => return learned,
            }
        }
        Ok(())
    }

    fn advance(&self, lesson: &Lesson) -> Result<Update, TableError> {
        let expression = match lesson.was_paid {
            true => "SET #order.stage = :stage, bought_at = if_not_exists(bought_at, :at)",
            false => "SET #order.stage = :stage",
        };
        let further = "attribute_exists(#order) AND #order.stage < :stage";
        let update = Update::new(user_key(lesson.buyer), expression, further)
            .name("#order", order_attribute(lesson.order))
            .number(":stage", lesson.entry.stage.number().into());
        Ok(match lesson.was_paid {
            true => update.number(":at", lesson.entry.at.millis()),
            false => update,
        })
    }

    fn note_late(&self, lesson: &Lesson) -> Result<Update, TableError> {
        let expression = match lesson.was_paid {
            true => {
                "SET first_seen = if_not_exists(first_seen, :at), #order = :entry, expires_at = :forget, \
                 bought_at = if_not_exists(bought_at, :at)"
            }
            false => "SET first_seen = if_not_exists(first_seen, :at), #order = :entry, expires_at = :forget",
        };
        let unknown = "attribute_not_exists(#order)";
        Update::new(user_key(lesson.buyer), expression, unknown)
            .name("#order", order_attribute(lesson.order))
            .number(":at", lesson.entry.at.millis())
            .number(":forget", lesson.entry.at.plus(USERS_KEPT).seconds())
            .value(":entry", lesson.entry)
    }
}

// ---- assessments ----

#[derive(Serialize, Deserialize)]
struct AssessmentRow {
    assessment_uuid: AssessmentId,
    kind: Kind,
    user_uuid: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order_uuid: Option<OrderId>,
    created_at: Timestamp,
    edition: u32,
    decision: Decision,
    score: u8,
    /// JSON text, as the facts.
    findings: String,
    facts: String,
    /// Keys of the indexes.
    listed_under: String,
    listed_at: Place,
    /// Seconds, for the table's time to live.
    expires_at: i64,
}

impl AssessmentRow {
    fn of(assessed: &Assessed) -> Result<Self, TableError> {
        let what = assessed.id.to_string();
        let written = |error: serde_json::Error| corrupt(&what, &error);
        Ok(Self {
            assessment_uuid: assessed.id,
            kind: assessed.kind,
            user_uuid: assessed.user,
            order_uuid: assessed.order,
            created_at: assessed.at,
            edition: assessed.edition,
            decision: assessed.assessment.decision,
            score: assessed.assessment.score,
            findings: serde_json::to_string(&assessed.assessment.findings).map_err(written)?,
            facts: serde_json::to_string(&assessed.facts).map_err(written)?,
            listed_under: listed_under(Shelf::of(assessed.kind), assessed.assessment.decision),
            listed_at: assessed.place(),
            expires_at: assessed.at.plus(KEPT_FOR).seconds(),
        })
    }

    fn assessed(self) -> Result<Assessed, TableError> {
        let what = self.assessment_uuid.to_string();
        let read = |error: serde_json::Error| corrupt(&what, &error);
        let findings: Vec<Finding> = serde_json::from_str(&self.findings).map_err(read)?;
        Ok(Assessed {
            id: self.assessment_uuid,
            kind: self.kind,
            user: self.user_uuid,
            order: self.order_uuid,
            at: self.created_at,
            edition: self.edition,
            facts: serde_json::from_str(&self.facts).map_err(read)?,
            assessment: Assessment {
                score: self.score,
                decision: self.decision,
                findings,
            },
        })
    }
}

fn listed_under(shelf: Shelf, decision: Decision) -> String {
    format!("{}#{}", shelf.word(), decision.word())
}

fn assessment_key(id: AssessmentId) -> Key {
    Key::of("assessment_uuid", id)
}

/// Adds assessments.
#[derive(Debug, Clone)]
pub struct AddAssessments {
    table: Table,
}

impl AddAssessments {
    /// Reads `RISK_ASSESSMENTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            table: Table::from_env(cloud, "RISK_ASSESSMENTS_TABLE")?,
        })
    }

    /// Adds an assessment unless there is one of its id; answers the one that is there then.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn add(&self, assessed: Assessed) -> Result<Assessed, TableError> {
        let key = assessment_key(assessed.id);
        match self.table.insert(&key, AssessmentRow::of(&assessed)?).await {
            Ok(()) => Ok(assessed),
            Err(TableError::ConditionFailed) => match self.table.find::<AssessmentRow>(&key).await? {
                Some(earlier) => earlier.assessed(),
                None => Ok(assessed),
            },
            Err(error) => Err(error),
        }
    }
}

/// Which assessments are listed.
#[derive(Debug, Clone, Copy)]
pub enum Selection {
    /// Those on a shelf, of one decision or of all.
    Shelf(Shelf, Option<Decision>),
    /// Those about a user, of one decision or of all.
    User(UserId, Option<Decision>),
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Newest first.
    pub assessments: Vec<Assessed>,
    /// Where the list goes on, if it does.
    pub next: Option<Place>,
}

/// Lists assessments.
#[derive(Debug, Clone)]
pub struct ListAssessments {
    table: Table,
}

#[derive(Debug, Deserialize)]
struct IndexRow {
    assessment_uuid: AssessmentId,
    listed_at: Place,
    #[serde(default)]
    decision: Option<Decision>,
}

/// Entries of a user's that are looked through for those of one decision, per page.
const LOOKED_THROUGH: usize = 200;
/// The most that one batch read takes.
const BATCH: usize = 100;

impl ListAssessments {
    /// Reads `RISK_ASSESSMENTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            table: Table::from_env(cloud, "RISK_ASSESSMENTS_TABLE")?,
        })
    }

    /// Up to `size` of the selected assessments that come after `after`: one round trip to the index and one to the
    /// table, however many there are.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn page(&self, selection: Selection, after: Option<&Place>, size: usize) -> Result<Listed, TableError> {
        let (found, limit) = match selection {
            Selection::Shelf(shelf, decision) => (self.on_shelf(shelf, decision, after, size + 1).await?, size + 1),
            Selection::User(user, decision) => {
                let limit = if decision.is_some() { LOOKED_THROUGH } else { size + 1 };
                let mut query = Query::partition(Some("by-user"), "user_uuid", user);
                query = newest(query, after, limit);
                (self.table.query::<IndexRow>(query).await?, limit)
            }
        };
        let last_seen = (found.len() >= limit)
            .then(|| found.last().map(|row| row.listed_at.clone()))
            .flatten();
        let wanted = |row: &IndexRow| match selection {
            Selection::User(_, Some(decision)) => row.decision == Some(decision),
            Selection::User(_, None) | Selection::Shelf(..) => true,
        };
        let mut rows: Vec<IndexRow> = found.into_iter().filter(wanted).collect();
        let goes_on = rows.len() > size;
        rows.truncate(size);
        let next = if goes_on {
            rows.last().map(|row| row.listed_at.clone())
        } else {
            last_seen
        };
        Ok(Listed {
            assessments: self.read(&rows).await?,
            next,
        })
    }

    /// The newest `count` assessments of orders, whatever was decided.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn newest_orders(&self, count: usize) -> Result<Vec<Assessed>, TableError> {
        let mut rows = self.on_shelf(Shelf::Orders, None, None, count).await?;
        rows.truncate(count);
        self.read(&rows).await
    }

    async fn on_shelf(
        &self,
        shelf: Shelf,
        decision: Option<Decision>,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<IndexRow>, TableError> {
        let decisions = Decision::ALL
            .into_iter()
            .filter(|known| decision.is_none_or(|wanted| wanted == *known));
        let queries = decisions.map(|decision| {
            let query = Query::partition(Some("by-decision"), "listed_under", listed_under(shelf, decision));
            self.table.query::<IndexRow>(newest(query, after, limit))
        });
        let mut rows: Vec<IndexRow> = try_join_all(queries).await?.into_iter().flatten().collect();
        rows.sort_by(|one, other| other.listed_at.cmp(&one.listed_at));
        Ok(rows)
    }

    async fn read(&self, rows: &[IndexRow]) -> Result<Vec<Assessed>, TableError> {
        let batches = rows.chunks(BATCH).map(|rows| {
            let keys = rows.iter().map(|row| assessment_key(row.assessment_uuid)).collect();
            self.table.find_all::<AssessmentRow>(keys)
        });
        let mut found = try_join_all(batches)
            .await?
            .into_iter()
            .flatten()
            .map(AssessmentRow::assessed)
            .collect::<Result<Vec<_>, _>>()?;
        found.sort_by_key(|assessed| std::cmp::Reverse(assessed.place()));
        Ok(found)
    }
}

fn newest(query: Query, after: Option<&Place>, limit: usize) -> Query {
    let query = query
        .in_order(Order::Descending)
        .limit(i32::try_from(limit).unwrap_or(i32::MAX));
    match after {
        Some(place) => query.before("listed_at", place),
        None => query,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::Edit;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn an_edition_is_read_as_it_was_written() {
        let edit: Edit = serde_json::from_value(json!({"security_level": "high", "policies": [
            {"policy_id": "first_purchase", "is_enabled": false, "config_data": {"max_amount": "19.90"}},
        ]}))
        .unwrap();
        let by = UserId::random();
        let before = PolicySet::built_in(Level::Medium);
        let set = before.edited(&edit, by, NOW).unwrap().unwrap();
        let row = EditionRow::of(&set, set.changed_since(&before).collect(), by, NOW).unwrap();
        assert_eq!(row.changed.len(), 8);
        assert_eq!(row.set().unwrap(), set);
    }

    #[test]
    fn an_edition_of_before_a_policy_was_invented_has_it_as_built_in() {
        let row = EditionRow {
            set: EDITIONS.into(),
            edition: edition_text(7),
            security_level: Level::Low,
            policies: "[]".into(),
            changed: vec![],
            edited_by: UserId::random(),
            edited_at: NOW,
        };
        let expected = PolicySet {
            edition: 7,
            ..PolicySet::built_in(Level::Low)
        };
        assert_eq!(row.set().unwrap(), expected);
    }

    #[test]
    fn a_profile_row_holds_its_orders_beside_the_rest() {
        let order = OrderId::random();
        let row: UserRow = serde_json::from_value(json!({
            "subject": "user#x", "first_seen": 1, "expires_at": 2,
            order_attribute(order): {
                "at": 5, "fen": 1990, "stage": 2, "seller": kernel::SellerId::random(),
            },
        }))
        .unwrap();
        let profile = row.profile().unwrap();
        assert_eq!(
            (profile.orders[0].id, profile.orders[0].entry.amount.fen()),
            (order, 1990)
        );
    }
}
