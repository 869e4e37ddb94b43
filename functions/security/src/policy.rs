//! Policies: what is looked at, how strictly, and what follows. Data, not code: administrators edit it, an edition at a time.

use std::fmt;

use contracts::security::WhenUnreachable;
use kernel::{Money, Timestamp, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Which policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyId {
    /// Orders of one user in a short time.
    OrderVelocity,
    /// Money of one user in a short time.
    AmountVelocity,
    /// An order that costs far more than what the user bought so far.
    AmountHistory,
    /// A large order of a new account.
    NewAccount,
    /// A large first purchase.
    FirstPurchase,
    /// A phone or an address that many accounts order to.
    SharedContact,
    /// A buyer and a seller who belong together.
    LinkedParties,
    /// Orders that the user calls off, or lets expire.
    Cancellations,
}

impl PolicyId {
    /// Every policy, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::OrderVelocity,
        Self::AmountVelocity,
        Self::AmountHistory,
        Self::NewAccount,
        Self::FirstPurchase,
        Self::SharedContact,
        Self::LinkedParties,
        Self::Cancellations,
    ];

    /// The word in requests, answers and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OrderVelocity => "order_velocity",
            Self::AmountVelocity => "amount_velocity",
            Self::AmountHistory => "amount_history",
            Self::NewAccount => "new_account",
            Self::FirstPurchase => "first_purchase",
            Self::SharedContact => "shared_contact",
            Self::LinkedParties => "linked_parties",
            Self::Cancellations => "cancellations",
        }
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OrderVelocity => "下单频率",
            Self::AmountVelocity => "下单金额频率",
            Self::AmountHistory => "金额异常",
            Self::NewAccount => "新账号大额订单",
            Self::FirstPurchase => "首次购买限额",
            Self::SharedContact => "共用电话或地址",
            Self::LinkedParties => "买卖双方关联",
            Self::Cancellations => "频繁取消订单",
        }
    }

    /// What it looks at, in a sentence that is harmless in anybody's hands.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::OrderVelocity => "How many orders a user places in a short time.",
            Self::AmountVelocity => "How much money a user's orders of a short time amount to.",
            Self::AmountHistory => "Whether an order costs far more than what the user bought so far.",
            Self::NewAccount => "Whether a new account places a large order.",
            Self::FirstPurchase => "Whether a user's first purchase is a large one.",
            Self::SharedContact => "Whether many accounts order to the same phone or address.",
            Self::LinkedParties => "Whether buyer and seller seem to belong together.",
            Self::Cancellations => "How many orders a user calls off or lets expire.",
        }
    }

    /// Whether it speaks of deceit rather than of size and speed: `fraud-detection` looks at these.
    #[must_use]
    pub fn is_about_fraud(self) -> bool {
        match self {
            Self::AmountHistory
            | Self::NewAccount
            | Self::FirstPurchase
            | Self::SharedContact
            | Self::LinkedParties
            | Self::Cancellations => true,
            Self::OrderVelocity | Self::AmountVelocity => false,
        }
    }
}

/// How strict thresholds and modes are before anybody edits them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SecurityLevel)]
pub enum Level {
    /// Everything is only recorded.
    Low,
    /// What stands out is flagged; nothing is refused.
    Medium,
    /// Gross abuse is refused, the rest flagged.
    High,
}

/// What follows when a policy is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PolicyMode)]
pub enum Mode {
    /// It is not looked at.
    Off,
    /// It is recorded and counts in the score; nobody is bothered.
    Shadow,
    /// The order is placed and flagged.
    Warn,
    /// The order is refused.
    Block,
}

