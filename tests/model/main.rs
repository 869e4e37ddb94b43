//! The rules of orders, payments, refunds and reservations, played through to the end in every order in which things can
//! happen: messages that come twice or late, answers that are lost, functions that die between two writes, buyers who pay
//! when nobody expects it.
//!
//! The rules are the functions that production calls; what is modelled is what lies around them (`market.rs`) and what
//! must be true (`properties.rs`).

mod market;
mod properties;
mod rules;
mod world;

use kernel::Money;
use market::{Bounds, Market};
use orders::order::{Order, RefundWish, State};
use orders::status::Status as OrderStatus;
use payments::payment::{self, Decision, Ending, Payment};
use products::stock::{self, Reservation, Reserving, Restoring};
use properties::*;
use rules::Rules;
use stateright::{Checker, HasDiscoveries, Model};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// One order, paid in two attempts, every message twice.
const PAYING: Bounds = Bounds {
    buyers: 1,
    pieces: 1,
    tries: 1,
    dying: false,
    attempts: 2,
    pages: false,
    duplicates: true,
    notices: false,
    wrongs: false,
    hard_refunds: false,
    asking_back: false,
    moments: &[0, 30 * MINUTE, 90 * DAY],
};

/// One order, paid in one attempt; what people are told is delivered like the rest.
const TELLING: Bounds = Bounds {
    attempts: 1,
    duplicates: false,
    notices: true,
    ..PAYING
};

/// One order, paid in one attempt in which everything can go wrong and of which money is asked back.
const GOING_WRONG: Bounds = Bounds {
    attempts: 1,
    duplicates: false,
    wrongs: true,
    hard_refunds: true,
    asking_back: true,
    ..PAYING
};

/// Two buyers of the last piece, who repeat their orders under their keys: early, a moment before their leases end, and
/// then.
const RESERVING: Bounds = Bounds {
    buyers: 2,
    tries: 2,
    dying: true,
    attempts: 0,
    moments: &[0, 15 * MINUTE - 1, 15 * MINUTE, 30 * MINUTE, 45 * MINUTE, 90 * DAY],
    ..PAYING
};

/// Two buyers of the last piece, who pay.
const COMPETING: Bounds = Bounds {
    buyers: 2,
    attempts: 1,
    pages: true,
    duplicates: false,
    ..PAYING
};

#[test]
fn an_order_paid_in_two_attempts_keeps_every_rule_in_every_order_of_events() {
    keeps_the_rules("paying", PAYING);
}

#[test]
fn whatever_goes_wrong_at_the_provider_the_money_is_found_and_leaves() {
    keeps_the_rules("going wrong", GOING_WRONG);
}

#[test]
fn people_are_told_of_everything() {
    keeps_the_rules("telling", TELLING);
}

#[test]
fn pieces_that_buyers_reserve_again_and_give_back_are_neither_lost_nor_doubled() {
    keeps_the_rules("reserving", RESERVING);
}

#[test]
fn two_buyers_of_the_last_piece_do_not_both_get_it() {
    keeps_the_rules("competing", COMPETING);
}

/// The same with more of everything at once.
#[test]
#[ignore = "takes minutes: cargo test --release --test model -- --ignored --nocapture"]
fn larger_worlds_keep_the_rules_too() {
    let told = Bounds {
        notices: true,
        ..GOING_WRONG
    };
    keeps_the_rules("going wrong, telling", told);
    let doubled = Bounds {
        duplicates: true,
        ..GOING_WRONG
    };
    keeps_the_rules("going wrong, doubled", doubled);
}

#[test]
fn money_that_pays_an_order_that_is_called_off_is_noticed() {
    let pay = |order: &Order, payment, now| {
        let open = match order.status() {
            OrderStatus::Cancelled => Order {
                state: State::PendingPayment { expires_at: now },
                ..order.clone()
            },
            _ => order.clone(),
        };
        open.pay(payment, now)
    };
    breaks(
        ENDS_STAY,
        Rules {
            pay,
            ..Rules::default()
        },
        TELLING,
    );
    breaks(
        HOLDS_ITS_PIECES,
        Rules {
            pay,
            ..Rules::default()
        },
        TELLING,
    );
}

#[test]
fn money_for_an_order_that_is_paid_or_called_off_must_not_stay() {
    let pay = |order: &Order, payment, now| match order.status() {
        OrderStatus::PendingPayment => order.pay(payment, now),
        _ => Ok(None),
    };
    breaks(
        LATE_MONEY_RETURNS,
        Rules {
            pay,
            ..Rules::default()
        },
        TELLING,
    );
    breaks(
        MONEY_LEAVES,
        Rules {
            pay,
            ..Rules::default()
        },
        TELLING,
    );
}

