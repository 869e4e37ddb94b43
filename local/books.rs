//! The books of a platform, looked through from outside: do stock, orders, payments, refunds and the providers agree?
//!
//! What keeps the books is not what checks them: tables are read as they are stored, without any code of the functions,
//! and added up here. Everything has to have come to rest before ([`Platform::settle`]), since the tables are read one
//! after the other. Amounts are fen, times milliseconds by the platform's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Platform;
use crate::operator::{Operator, OperatorError};
use crate::template::model::Template;

/// How long after its time something may still stand there unfinished: schedules run every minute, and an answer that
/// does not come is waited for.
const GRACE_MS: i64 = 5 * 60_000;

/// Why the books can not be read.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The template has no such table.
    #[error("the template has no {0}; the books can not be read without it")]
    NoTable(&'static str),
    /// A table does not answer.
    #[error("the table {table} can not be read: {answer}")]
    Table {
        /// Logical id.
        table: &'static str,
        /// What came back.
        answer: String,
    },
    /// An item has another shape than is known here.
    #[error("{table}: an item is not understood: {source}")]
    Item {
        /// Logical id.
        table: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The simulated providers do not answer.
    #[error(transparent)]
    Providers(#[from] OperatorError),
}

/// A rule that the books keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Pieces on the shelf, reserved and sold are what was put up.
    Stock,
    /// An order that is alive or completed holds what it ordered; a cancelled one, and one that never was, nothing.
    Reservations,
    /// A payment holds what was asked for once it is paid, and nothing before.
    Captured,
    /// What left a payment never exceeds what came, and once its order has ended nothing is left.
    LedgerSum,
    /// Refunds, and what a payment's ledger says of them, are the same.
    Refunds,
    /// An order, its payment and its refunds tell the same story.
    Order,
    /// An order keeps the money of one payment at most.
    PaidOnce,
    /// The list of an order's payments says which is live and which paid.
    Attempts,
    /// What the provider captured and gave back is what we say it did.
    Provider,
    /// All that providers hold for us is held or released here.
    Totals,
    /// Nothing is unfinished past its time.
    Overdue,
    /// What is counted is as many as there are: orders of buyers and sellers, payments of buyers.
    Counters,
}

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// By what: the kind of thing and its id.
    pub subject: String,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}: {}", self.rule, self.subject, self.found)
    }
}

/// What only a person can decide. It is no violation: it was noticed, and the money is where it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum ForAPerson {
    /// Money came that is not what was asked for.
    Mismatch {
        /// The order.
        order: String,
        /// Its payment.
        payment: String,
    },
    /// A provider does not make a refund.
    Refund {
        /// The order.
        order: String,
        /// The payment.
        payment: String,
        /// The refund.
        refund: String,
        /// Why.
        remark: String,
    },
    /// Somebody gave money back on the provider's own pages.
    GivenBackByHand {
        /// The order.
        order: String,
        /// The payment.
        payment: String,
        /// How much.
        fen: i64,
    },
}

impl ForAPerson {
    /// The order that it is about.
    #[must_use]
    pub fn order(&self) -> &str {
        match self {
            Self::Mismatch { order, .. } | Self::Refund { order, .. } | Self::GivenBackByHand { order, .. } => order,
        }
    }
}

/// Where an order's money is, over all of its payments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OrderBooks {
    /// `pending_payment`, `paid`, `completed`, `cancelled`.
    pub status: String,
    /// Came from the buyer.
    pub captured_fen: i64,
    /// Is with us.
    pub held_fen: i64,
    /// Is the seller's.
    pub released_fen: i64,
    /// Went back to the buyer.
    pub refunded_fen: i64,
    /// Whether time alone, or a provider's answer, still changes something.
    pub unfinished: bool,
}

/// All orders together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Came from buyers.
    pub captured_fen: i64,
    /// Is with us.
    pub held_fen: i64,
    /// Is the sellers'.
    pub released_fen: i64,
    /// Went back to buyers.
    pub refunded_fen: i64,
    /// Came, and a person decides about it.
    pub mismatched_fen: i64,
    /// Came, by the providers' books.
    pub provider_captured_fen: i64,
    /// Went back, by the providers' books.
    pub provider_refunded_fen: i64,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Broken rules; there should be none.
    pub violations: Vec<Violation>,
    /// What waits for a person.
    pub for_people: Vec<ForAPerson>,
    /// Every order, by its id.
    pub orders: BTreeMap<String, OrderBooks>,
    /// All of them together.
    pub totals: Totals,
}

