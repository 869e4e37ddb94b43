//! The rules that the model plays by. By default they are those of production, function by function; a test puts a broken
//! one in its place to see that the model notices.

use contracts::orders::CancelledBy;
use kernel::{Money, RefundId, Timestamp};
use orders::error::OrderError;
use orders::order::{Order, Payment as Succeeded, RefundOutcome, RefundWish};
use payments::ledger::LedgerError;
use payments::payment::{Decision, Ending, Payment};
use payments::provider::{Observation, Refunding};
use payments::refund::{Refund, RefundDecision};
use products::error::ProductError;
use products::product::Product;
use products::stock::{self, Claim, OrderStanding, Release, Reservation, Reserving, Restoring};

type NextOrder = Result<Option<Order>, OrderError>;
type NextPayment = Result<Option<Payment>, LedgerError>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) reserve: fn(&Product, Option<Reservation>, Claim, Timestamp) -> Result<Reserving, ProductError>,
    pub(crate) restore: fn(Option<Reservation>, Claim, Timestamp) -> Restoring,
    pub(crate) lease_ended: fn(&Reservation, OrderStanding, Timestamp) -> Release,

    pub(crate) pay: fn(&Order, Succeeded, Timestamp) -> NextOrder,
    pub(crate) cancel: fn(&Order, CancelledBy, String, Timestamp) -> NextOrder,
    pub(crate) ask_back: fn(&Order, &RefundWish, Timestamp) -> NextOrder,
    pub(crate) complete: fn(&Order, Timestamp) -> NextOrder,
    pub(crate) let_time_pass: fn(&Order, Timestamp) -> NextOrder,
    pub(crate) settle_refund: fn(&Order, RefundId, RefundOutcome, Timestamp) -> Option<Order>,

    pub(crate) observed: fn(&Payment, &Observation, Timestamp) -> Decision,
    pub(crate) ended: fn(&Payment, Ending, Timestamp) -> Decision,
    pub(crate) looked: fn(&Payment, Timestamp) -> Decision,
    pub(crate) refused: fn(&Payment, Timestamp) -> Decision,
    pub(crate) released: fn(&Payment, Money, Timestamp) -> Result<Decision, LedgerError>,
    pub(crate) reserve_refund: fn(&Payment, Money, Timestamp) -> Result<Payment, LedgerError>,
    pub(crate) refunded: fn(&Payment, RefundId, Money, Timestamp) -> NextPayment,
    pub(crate) answered: fn(&Refund, &Refunding, Timestamp) -> RefundDecision,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            reserve: stock::reserve,
            restore: stock::restore,
            lease_ended: Reservation::lease_ended,
            pay: Order::pay,
            cancel: Order::cancel,
            ask_back: Order::refund,
            complete: Order::complete,
            let_time_pass: Order::let_time_pass,
            settle_refund: Order::settle_refund,
            observed: Payment::observed,
            ended: Payment::ended,
            looked: Payment::looked,
            refused: Payment::refused,
            released: Payment::released,
            reserve_refund: Payment::reserve_refund,
            refunded: Payment::refunded,
            answered: Refund::answered,
        }
    }
}
