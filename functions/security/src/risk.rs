//! From facts and policies to an assessment. Pure: the same facts and policies always give the same one.

use contracts::security::Decision;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::facts::{Account, Facts, PastOrder, Stage};
use crate::policy::{Config, LinkedParties, Mode, OnFailure, Policy, PolicyId};

/// What an assessment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// 0, nothing speaks against it, to 100.
    pub score: u8,
    /// What the order's fate is, or would be.
    pub decision: Decision,
    /// What each policy says, in the order in which they were given.
    pub findings: Vec<Finding>,
}

/// The score in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Below 30.
    Low,
    /// 30 to 59.
    Medium,
    /// 60 and more.
    High,
}

impl RiskLevel {
    /// The word for a score.
    #[must_use]
    pub fn of(score: u8) -> Self {
        match score {
            0..30 => Self::Low,
            30..60 => Self::Medium,
            60.. => Self::High,
        }
    }
}

/// What one policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which.
    pub policy_id: PolicyId,
    /// What follows when it is hit; off, where it is disabled.
    pub mode: Mode,
    /// Whether it is hit.
    pub verdict: Verdict,
    /// What it adds to the score by itself, 0 to 100.
    pub points: u8,
    /// Why, with its numbers: for administrators.
    pub reason: String,
}

/// Whether a policy is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is not.
    Clear,
    /// It is.
    Hit,
    /// What it needs could not be read in time.
    Unknown,
    /// It is not looked at.
    Off,
}

impl Assessment {
    /// What `policies` say of `facts`.
    #[must_use]
    pub fn of<'a>(facts: &Facts, policies: impl IntoIterator<Item = &'a Policy>) -> Self {
        let mut spared = WHOLE;
        let mut decision = Decision::Allow;
        let mut findings = Vec::new();
        for policy in policies {
            let finding = find(facts, policy);
            spared = spared * (100 - u64::from(finding.points)) / 100;
            decision = decision.max(consequence(finding.mode, finding.verdict, policy.on_failure));
            findings.push(finding);
        }
        Self {
            score: u8::try_from((WHOLE - spared) / (WHOLE / 100)).unwrap_or(100).min(100),
            decision,
            findings,
        }
    }

    /// The score in one word.
    #[must_use]
    pub fn level(&self) -> RiskLevel {
        RiskLevel::of(self.score)
    }

    /// The policies that are hit.
    pub fn hits(&self) -> impl Iterator<Item = PolicyId> + '_ {
        let hit = self.findings.iter().filter(|finding| finding.verdict == Verdict::Hit);
        hit.map(|finding| finding.policy_id)
    }
}

/// A score is what the findings leave of a whole, each taking its points' share of what those before it left: several
/// weak signs add up, and no number of them exceeds 100.
const WHOLE: u64 = 1_000_000_000;

/// What one policy makes of an order.
#[must_use]
pub fn consequence(mode: Mode, verdict: Verdict, on_failure: OnFailure) -> Decision {
    let counts_as_hit = match (verdict, on_failure) {
        (Verdict::Hit, _) | (Verdict::Unknown, OnFailure::FailClosed) => true,
        (Verdict::Unknown, OnFailure::FailOpen) | (Verdict::Clear | Verdict::Off, _) => false,
    };
    match mode {
        Mode::Block if counts_as_hit => Decision::Block,
        Mode::Warn if counts_as_hit => Decision::Warn,
        Mode::Block | Mode::Warn | Mode::Shadow | Mode::Off => Decision::Allow,
    }
}