impl Report {
    /// Whether anything is left that ends by itself: an order, a payment, a refund, a reservation.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.orders.values().all(|order| !order.unfinished)
    }
}

#[derive(Debug, Clone, Deserialize)]
struct ProductRow {
    product_uuid: String,
    stock: i64,
}

#[derive(Debug, Clone, Deserialize)]
struct ReservationRow {
    order_uuid: String,
    product_uuid: String,
    quantity: i64,
    status: String,
    due_at: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
struct OrderRow {
    order_uuid: String,
    buyer_uuid: String,
    seller_uuid: String,
    status: String,
    total: i64,
    lines: Vec<LineRow>,
    paid: Option<PaidRow>,
    #[serde(default)]
    refunds: Vec<OrderRefundRow>,
    expires_at: Option<i64>,
    completes_at: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
struct LineRow {
    product_uuid: String,
    quantity: i64,
}

#[derive(Debug, Clone, Deserialize)]
struct PaidRow {
    payment_uuid: String,
}

#[derive(Debug, Clone, Deserialize)]
struct OrderRefundRow {
    refund_uuid: String,
    payment_uuid: String,
    amount: i64,
    outcome: String,
}

#[derive(Debug, Clone, Deserialize)]
struct AttemptsRow {
    order_uuid: String,
    live_payment_uuid: Option<String>,
    #[serde(default)]
    paid: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct PaymentRow {
    payment_uuid: String,
    order_uuid: String,
    user_uuid: String,
    amount: i64,
    provider: String,
    status: String,
    receipt: Option<ReceiptRow>,
    ledger: LedgerRow,
    expires_at: i64,
    due_at: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
struct ReceiptRow {
    amount: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct LedgerRow {
    entries: Vec<EntryRow>,
    refund_reserved: i64,
}

#[derive(Debug, Clone, Deserialize)]
struct EntryRow {
    kind: String,
    amount: i64,
    refund_uuid: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct RefundRow {
    refund_uuid: String,
    payment_uuid: String,
    order_uuid: String,
    amount: i64,
    status: String,
    remark: Option<String>,
    due_at: Option<i64>,
}

/// How many orders somebody has as buyer or as seller, by their status.
#[derive(Debug, Clone, Deserialize)]
struct FiguresRow {
    user_uuid: String,
    role: String,
    figures: OrdersCounted,
}

#[derive(Debug, Clone, Deserialize)]
struct OrdersCounted {
    orders: BTreeMap<String, i64>,
}

/// How many payments somebody has, by what they are shown as.
#[derive(Debug, Clone, Deserialize)]
struct PaymentCountsRow {
    user_uuid: String,
    #[serde(flatten)]
    counts: BTreeMap<String, i64>,
}

/// A trade as its provider sees it.
#[derive(Debug, Clone, Default)]
struct ProviderTrade {
    amount: i64,
    is_paid: bool,
    refunds: BTreeMap<String, ProviderRefund>,
}

#[derive(Debug, Clone)]
struct ProviderRefund {
    amount: i64,
    succeeded: bool,
}

#[derive(Debug, Deserialize)]
struct SimulatedBooks {
    trades: Vec<SimulatedTrade>,
    refunds: Vec<SimulatedRefund>,
}

#[derive(Debug, Deserialize)]
struct SimulatedTrade {
    out_trade_no: String,
    amount_fen: i64,
    paid_ms: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct SimulatedRefund {
    out_trade_no: String,
    refund_no: String,
    amount_fen: i64,
    outcome: String,
}

#[derive(Debug, Deserialize)]
struct SandboxTradeRow {
    out_trade_no: String,
    amount: i64,
    paid_at: Option<i64>,
    #[serde(default)]
    refunds: Vec<SandboxRefundRow>,
}

#[derive(Debug, Deserialize)]
struct SandboxRefundRow {
    refund_no: String,
    amount: i64,
}

impl LedgerRow {
    fn sum_of(&self, kind: &str) -> i64 {
        let entries = self.entries.iter().filter(|entry| entry.kind == kind);
        entries.map(|entry| entry.amount).sum()
    }

    fn balance(&self) -> i64 {
        self.sum_of("held") - self.sum_of("released") - self.sum_of("refunded")
    }
}

impl PaymentRow {
    fn has_money(&self) -> bool {
        matches!(self.status.as_str(), "paid" | "late_paid")
    }

    fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "created" | "pending")
    }

    /// Under which its provider knows it.
    fn number(&self) -> String {
        number(&self.payment_uuid)
    }
}

impl RefundRow {
    fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "requested" | "processing")
    }
}

impl OrderRow {
    fn is_alive(&self) -> bool {
        matches!(self.status.as_str(), "pending_payment" | "paid")
    }
}

/// A UUID as providers get it.
fn number(uuid: &str) -> String {
    uuid.replace('-', "")
}

/// All that is written about purchases.
#[derive(Debug, Clone, Default)]
pub struct Books {
    now_ms: i64,
    products: BTreeMap<String, ProductRow>,
    reservations: Vec<ReservationRow>,
    orders: BTreeMap<String, OrderRow>,
    attempts: BTreeMap<String, AttemptsRow>,
    payments: BTreeMap<String, PaymentRow>,
    refunds: BTreeMap<String, RefundRow>,
    figures: Vec<FiguresRow>,
    payment_counts: Vec<PaymentCountsRow>,
    trades: BTreeMap<String, ProviderTrade>,
}

impl Books {
    /// Reads the tables of `platform` and the books of its providers.
    ///
    /// # Errors
    /// [`BooksError`].
    pub async fn read(platform: &Platform) -> Result<Books, BooksError> {
        let operator = Operator::of(platform);
        Books::read_through(&operator, platform.template(), platform.clock().now_ms()).await
    }

