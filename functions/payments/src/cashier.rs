//! Payments at their providers: opening, asking, closing, and the one path by which what a provider says becomes state.

use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::orders::OrderForServices;
use contracts::payments::PaymentMethod;
use kernel::{Money, PaymentId, Timestamp, UserId};

use crate::error::PaymentError;
use crate::head::Head;
use crate::ledger::Ledger;
use crate::payment::{Decision, Ending, Payment, State};
use crate::provider::{Channel, Closing, Making, Observation, Payer, Provider, ProviderName, Queried};
use crate::providers::Providers;
use crate::status::Status;
use crate::table::WritePayments;

/// Takes payments.
#[derive(Debug)]
pub struct Cashier {
    payments: WritePayments,
    providers: Arc<Providers>,
}

/// A wish to pay an order.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Id of the attempt, if one has to be opened.
    pub id: PaymentId,
    /// Fingerprint of the request, if it may be repeated.
    pub fingerprint: Option<String>,
    /// Who pays.
    pub user: UserId,
    /// What.
    pub order: OrderForServices,
    /// How.
    pub method: PaymentMethod,
    /// Where he wants to meet the provider.
    pub channel: Channel,
    /// What the provider wants to know of him.
    pub payer: Payer,
}

/// How often opening an attempt is decided anew when others keep opening and closing attempts for the same order.
const ATTEMPTS: usize = 5;

