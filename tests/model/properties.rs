//! What must be true: of every world, and of every world at rest.

use kernel::Money;
use orders::order::{Order, RefundOutcome};
use orders::status::Status as OrderStatus;
use payments::payment::{Decision, Payment};
use payments::provider::Refunding;
use payments::refund::{RefundDecision, RefundStatus};
use payments::status::Status as PaymentStatus;
use stateright::Property;

use crate::market::{Bounds, Market, START, as_asked, observation, otherwise};
use crate::world::{Attempt, Delivery, Letter, Purchase, There, Trade, World};

pub(crate) const PIECES_ADD_UP: &str = "pieces on the shelf and pieces that orders hold add up to what was put up";
pub(crate) const HOLDS_ITS_PIECES: &str = "an order that is not called off holds its pieces";
pub(crate) const SOLD_ONCE: &str = "no piece is sold to two orders";
pub(crate) const PAID_ONCE: &str = "no order is paid twice";
pub(crate) const SECOND_MONEY_LEAVES: &str = "an order that is called off is never paid";
pub(crate) const REFUNDS_ARE_COVERED: &str =
    "what was refunded, is being refunded and was released never exceeds what came";
pub(crate) const PROVIDER_GIVES_WHAT_CAME: &str = "the provider never gives back more than was paid there";
pub(crate) const ENDS_STAY: &str = "what has ended stays, and every step leads on";
pub(crate) const CONTRADICTIONS_CHANGE_NOTHING: &str = "contradicting news changes nothing";
pub(crate) const ORDERS_END: &str = "in the end every order is completed or called off";
pub(crate) const GOODS_RETURN: &str = "in the end only sold pieces are held";
pub(crate) const MONEY_IS_KNOWN: &str = "in the end all money that came is known";
pub(crate) const MONEY_LEAVES: &str = "in the end every fen was released or refunded once, or is with a person";
pub(crate) const LATE_MONEY_RETURNS: &str =
    "in the end money that pays no order was refunded in full, or is with a person";
pub(crate) const REFUNDS_ARE_TOLD: &str = "in the end every order knows what became of its refunds";
pub(crate) const NEWS_ARRIVES: &str = "in the end everything that was to be told was delivered";