    /// The same of a platform in another process, which has this template.
    ///
    /// # Errors
    /// [`BooksError`].
    pub async fn read_through(operator: &Operator, template: &Template, now_ms: i64) -> Result<Books, BooksError> {
        let archive = &Archive { operator, template };
        let mut trades = BTreeMap::new();
        // A deployment may be without the sandbox.
        if template.tables.contains_key("SandboxTradesTable") {
            for row in rows::<SandboxTradeRow>(archive, "SandboxTradesTable").await? {
                let refunds = row.refunds.into_iter().map(|refund| {
                    let (amount, succeeded) = (refund.amount, true);
                    (refund.refund_no, ProviderRefund { amount, succeeded })
                });
                let trade = ProviderTrade {
                    amount: row.amount,
                    is_paid: row.paid_at.is_some(),
                    refunds: refunds.collect(),
                };
                trades.insert(row.out_trade_no, trade);
            }
        }
        if let Some(told) = operator.simulated_books().await? {
            let table = "the simulator's books";
            let books: SimulatedBooks =
                serde_json::from_value(told).map_err(|source| BooksError::Item { table, source })?;
            for trade in books.trades {
                let row = ProviderTrade {
                    amount: trade.amount_fen,
                    is_paid: trade.paid_ms.is_some(),
                    refunds: BTreeMap::new(),
                };
                trades.insert(trade.out_trade_no, row);
            }
            for refund in books.refunds {
                let (amount, succeeded) = (refund.amount_fen, refund.outcome == "succeeded");
                let trade = trades.entry(refund.out_trade_no).or_default();
                let row = ProviderRefund { amount, succeeded };
                trade.refunds.insert(refund.refund_no, row);
            }
        }
        let products = rows::<ProductRow>(archive, "ProductsTable").await?;
        let orders = rows::<OrderRow>(archive, "OrdersTable").await?;
        let attempts = rows::<AttemptsRow>(archive, "OrderPaymentsTable").await?;
        let payments = rows::<PaymentRow>(archive, "PaymentsTable").await?;
        let refunds = rows::<RefundRow>(archive, "RefundsTable").await?;
        Ok(Books {
            now_ms,
            products: by(products, |row| row.product_uuid.clone()),
            reservations: rows(archive, "ReservationsTable").await?,
            orders: by(orders, |row| row.order_uuid.clone()),
            attempts: by(attempts, |row| row.order_uuid.clone()),
            payments: by(payments, |row| row.payment_uuid.clone()),
            refunds: by(refunds, |row| row.refund_uuid.clone()),
            figures: rows(archive, "OrderStatisticsTable").await?,
            payment_counts: rows(archive, "PaymentCountsTable").await?,
            trades,
        })
    }