fn find(facts: &Facts, policy: &Policy) -> Finding {
    let policy_id = policy.id();
    let mode = policy.effect();
    let finding = |verdict, points, reason| Finding {
        policy_id,
        mode,
        verdict,
        points,
        reason,
    };
    if mode == Mode::Off {
        return finding(Verdict::Off, 0, "it is switched off".to_owned());
    }
    if facts.waited_ms > policy.time_limit.get() {
        let reason = format!(
            "the facts took {} ms, more than {}",
            facts.waited_ms,
            policy.time_limit.get()
        );
        return finding(Verdict::Unknown, 0, reason);
    }
    match measure(facts, &policy.config) {
        None => finding(Verdict::Unknown, 0, "the facts could not be read".to_owned()),
        Some(measured) => {
            let verdict = if measured.value > measured.limit {
                Verdict::Hit
            } else {
                Verdict::Clear
            };
            finding(verdict, measured.points(weight(policy_id)), measured.reason)
        }
    }
}

/// What a policy adds to the score at most. Together they reach 97.
fn weight(policy: PolicyId) -> u64 {
    match policy {
        PolicyId::OrderVelocity | PolicyId::AmountVelocity => 45,
        PolicyId::SharedContact | PolicyId::LinkedParties => 40,
        PolicyId::Cancellations | PolicyId::AmountHistory => 35,
        PolicyId::NewAccount | PolicyId::FirstPurchase => 25,
    }
}

/// How far something is towards its limit. Above the limit the policy is hit.
struct Measured {
    value: u64,
    limit: u64,
    reason: String,
}

impl Measured {
    fn nothing(reason: &str) -> Self {
        Self {
            value: 0,
            limit: 1,
            reason: reason.to_owned(),
        }
    }