pub(crate) fn all() -> Vec<Property<Market>> {
    vec![
        Property::always(PIECES_ADD_UP, |market: &Market, world: &World| {
            let held = world
                .purchases
                .iter()
                .filter(|purchase| purchase.holds_pieces())
                .count();
            usize::try_from(world.shelf.stock).is_ok_and(|stock| stock + held == market.pieces())
        }),
        Property::always(HOLDS_ITS_PIECES, |_, world| {
            each(world, |purchase| {
                let alive = purchase
                    .order
                    .as_ref()
                    .is_some_and(|order| order.status() != OrderStatus::Cancelled);
                !alive || purchase.holds_pieces()
            })
        }),
        Property::always(SOLD_ONCE, |market: &Market, world: &World| {
            let sold = |purchase: &&std::sync::Arc<Purchase>| {
                let status = purchase.order.as_ref().map(Order::status);
                matches!(status, Some(OrderStatus::Paid | OrderStatus::Completed))
            };
            world.purchases.iter().filter(sold).count() <= market.pieces()
        }),
        Property::always(PAID_ONCE, |_, world| {
            each(world, |purchase| {
                let paid = |attempt: &&Attempt| attempt.payment.status() == PaymentStatus::Paid;
                purchase.attempts.iter().filter(paid).count() <= 1
            })
        }),
        Property::always(SECOND_MONEY_LEAVES, |_, world| {
            each(world, |purchase| {
                let pays = purchase
                    .order
                    .as_ref()
                    .and_then(Order::paid)
                    .map(|paid| paid.payment_uuid);
                purchase
                    .attempts
                    .iter()
                    .all(|attempt| Some(attempt.payment.id) != pays || attempt.payment.status() == PaymentStatus::Paid)
            })
        }),
        Property::always(REFUNDS_ARE_COVERED, |_, world| {
            each_attempt(world, |purchase, Attempt { payment, .. }| {
                let promised = purchase
                    .refunds
                    .values()
                    .filter(|known| known.refund.payment == payment.id);
                let promised = sum(promised.map(|known| known.refund.amount));
                let ledger = &payment.ledger;
                let (Ok(captured), Ok(left), Ok(balance)) = (ledger.captured(), ledger.uncommitted(), ledger.balance())
                else {
                    return false;
                };
                // What is neither promised to a refund nor released is all that is uncommitted, no more and no less.
                let released = captured.checked_sub(balance).ok().zip(ledger.refunded().ok());
                let released = released.and_then(|(left, refunded)| left.checked_sub(refunded).ok());
                released.is_some_and(|released| sum([promised, released, left].into_iter()) == captured)
            })
        }),
        Property::always(PROVIDER_GIVES_WHAT_CAME, |_, world| {
            each_attempt(world, |purchase, Attempt { payment, trade }| {
                let given = purchase.refunds.values().filter(|known| {
                    known.refund.payment == payment.id && matches!(known.there, There::Made | There::Processing)
                });
                let came = match trade {
                    Trade::Paid => payment.amount,
                    _ => Money::ZERO,
                };
                sum(given.map(|known| known.refund.amount)) <= came
            })
        }),
        Property::always(ENDS_STAY, |_, world: &World| world.breach.is_none()),
        Property::always(CONTRADICTIONS_CHANGE_NOTHING, |market, world| {
            each(world, |purchase| {
                let payments = purchase.attempts.iter().all(|Attempt { payment, .. }| {
                    let news = match payment.status() {
                        PaymentStatus::Paid | PaymentStatus::LatePaid => otherwise(),
                        PaymentStatus::Mismatch => as_asked(),
                        _ => return true,
                    };
                    let decision = (market.rules.observed)(payment, &observation(payment, news), START);
                    decision == Decision::Contradicts
                });
                let refunds = purchase.refunds.values().all(|known| {
                    let answer = match known.refund.status {
                        RefundStatus::Succeeded => Refunding::Rejected(String::new()),
                        RefundStatus::NeedsHuman => Refunding::Succeeded,
                        _ => return true,
                    };
                    (market.rules.answered)(&known.refund, &answer, START) == RefundDecision::Contradicts
                });
                payments && refunds
            })
        }),
        Property::always(ORDERS_END, |market, world| {
            at_rest(market, world, |purchase| {
                let status = purchase.order.as_ref().map(Order::status);
                matches!(status, None | Some(OrderStatus::Completed | OrderStatus::Cancelled))
            })
        }),
        Property::always(GOODS_RETURN, |market, world| {
            at_rest(market, world, |purchase| {
                let sold = purchase.order.as_ref().map(Order::status) == Some(OrderStatus::Completed);
                purchase.holds_pieces() == sold
            })
        }),
        Property::always(MONEY_IS_KNOWN, |market, world| {
            at_rest(market, world, |purchase| {
                purchase.attempts.iter().all(|Attempt { payment, trade }| match trade {
                    Trade::Paid => matches!(payment.status(), PaymentStatus::Paid | PaymentStatus::LatePaid),
                    Trade::PaidWrongly => payment.status() == PaymentStatus::Mismatch,
                    _ => payment.receipt().is_none() && !payment.status().is_open(),
                })
            })
        }),
        Property::always(MONEY_LEAVES, |market, world| {
            at_rest(market, world, |purchase| {
                purchase.attempts.iter().all(|Attempt { payment, .. }| {
                    let left = payment.ledger.balance();
                    left.is_ok_and(|left| left == with_a_person(purchase, payment))
                })
            })
        }),
        Property::always(LATE_MONEY_RETURNS, |market, world| {
            at_rest(market, world, |purchase| {
                let completed = purchase
                    .order
                    .as_ref()
                    .filter(|order| order.status() == OrderStatus::Completed);
                let pays = completed.and_then(Order::paid).map(|paid| paid.payment_uuid);
                purchase.attempts.iter().all(|Attempt { payment, trade }| {
                    let refunded = payment
                        .ledger
                        .refunded()
                        .ok()
                        .and_then(|refunded| refunded.checked_add(with_a_person(purchase, payment)).ok());
                    *trade != Trade::Paid || Some(payment.id) == pays || refunded == Some(payment.amount)
                })
            })
        }),
        Property::always(REFUNDS_ARE_TOLD, |market, world| {
            at_rest(market, world, |purchase| {
                let mut refunds = purchase.order.iter().flat_map(|order| &order.refunds);
                refunds.all(|refund| {
                    let known = purchase.refunds.get(&refund.refund_uuid);
                    match known.map(|known| known.refund.status) {
                        Some(RefundStatus::Succeeded) => refund.outcome == RefundOutcome::Succeeded,
                        Some(RefundStatus::NeedsHuman) => refund.outcome == RefundOutcome::NeedsAttention,
                        Some(RefundStatus::Requested | RefundStatus::Processing) | None => false,
                    }
                })
            })
        }),
        Property::always(NEWS_ARRIVES, |market, world| {
            at_rest(market, world, |purchase| {
                let delivered = |letter: &Letter| purchase.letters.get(letter) == Some(&Delivery::Done);
                due_letters(purchase).iter().all(delivered)
                    && purchase.letters.values().all(|delivery| *delivery == Delivery::Done)
            })
        }),
    ]
}