    /// Checks every rule. `put_up`: how many pieces of each product its seller put up, where that is known.
    #[must_use]
    pub fn check(&self, put_up: &BTreeMap<String, i64>) -> Report {
        let mut report = Report::default();
        self.check_stock(put_up, &mut report);
        for payment in self.payments.values() {
            self.check_payment(payment, &mut report);
        }
        for refund in self.refunds.values() {
            self.check_refund(refund, &mut report);
        }
        for order in self.orders.values() {
            self.check_order(order, &mut report);
        }
        self.check_providers(&mut report);
        self.check_counters(&mut report);
        report
    }

    fn check_counters(&self, report: &mut Report) {
        let mut compare = |what: &str, there: Counted<'_>, counted: Counted<'_>| {
            for account in there.keys().chain(counted.keys()).collect::<BTreeSet<_>>() {
                let (there, counted) = (counts_of(&there, account), counts_of(&counted, account));
                if there != counted {
                    let found = format!("{counted:?} are counted, {there:?} are there");
                    report.note(
                        Rule::Counters,
                        format!("{what} of the {} {}", account.1, account.0),
                        found,
                    );
                }
            }
        };
        let mut there = Counted::new();
        for order in self.orders.values() {
            for account in [
                (order.buyer_uuid.as_str(), "buyer"),
                (order.seller_uuid.as_str(), "seller"),
            ] {
                *there.entry(account).or_default().entry(&order.status).or_default() += 1;
            }
        }
        let mut counted = Counted::new();
        for row in &self.figures {
            let figures = row
                .figures
                .orders
                .iter()
                .map(|(status, count)| (status.as_str(), *count));
            counted.insert((&row.user_uuid, &row.role), figures.collect());
        }
        compare("orders", there, counted);

        let mut there = Counted::new();
        for payment in self.payments.values() {
            let shown = match payment.status.as_str() {
                "created" | "pending" => "pending",
                "mismatch" => "processing",
                "paid" => "success",
                "failed" => "failed",
                _ => "cancelled",
            };
            let account = (payment.user_uuid.as_str(), "buyer");
            *there.entry(account).or_default().entry(shown).or_default() += 1;
        }
        let mut counted = Counted::new();
        for row in &self.payment_counts {
            let counts = row.counts.iter().map(|(shown, count)| (shown.as_str(), *count));
            counted.insert((&row.user_uuid, "buyer"), counts.collect());
        }
        compare("payments", there, counted);
    }

    fn payments_of<'a>(&'a self, order: &'a str) -> impl Iterator<Item = &'a PaymentRow> + 'a {
        self.payments.values().filter(move |row| row.order_uuid == order)
    }

    fn refunds_of<'a>(&'a self, payment: &'a str) -> impl Iterator<Item = &'a RefundRow> + 'a {
        self.refunds.values().filter(move |row| row.payment_uuid == payment)
    }

    fn is_overdue(&self, due_ms: Option<i64>) -> bool {
        due_ms.is_some_and(|due_ms| due_ms.saturating_add(GRACE_MS) < self.now_ms)
    }

    fn check_stock(&self, put_up: &BTreeMap<String, i64>, report: &mut Report) {
        let mut taken: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        let mut held: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for row in self.reservations.iter().filter(|row| row.status == "reserved") {
            let subject = || format!("order {} of product {}", row.order_uuid, row.product_uuid);
            let (reserved, sold) = taken.entry(&row.product_uuid).or_default();
            let order = self.orders.get(&row.order_uuid);
            match order.map(|order| order.status.as_str()) {
                Some("completed") => *sold += row.quantity,
                _ => *reserved += row.quantity,
            }
            held.insert((&row.order_uuid, &row.product_uuid), row.quantity);
            match order {
                None if self.is_overdue(row.due_at) => {
                    report.note(Rule::Reservations, subject(), "is reserved by an order that never was");
                }
                Some(order) if order.status == "cancelled" => {
                    let found = format!("{} still reserved by a cancelled order", row.quantity);
                    report.note(Rule::Reservations, subject(), found);
                }
                _ => {}
            }
            if self.is_overdue(row.due_at) {
                report.note(Rule::Overdue, subject(), "a lease that ended long ago");
            }
        }
        for order in self.orders.values().filter(|order| order.status != "cancelled") {
            for line in &order.lines {
                let reserved = held.get(&(order.order_uuid.as_str(), line.product_uuid.as_str()));
                if reserved != Some(&line.quantity) {
                    let subject = format!("order {} of product {}", order.order_uuid, line.product_uuid);
                    let found = format!("ordered {}, reserved {reserved:?}", line.quantity);
                    report.note(Rule::Reservations, subject, found);
                }
            }
        }
        for product in self.products.values() {
            let (reserved, sold) = taken.get(product.product_uuid.as_str()).copied().unwrap_or_default();
            let all = product.stock + reserved + sold;
            if let Some(put_up) = put_up.get(&product.product_uuid).filter(|put_up| **put_up != all) {
                let found = format!("{} + {reserved} + {sold} is not {put_up}", product.stock);
                report.note(Rule::Stock, format!("product {}", product.product_uuid), found);
            }
        }
        for product in put_up.keys().filter(|product| !self.products.contains_key(*product)) {
            report.note(Rule::Stock, format!("product {product}"), "is not there");
        }
    }