    /// Nothing at 0, half of the weight at the limit, all of it at twice the limit and beyond: the score rises before a
    /// policy is hit, and goes on rising for a while.
    fn points(&self, weight: u64) -> u8 {
        let whole = self.limit.saturating_mul(2).max(1);
        let share = u128::from(weight) * u128::from(self.value.min(whole)) / u128::from(whole);
        u8::try_from(share).unwrap_or(100)
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn measure(facts: &Facts, config: &Config) -> Option<Measured> {
    let account = facts.account.as_ref();
    match config {
        Config::OrderVelocity(config) => {
            let minutes = u64::from(config.window_minutes.get());
            let orders = attempts(account?, minutes * MINUTE).count() as u64 + u64::from(facts.amount.is_some());
            Some(Measured {
                value: orders,
                limit: config.max_orders.get().into(),
                reason: format!("{orders} orders in {minutes} minutes"),
            })
        }
        Config::AmountVelocity(config) => {
            let minutes = u64::from(config.window_minutes.get());
            let earlier = attempts(account?, minutes * MINUTE).map(|order| order.amount);
            let fen: u64 = earlier
                .chain(facts.amount)
                .map(|money| money.fen().unsigned_abs())
                .sum();
            Some(Measured {
                value: fen,
                limit: config.max_amount.fen().unsigned_abs(),
                reason: format!("{} in {minutes} minutes", yuan(fen)),
            })
        }
        Config::AmountHistory(config) => {
            let bought: Vec<u64> = account?
                .orders
                .iter()
                .filter(|order| order.stage.is_bought())
                .map(|order| order.amount.fen().unsigned_abs())
                .collect();
            let Some(amount) = facts.amount else {
                return Some(Measured::nothing("no order is in question"));
            };
            if bought.len() < config.min_orders.get() as usize {
                return Some(Measured::nothing("too few paid orders to compare with"));
            }
            let average = bought.iter().sum::<u64>() / (bought.len() as u64).max(1);
            Some(Measured {
                value: amount.fen().unsigned_abs(),
                limit: average.saturating_mul(config.factor.get().into()),
                reason: format!("{amount}, where {} is the average of {}", yuan(average), bought.len()),
            })
        }
        Config::NewAccount(config) => {
            let age_s = account?.age_s;
            if age_s >= u64::from(config.max_age_hours.get()) * HOUR {
                return Some(Measured::nothing("the account is not new"));
            }
            // A large order is beyond the limit; any other of a new account is at it.
            let is_large = facts.amount.is_some_and(|amount| amount >= config.min_amount);
            Some(Measured {
                value: 1 + u64::from(is_large),
                limit: 1,
                reason: format!("the account is {} hours old", age_s / HOUR),
            })
        }
        Config::FirstPurchase(config) => {
            let has_bought = account?.has_bought;
            Some(match facts.amount {
                _ if has_bought => Measured::nothing("it is not the first purchase"),
                None => Measured::nothing("no order is in question"),
                Some(amount) => Measured {
                    value: amount.fen().unsigned_abs(),
                    limit: config.max_amount.fen().unsigned_abs(),
                    reason: format!("a first purchase of {amount}"),
                },
            })
        }
        Config::SharedContact(config) => {
            let contact = facts.contact?;
            // Of itself an account shares nothing.
            let shared = |accounts: u32| if accounts > 1 { accounts } else { 0 };
            let phone = (shared(contact.phone_accounts), config.max_accounts_per_phone.get());
            let address = (shared(contact.address_accounts), config.max_accounts_per_address.get());
            // Whichever is further towards its limit; compared crosswise, without fractions.
            let (value, limit) =
                if u64::from(phone.0) * u64::from(address.1) >= u64::from(address.0) * u64::from(phone.1) {
                    phone
                } else {
                    address
                };
            Some(Measured {
                value: value.into(),
                limit: limit.into(),
                reason: format!(
                    "{} accounts order to the phone, {} to the address",
                    contact.phone_accounts, contact.address_accounts
                ),
            })
        }
        Config::LinkedParties(config) => linked(facts, config),
        Config::Cancellations(config) => {
            let days = u64::from(config.window_days.get());
            let orders = account?.orders.iter();
            let called_off = orders
                .filter(|order| order.stage == Stage::CalledOff && order.age_s < days * DAY)
                .count() as u64;
            Some(Measured {
                value: called_off,
                limit: config.max_cancellations.get().into(),
                reason: format!("{called_off} orders called off in {days} days"),
            })
        }
    }
}

fn linked(facts: &Facts, config: &LinkedParties) -> Option<Measured> {
    let (account, contact, counterpart) = (facts.account.as_ref()?, facts.contact?, facts.counterpart.as_ref()?);
    let days = u64::from(config.window_days.get());
    let there = account
        .orders
        .iter()
        .filter(|order| order.same_seller && order.age_s < days * DAY)
        .count();
    let back = counterpart
        .orders_from_buyer_s
        .iter()
        .filter(|age_s| **age_s < days * DAY)
        .count();
    let mutual = (there + back) as u64 + u64::from(facts.amount.is_some());
    let limit = u64::from(config.max_mutual_orders.get());
    let shares = contact.seller_shares_phone || (config.address_links && contact.seller_shares_address);
    Some(if shares {
        Measured {
            // Beyond any doubt that the number of orders could leave.
            value: mutual.max(2 * limit),
            limit,
            reason: "the seller ordered to the same phone or address".to_owned(),
        }
    } else {
        Measured {
            value: mutual,
            limit,
            reason: format!("{mutual} orders between the two in {days} days"),
        }
    })
}

/// The user's attempts to order within the last `window_s` seconds.
fn attempts(account: &Account, window_s: u64) -> impl Iterator<Item = &PastOrder> {
    let orders = account.orders.iter();
    orders.filter(move |order| order.age_s < window_s && !order.heard_late)
}

fn yuan(fen: u64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use kernel::{Money, Timestamp};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::facts::{Contact, Counterpart};
    use crate::policy::{Level, TimeLimit};

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    /// A well-known buyer of few things, who orders for 20.00.
    fn facts() -> Facts {
        Facts {
            at: Timestamp::from_millis(1_800_000_000_000),
            amount: Some(money("20.00")),
            waited_ms: 3,
            account: Some(Account {
                age_s: 400 * DAY,
                has_bought: true,
                orders: vec![],
            }),
            contact: Some(Contact {
                phone_accounts: 1,
                address_accounts: 1,
                ..Contact::default()
            }),
            counterpart: Some(Counterpart::default()),
        }
    }

    fn with(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = facts();
        change(&mut facts);
        facts
    }

    fn account(change: impl FnOnce(&mut Account)) -> Facts {
        with(|facts| change(facts.account.as_mut().unwrap()))
    }

    fn contact(change: impl FnOnce(&mut Contact)) -> Facts {
        with(|facts| change(facts.contact.as_mut().unwrap()))
    }

    fn order(age_s: u64, amount: &str, stage: Stage) -> PastOrder {
        PastOrder {
            age_s,
            amount: money(amount),
            stage,
            heard_late: false,
            same_seller: false,
        }
    }

    fn orders(count: usize, one: PastOrder) -> Facts {
        account(|account| account.orders = vec![one; count])
    }

    fn policy(id: PolicyId, config: Value) -> Policy {
        Policy {
            mode: Mode::Block,
            config: Config::parse(id, &config).unwrap(),
            ..Policy::built_in(id, Level::Medium)
        }
    }

    fn verdict(facts: &Facts, policy: &Policy) -> Verdict {
        Assessment::of(facts, [policy]).findings[0].verdict
    }

    /// Each rule: facts just within and just beyond its limit.
    #[test]
    fn every_policy_is_hit_beyond_its_limit_and_not_before() {
        use PolicyId::*;
        use Verdict::{Clear, Hit};
        let placed = |age_s, amount| order(age_s, amount, Stage::Placed);
        let late = PastOrder {
            heard_late: true,
            ..placed(1, "20.00")
        };
        let of_seller = PastOrder {
            same_seller: true,
            ..placed(DAY, "20.00")
        };
        let expensive = |facts: Facts, amount: &str| Facts {
            amount: Some(money(amount)),
            ..facts
        };
        let none = |facts: Facts| Facts { amount: None, ..facts };
        let velocity = policy(OrderVelocity, json!({"max_orders": 3, "window_minutes": 10}));
        let amounts = policy(AmountVelocity, json!({"max_amount": "100.00", "window_minutes": 10}));
        let history = policy(AmountHistory, json!({"factor": 4, "min_orders": 2}));
        let new = policy(NewAccount, json!({"max_age_hours": 24, "min_amount": "100.00"}));
        let first = policy(FirstPurchase, json!({"max_amount": "100.00"}));
        let shared = policy(
            SharedContact,
            json!({"max_accounts_per_phone": 2, "max_accounts_per_address": 4}),
        );
        let links = policy(
            LinkedParties,
            json!({"max_mutual_orders": 3, "window_days": 30, "address_links": false}),
        );
        let cancelling = policy(Cancellations, json!({"max_cancellations": 2, "window_days": 7}));
        let bought = orders(2, order(9 * DAY, "10.00", Stage::Completed));
        let young = account(|account| account.age_s = DAY - 1);
        let newcomer = account(|account| account.has_bought = false);
        for (what, policy, facts, expected) in [
            ("the third order", velocity, orders(2, placed(599, "1.00")), Clear),
            ("the fourth order", velocity, orders(3, placed(599, "1.00")), Hit),
            (
                "the fourth, a while later",
                velocity,
                orders(3, placed(600, "1.00")),
                Clear,
            ),
            (
                "three attempts and no order",
                velocity,
                none(orders(3, placed(1, "1.00"))),
                Clear,
            ),
            ("heard of late", velocity, orders(9, late), Clear),
            ("100.00 together", amounts, orders(1, placed(599, "80.00")), Clear),
            ("100.01 together", amounts, orders(1, placed(599, "80.01")), Hit),
            ("a while later", amounts, orders(1, placed(600, "99.00")), Clear),
            (
                "four times the average",
                history,
                expensive(bought.clone(), "40.00"),
                Clear,
            ),
            ("more than that", history, expensive(bought.clone(), "40.01"), Hit),
            (
                "one order is no history",
                history,
                expensive(orders(1, order(DAY, "10.00", Stage::Paid)), "999.00"),
                Clear,
            ),
            (
                "what was not paid is none",
                history,
                expensive(orders(5, placed(DAY, "10.00")), "999.00"),
                Clear,
            ),
            ("a small order of a new account", new, young.clone(), Clear),
            ("a large one", new, expensive(young.clone(), "100.00"), Hit),
            (
                "a large one of a known account",
                new,
                expensive(account(|account| account.age_s = DAY), "999.00"),
                Clear,
            ),
            ("a new account, no order", new, none(young), Clear),
            (
                "a first purchase of 100.00",
                first,
                expensive(newcomer.clone(), "100.00"),
                Clear,
            ),
            (
                "a first purchase of 100.01",
                first,
                expensive(newcomer.clone(), "100.01"),
                Hit,
            ),
            ("a second one", first, expensive(facts(), "999.00"), Clear),
            ("a newcomer, no order", first, none(newcomer), Clear),
            ("two at a phone", shared, contact(|c| c.phone_accounts = 2), Clear),
            ("three at a phone", shared, contact(|c| c.phone_accounts = 3), Hit),
            ("four at an address", shared, contact(|c| c.address_accounts = 4), Clear),
            ("five at an address", shared, contact(|c| c.address_accounts = 5), Hit),
            ("the third between the two", links, orders(2, of_seller), Clear),
            ("the fourth between the two", links, orders(3, of_seller), Hit),
            (
                "there and back",
                links,
                with(|facts| {
                    facts.account.as_mut().unwrap().orders = vec![of_seller];
                    facts.counterpart.as_mut().unwrap().orders_from_buyer_s = vec![DAY, 2 * DAY];
                }),
                Hit,
            ),
            (
                "long ago",
                links,
                with(|facts| facts.counterpart.as_mut().unwrap().orders_from_buyer_s = vec![30 * DAY; 9]),
                Clear,
            ),
            (
                "the seller's phone",
                links,
                contact(|c| c.seller_shares_phone = true),
                Hit,
            ),
            (
                "the seller's address does not link",
                links,
                contact(|c| c.seller_shares_address = true),
                Clear,
            ),
            (
                "two called off",
                cancelling,
                orders(2, order(DAY, "1.00", Stage::CalledOff)),
                Clear,
            ),
            (
                "three called off",
                cancelling,
                orders(3, order(DAY, "1.00", Stage::CalledOff)),
                Hit,
            ),
            (
                "long ago",
                cancelling,
                orders(9, order(7 * DAY, "1.00", Stage::CalledOff)),
                Clear,
            ),
            (
                "by sellers",
                cancelling,
                orders(9, order(DAY, "1.00", Stage::Ended)),
                Clear,
            ),
        ] {
            assert_eq!(verdict(&facts, &policy), expected, "{}: {what}", policy.id().word());
        }
    }

    #[test]
    fn facts_that_are_not_there_in_time_leave_a_policy_undecided() {
        for id in PolicyId::ALL {
            let policy = Policy::built_in(id, Level::High);
            let unread = with(|facts| (facts.account, facts.contact, facts.counterpart) = (None, None, None));
            assert_eq!(verdict(&unread, &policy), Verdict::Unknown, "{}", id.word());
            let late = with(|facts| facts.waited_ms = policy.time_limit.get() + 1);
            assert_eq!(verdict(&late, &policy), Verdict::Unknown, "{}", id.word());
            let just = with(|facts| facts.waited_ms = policy.time_limit.get());
            assert_eq!(verdict(&just, &policy), Verdict::Clear, "{}", id.word());
        }
        // One that needs nothing of the seller is decided without him.
        let no_seller = with(|facts| facts.counterpart = None);
        let first = Policy::built_in(PolicyId::FirstPurchase, Level::High);
        assert_eq!(verdict(&no_seller, &first), Verdict::Clear);
    }

    /// Every mode with every verdict and every way to fail.
    #[test]
    fn what_follows_from_a_verdict() {
        use Decision::{Allow, Block, Warn};
        use OnFailure::{FailClosed, FailOpen};
        for verdict in [Verdict::Clear, Verdict::Hit, Verdict::Unknown, Verdict::Off] {
            for on_failure in [FailOpen, FailClosed] {
                let follows = verdict == Verdict::Hit || (verdict == Verdict::Unknown && on_failure == FailClosed);
                for (mode, then) in [
                    (Mode::Off, Allow),
                    (Mode::Shadow, Allow),
                    (Mode::Warn, Warn),
                    (Mode::Block, Block),
                ] {
                    let expected = if follows { then } else { Allow };
                    assert_eq!(
                        consequence(mode, verdict, on_failure),
                        expected,
                        "{mode:?} {verdict:?} {on_failure:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_switched_off_is_not_looked_at() {
        let hit = orders(50, order(1, "1000.00", Stage::CalledOff));
        for id in PolicyId::ALL {
            let policy = Policy::built_in(id, Level::High);
            for off in [
                Policy {
                    mode: Mode::Off,
                    ..policy
                },
                Policy {
                    is_enabled: false,
                    ..policy
                },
            ] {
                let assessment = Assessment::of(&hit, [&off]);
                assert_eq!((assessment.score, assessment.decision), (0, Decision::Allow));
                assert_eq!(assessment.findings[0].verdict, Verdict::Off);
            }
        }
    }

    /// The scores were once the same for everybody.
    #[test]
    fn different_histories_have_different_scores() {
        let policies = PolicyId::ALL.map(|id| Policy::built_in(id, Level::Medium));
        let score = |facts: &Facts| Assessment::of(facts, &policies).score;
        let known = score(&facts());
        let busy = score(&orders(20, order(60, "100.00", Stage::Placed)));
        let fickle = score(&orders(60, order(60, "900.00", Stage::CalledOff)));
        assert!(known < busy && busy < fickle, "{known} {busy} {fickle}");
        assert_eq!(RiskLevel::of(known), RiskLevel::Low);
        assert_eq!(RiskLevel::of(fickle), RiskLevel::High);
    }

    fn any_stage() -> impl Strategy<Value = Stage> {
        (0..6_u8).prop_map(|number| Stage::try_from(number).unwrap())
    }

    fn any_order() -> impl Strategy<Value = PastOrder> {
        (0..100 * DAY, 0..10_000_000_i64, any_stage(), any::<(bool, bool)>()).prop_map(
            |(age_s, fen, stage, (heard_late, same_seller))| PastOrder {
                age_s,
                amount: Money::from_fen(fen).unwrap(),
                stage,
                heard_late,
                same_seller,
            },
        )
    }

    prop_compose! {
        fn any_facts()(
            fen in proptest::option::of(1..=Money::MAX.fen()),
            waited_ms in 0..2500_u32,
            age_s in 0..9000 * HOUR,
            has_bought in any::<bool>(),
            orders in proptest::collection::vec(any_order(), 0..70),
            accounts in (0..60_u32, 0..60_u32),
            shares in any::<(bool, bool)>(),
            back in proptest::collection::vec(0..100 * DAY, 0..70),
            readable in proptest::array::uniform3(proptest::bool::weighted(0.9)),
        ) -> Facts {
            Facts {
                at: Timestamp::from_millis(1_800_000_000_000),
                amount: fen.map(|fen| Money::from_fen(fen).unwrap()),
                waited_ms,
                account: readable[0].then_some(Account { age_s, has_bought, orders }),
                contact: readable[1].then_some(Contact {
                    phone_accounts: accounts.0,
                    address_accounts: accounts.1,
                    seller_shares_phone: shares.0,
                    seller_shares_address: shares.1,
                }),
                counterpart: readable[2].then_some(Counterpart { orders_from_buyer_s: back }),
            }
        }
    }

    fn any_mode() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Off), Just(Mode::Shadow), Just(Mode::Warn), Just(Mode::Block)]
    }

    fn any_policies() -> impl Strategy<Value = Vec<Policy>> {
        let level = prop_oneof![Just(Level::Low), Just(Level::Medium), Just(Level::High)];
        let one = |id: PolicyId| {
            let failing = prop_oneof![Just(OnFailure::FailOpen), Just(OnFailure::FailClosed)];
            (level.clone(), any_mode(), failing, any::<bool>(), 10..2000_u32).prop_map(
                move |(level, mode, on_failure, is_enabled, limit)| Policy {
                    is_enabled,
                    mode,
                    on_failure,
                    time_limit: TimeLimit::clamped(limit),
                    ..Policy::built_in(id, level)
                },
            )
        };
        PolicyId::ALL.into_iter().map(one).collect::<Vec<_>>()
    }

    /// The same facts with one thing that is worse about them.
    fn worse(facts: &Facts, which: u8) -> Facts {
        let mut worse = facts.clone();
        match (which, &mut worse.account, &mut worse.contact, &mut worse.counterpart) {
            (0, Some(account), _, _) => account.orders.push(order(0, "500.00", Stage::Attempted)),
            (1, Some(account), _, _) => account.orders.push(order(0, "0.01", Stage::CalledOff)),
            (2, Some(account), _, _) => account.age_s /= 2,
            (3, Some(account), _, _) => account.has_bought = false,
            (4, _, Some(contact), _) => contact.phone_accounts += 1,
            (5, _, Some(contact), _) => contact.address_accounts += 1,
            (6, _, Some(contact), _) => contact.seller_shares_phone = true,
            (7, _, _, Some(counterpart)) => counterpart.orders_from_buyer_s.push(0),
            _ => {
                worse.amount = worse
                    .amount
                    .map(|amount| Money::from_fen((amount.fen() * 2).min(Money::MAX.fen())).unwrap());
            }
        }
        worse
    }

    proptest! {
        #[test]
        fn a_score_is_between_0_and_100_and_only_enabled_blocking_policies_block(
            facts in any_facts(), policies in any_policies(),
        ) {
            let assessment = Assessment::of(&facts, &policies);
            prop_assert!(assessment.score <= 100);
            prop_assert_eq!(assessment.findings.len(), policies.len());
            let effects: Vec<Mode> = policies.iter().map(Policy::effect).collect();
            prop_assert!(assessment.decision != Decision::Block || effects.contains(&Mode::Block));
            prop_assert!(assessment.decision != Decision::Warn || effects.contains(&Mode::Warn));
        }

        #[test]
        fn what_is_worse_never_has_a_lower_score_or_a_milder_decision(
            facts in any_facts(), policies in any_policies(), which in 0..9_u8,
        ) {
            let (before, after) = (Assessment::of(&facts, &policies), Assessment::of(&worse(&facts, which), &policies));
            prop_assert!(after.score >= before.score, "{} {}", before.score, after.score);
            prop_assert!(after.decision >= before.decision);
        }

        #[test]
        fn facts_are_kept_as_they_were(facts in any_facts()) {
            let kept = serde_json::to_string(&facts).unwrap();
            prop_assert_eq!(serde_json::from_str::<Facts>(&kept).unwrap(), facts);
        }
    }

    /// The most that is ever kept of anybody, by an unoptimised build.
    #[test]
    fn an_assessment_takes_less_than_two_milliseconds() {
        let policies = PolicyId::ALL.map(|id| Policy::built_in(id, Level::High));
        let facts = orders(80, order(30, "900.00", Stage::Paid));
        const TIMES: u32 = 500;
        let since = Instant::now();
        for _ in 0..TIMES {
            std::hint::black_box(Assessment::of(std::hint::black_box(&facts), &policies));
        }
        let each = since.elapsed() / TIMES;
        println!("one assessment of 80 orders by 8 policies: {} µs", each.as_micros());
        assert!(each.as_micros() < 2000, "{} µs", each.as_micros());
    }
}