/// What follows when a policy can not be decided, because what it needs could not be read in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// As if it had not been hit.
    FailOpen,
    /// As if it had been hit.
    FailClosed,
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Count<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Count<MIN, MAX> {
    /// `count`, taken to the nearest end where it is outside.
    #[must_use]
    pub const fn clamped(count: u32) -> Self {
        match count {
            count if count < MIN => Self(MIN),
            count if count > MAX => Self(MAX),
            count => Self(count),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole<const MIN: u32, const MAX: u32>;
        impl<const MIN: u32, const MAX: u32> de::Visitor<'_> for Whole<MIN, MAX> {
            type Value = Count<MIN, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Self::Value, E> {
                match u32::try_from(count) {
                    Ok(count) if (MIN..=MAX).contains(&count) => Ok(Count(count)),
                    _ => Err(E::custom(format!("must be a whole number from {MIN} to {MAX}"))),
                }
            }
            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Self::Value, E> {
                self.visit_u64(u64::try_from(count).unwrap_or(u64::MAX))
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

/// Money that is more than nothing.
fn some_money<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    Money::deserialize(deserializer)?.positive().map_err(de::Error::custom)
}

/// Up to a day, in minutes.
pub type Minutes = Count<1, 1440>;
/// Up to as long as orders are remembered, in days.
pub type Days = Count<1, 90>;

/// Hit by more orders than `max_orders` within `window_minutes`, this one and those that came to nothing included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrderVelocityThresholds)]
pub struct OrderVelocity {
    /// The most that is usual.
    pub max_orders: Count<1, 50>,
    /// In how long.
    pub window_minutes: Minutes,
}

/// Hit when the orders of `window_minutes`, this one included, cost more than `max_amount` together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AmountVelocityThresholds)]
pub struct AmountVelocity {
    /// The most that is usual.
    #[serde(deserialize_with = "some_money")]
    pub max_amount: Money,
    /// In how long.
    pub window_minutes: Minutes,
}

/// Hit by an order that costs more than `factor` times the average of what the user paid for, once that is
/// `min_orders`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AmountHistoryThresholds)]
pub struct AmountHistory {
    /// How many times the average is usual.
    pub factor: Count<2, 100>,
    /// How many paid orders make a history.
    pub min_orders: Count<1, 50>,
}

/// Hit by an order of at least `min_amount` from an account younger than `max_age_hours`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAccountThresholds)]
pub struct NewAccount {
    /// Until when an account is new.
    pub max_age_hours: Count<1, 8760>,
    /// From where on an order is large.
    #[serde(deserialize_with = "some_money")]
    pub min_amount: Money,
}

/// Hit by a first purchase of more than `max_amount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FirstPurchaseThresholds)]
pub struct FirstPurchase {
    /// The most that is usual.
    #[serde(deserialize_with = "some_money")]
    pub max_amount: Money,
}

/// Hit when more accounts than these order to one phone, or to one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SharedContactThresholds)]
pub struct SharedContact {
    /// The most that share a phone.
    pub max_accounts_per_phone: Count<1, 50>,
    /// The most that share an address; room-mates do.
    pub max_accounts_per_address: Count<1, 50>,
}

/// Hit when the seller has ordered to the same phone (or address), or when the two traded with each other more than
/// `max_mutual_orders` times within `window_days`, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LinkedPartiesThresholds)]
pub struct LinkedParties {
    /// The most that is usual.
    pub max_mutual_orders: Count<1, 50>,
    /// In how long.
    pub window_days: Days,
    /// Whether one address links the two; one phone always does.
    pub address_links: bool,
}

/// Hit by more than `max_cancellations` orders within `window_days` that the user called off or let expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CancellationsThresholds)]
pub struct Cancellations {
    /// The most that is usual.
    pub max_cancellations: Count<1, 50>,
    /// In how long.
    pub window_days: Days,
}

/// The thresholds of a policy; they say which policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = PolicyThresholds)]
pub enum Config {
    /// See [`OrderVelocity`].
    OrderVelocity(OrderVelocity),
    /// See [`AmountVelocity`].
    AmountVelocity(AmountVelocity),
    /// See [`AmountHistory`].
    AmountHistory(AmountHistory),
    /// See [`NewAccount`].
    NewAccount(NewAccount),
    /// See [`FirstPurchase`].
    FirstPurchase(FirstPurchase),
    /// See [`SharedContact`].
    SharedContact(SharedContact),
    /// See [`LinkedParties`].
    LinkedParties(LinkedParties),
    /// See [`Cancellations`].
    Cancellations(Cancellations),
}

impl Config {
    /// Whose thresholds they are.
    #[must_use]
    pub fn policy(&self) -> PolicyId {
        match self {
            Self::OrderVelocity(_) => PolicyId::OrderVelocity,
            Self::AmountVelocity(_) => PolicyId::AmountVelocity,
            Self::AmountHistory(_) => PolicyId::AmountHistory,
            Self::NewAccount(_) => PolicyId::NewAccount,
            Self::FirstPurchase(_) => PolicyId::FirstPurchase,
            Self::SharedContact(_) => PolicyId::SharedContact,
            Self::LinkedParties(_) => PolicyId::LinkedParties,
            Self::Cancellations(_) => PolicyId::Cancellations,
        }
    }

    /// Reads the thresholds of `policy`, all of them and nothing else.
    ///
    /// # Errors
    /// [`WrongConfig`] names the threshold.
    pub fn parse(policy: PolicyId, given: &Value) -> Result<Self, WrongConfig> {
        // Money reads the digits as they are written, so it needs JSON text and no value.
        let json = given.to_string();
        match policy {
            PolicyId::OrderVelocity => thresholds(&json).map(Self::OrderVelocity),
            PolicyId::AmountVelocity => thresholds(&json).map(Self::AmountVelocity),
            PolicyId::AmountHistory => thresholds(&json).map(Self::AmountHistory),
            PolicyId::NewAccount => thresholds(&json).map(Self::NewAccount),
            PolicyId::FirstPurchase => thresholds(&json).map(Self::FirstPurchase),
            PolicyId::SharedContact => thresholds(&json).map(Self::SharedContact),
            PolicyId::LinkedParties => thresholds(&json).map(Self::LinkedParties),
            PolicyId::Cancellations => thresholds(&json).map(Self::Cancellations),
        }
    }

    /// The same with the thresholds in `changes` in place of its own.
    ///
    /// # Errors
    /// [`WrongConfig`] names the threshold.
    pub fn with(&self, changes: &Map<String, Value>) -> Result<Self, WrongConfig> {
        let own = serde_json::to_value(self).map_err(|error| WrongConfig {
            threshold: None,
            reason: error.to_string(),
        })?;
        let mut merged = own.as_object().cloned().unwrap_or_default();
        merged.extend(changes.clone());
        Self::parse(self.policy(), &Value::Object(merged))
    }
}

fn thresholds<T: DeserializeOwned>(json: &str) -> Result<T, WrongConfig> {
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let said = error.inner().to_string();
        WrongConfig {
            threshold: (path != ".").then_some(path),
            reason: said.split(" at line ").next().unwrap_or_default().to_owned(),
        }
    })
}

/// Thresholds that a policy does not have, or not in this size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct WrongConfig {
    /// Which, where it can be told.
    pub threshold: Option<String>,
    /// What is wrong.
    pub reason: String,
}