    fn check_payment(&self, payment: &PaymentRow, report: &mut Report) {
        let subject = || format!("payment {}", payment.payment_uuid);
        let ledger = &payment.ledger;
        let (held, released) = (ledger.sum_of("held"), ledger.sum_of("released"));
        let owed = if payment.has_money() { payment.amount } else { 0 };
        if held != owed {
            let found = format!("{} with {held} held instead of {owed}", payment.status);
            report.note(Rule::Captured, subject(), found);
        }
        match &payment.receipt {
            Some(receipt) if payment.has_money() && receipt.amount != payment.amount => {
                let found = format!("{} came for {}", receipt.amount, payment.amount);
                report.note(Rule::Captured, subject(), found);
            }
            None if payment.has_money() => report.note(Rule::Captured, subject(), "paid without a receipt"),
            _ => {}
        }
        let balance = ledger.balance();
        if balance < 0 {
            report.note(Rule::LedgerSum, subject(), format!("{balance} left"));
        }

        let refunds: Vec<&RefundRow> = self.refunds_of(&payment.payment_uuid).collect();
        let promised: i64 = refunds.iter().map(|refund| refund.amount).sum();
        if promised != ledger.refund_reserved {
            let found = format!("{} reserved for refunds of {promised}", ledger.refund_reserved);
            report.note(Rule::Refunds, subject(), found);
        }
        let done: BTreeMap<Option<&str>, i64> = refunds
            .iter()
            .filter(|refund| refund.status == "succeeded")
            .map(|refund| (Some(refund.refund_uuid.as_str()), refund.amount))
            .collect();
        let entered: Vec<(Option<&str>, i64)> = ledger
            .entries
            .iter()
            .filter(|entry| entry.kind == "refunded")
            .map(|entry| (entry.refund_uuid.as_deref(), entry.amount))
            .collect();
        let entered_once: BTreeMap<Option<&str>, i64> = entered.iter().copied().collect();
        if entered.len() != entered_once.len() || entered_once != done {
            let found = format!("the ledger has {entered:?}, the refunds are {done:?}");
            report.note(Rule::Refunds, subject(), found);
        }

        let order = self.orders.get(&payment.order_uuid);
        let pays = order.and_then(|order| order.paid.as_ref());
        let is_the_orders = pays.is_some_and(|paid| paid.payment_uuid == payment.payment_uuid);
        let in_hand = refunds.iter().all(|refund| refund.status == "succeeded");
        match order {
            None => report.note(Rule::Order, subject(), "is of an order that is not there"),
            // Money that no order wants goes back whole.
            Some(_) if payment.has_money() && !is_the_orders && promised != payment.amount => {
                let found = format!(
                    "its order does not want it, and {promised} of {} goes back",
                    payment.amount
                );
                report.note(Rule::LedgerSum, subject(), found);
            }
            Some(order) if in_hand && payment.has_money() && (!order.is_alive() || !is_the_orders) && balance != 0 => {
                let found = format!("its order is {}, and {balance} is left", order.status);
                report.note(Rule::LedgerSum, subject(), found);
            }
            Some(order) if released > 0 && (order.status != "completed" || !is_the_orders) => {
                let found = format!("{released} released, and its order is {}", order.status);
                report.note(Rule::Order, subject(), found);
            }
            Some(_) => {}
        }

        if (payment.is_open() && self.is_overdue(Some(payment.expires_at))) || self.is_overdue(payment.due_at) {
            let found = format!("is still {}, due at {:?}", payment.status, payment.due_at);
            report.note(Rule::Overdue, subject(), found);
        }
        if payment.status == "mismatch" {
            report.for_people.push(ForAPerson::Mismatch {
                order: payment.order_uuid.clone(),
                payment: payment.payment_uuid.clone(),
            });
        }
        let books = report.orders.entry(payment.order_uuid.clone()).or_default();
        books.captured_fen += held;
        books.held_fen += balance;
        books.released_fen += released;
        books.refunded_fen += ledger.sum_of("refunded");
        books.unfinished |= payment.is_open() || payment.due_at.is_some();
        let totals = &mut report.totals;
        totals.captured_fen += held;
        totals.held_fen += balance;
        totals.released_fen += released;
        totals.refunded_fen += ledger.sum_of("refunded");
    }

