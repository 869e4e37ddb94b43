//! The tables of PaymentService: the only file that knows their attribute names.

use cloud::{Cloud, StartError};
use contracts::payments::{PaymentMethod, RefundReason};
use kernel::{Money, OrderId, Page, PageRequest, PaymentId, RefundId, Timestamp, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tables::{
    Import, Key, Order, Place, Query, Scanned, Table, TableError, Transaction, Update, due_shard, due_shards,
};

use crate::error::PaymentError;
use crate::head::Head;
use crate::ledger::Ledger;
use crate::payment::{Decision, Payment, State};
use crate::provider::{Channel, Offer, ProviderName, Receipt};
use crate::reconciliation::{Books, Named, OurPayment, OurRefund};
use crate::refund::{Refund, RefundStatus};
use crate::statement::Day;
use crate::status::{Shown, Status};

/// A payment as it is stored and as the table's stream carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PaymentRecord {
    payment_uuid: PaymentId,
    order_uuid: OrderId,
    user_uuid: UserId,
    #[serde(with = "kernel::money::fen")]
    amount: Money,
    method: PaymentMethod,
    #[serde(default = "earlier_channel")]
    channel: Channel,
    provider: ProviderName,
    subject: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Timestamp,
    status: Status,
    /// In which list of its user it is found: `user:status`, with the status that clients know.
    #[serde(default)]
    listed_under: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offer: Option<Offer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
    ledger: Ledger,
    #[serde(default)]
    checks: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    /// Under which provider and day its money is found; absent while none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled_day: Option<String>,
    version: u64,
}

/// Where every payment was made before there were others.
fn earlier_channel() -> Channel {
    Channel::Page
}

impl From<&Payment> for PaymentRecord {
    fn from(payment: &Payment) -> Self {
        let offer = match &payment.state {
            State::Pending { offer, .. } => Some(offer.clone()),
            _ => None,
        };
        Self {
            payment_uuid: payment.id,
            order_uuid: payment.order,
            user_uuid: payment.user,
            amount: payment.amount,
            method: payment.method,
            channel: payment.channel,
            provider: payment.provider,
            subject: payment.subject.clone(),
            created_at: payment.created_at,
            updated_at: payment.updated_at,
            expires_at: payment.expires_at,
            status: payment.status(),
            listed_under: listed_under(payment.user, payment.status().shown()),
            offer,
            receipt: payment.receipt().cloned(),
            ledger: payment.ledger.clone(),
            checks: payment.checks,
            fingerprint: payment.fingerprint.clone(),
            due_shard: payment.due_at().map(|_| due_shard(payment.id.uuid())),
            due_at: payment.due_at(),
            settled_day: payment
                .receipt()
                .map(|receipt| settled_day(payment.provider, Day::of(receipt.paid_at), due_shard(payment.id.uuid()))),
            version: payment.version,
        }
    }
}

impl TryFrom<PaymentRecord> for Payment {
    type Error = TableError;