/// How long a policy waits for what it needs, in milliseconds.
pub type TimeLimit = Count<10, 2000>;

/// A policy as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How strict it was before it was edited.
    pub level: Level,
    /// Whether it is looked at at all.
    pub is_enabled: bool,
    /// What follows when it is hit.
    pub mode: Mode,
    /// What follows when it can not be decided.
    pub on_failure: OnFailure,
    /// How long it waits for what it needs.
    pub time_limit: TimeLimit,
    /// Its thresholds.
    pub config: Config,
    /// Who changed it last, and when; nobody, while it is as it was built in.
    pub updated: Option<(UserId, Timestamp)>,
    /// Counts its changes from 1.
    pub version: u32,
}

impl Policy {
    /// The policy `id` as it is built in at `level`.
    ///
    /// No built-in policy refuses an order below [`Level::High`]: refusing is for administrators to turn on, once a
    /// back-test has shown whom it would hit.
    #[must_use]
    pub fn built_in(id: PolicyId, level: Level) -> Self {
        let mode = match (level, id) {
            (Level::Low, _) => Mode::Shadow,
            (Level::Medium, PolicyId::OrderVelocity | PolicyId::AmountVelocity | PolicyId::Cancellations) => Mode::Warn,
            (Level::Medium, _) => Mode::Shadow,
            (Level::High, PolicyId::OrderVelocity | PolicyId::AmountVelocity) => Mode::Block,
            (Level::High, _) => Mode::Warn,
        };
        Self {
            level,
            is_enabled: true,
            mode,
            on_failure: OnFailure::FailOpen,
            time_limit: TimeLimit::clamped(1000),
            config: built_in_config(id, level),
            updated: None,
            version: 1,
        }
    }