    fn check_refund(&self, refund: &RefundRow, report: &mut Report) {
        let subject = || format!("refund {}", refund.refund_uuid);
        match self.payments.get(&refund.payment_uuid) {
            Some(payment) if payment.order_uuid == refund.order_uuid => {}
            _ => report.note(Rule::Refunds, subject(), "is of a payment that its order has not"),
        }
        if refund.is_open() && self.is_overdue(refund.due_at) {
            let found = format!("is still {}, due at {:?}", refund.status, refund.due_at);
            report.note(Rule::Overdue, subject(), found);
        }
        if refund.status == "needs_human" {
            report.for_people.push(ForAPerson::Refund {
                order: refund.order_uuid.clone(),
                payment: refund.payment_uuid.clone(),
                refund: refund.refund_uuid.clone(),
                remark: refund.remark.clone().unwrap_or_default(),
            });
        }
        let books = report.orders.entry(refund.order_uuid.clone()).or_default();
        books.unfinished |= refund.is_open();
    }

    fn check_order(&self, order: &OrderRow, report: &mut Report) {
        let id = order.order_uuid.as_str();
        let subject = || format!("order {id}");
        let books = report.orders.entry(id.to_owned()).or_default();
        books.status.clone_from(&order.status);
        books.unfinished |= order.is_alive();

        let paid = order.paid.as_ref().map(|paid| paid.payment_uuid.as_str());
        let payment = paid.and_then(|paid| self.payments.get(paid));
        match (order.status.as_str(), paid, payment) {
            ("pending_payment", None, _) | ("cancelled", None, _) => {}
            ("paid" | "completed" | "cancelled", Some(_), Some(payment)) => {
                if payment.status != "paid" || payment.order_uuid != id || payment.amount != order.total {
                    let found = format!("paid by the payment {payment:?}");
                    report.note(Rule::Order, subject(), found);
                }
                self.check_division(order, payment, report);
            }
            _ => {
                let found = format!("{} with the payment {paid:?}", order.status);
                report.note(Rule::Order, subject(), found);
            }
        }
        for refund in &order.refunds {
            let known = self.refunds.get(&refund.refund_uuid);
            let agrees = match known {
                // A payment that is promised away whole needs no second refund.
                None => refund.outcome == "pending",
                Some(known) => {
                    (&known.payment_uuid, known.amount) == (&refund.payment_uuid, refund.amount)
                        && matches!(
                            (known.status.as_str(), refund.outcome.as_str()),
                            ("requested" | "processing", "pending")
                                | ("succeeded", "succeeded")
                                | ("needs_human", "needs_attention")
                        )
                }
            };
            if !agrees {
                let found = format!("it says {refund:?}, the refund is {known:?}");
                report.note(Rule::Refunds, subject(), found);
            }
            if known.is_none() {
                let found = format!("the refund {} was asked for and is not there", refund.refund_uuid);
                report.note(Rule::Refunds, subject(), found);
            }
        }

        let keeps = self.payments_of(id).filter(|payment| {
            let promised: i64 = self.refunds_of(&payment.payment_uuid).map(|refund| refund.amount).sum();
            payment.has_money() && promised < payment.amount
        });
        let keeps: Vec<&str> = keeps.map(|payment| payment.payment_uuid.as_str()).collect();
        if keeps.len() > 1 {
            report.note(Rule::PaidOnce, subject(), format!("keeps the money of {keeps:?}"));
        }
        self.check_attempts(id, report);
        let due = match order.status.as_str() {
            "pending_payment" => order.expires_at,
            "paid" => order.completes_at,
            _ => None,
        };
        if self.is_overdue(due) {
            report.note(
                Rule::Overdue,
                subject(),
                format!("is still {}, due at {due:?}", order.status),
            );
        }
    }