    /// Reading is parsing: a combination that no payment can have is an error that names the payment, not a default.
    fn try_from(record: PaymentRecord) -> Result<Self, TableError> {
        let id = record.payment_uuid;
        let lacks = |what: &str| TableError::Corrupt {
            table: "payments".into(),
            reason: format!("the payment {id} is {} but has no {what}", record.status.word()),
        };
        let receipt = record.receipt.ok_or_else(|| lacks("receipt"));
        let state = match record.status {
            Status::Created => State::Created,
            Status::Pending => State::Pending {
                offer: record.offer.ok_or_else(|| lacks("offer"))?,
                next_check: record.due_at.ok_or_else(|| lacks("due_at"))?,
            },
            Status::Paid => State::Paid { receipt: receipt? },
            Status::Closed => State::Closed {
                last_look: record.due_at,
            },
            Status::Expired => State::Expired {
                last_look: record.due_at,
            },
            Status::Failed => State::Failed,
            Status::Mismatch => State::Mismatch { receipt: receipt? },
            Status::LatePaid => State::LatePaid { receipt: receipt? },
        };
        Ok(Self {
            id,
            order: record.order_uuid,
            user: record.user_uuid,
            amount: record.amount,
            method: record.method,
            channel: record.channel,
            provider: record.provider,
            subject: record.subject,
            created_at: record.created_at,
            updated_at: record.updated_at,
            expires_at: record.expires_at,
            state,
            ledger: record.ledger,
            checks: record.checks,
            fingerprint: record.fingerprint,
            version: record.version,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct HeadRecord {
    order_uuid: OrderId,
    user_uuid: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    live_payment_uuid: Option<PaymentId>,
    latest_payment_uuid: PaymentId,
    paid: Vec<PaymentId>,
    attempts: u32,
    version: u64,
}

impl From<&Head> for HeadRecord {
    fn from(head: &Head) -> Self {
        Self {
            order_uuid: head.order,
            user_uuid: head.user,
            live_payment_uuid: head.live,
            latest_payment_uuid: head.latest,
            paid: head.paid.clone(),
            attempts: head.attempts,
            version: head.version,
        }
    }
}

impl From<HeadRecord> for Head {
    fn from(record: HeadRecord) -> Self {
        Self {
            order: record.order_uuid,
            user: record.user_uuid,
            live: record.live_payment_uuid,
            latest: record.latest_payment_uuid,
            paid: record.paid,
            attempts: record.attempts,
            version: record.version,
        }
    }
}

/// A refund as it is stored and as the table's stream carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefundRecord {
    refund_uuid: RefundId,
    payment_uuid: PaymentId,
    order_uuid: OrderId,
    user_uuid: UserId,
    #[serde(with = "kernel::money::fen")]
    amount: Money,
    #[serde(with = "kernel::money::fen")]
    paid: Money,
    reason: RefundReason,
    provider: ProviderName,
    created_at: Timestamp,
    updated_at: Timestamp,
    status: RefundStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
    attempts: u32,
    next_attempt: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    /// Under which provider and day it is found; absent while the money is not back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled_day: Option<String>,
    version: u64,
}

impl From<&Refund> for RefundRecord {
    fn from(refund: &Refund) -> Self {
        Self {
            refund_uuid: refund.id,
            payment_uuid: refund.payment,
            order_uuid: refund.order,
            user_uuid: refund.user,
            amount: refund.amount,
            paid: refund.paid,
            reason: refund.reason,
            provider: refund.provider,
            created_at: refund.created_at,
            updated_at: refund.updated_at,
            status: refund.status,
            remark: refund.remark.clone(),
            attempts: refund.attempts,
            next_attempt: refund.next_attempt,
            due_shard: refund.due_at().map(|_| due_shard(refund.id.uuid())),
            due_at: refund.due_at(),
            settled_day: refund
                .settled_at()
                .map(|at| settled_day(refund.provider, Day::of(at), due_shard(refund.id.uuid()))),
            version: refund.version,
        }
    }
}

impl From<RefundRecord> for Refund {
    fn from(record: RefundRecord) -> Self {
        Self {
            id: record.refund_uuid,
            payment: record.payment_uuid,
            order: record.order_uuid,
            user: record.user_uuid,
            amount: record.amount,
            paid: record.paid,
            reason: record.reason,
            provider: record.provider,
            created_at: record.created_at,
            updated_at: record.updated_at,
            status: record.status,
            remark: record.remark,
            attempts: record.attempts,
            next_attempt: record.next_attempt,
            version: record.version,
        }
    }
}

/// What the streams of this service's tables carry. Only refunds have a `refund_uuid`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum StreamRecord {
    /// From the table of refunds.
    Refund(Box<RefundRecord>),
    /// From the table of payments.
    Payment(Box<PaymentRecord>),
}

/// The partition of the indexes `by-day` in which what moved at `provider` on `day` is found.
fn settled_day(provider: ProviderName, day: Day, shard: String) -> String {
    format!("{}#{day}#{shard}", provider.word())
}

fn listed_under(user: UserId, shown: Shown) -> String {
    format!("{user}:{}", shown.word())
}

/// How many payments a user has, by what clients know of their status. Each count is changed in the transaction that
/// changes a payment, so that together they are always as many as there are payments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    pending: i64,
    processing: i64,
    success: i64,
    failed: i64,
    cancelled: i64,
}

impl Counts {
    /// One more that is shown as `shown`.
    pub fn import(&mut self, shown: Shown) {
        let count = match shown {
            Shown::Pending => &mut self.pending,
            Shown::Processing => &mut self.processing,
            Shown::Success => &mut self.success,
            Shown::Failed => &mut self.failed,
            Shown::Cancelled => &mut self.cancelled,
        };
        *count += 1;
    }