impl Cashier {
    /// Reads the settings of tables and providers.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Self::with(cloud, Arc::new(Providers::from_env(cloud).await?))
    }

    /// The same at providers that are there already.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn with(cloud: &Cloud, providers: Arc<Providers>) -> Result<Self, StartError> {
        Ok(Self {
            payments: WritePayments::from_env(cloud)?,
            providers,
        })
    }

    /// The tables.
    #[must_use]
    pub fn payments(&self) -> &WritePayments {
        &self.payments
    }

    /// The providers.
    #[must_use]
    pub fn providers(&self) -> &Arc<Providers> {
        &self.providers
    }

    /// The live attempt to pay the order in the way wished for: the one there is, or a new one once an attempt in another
    /// way is closed. `head` is what was known of the order's attempts. Says whether it is new.
    ///
    /// # Errors
    /// [`PaymentError::AlreadyPaid`], [`PaymentError::UnderReview`], [`PaymentError::Provider`],
    /// [`PaymentError::ChangedMeanwhile`].
    pub async fn attempt(
        &self,
        wish: &Wish,
        provider: &dyn Provider,
        head: Option<Head>,
        now: Timestamp,
    ) -> Result<(Payment, bool), PaymentError> {
        let order = wish.order.order_uuid;
        let mut head = head;
        for _ in 0..ATTEMPTS {
            if head.as_ref().is_some_and(|head| !head.paid.is_empty()) {
                return Err(PaymentError::AlreadyPaid(order));
            }
            match head.as_ref().and_then(|head| head.live) {
                Some(live) => {
                    if let Some(live) = self.payments.read().find(live).await?
                        && let Some(same) = self.settle_live(wish, live, now).await?
                    {
                        return Ok((same, false));
                    }
                }
                None => {
                    let payment = new_payment(wish, provider.name(), now);
                    let payment = match provider.ready_offer(&payment) {
                        Some(offer) => payment.with_offer(offer, now),
                        None => payment,
                    };
                    if self.payments.begin(&payment, head.as_ref()).await? {
                        let offered = self.offer(payment, &wish.payer, now).await?;
                        if offered.status().is_open() {
                            return Ok((offered, true));
                        }
                    }
                }
            }
            head = self.payments.read().head(order).await?;
        }
        Err(PaymentError::ChangedMeanwhile(wish.id))
    }

    /// The live attempt if it is what is wished for; otherwise it is closed, to make room.
    async fn settle_live(&self, wish: &Wish, live: Payment, now: Timestamp) -> Result<Option<Payment>, PaymentError> {
        let status = live.status();
        if status == Status::Mismatch {
            return Err(PaymentError::UnderReview(live.id));
        }
        if !status.is_open() {
            return Ok(None);
        }
        if (live.method, live.channel) == (wish.method, wish.channel) {
            // Two requests with one key but different bodies met here; the later one has not seen the earlier one stored.
            if live.id == wish.id && live.fingerprint != wish.fingerprint {
                return Err(PaymentError::KeyReused);
            }
            let offered = self.offer(live, &wish.payer, now).await?;
            return Ok(Some(offered).filter(|payment| payment.status().is_open()));
        }
        match self.close(live, now).await?.status() {
            Status::Paid => Err(PaymentError::AlreadyPaid(wish.order.order_uuid)),
            _ => Ok(None),
        }
    }

    /// Gets the provider's offer for a payment that has none yet, or none that is still good, also when asking for it was cut
    /// off earlier.
    ///
    /// Look at the status of what comes back: the trade may have been paid or closed since.
    ///
    /// # Errors
    /// [`PaymentError::Provider`]: the payment stays, the next request asks again under the same number.
    /// [`PaymentError::Refused`]: the provider does not take it; the payment failed.
    pub async fn offer(&self, payment: Payment, payer: &Payer, now: Timestamp) -> Result<Payment, PaymentError> {
        let provider = self.providers.named(payment.provider)?;
        let lasts = provider.offers_last(payment.channel);
        match payment.status() {
            Status::Created => {}
            Status::Pending if !lasts => {}
            _ => return Ok(payment),
        }
        let id = payment.id;
        match provider.create(&payment, payer).await {
            Making::Offered(offer) => {
                self.payments
                    .change(id, |payment| {
                        Ok(match lasts {
                            true => payment.offered(offer.clone(), now),
                            false => payment.offered_anew(offer.clone(), now),
                        })
                    })
                    .await
            }
            Making::AlreadyPaid => self.query(payment, now).await,
            Making::Closed => self.end(id, Ending::ClosedThere, now).await,
            Making::Rejected(reason) => {
                tracing::error!(payment = %id, provider = ?payment.provider, reason, "the provider refuses a payment");
                // Another request may have had an offer meanwhile: what it was offered can be paid.
                let settled = self.payments.change(id, |payment| Ok(payment.refused(now))).await?;
                match settled.status() {
                    Status::Failed => Err(PaymentError::Refused(id)),
                    _ => Ok(settled),
                }
            }
            Making::Unknown(silence) => Err(silence.into()),
        }
    }

    async fn end(&self, id: PaymentId, ending: Ending, now: Timestamp) -> Result<Payment, PaymentError> {
        self.payments.change(id, |payment| Ok(payment.ended(ending, now))).await
    }

    /// The one path from what was seen at a provider to what is stored. Seeing the same again changes nothing.
    ///
    /// # Errors
    /// [`PaymentError::NotFound`] for a trade that is not ours; [`PaymentError::Table`].
    pub async fn apply(&self, seen: &Observation, now: Timestamp) -> Result<Payment, PaymentError> {
        let payment = self
            .payments
            .change(seen.payment, |payment| Ok(payment.observed(seen, now)))
            .await?;
        if payment.status() == Status::Mismatch {
            tracing::error!(payment = %payment.id, order = %payment.order, "money came that does not match; a person decides");
        }
        Ok(payment)
    }

    /// Asks the provider about a payment and applies the answer.
    ///
    /// # Errors
    /// [`PaymentError::Provider`].
    pub async fn query(&self, payment: Payment, now: Timestamp) -> Result<Payment, PaymentError> {
        match self.providers.named(payment.provider)?.query(&payment).await {
            Queried::Found(seen) => self.apply(&seen, now).await,
            Queried::NotFound => Ok(payment),
            Queried::Unknown(silence) => Err(silence.into()),
        }
    }

    /// Ends an open payment: first at its provider, then here. If it is paid there, that is applied instead. Look at the
    /// status of what comes back.
    ///
    /// # Errors
    /// [`PaymentError::Provider`]: nothing changed.
    pub async fn close(&self, payment: Payment, now: Timestamp) -> Result<Payment, PaymentError> {
        if !payment.status().is_open() {
            return Ok(payment);
        }
        match self.providers.named(payment.provider)?.close(&payment).await {
            Closing::Closed => self.end(payment.id, Ending::ClosedThere, now).await,
            // It may learn of the trade yet: money that comes then is late and goes back.
            Closing::NotFound => self.end(payment.id, Ending::NotKnownThere, now).await,
            Closing::AlreadyPaid => self.query(payment, now).await,
            Closing::Unknown(silence) => Err(silence.into()),
        }
    }

    /// What time alone does to a payment: a question in case the callback was lost, the end when it is overdue, and a last
    /// look afterwards where money could still come.
    ///
    /// # Errors
    /// [`PaymentError::Provider`]: it stays due.
    pub async fn reconcile(&self, id: PaymentId, now: Timestamp) -> Result<(), PaymentError> {
        let Some(payment) = self.payments.read().find(id).await? else {
            return Ok(());
        };
        // The index may lag behind.
        if payment.due_at().is_none_or(|due| due > now) {
            return Ok(());
        }
        let payment = match self.query(payment.clone(), now).await {
            // Closing asks as well: a provider that only refuses to speak of a trade may still close it.
            Err(PaymentError::Provider(silence)) if payment.status().is_open() && payment.is_overdue(now) => {
                tracing::warn!(payment = %id, cause = %silence, "an overdue payment is closed without an answer about it");
                payment
            }
            answered => answered?,
        };
        match payment.status().is_open() {
            true if payment.is_overdue(now) => self.close(payment, now).await?,
            true => self.payments.change(id, |payment| Ok(payment.checked(now))).await?,
            false => self.payments.change(id, |payment| Ok(payment.looked(now))).await?,
        };
        Ok(())
    }

    /// The order completed: so much of what this payment holds is the seller's.
    ///
    /// # Errors
    /// [`PaymentError::NotFound`], [`PaymentError::Ledger`], [`PaymentError::Table`].
    pub async fn release(&self, id: PaymentId, amount: Money, now: Timestamp) -> Result<Payment, PaymentError> {
        self.payments
            .change(id, |payment: &Payment| -> Result<Decision, PaymentError> {
                Ok(payment.released(amount, now)?)
            })
            .await
    }
}

fn new_payment(wish: &Wish, provider: ProviderName, now: Timestamp) -> Payment {
    Payment {
        id: wish.id,
        order: wish.order.order_uuid,
        user: wish.user,
        amount: wish.order.total_amount,
        method: wish.method,
        channel: wish.channel,
        provider,
        subject: wish.order.title.clone(),
        created_at: now,
        updated_at: now,
        expires_at: wish.order.payable_until,
        state: State::Created,
        ledger: Ledger::default(),
        checks: 0,
        fingerprint: wish.fingerprint.clone(),
        version: 1,
    }
}