    /// What became of the money of the payment that paid an order.
    fn check_division(&self, order: &OrderRow, payment: &PaymentRow, report: &mut Report) {
        let asked_back = order
            .refunds
            .iter()
            .filter(|row| row.payment_uuid == payment.payment_uuid);
        let asked_back: i64 = asked_back.map(|row| row.amount).sum();
        let (promised, released) = (payment.ledger.refund_reserved, payment.ledger.sum_of("released"));
        let (back, sellers) = match order.status.as_str() {
            "completed" => (asked_back, order.total - asked_back),
            "cancelled" => (order.total, 0),
            _ => (asked_back, 0),
        };
        if (asked_back, promised, released) != (back, back, sellers) {
            let found = format!(
                "{} of {}: {asked_back} asked back, {promised} promised to refunds, {released} released",
                order.status, order.total
            );
            report.note(Rule::Order, format!("order {}", order.order_uuid), found);
        }
    }

    fn check_attempts(&self, order: &str, report: &mut Report) {
        let subject = || format!("order {order}");
        let open: BTreeSet<&str> = self
            .payments_of(order)
            .filter(|payment| payment.is_open() || payment.status == "mismatch")
            .map(|payment| payment.payment_uuid.as_str())
            .collect();
        let paid: BTreeSet<&str> = self
            .payments_of(order)
            .filter(|payment| payment.status == "paid")
            .map(|payment| payment.payment_uuid.as_str())
            .collect();
        let Some(attempts) = self.attempts.get(order) else {
            if self.payments_of(order).next().is_some() {
                report.note(Rule::Attempts, subject(), "has payments and no list of them");
            }
            return;
        };
        let live: BTreeSet<&str> = attempts.live_payment_uuid.as_deref().into_iter().collect();
        let listed: BTreeSet<&str> = attempts.paid.iter().map(String::as_str).collect();
        // A closed attempt whose money did not match occupies the order without being live.
        if !live.is_subset(&open) || !open.iter().all(|id| live.contains(id) || self.is_mismatch(id)) || listed != paid
        {
            let found = format!("live {live:?}, open {open:?}; listed as paid {listed:?}, paid {paid:?}");
            report.note(Rule::Attempts, subject(), found);
        }
    }

    fn is_mismatch(&self, payment: &str) -> bool {
        self.payments
            .get(payment)
            .is_some_and(|payment| payment.status == "mismatch")
    }

    fn check_providers(&self, report: &mut Report) {
        let known: BTreeMap<String, &PaymentRow> = self.payments.values().map(|row| (row.number(), row)).collect();
        let refunds: BTreeMap<String, &RefundRow> = self
            .refunds
            .values()
            .map(|row| (number(&row.refund_uuid), row))
            .collect();
        let mut by_hand_fen = 0;
        for (number, trade) in &self.trades {
            let subject = || format!("trade {number}");
            let Some(payment) = known.get(number) else {
                if trade.is_paid {
                    report.note(Rule::Provider, subject(), "is paid, and no payment of ours");
                }
                continue;
            };
            if trade.is_paid {
                report.totals.provider_captured_fen += trade.amount;
            }
            match (trade.is_paid, payment.status.as_str()) {
                (true, "mismatch") => report.totals.mismatched_fen += trade.amount,
                (true, "paid" | "late_paid") if trade.amount == payment.ledger.sum_of("held") => {}
                (false, "created" | "pending" | "closed" | "expired" | "failed") => {}
                (is_paid, status) => {
                    let held = payment.ledger.sum_of("held");
                    let found = format!("{} there, paid: {is_paid}; {held} here, {status}", trade.amount);
                    report.note(Rule::Provider, subject(), found);
                }
            }
            for (number, there) in trade.refunds.iter().filter(|(_, there)| there.succeeded) {
                report.totals.provider_refunded_fen += there.amount;
                match refunds.get(number) {
                    Some(here) if here.payment_uuid == payment.payment_uuid && here.amount == there.amount => {
                        if here.status != "succeeded" && !here.is_open() {
                            let found = format!("the refund {number} is done there, and {} here", here.status);
                            report.note(Rule::Provider, subject(), found);
                        }
                        let books = report.orders.entry(payment.order_uuid.clone()).or_default();
                        books.unfinished |= here.is_open();
                    }
                    Some(here) => {
                        let found = format!("the refund {number} of {} there is {here:?} here", there.amount);
                        report.note(Rule::Provider, subject(), found);
                    }
                    None => {
                        by_hand_fen += there.amount;
                        report.for_people.push(ForAPerson::GivenBackByHand {
                            order: payment.order_uuid.clone(),
                            payment: payment.payment_uuid.clone(),
                            fen: there.amount,
                        });
                    }
                }
            }
        }
        for payment in self.payments.values().filter(|payment| payment.has_money()) {
            if !self.trades.get(&payment.number()).is_some_and(|trade| trade.is_paid) {
                let found = format!("{} here, and not paid at {}", payment.status, payment.provider);
                report.note(Rule::Provider, format!("payment {}", payment.payment_uuid), found);
            }
        }
        let mut open_fen = 0;
        for refund in self.refunds.values() {
            let payment = self.payments.get(&refund.payment_uuid);
            let trade = payment.and_then(|payment| self.trades.get(&payment.number()));
            let there = trade.and_then(|trade| trade.refunds.get(&number(&refund.refund_uuid)));
            let is_done_there = there.is_some_and(|there| there.succeeded);
            match refund.status.as_str() {
                "succeeded" if !is_done_there => {
                    let subject = format!("refund {}", refund.refund_uuid);
                    report.note(Rule::Provider, subject, "is done here and not there");
                }
                "requested" | "processing" if is_done_there => open_fen += refund.amount,
                _ => {}
            }
        }
        let totals = report.totals;
        let theirs = totals.provider_captured_fen - totals.provider_refunded_fen;
        // What was done there and is not known here yet, and what people did, is told apart.
        let ours = totals.held_fen + totals.released_fen + totals.mismatched_fen - by_hand_fen - open_fen;
        if theirs != ours {
            let found = format!("the providers hold {theirs}, by our books it is {ours}: {totals:?}");
            report.note(Rule::Totals, "everything".to_owned(), found);
        }
    }
}

impl Report {
    fn note(&mut self, rule: Rule, subject: String, found: impl Into<String>) {
        self.violations.push(Violation {
            rule,
            subject,
            found: found.into(),
        });
    }
}

/// Counts of a user and his part, by what is counted.
type Counted<'a> = BTreeMap<(&'a str, &'a str), BTreeMap<&'a str, i64>>;

fn counts_of<'a>(counted: &Counted<'a>, account: &(&'a str, &'a str)) -> BTreeMap<&'a str, i64> {
    let mut counts = counted.get(account).cloned().unwrap_or_default();
    counts.retain(|_, count| *count != 0);
    counts
}