    /// So many are shown as `shown`.
    #[must_use]
    pub fn of(&self, shown: Shown) -> usize {
        let count = match shown {
            Shown::Pending => self.pending,
            Shown::Processing => self.processing,
            Shown::Success => self.success,
            Shown::Failed => self.failed,
            Shown::Cancelled => self.cancelled,
        };
        usize::try_from(count).unwrap_or(0)
    }
}

/// One payment more that is shown as `to`, and one less as `from`.
fn counted(user: UserId, from: Option<Shown>, to: Shown) -> Update {
    let key = Key::of("user_uuid", user);
    // Counting goes with whatever the counts are: no count may ever keep money from being entered.
    let always = "attribute_exists(user_uuid) OR attribute_not_exists(user_uuid)";
    let update = match from {
        Some(from) => Update::new(key, "ADD #to :more, #from :less", always)
            .name("#from", from.word())
            .number(":less", -1),
        None => Update::new(key, "ADD #to :more", always),
    };
    update.name("#to", to.word()).number(":more", 1)
}

fn payment_key(id: PaymentId) -> Key {
    Key::of("payment_uuid", id)
}

fn head_key(order: OrderId) -> Key {
    Key::of("order_uuid", order)
}

fn refund_key(id: RefundId) -> Key {
    Key::of("refund_uuid", id)
}

/// How often a change is decided anew when others keep changing the same payment.
const ATTEMPTS: usize = 8;

/// Whether a write took place, or was refused because something had changed.
fn happened(written: Result<(), TableError>) -> Result<bool, PaymentError> {
    match written {
        Ok(()) => Ok(true),
        Err(TableError::ConditionFailed | TableError::TransactionRefused { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads payments and the heads of orders.
#[derive(Debug, Clone)]
pub struct ReadPayments {
    payments: Table,
    heads: Table,
}

impl ReadPayments {
    /// Reads `PAYMENTS_TABLE` and `ORDER_PAYMENTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            payments: Table::from_env(cloud, "PAYMENTS_TABLE")?,
            heads: Table::from_env(cloud, "ORDER_PAYMENTS_TABLE")?,
        })
    }

    /// The payment as it is now.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn find(&self, id: PaymentId) -> Result<Option<Payment>, PaymentError> {
        find_payment(&self.payments, id).await
    }

    /// The payment, if it is of `user`.
    ///
    /// # Errors
    /// [`PaymentError::NotFound`] for everybody else.
    pub async fn find_for(&self, id: PaymentId, user: UserId) -> Result<Payment, PaymentError> {
        self.find(id)
            .await?
            .filter(|payment| payment.user == user)
            .ok_or(PaymentError::NotFound)
    }

    /// What is known about all attempts to pay `order`, if there were any.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn head(&self, order: OrderId) -> Result<Option<Head>, PaymentError> {
        let record: Option<HeadRecord> = self.heads.find(&head_key(order)).await?;
        Ok(record.map(Head::from))
    }
}

async fn find_payment(payments: &Table, id: PaymentId) -> Result<Option<Payment>, PaymentError> {
    let record: Option<PaymentRecord> = payments.find(&payment_key(id)).await?;
    Ok(record.map(Payment::try_from).transpose()?)
}

/// Lists a user's payments.
#[derive(Debug, Clone)]
pub struct ListPayments {
    payments: Table,
    counts: Table,
}

/// What the index tells of a payment.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Listed {
    payment_uuid: PaymentId,
    created_at: Timestamp,
}