#[test]
fn a_restore_that_is_not_idempotent_is_noticed() {
    let restore = |known: Option<Reservation>, claim, now| match stock::restore(known, claim, now) {
        Restoring::Done(known) => Restoring::GiveBack(known),
        other => other,
    };
    breaks(
        PIECES_ADD_UP,
        Rules {
            restore,
            ..Rules::default()
        },
        RESERVING,
    );
}

/// The rule as it once was; this model found what was wrong with it.
#[test]
fn a_lease_that_ends_under_an_order_that_is_being_placed_is_noticed() {
    let reserve = |product: &_, known: Option<Reservation>, claim, now| match stock::reserve(product, known, claim, now)
    {
        Ok(Reserving::Renew(renewed)) => Ok(Reserving::Taken(known.unwrap_or(renewed))),
        other => other,
    };
    breaks(
        HOLDS_ITS_PIECES,
        Rules {
            reserve,
            ..Rules::default()
        },
        RESERVING,
    );
}

#[test]
fn a_refund_without_a_reserve_is_noticed() {
    let reserve_refund = |payment: &Payment, _, _| {
        Ok(Payment {
            version: payment.version + 1,
            ..payment.clone()
        })
    };
    breaks(
        REFUNDS_ARE_COVERED,
        Rules {
            reserve_refund,
            ..Rules::default()
        },
        TELLING,
    );
    // The ledger does not enter what was not reserved, so such a refund also never ends.
    breaks(
        MONEY_LEAVES,
        Rules {
            reserve_refund,
            ..Rules::default()
        },
        TELLING,
    );
}

#[test]
fn releasing_whatever_is_not_promised_yet_is_noticed() {
    let released = |payment: &Payment, amount: Money, now| match amount.is_zero() {
        true => payment.released(amount, now),
        false => payment.released(payment.ledger.uncommitted()?, now),
    };
    breaks(
        REFUNDS_ARE_TOLD,
        Rules {
            released,
            ..Rules::default()
        },
        GOING_WRONG,
    );
}

#[test]
fn late_money_that_counts_as_paid_is_noticed() {
    let observed = |payment: &Payment, seen: &_, now| match payment.observed(seen, now) {
        Decision::Becomes(mut next) => {
            if let payment::State::LatePaid { receipt } = &next.state {
                next.state = payment::State::Paid {
                    receipt: receipt.clone(),
                };
            }
            Decision::Becomes(next)
        }
        other => other,
    };
    breaks(
        PAID_ONCE,
        Rules {
            observed,
            ..Rules::default()
        },
        PAYING,
    );
}

#[test]
fn an_attempt_that_is_not_looked_at_again_where_nobody_knew_it_is_noticed() {
    let ended = |payment: &Payment, _, now| payment.ended(Ending::ClosedThere, now);
    breaks(
        MONEY_IS_KNOWN,
        Rules {
            ended,
            ..Rules::default()
        },
        TELLING,
    );
}

#[test]
fn an_order_that_never_expires_is_noticed() {
    let let_time_pass = |order: &Order, now| match order.status() {
        OrderStatus::PendingPayment => Ok(None),
        _ => order.let_time_pass(now),
    };
    breaks(
        ORDERS_END,
        Rules {
            let_time_pass,
            ..Rules::default()
        },
        TELLING,
    );
    breaks(
        GOODS_RETURN,
        Rules {
            let_time_pass,
            ..Rules::default()
        },
        TELLING,
    );
}

#[test]
fn a_refund_that_is_asked_for_twice_over_is_noticed() {
    // All of the price, whatever was asked back before; and a ledger that promises what is not there.
    let ask_back = |order: &Order, wish: &RefundWish, now| {
        let whole = order.refund(wish, now)?;
        Ok(whole.map(|mut next| {
            next.refunds.iter_mut().for_each(|refund| refund.amount = order.total);
            next
        }))
    };
    let cancel = |order: &Order, by, reason, now| {
        let whole = order.cancel(by, reason, now)?;
        Ok(whole.map(|mut next| {
            next.refunds.iter_mut().for_each(|refund| refund.amount = order.total);
            next
        }))
    };
    let reserve_refund = |payment: &Payment, _, _| Ok(payment.clone());
    let rules = Rules {
        ask_back,
        cancel,
        reserve_refund,
        ..Rules::default()
    };
    breaks(PROVIDER_GIVES_WHAT_CAME, rules, GOING_WRONG);
}

/// Explores every world that can come to be, and says how many there are.
fn keeps_the_rules(name: &str, bounds: Bounds) {
    let checker = Market::new(bounds).checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    eprintln!(
        "{name}: {} worlds, {} steps between them, the longest way has {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
    );
    checker.assert_properties();
}

/// `rules` must break `property`, or the model does not see what it claims to.
fn breaks(property: &'static str, rules: Rules, bounds: Bounds) {
    let checker = Market::with(rules, bounds).checker().threads(2);
    let noticed = HasDiscoveries::AnyOf([property].into());
    let checker = checker.finish_when(noticed).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "nothing breaks: {property}");
}