fn by<T>(rows: Vec<T>, key: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}

/// Where tables are read, and what they are called.
pub(crate) struct Archive<'a> {
    pub(crate) operator: &'a Operator,
    pub(crate) template: &'a Template,
}

/// All items of a table.
pub(crate) async fn rows<T: DeserializeOwned>(
    archive: &Archive<'_>,
    table: &'static str,
) -> Result<Vec<T>, BooksError> {
    let name = &archive
        .template
        .tables
        .get(table)
        .ok_or(BooksError::NoTable(table))?
        .name;
    let mut rows = Vec::new();
    let mut from = None;
    loop {
        let mut scan = json!({"TableName": name, "ConsistentRead": true});
        if let Some(from) = from {
            scan["ExclusiveStartKey"] = from;
        }
        let answer = archive.operator.dynamodb("Scan", &scan).await;
        let mut answer = answer.map_err(|error| BooksError::Table {
            table,
            answer: error.reason,
        })?;
        if let Some(Value::Array(items)) = answer.get_mut("Items").map(Value::take) {
            for item in items {
                let item = match item {
                    Value::Object(members) => plain_members(members),
                    other => other,
                };
                rows.push(serde_json::from_value(item).map_err(|source| BooksError::Item { table, source })?);
            }
        }
        from = answer.get_mut("LastEvaluatedKey").map(Value::take);
        if from.is_none() {
            return Ok(rows);
        }
    }
}

fn plain_members(members: Map<String, Value>) -> Value {
    members.into_iter().map(|(name, value)| (name, plain(value))).collect()
}

/// A stored attribute without the marks of its types.
fn plain(attribute: Value) -> Value {
    let Value::Object(marked) = attribute else {
        return attribute;
    };
    match marked.into_iter().next() {
        Some((mark, Value::String(digits))) if mark == "N" => serde_json::from_str(&digits).unwrap_or(Value::Null),
        Some((mark, Value::Object(members))) if mark == "M" => plain_members(members),
        Some((mark, Value::Array(items))) if mark == "L" => items.into_iter().map(plain).collect(),
        Some((mark, _)) if mark == "NULL" => Value::Null,
        Some((_, value)) => value,
        None => Value::Null,
    }
}