impl ListPayments {
    /// Reads `PAYMENTS_TABLE` and `PAYMENT_COUNTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            payments: Table::from_env(cloud, "PAYMENTS_TABLE")?,
            counts: Table::from_env(cloud, "PAYMENT_COUNTS_TABLE")?,
        })
    }

    /// A page of the payments of `user`, newest first; those shown as `filter` only, if there is one.
    ///
    /// Three round trips whatever the history: the counts, the lists of the statuses that have any, read at once and no
    /// further than the page is away from the nearer end, and the payments of the page.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn page_of(
        &self,
        user: UserId,
        filter: Option<Shown>,
        wanted: PageRequest,
    ) -> Result<Page<Payment>, PaymentError> {
        let counts: Option<Counts> = self.counts.find(&Key::of("user_uuid", user)).await?;
        let counts = counts.unwrap_or_default();
        let statuses: Vec<Shown> = Shown::ALL
            .into_iter()
            .filter(|shown| filter.is_none_or(|filter| *shown == filter) && counts.of(*shown) > 0)
            .collect();
        let count = statuses.iter().map(|shown| counts.of(*shown)).sum();
        let window = Window::of(wanted, count);
        let entries = match window.read {
            0 => Vec::new(),
            _ => {
                let lists = statuses.iter().map(|shown| self.list(user, *shown, window));
                window.cut(futures::future::try_join_all(lists).await?.concat())
            }
        };
        Ok(Page {
            request: wanted,
            count,
            entries: self.found(&entries).await?,
        })
    }

    async fn list(&self, user: UserId, shown: Shown, window: Window) -> Result<Vec<Listed>, PaymentError> {
        let query = Query::partition(Some("by-user-and-status"), "listed_under", listed_under(user, shown))
            .in_order(window.order)
            .limit(i32::try_from(window.read).unwrap_or(i32::MAX));
        Ok(self.payments.query(query).await?)
    }

    /// The payments of `ids`, in that order.
    async fn found(&self, ids: &[PaymentId]) -> Result<Vec<Payment>, PaymentError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = ids.iter().copied().map(payment_key).collect();
        let records: Vec<PaymentRecord> = self.payments.find_all(keys).await?;
        let mut payments = records
            .into_iter()
            .map(Payment::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        payments.sort_by_key(|payment| ids.iter().position(|id| *id == payment.id));
        Ok(payments)
    }
}

/// Where a page lies in a list that can be read from both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// From which end.
    order: Order,
    /// How many entries have to be read from that end.
    read: usize,
    /// How many of them come before the page.
    skip: usize,
}

impl Window {
    /// Newest first, `count` entries in all.
    fn of(wanted: PageRequest, count: usize) -> Self {
        let first = wanted.offset().min(count);
        let end = first.saturating_add(wanted.size() as usize).min(count);
        let (order, skip, read) = match end <= count - first {
            true => (Order::Descending, first, end),
            false => (Order::Ascending, count - end, count - first),
        };
        Self {
            order,
            read: if first == end { 0 } else { read },
            skip,
        }
    }

    /// The page, newest first, out of what was read from that end of several lists.
    fn cut(self, mut listed: Vec<Listed>) -> Vec<PaymentId> {
        listed.sort_by_key(|listed| (listed.created_at, listed.payment_uuid));
        let ids = listed.into_iter().map(|listed| listed.payment_uuid);
        match self.order {
            Order::Descending => ids.rev().take(self.read).skip(self.skip).collect(),
            Order::Ascending => {
                let mut page: Vec<_> = ids.take(self.read).skip(self.skip).collect();
                page.reverse();
                page
            }
        }
    }
}

/// Reads and changes payments, the heads of orders and the counts of users.
#[derive(Debug, Clone)]
pub struct WritePayments {
    read: ReadPayments,
    counts: Table,
}