    /// Which policy it is.
    #[must_use]
    pub fn id(&self) -> PolicyId {
        self.config.policy()
    }

    /// What follows when it is hit, all things considered.
    #[must_use]
    pub fn effect(&self) -> Mode {
        if self.is_enabled { self.mode } else { Mode::Off }
    }
}

fn built_in_config(id: PolicyId, level: Level) -> Config {
    let by_level = |low: u32, medium: u32, high: u32| match level {
        Level::Low => low,
        Level::Medium => medium,
        Level::High => high,
    };
    let yuan = |low: u32, medium: u32, high: u32| {
        Money::from_fen(i64::from(by_level(low, medium, high)) * 100).unwrap_or(Money::MAX)
    };
    match id {
        PolicyId::OrderVelocity => Config::OrderVelocity(OrderVelocity {
            max_orders: Count::clamped(by_level(50, 30, 15)),
            window_minutes: Minutes::clamped(10),
        }),
        PolicyId::AmountVelocity => Config::AmountVelocity(AmountVelocity {
            max_amount: yuan(100_000, 50_000, 20_000),
            window_minutes: Minutes::clamped(60),
        }),
        PolicyId::AmountHistory => Config::AmountHistory(AmountHistory {
            factor: Count::clamped(by_level(30, 20, 10)),
            min_orders: Count::clamped(5),
        }),
        PolicyId::NewAccount => Config::NewAccount(NewAccount {
            max_age_hours: Count::clamped(by_level(24, 24, 72)),
            min_amount: yuan(5_000, 2_000, 1_000),
        }),
        PolicyId::FirstPurchase => Config::FirstPurchase(FirstPurchase {
            max_amount: yuan(10_000, 5_000, 2_000),
        }),
        PolicyId::SharedContact => Config::SharedContact(SharedContact {
            max_accounts_per_phone: Count::clamped(by_level(10, 5, 3)),
            max_accounts_per_address: Count::clamped(by_level(40, 20, 12)),
        }),
        PolicyId::LinkedParties => Config::LinkedParties(LinkedParties {
            max_mutual_orders: Count::clamped(by_level(30, 20, 10)),
            window_days: Days::clamped(30),
            address_links: level == Level::High,
        }),
        PolicyId::Cancellations => Config::Cancellations(Cancellations {
            max_cancellations: Count::clamped(by_level(40, 20, 10)),
            window_days: Days::clamped(7),
        }),
    }
}

/// All policies at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    /// The level that was chosen last.
    pub level: Level,
    /// Every policy once, in the order of [`PolicyId::ALL`].
    pub policies: Vec<Policy>,
    /// Counts editions; 0 is what is built in.
    pub edition: u32,
}

/// What an administrator wants to be different.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[schema(as = PoliciesEdit)]
pub struct Edit {
    /// Another level takes back every earlier edit; the one that is in force already changes nothing.
    #[serde(default)]
    pub security_level: Option<Level>,
    /// Changes of single policies, made one after another after the level was.
    #[serde(default)]
    pub policies: Vec<PolicyEdit>,
}

/// A change of one policy; what is not named stays.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PolicyEdit {
    /// Which.
    pub policy_id: PolicyId,
    /// Another level takes back every earlier edit of this policy.
    #[serde(default)]
    pub security_level: Option<Level>,
    /// See [`Policy::is_enabled`].
    #[serde(default)]
    pub is_enabled: Option<bool>,
    /// See [`Policy::mode`].
    #[serde(default)]
    pub mode: Option<Mode>,
    /// See [`Policy::on_failure`].
    #[serde(default)]
    pub on_failure: Option<OnFailure>,
    /// See [`Policy::time_limit`].
    #[serde(default)]
    pub time_limit_ms: Option<TimeLimit>,
    /// Thresholds to change; see [`Config`].
    #[serde(default)]
    pub config_data: Option<Map<String, Value>>,
}