/// What must be possible within `bounds`: a world in which nothing happens would keep all rules.
pub(crate) fn within(bounds: &Bounds) -> Vec<Property<Market>> {
    let mut possible = vec![Property::sometimes(
        "an order can be called off",
        |_: &Market, world: &World| {
            any(world, |purchase| {
                purchase.order.as_ref().map(Order::status) == Some(OrderStatus::Cancelled) && !purchase.holds_pieces()
            })
        },
    )];
    if bounds.buyers > 1 {
        possible.push(Property::sometimes(
            "what one order gave back can be held by another",
            |_, world| {
                any(world, |purchase| {
                    purchase.order.as_ref().map(Order::status) == Some(OrderStatus::Cancelled)
                }) && any(world, |purchase| purchase.order.is_some() && purchase.holds_pieces())
            },
        ));
    }
    if bounds.attempts > 0 {
        possible.push(Property::sometimes("money can be released", |market, world| {
            market.is_at_rest(world)
                && any(world, |purchase| {
                    purchase.order.as_ref().map(Order::status) == Some(OrderStatus::Completed)
                })
        }));
        possible.push(Property::sometimes(
            "money can come late and go back",
            |market, world| {
                market.is_at_rest(world)
                    && any(world, |purchase| {
                        purchase.attempts.iter().any(|Attempt { payment, .. }| {
                            payment.status() == PaymentStatus::LatePaid
                                && payment.ledger.refunded() == Ok(payment.amount)
                        })
                    })
            },
        ));
    }
    if bounds.attempts > 1 {
        possible.push(Property::sometimes("both attempts can be paid", |_, world| {
            any(world, |purchase| {
                purchase
                    .attempts
                    .iter()
                    .filter(|attempt| attempt.trade == Trade::Paid)
                    .count()
                    > 1
            })
        }));
    }
    if bounds.hard_refunds {
        possible.push(Property::sometimes("money can be left to a person", |market, world| {
            market.is_at_rest(world)
                && any(world, |purchase| {
                    let mut payments = purchase.attempts.iter().map(|attempt| &attempt.payment);
                    payments.any(|payment| !with_a_person(purchase, payment).is_zero())
                })
        }));
    }
    possible
}

fn any(world: &World, condition: impl Fn(&Purchase) -> bool) -> bool {
    world.purchases.iter().any(|purchase| condition(purchase))
}

fn each(world: &World, condition: impl Fn(&Purchase) -> bool) -> bool {
    world.purchases.iter().all(|purchase| condition(purchase))
}

fn each_attempt(world: &World, condition: impl Fn(&Purchase, &Attempt) -> bool) -> bool {
    each(world, |purchase| {
        purchase.attempts.iter().all(|attempt| condition(purchase, attempt))
    })
}

fn at_rest(market: &Market, world: &World, condition: impl Fn(&Purchase) -> bool) -> bool {
    !market.is_at_rest(world) || each(world, condition)
}

fn sum(mut amounts: impl Iterator<Item = Money>) -> Money {
    amounts.try_fold(Money::ZERO, Money::checked_add).unwrap_or(Money::MAX)
}

/// What of a payment's money waits for a person: refunds that the provider refused or never answered.
fn with_a_person(purchase: &Purchase, payment: &Payment) -> Money {
    let theirs = purchase
        .refunds
        .values()
        .filter(|known| known.refund.payment == payment.id && known.refund.status == RefundStatus::NeedsHuman);
    sum(theirs.map(|known| known.refund.amount))
}

/// All that must have been told, read from how things ended and not from who told it.
fn due_letters(purchase: &Purchase) -> Vec<Letter> {
    let mut due = Vec::new();
    for Attempt { payment, .. } in &purchase.attempts {
        let id = payment.id.uuid().as_u128();
        match payment.status() {
            PaymentStatus::Paid => due.push(Letter::Pays(payment.id, payment.amount)),
            PaymentStatus::LatePaid => {
                let refund = contracts::payments::full_refund_id(payment.id);
                due.push(Letter::GivesBack(refund, payment.id, payment.amount));
            }
            PaymentStatus::Failed => due.push(Letter::Notice("PaymentFailed", id)),
            PaymentStatus::Mismatch => due.push(Letter::Notice("PaymentMismatched", id)),
            _ => {}
        }
    }
    for (id, known) in &purchase.refunds {
        due.push(Letter::Settled(*id, known.refund.status == RefundStatus::Succeeded));
        due.push(Letter::Notice("RefundSettled", id.uuid().as_u128()));
    }
    let Some(order) = &purchase.order else { return due };
    let id = order.id.uuid().as_u128();
    due.push(Letter::Notice("OrderCreated", id));
    if order.paid().is_some() {
        due.push(Letter::Notice("OrderPaid", id));
    }
    match (order.status(), order.paid()) {
        (OrderStatus::Completed, Some(paid)) => {
            due.push(Letter::Notice("OrderCompleted", id));
            due.push(Letter::Releases(paid.payment_uuid, order.kept()));
        }
        (OrderStatus::Cancelled, _) => {
            due.push(Letter::Notice("OrderCancelled", id));
            due.extend([Letter::ReturnsStock, Letter::ClosesLive]);
        }
        _ => {}
    }
    for refund in &order.refunds {
        due.push(Letter::GivesBack(
            refund.refund_uuid,
            refund.payment_uuid,
            refund.amount,
        ));
        due.push(Letter::Notice(
            "OrderRefundSettled",
            refund.refund_uuid.uuid().as_u128(),
        ));
    }
    due
}