impl WritePayments {
    /// Reads `PAYMENTS_TABLE`, `ORDER_PAYMENTS_TABLE` and `PAYMENT_COUNTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            read: ReadPayments::from_env(cloud)?,
            counts: Table::from_env(cloud, "PAYMENT_COUNTS_TABLE")?,
        })
    }

    /// Reading, for those who also write.
    #[must_use]
    pub fn read(&self) -> &ReadPayments {
        &self.read
    }

    /// Stores a new payment as the live attempt of its order, whose head was `seen`. `false`: the head was changed
    /// meanwhile, or the payment exists; nothing was written.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn begin(&self, payment: &Payment, seen: Option<&Head>) -> Result<bool, PaymentError> {
        let head = Head::with_attempt(seen, payment.order, payment.user, payment.id);
        let record = HeadRecord::from(&head);
        let inserted = Transaction::new()
            .insert(
                &self.read.payments,
                &payment_key(payment.id),
                PaymentRecord::from(payment),
            )
            .update(&self.counts, counted(payment.user, None, payment.status().shown()));
        let all = match seen {
            Some(seen) => inserted.replace(&self.read.heads, record, seen.version),
            None => inserted.insert(&self.read.heads, &head_key(payment.order), record),
        };
        happened(all.commit().await)
    }

    /// Finds the payment, lets `decide` say what becomes of it, and stores that if nobody changed it meanwhile;
    /// otherwise it is read and decided anew. An attempt that ends makes room in its order's head in the same
    /// transaction. Answers the payment as it then stands.
    ///
    /// # Errors
    /// [`PaymentError::NotFound`], [`PaymentError::ChangedMeanwhile`], and those of `decide`.
    pub async fn change(
        &self,
        id: PaymentId,
        decide: impl Fn(&Payment) -> Result<Decision, PaymentError>,
    ) -> Result<Payment, PaymentError> {
        for _ in 0..ATTEMPTS {
            let payment = self.read.find(id).await?.ok_or(PaymentError::NotFound)?;
            let next = match decide(&payment)? {
                Decision::Becomes(next) => *next,
                Decision::NothingToDo => return Ok(payment),
                Decision::Contradicts => {
                    let status = payment.status().word();
                    tracing::error!(payment = %id, status, "the provider contradicts what is known; a person has to look");
                    return Ok(payment);
                }
            };
            if self.store(&payment, &next).await? {
                return Ok(next);
            }
        }
        Err(PaymentError::ChangedMeanwhile(id))
    }

    async fn store(&self, seen: &Payment, next: &Payment) -> Result<bool, PaymentError> {
        let record = PaymentRecord::from(next);
        let (before, after) = (seen.status(), next.status());
        let leaves_the_order = before.occupies_the_order() && !after.occupies_the_order();
        if !leaves_the_order && before.shown() == after.shown() {
            return happened(self.read.payments.replace(record, seen.version).await);
        }
        let mut all = Transaction::new().replace(&self.read.payments, record, seen.version);
        if before.shown() != after.shown() {
            all = all.update(&self.counts, counted(next.user, Some(before.shown()), after.shown()));
        }
        if leaves_the_order {
            let head = self.read.head(next.order).await?.ok_or_else(|| TableError::Corrupt {
                table: "order payments".into(),
                reason: format!("the order {} has the payment {} but no head", next.order, next.id),
            })?;
            let without = head.without(next.id, after == Status::Paid);
            all = all.replace(&self.read.heads, HeadRecord::from(&without), head.version);
        }
        happened(all.commit().await)
    }
}

/// Reads and changes refunds, and the payments they are taken from.
#[derive(Debug, Clone)]
pub struct WriteRefunds {
    refunds: Table,
    payments: Table,
}

impl WriteRefunds {
    /// Reads `REFUNDS_TABLE` and `PAYMENTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            refunds: Table::from_env(cloud, "REFUNDS_TABLE")?,
            payments: Table::from_env(cloud, "PAYMENTS_TABLE")?,
        })
    }

    /// The refund as it is now.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn find(&self, id: RefundId) -> Result<Option<Refund>, PaymentError> {
        let record: Option<RefundRecord> = self.refunds.find(&refund_key(id)).await?;
        Ok(record.map(Refund::from))
    }

    /// The payment as it is now.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn payment(&self, id: PaymentId) -> Result<Option<Payment>, PaymentError> {
        find_payment(&self.payments, id).await
    }

    /// Stores a new refund together with `payment`, in which its amount is reserved. `false`: one of them was changed
    /// meanwhile; nothing was written.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn begin(&self, refund: &Refund, payment: &Payment) -> Result<bool, PaymentError> {
        let both = Transaction::new()
            .insert(&self.refunds, &refund_key(refund.id), RefundRecord::from(refund))
            .replace(&self.payments, PaymentRecord::from(payment), payment.version - 1);
        happened(both.commit().await)
    }

    /// Stores the refund as `next`. `false`: it was changed meanwhile.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn replace(&self, next: &Refund) -> Result<bool, PaymentError> {
        happened(self.refunds.replace(RefundRecord::from(next), next.version - 1).await)
    }

    /// Stores the refund as `next` together with `payment`, whose ledger has its entry. `false`: one of them was changed
    /// meanwhile; nothing was written.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn settle(&self, next: &Refund, payment: &Payment) -> Result<bool, PaymentError> {
        let both = Transaction::new()
            .replace(&self.refunds, RefundRecord::from(next), next.version - 1)
            .replace(&self.payments, PaymentRecord::from(payment), payment.version - 1);
        happened(both.commit().await)
    }
}

/// Reads what moved on a day.
#[derive(Debug, Clone)]
pub struct ReadBooks {
    payments: Table,
    refunds: Table,
}

/// What the index by day tells of a payment.
#[derive(Debug, Deserialize)]
struct BookedPayment {
    payment_uuid: PaymentId,
    order_uuid: OrderId,
    #[serde(with = "kernel::money::fen")]
    amount: Money,
    receipt: Receipt,
    status: Status,
}