/// Why an edit is refused: thresholds are wrong. Nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct WrongEdit {
    /// The place of their policy in the request, from 0.
    pub position: usize,
    /// What is wrong.
    pub error: WrongConfig,
}

impl PolicySet {
    /// What applies until somebody edits it.
    #[must_use]
    pub fn built_in(level: Level) -> Self {
        Self {
            level,
            policies: PolicyId::ALL.map(|id| Policy::built_in(id, level)).to_vec(),
            edition: 0,
        }
    }

    /// The next edition: this one, changed by `edit` as `by` wants it. `None`: it is so already.
    ///
    /// # Errors
    /// [`WrongEdit`].
    pub fn edited(&self, edit: &Edit, by: UserId, now: Timestamp) -> Result<Option<Self>, WrongEdit> {
        let mut next = self.clone();
        if let Some(level) = edit.security_level.filter(|level| *level != self.level) {
            next.level = level;
            for policy in &mut next.policies {
                take_back(policy, level);
            }
        }
        for (position, change) in edit.policies.iter().enumerate() {
            for policy in next.policies.iter_mut().filter(|p| p.id() == change.policy_id) {
                apply(policy, change).map_err(|error| WrongEdit { position, error })?;
            }
        }
        let mut is_changed = next.level != self.level;
        for (policy, before) in next.policies.iter_mut().zip(&self.policies) {
            if policy != before {
                policy.updated = Some((by, now));
                policy.version = before.version + 1;
                is_changed = true;
            }
        }
        next.edition += 1;
        Ok(is_changed.then_some(next))
    }

    /// What becomes of orders that nobody can assess: they are refused if a policy that blocks is fail-closed.
    #[must_use]
    pub fn when_unreachable(&self) -> WhenUnreachable {
        let insists = |policy: &Policy| policy.effect() == Mode::Block && policy.on_failure == OnFailure::FailClosed;
        if self.policies.iter().any(insists) {
            WhenUnreachable::Refuse
        } else {
            WhenUnreachable::Allow
        }
    }

    /// How long the most patient of its policies waits, in milliseconds.
    #[must_use]
    pub fn patience_ms(&self) -> u32 {
        let looked_at = self.policies.iter().filter(|policy| policy.effect() != Mode::Off);
        looked_at.map(|policy| policy.time_limit.get()).max().unwrap_or(0)
    }

    /// The policies that differ from those of `other`, for the history.
    pub fn changed_since<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = PolicyId> + 'a {
        let pairs = self.policies.iter().zip(&other.policies);
        pairs.filter(|(mine, theirs)| mine != theirs).map(|(mine, _)| mine.id())
    }
}

fn take_back(policy: &mut Policy, level: Level) {
    let built_in = Policy::built_in(policy.id(), level);
    *policy = Policy {
        updated: policy.updated,
        version: policy.version,
        ..built_in
    };
}