/// What the index by day tells of a refund.
#[derive(Debug, Deserialize)]
struct BookedRefund {
    refund_uuid: RefundId,
    payment_uuid: PaymentId,
    #[serde(with = "kernel::money::fen")]
    amount: Money,
    status: RefundStatus,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<BookedPayment> for OurPayment {
    fn from(booked: BookedPayment) -> Self {
        Self {
            id: booked.payment_uuid,
            order: booked.order_uuid,
            asked: booked.amount,
            receipt: Some(booked.receipt),
            status: booked.status,
        }
    }
}

impl From<BookedRefund> for OurRefund {
    fn from(booked: BookedRefund) -> Self {
        Self {
            id: booked.refund_uuid,
            payment: booked.payment_uuid,
            amount: booked.amount,
            status: booked.status,
            requested_at: booked.created_at,
            settled_at: Some(booked.updated_at),
        }
    }
}

/// Items that one request of several keys may ask for.
const KEYS_AT_ONCE: usize = 100;
/// Requests that are under way together.
const REQUESTS_AT_ONCE: usize = 8;

impl ReadBooks {
    /// Reads `PAYMENTS_TABLE` and `REFUNDS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            payments: Table::from_env(cloud, "PAYMENTS_TABLE")?,
            refunds: Table::from_env(cloud, "REFUNDS_TABLE")?,
        })
    }

    /// All that came and went back on `day` at `provider`. What happened seconds ago may be missing.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn of(&self, provider: ProviderName, day: Day) -> Result<Books, PaymentError> {
        let (payments, refunds) = tokio::try_join!(
            by_day::<BookedPayment>(&self.payments, provider, day),
            by_day::<BookedRefund>(&self.refunds, provider, day),
        )?;
        Ok(Books {
            payments: payments.into_iter().map(OurPayment::from).collect(),
            refunds: refunds.into_iter().map(OurRefund::from).collect(),
        })
    }

    /// Those of `named` that there are and that `provider` took, wherever they stand.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn named(&self, provider: ProviderName, named: &Named) -> Result<Books, PaymentError> {
        let payment_keys = named.payments.iter().copied().map(payment_key).collect();
        let refund_keys = named.refunds.iter().copied().map(refund_key).collect();
        let (payments, refunds) = tokio::try_join!(
            found_in::<PaymentRecord>(&self.payments, payment_keys),
            found_in::<RefundRecord>(&self.refunds, refund_keys),
        )?;
        let of_provider = payments.into_iter().filter(|record| record.provider == provider);
        let payments = of_provider.map(Payment::try_from).collect::<Result<Vec<_>, _>>()?;
        let refunds = refunds.into_iter().filter(|record| record.provider == provider);
        Ok(Books {
            payments: payments.iter().map(OurPayment::from).collect(),
            refunds: refunds.map(|record| OurRefund::from(&Refund::from(record))).collect(),
        })
    }
}

async fn by_day<T: DeserializeOwned>(table: &Table, provider: ProviderName, day: Day) -> Result<Vec<T>, PaymentError> {
    let shards = due_shards().map(|shard| {
        let partition = settled_day(provider, day, shard);
        table.query::<T>(Query::partition(Some("by-day"), "settled_day", partition))
    });
    Ok(futures::future::try_join_all(shards)
        .await?
        .into_iter()
        .flatten()
        .collect())
}

async fn found_in<T: DeserializeOwned>(table: &Table, keys: Vec<Key>) -> Result<Vec<T>, PaymentError> {
    let requests: Vec<Vec<Key>> = keys.chunks(KEYS_AT_ONCE).map(<[Key]>::to_vec).collect();
    let mut found = Vec::with_capacity(keys.len());
    for together in requests.chunks(REQUESTS_AT_ONCE) {
        let together = together.iter().map(|keys| table.find_all::<T>(keys.clone()));
        found.extend(futures::future::try_join_all(together).await?.into_iter().flatten());
    }
    Ok(found)
}

/// Finds payments that time alone changes.
#[derive(Debug, Clone)]
pub struct DuePayments(Table);

/// Finds refunds that time alone changes.
#[derive(Debug, Clone)]
pub struct DueRefunds(Table);

/// Entries of one shard that one run takes on; the rest waits for the next run, a minute later.
const DUE_AT_ONCE: i32 = 100;

impl DuePayments {
    /// Reads `PAYMENTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self(Table::from_env(cloud, "PAYMENTS_TABLE")?))
    }

    /// Payments that are due at `now`, longest overdue first within each shard.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn at(&self, now: Timestamp) -> Result<Vec<PaymentId>, PaymentError> {
        #[derive(Deserialize)]
        struct DuePayment {
            payment_uuid: PaymentId,
        }
        let due: Vec<DuePayment> = due_in(&self.0, now).await?;
        Ok(due.into_iter().map(|due| due.payment_uuid).collect())
    }
}

impl DueRefunds {
    /// Reads `REFUNDS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self(Table::from_env(cloud, "REFUNDS_TABLE")?))
    }

    /// Refunds that are due at `now`, longest overdue first within each shard.
    ///
    /// # Errors
    /// [`PaymentError::Table`].
    pub async fn at(&self, now: Timestamp) -> Result<Vec<RefundId>, PaymentError> {
        #[derive(Deserialize)]
        struct DueRefund {
            refund_uuid: RefundId,
        }
        let due: Vec<DueRefund> = due_in(&self.0, now).await?;
        Ok(due.into_iter().map(|due| due.refund_uuid).collect())
    }
}

async fn due_in<T: DeserializeOwned>(table: &Table, now: Timestamp) -> Result<Vec<T>, PaymentError> {
    let shards = due_shards().map(|shard| {
        table.query::<T>(
            Query::partition(Some("due"), "due_shard", shard)
                .up_to("due_at", now.millis())
                .limit(DUE_AT_ONCE),
        )
    });
    Ok(futures::future::try_join_all(shards)
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// Writes payments that come from an older system, with all that is kept beside them.
#[derive(Debug, Clone)]
pub struct ImportPayments {
    payments: Table,
    refunds: Table,
    heads: Table,
    counts: Table,
}

impl ImportPayments {
    /// Reads `PAYMENTS_TABLE`, `REFUNDS_TABLE`, `ORDER_PAYMENTS_TABLE` and `PAYMENT_COUNTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            payments: Table::from_env(cloud, "PAYMENTS_TABLE")?,
            refunds: Table::from_env(cloud, "REFUNDS_TABLE")?,
            heads: Table::from_env(cloud, "ORDER_PAYMENTS_TABLE")?,
            counts: Table::from_env(cloud, "PAYMENT_COUNTS_TABLE")?,
        })
    }

    /// Writes a payment.
    ///
    /// # Errors
    /// Those of the table.
    pub fn payment(&self, payment: &Payment, at: Timestamp) -> Result<Import, TableError> {
        let record = PaymentRecord::from(payment);
        self.payments.import(&payment_key(payment.id), record, at)
    }

    /// Writes a refund.
    ///
    /// # Errors
    /// Those of the table.
    pub fn refund(&self, refund: &Refund, at: Timestamp) -> Result<Import, TableError> {
        self.refunds
            .import(&refund_key(refund.id), RefundRecord::from(refund), at)
    }

    /// Writes what is known about all attempts to pay an order.
    ///
    /// # Errors
    /// Those of the table.
    pub fn head(&self, head: &Head, at: Timestamp) -> Result<Import, TableError> {
        self.heads.import(&head_key(head.order), HeadRecord::from(head), at)
    }

    /// Writes how many payments a user has.
    ///
    /// # Errors
    /// Those of the table.
    pub fn counts(&self, user: UserId, counts: Counts, at: Timestamp) -> Result<Import, TableError> {
        let key = Key::of("user_uuid", user);
        self.counts.import(
            &key,
            CountsRecord {
                user_uuid: user,
                counts,
            },
            at,
        )
    }

    /// A page of all payments; see [`Table::scan`].
    ///
    /// # Errors
    /// Those of the table.
    pub async fn page(&self, from: Option<Place>) -> Result<Scanned<Payment>, TableError> {
        let page: Scanned<PaymentRecord> = self.payments.scan(from).await?;
        Ok(Scanned {
            items: page
                .items
                .into_iter()
                .map(Payment::try_from)
                .collect::<Result<_, _>>()?,
            next: page.next,
        })
    }

    /// A page of all refunds.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn refunds_page(&self, from: Option<Place>) -> Result<Scanned<Refund>, TableError> {
        let page: Scanned<RefundRecord> = self.refunds.scan(from).await?;
        Ok(Scanned {
            items: page.items.into_iter().map(Refund::from).collect(),
            next: page.next,
        })
    }

    /// A page of all counts.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn counts_page(&self, from: Option<Place>) -> Result<Scanned<(UserId, Counts)>, TableError> {
        let page: Scanned<CountsRecord> = self.counts.scan(from).await?;
        Ok(Scanned {
            items: page
                .items
                .into_iter()
                .map(|record| (record.user_uuid, record.counts))
                .collect(),
            next: page.next,
        })
    }
}