fn apply(policy: &mut Policy, change: &PolicyEdit) -> Result<(), WrongConfig> {
    if let Some(level) = change.security_level.filter(|level| *level != policy.level) {
        take_back(policy, level);
    }
    if let Some(changes) = &change.config_data {
        policy.config = policy.config.with(changes)?;
    }
    policy.is_enabled = change.is_enabled.unwrap_or(policy.is_enabled);
    policy.mode = change.mode.unwrap_or(policy.mode);
    policy.on_failure = change.on_failure.unwrap_or(policy.on_failure);
    policy.time_limit = change.time_limit_ms.unwrap_or(policy.time_limit);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn edit(json: Value) -> Edit {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn every_policy_is_built_in_at_every_level_and_reads_its_own_thresholds() {
        for level in [Level::Low, Level::Medium, Level::High] {
            let set = PolicySet::built_in(level);
            let ids: Vec<_> = set.policies.iter().map(Policy::id).collect();
            assert_eq!(ids, PolicyId::ALL);
            for policy in &set.policies {
                let written = serde_json::to_value(policy.config).unwrap();
                assert_eq!(Config::parse(policy.id(), &written), Ok(policy.config));
                assert_eq!(serde_json::to_value(policy.id()).unwrap(), policy.id().word());
            }
            let blocks = set.policies.iter().any(|policy| policy.effect() == Mode::Block);
            assert_eq!(blocks, level == Level::High, "only the strictest refuses anybody");
            assert_eq!(set.when_unreachable(), WhenUnreachable::Allow);
        }
    }

    #[test]
    fn thresholds_are_refused_by_their_names() {
        let config = built_in_config(PolicyId::AmountVelocity, Level::Medium);
        for (change, threshold) in [
            (json!({"window_minutes": 0}), Some("window_minutes")),
            (json!({"window_minutes": 1441}), Some("window_minutes")),
            (json!({"window_minutes": 1.5}), Some("window_minutes")),
            (json!({"window_minutes": "10"}), Some("window_minutes")),
            (json!({"window_minutes": null}), Some("window_minutes")),
            (json!({"max_amount": "0.00"}), Some("max_amount")),
            (json!({"max_amount": "-1"}), Some("max_amount")),
            (json!({"max_orders": 1}), Some("max_orders")),
        ] {
            let refused = config.with(change.as_object().unwrap()).unwrap_err();
            assert_eq!(refused.threshold.as_deref(), threshold, "{change}: {refused}");
        }
        let raised = config.with(json!({"max_amount": 19.9}).as_object().unwrap()).unwrap();
        let Config::AmountVelocity(raised) = raised else {
            panic!()
        };
        assert_eq!((raised.max_amount.fen(), raised.window_minutes.get()), (1990, 60));
    }

    #[test]
    fn an_edit_changes_what_it_names_and_says_who_did_it() {
        let (set, by) = (PolicySet::built_in(Level::Medium), UserId::random());
        let change = edit(json!({"security_level": "medium", "policies": [
            {"policy_id": "first_purchase", "is_enabled": false, "config_data": {"max_amount": "10"}},
        ]}));
        let next = set.edited(&change, by, NOW).unwrap().unwrap();
        assert_eq!(next.changed_since(&set).collect::<Vec<_>>(), [PolicyId::FirstPurchase]);
        let changed = &next.policies[4];
        assert_eq!(
            (changed.updated, changed.version, next.edition),
            (Some((by, NOW)), 2, 1)
        );
        assert_eq!(changed.effect(), Mode::Off);
        assert_eq!(next.edited(&change, by, NOW), Ok(None), "it is so already");
    }

    #[test]
    fn another_level_takes_back_earlier_edits_and_keeps_those_that_come_with_it() {
        let (set, by) = (PolicySet::built_in(Level::Medium), UserId::random());
        let change = edit(json!({"policies": [{"policy_id": "order_velocity", "config_data": {"max_orders": 3}}]}));
        let edited = set.edited(&change, by, NOW).unwrap().unwrap();
        let change = edit(json!({"security_level": "high", "policies": [
            {"policy_id": "cancellations", "mode": "block", "on_failure": "fail_closed"},
        ]}));
        let high = edited.edited(&change, by, NOW).unwrap().unwrap();
        assert_eq!(
            high.policies[0].config,
            built_in_config(PolicyId::OrderVelocity, Level::High)
        );
        assert_eq!(high.policies[7].mode, Mode::Block);
        assert_eq!(high.when_unreachable(), WhenUnreachable::Refuse);
        assert_eq!(high.policies[0].version, 3, "a version is never used twice");
    }

    #[test]
    fn an_edit_is_refused_as_a_whole() {
        let (set, by) = (PolicySet::built_in(Level::Medium), UserId::random());
        assert_eq!(set.edited(&Edit::default(), by, NOW), Ok(None), "it asks for nothing");
        let wrong = edit(json!({"policies": [
            {"policy_id": "order_velocity", "is_enabled": false},
            {"policy_id": "cancellations", "config_data": {"max_cancellations": 0}},
        ]}));
        assert!(matches!(
            set.edited(&wrong, by, NOW),
            Err(WrongEdit { position: 1, .. })
        ));
    }
}