/// The counts of a user, as they are stored.
#[derive(Serialize, Deserialize)]
struct CountsRecord {
    user_uuid: UserId,
    #[serde(flatten)]
    counts: Counts,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(status: &str) -> serde_json::Value {
        serde_json::json!({
            "payment_uuid": PaymentId::random(), "order_uuid": OrderId::random(), "user_uuid": UserId::random(),
            "amount": 1990, "method": "alipay", "provider": "sandbox", "subject": "x", "created_at": 1, "updated_at": 1,
            "expires_at": 2, "status": status, "ledger": {"entries": [], "refund_reserved": 0}, "version": 2,
        })
    }

    #[test]
    fn an_impossible_item_is_corrupt_and_names_its_payment() {
        for status in ["pending", "paid", "mismatch", "late_paid"] {
            let record: PaymentRecord = serde_json::from_value(item(status)).unwrap();
            let id = record.payment_uuid.to_string();
            let error = Payment::try_from(record).unwrap_err();
            assert!(matches!(error, TableError::Corrupt { .. }));
            assert!(error.to_string().contains(&id));
        }
        for status in ["created", "closed", "expired", "failed"] {
            let record: PaymentRecord = serde_json::from_value(item(status)).unwrap();
            assert!(Payment::try_from(record).is_ok());
        }
    }

    proptest! {
        /// Whichever end is read, and however the payments are spread over the lists, the pages are the whole list cut.
        #[test]
        fn pages_read_from_either_end_are_the_list_cut(lists in prop::collection::vec(0..3_usize, 0..40), size in 1..12_u32) {
            let payments: Vec<(usize, Listed)> = lists
                .iter()
                .enumerate()
                .map(|(at, list)| {
                    // Several in one millisecond.
                    let created_at = Timestamp::from_millis(i64::try_from(at / 2).unwrap());
                    (*list, Listed { payment_uuid: PaymentId::random(), created_at })
                })
                .collect();
            let mut newest_first: Vec<Listed> = payments.iter().map(|(_, listed)| *listed).collect();
            newest_first.sort_by_key(|listed| std::cmp::Reverse((listed.created_at, listed.payment_uuid)));
            for number in 1..6_u32 {
                let wanted = PageRequest::parse(Some(&number.to_string()), Some(&size.to_string()), 10).unwrap();
                let window = Window::of(wanted, payments.len());
                prop_assert!(window.read <= payments.len().div_ceil(2) + size as usize);
                let read = (0..3).flat_map(|list| {
                    let mut of_list: Vec<Listed> =
                        payments.iter().filter(|(of, _)| *of == list).map(|(_, listed)| *listed).collect();
                    of_list.sort_by_key(|listed| (listed.created_at, listed.payment_uuid));
                    if window.order == Order::Descending {
                        of_list.reverse();
                    }
                    of_list.truncate(window.read);
                    of_list
                });
                let expected: Vec<PaymentId> = newest_first
                    .iter()
                    .skip(wanted.offset())
                    .take(size as usize)
                    .map(|listed| listed.payment_uuid)
                    .collect();
                let page = if window.read == 0 { vec![] } else { window.cut(read.collect()) };
                prop_assert_eq!(page, expected);
            }
        }
    }

    #[test]
    fn both_streams_are_told_apart() {
        let payment = serde_json::from_value(item("created")).unwrap();
        assert!(matches!(payment, StreamRecord::Payment(_)));
        let refund = serde_json::from_value(serde_json::json!({
            "refund_uuid": RefundId::random(), "payment_uuid": PaymentId::random(), "order_uuid": OrderId::random(),
            "user_uuid": UserId::random(), "amount": 5, "paid": 5, "reason": "paid_twice", "provider": "sandbox",
            "created_at": 1, "updated_at": 1, "status": "requested", "attempts": 0, "next_attempt": 2, "version": 1,
        }))
        .unwrap();
        assert!(matches!(refund, StreamRecord::Refund(_)));
    }
}
