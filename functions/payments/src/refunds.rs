//! Refunds at their providers: asking for them, asking about them, entering them in the ledger.

use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::payments::RefundReason;
use kernel::{Money, PaymentId, RefundId, Timestamp};

use crate::error::PaymentError;
use crate::ledger::LedgerError;
use crate::provider::{RefundObservation, Refunding};
use crate::providers::Providers;
use crate::refund::{Refund, RefundDecision, RefundStatus};
use crate::table::WriteRefunds;

/// Gives money back.
#[derive(Debug)]
pub struct Refunds {
    table: WriteRefunds,
    providers: Arc<Providers>,
}

/// A wish to give money back.
#[derive(Debug, Clone, Copy)]
pub struct RefundWish {
    /// The refund, as the requester names it.
    pub id: RefundId,
    /// The payment to take it from.
    pub payment: PaymentId,
    /// How much.
    pub amount: Money,
    /// Why.
    pub reason: RefundReason,
}

/// How often a change is decided anew when others keep changing the same refund or payment.
const ATTEMPTS: usize = 8;

impl Refunds {
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
            table: WriteRefunds::from_env(cloud)?,
            providers,
        })
    }

    /// Makes the refund that is wished for, or goes on with it where an earlier attempt stopped. `None`: the payment's
    /// money is promised to other refunds already, nothing is left to do.
    ///
    /// # Errors
    /// [`PaymentError::NotFound`], [`PaymentError::NothingCaptured`], [`PaymentError::Provider`]: whether it was made is
    /// not known, wish again.
    pub async fn make(&self, wish: &RefundWish, now: Timestamp) -> Result<Option<Refund>, PaymentError> {
        if let Some(refund) = self.table.find(wish.id).await? {
            return self.go_on(refund, now).await.map(Some);
        }
        for _ in 0..ATTEMPTS {
            let payment = self.table.payment(wish.payment).await?.ok_or(PaymentError::NotFound)?;
            let paid = payment.ledger.captured()?;
            if paid.is_zero() {
                return Err(PaymentError::NothingCaptured(payment.id));
            }
            let reserved = match payment.reserve_refund(wish.amount, now) {
                Ok(reserved) => reserved,
                Err(LedgerError::NotEnough { left }) => {
                    // Another worker may have stored this very refund since it was looked for.
                    if let Some(refund) = self.table.find(wish.id).await? {
                        return self.go_on(refund, now).await.map(Some);
                    }
                    tracing::error!(
                        refund = %wish.id, payment = %payment.id, amount = %wish.amount, %left,
                        "not enough is left of the payment; no money moves"
                    );
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            let refund = Refund {
                id: wish.id,
                payment: payment.id,
                order: payment.order,
                user: payment.user,
                amount: wish.amount,
                paid,
                reason: wish.reason,
                provider: payment.provider,
                created_at: now,
                updated_at: now,
                status: RefundStatus::Requested,
                remark: None,
                attempts: 0,
                next_attempt: Refund::first_deadline(now),
                version: 1,
            };
            if self.table.begin(&refund, &reserved).await? {
                let answer = self.providers.named(refund.provider)?.refund(&refund).await;
                return self.answered(refund, &answer, now).await.map(Some);
            }
            if let Some(refund) = self.table.find(wish.id).await? {
                return self.go_on(refund, now).await.map(Some);
            }
        }
        Err(PaymentError::ChangedMeanwhile(wish.payment))
    }

    /// What time alone does to an open refund: the provider is asked about it, and for it if it does not know it.
    ///
    /// # Errors
    /// [`PaymentError::Provider`]: it is due again later.
    pub async fn reconcile(&self, id: RefundId, now: Timestamp) -> Result<(), PaymentError> {
        match self.table.find(id).await? {
            Some(refund) if refund.due_at().is_some_and(|due| due <= now) => self.go_on(refund, now).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// What a provider's callback says of a refund. It may know of refunds that a person made there; those are not ours.
    ///
    /// # Errors
    /// [`PaymentError::NotFound`], [`PaymentError::Provider`], [`PaymentError::Table`]: the provider should say it again.
    pub async fn hear(&self, seen: &RefundObservation, now: Timestamp) -> Result<(), PaymentError> {
        let known = match seen.refund {
            Some(id) => self.table.find(id).await?,
            None => None,
        };
        let Some(refund) = known.filter(|refund| refund.payment == seen.payment) else {
            tracing::error!(payment = %seen.payment, "a provider speaks of a refund that is not ours; a person has to look");
            return Ok(());
        };
        let answer = match &seen.outcome {
            None => return self.go_on(refund, now).await.map(|_| ()),
            Some(_) if seen.amount.is_some_and(|amount| amount != refund.amount) => {
                Refunding::Rejected("the provider speaks of another amount".into())
            }
            Some(outcome) => outcome.clone(),
        };
        self.answered(refund, &answer, now).await.map(|_| ())
    }

    /// A refund that is stored may have been made already: its provider is asked before it is told anything. Where it gives
    /// no clear answer, it is told again: under the same number that is the same refund.
    async fn go_on(&self, refund: Refund, now: Timestamp) -> Result<Refund, PaymentError> {
        if !refund.status.is_open() {
            return Ok(refund);
        }
        let provider = self.providers.named(refund.provider)?;
        let answer = match provider.query_refund(&refund).await {
            Refunding::NotFound | Refunding::Unknown(_) => provider.refund(&refund).await,
            known => known,
        };
        self.answered(refund, &answer, now).await
    }

    /// Stores what the provider answered. A refund that went out is entered in the payment's ledger in the same
    /// transaction.
    async fn answered(&self, refund: Refund, answer: &Refunding, now: Timestamp) -> Result<Refund, PaymentError> {
        let id = refund.id;
        let mut refund = refund;
        for _ in 0..ATTEMPTS {
            let next = match refund.answered(answer, now) {
                RefundDecision::Becomes(next) => *next,
                RefundDecision::NothingToDo => return Ok(refund),
                RefundDecision::Contradicts => {
                    tracing::error!(refund = %id, "the provider contradicts what is known; a person has to look");
                    return Ok(refund);
                }
            };
            let stored = match next.status {
                RefundStatus::Succeeded => {
                    let payment = self.table.payment(next.payment).await?.ok_or(PaymentError::NotFound)?;
                    match payment.refunded(next.id, next.amount, now)? {
                        Some(payment) => self.table.settle(&next, &payment).await?,
                        None => self.table.replace(&next).await?,
                    }
                }
                _ => self.table.replace(&next).await?,
            };
            if stored {
                if next.status == RefundStatus::NeedsHuman {
                    tracing::error!(refund = %id, remark = next.remark, "a refund was refused; a person has to see to it");
                }
                return match answer {
                    Refunding::Unknown(silence) if next.status.is_open() => Err(silence.clone().into()),
                    _ => Ok(next),
                };
            }
            refund = self.table.find(id).await?.ok_or(PaymentError::NotFound)?;
        }
        Err(PaymentError::ChangedMeanwhile(refund.payment))
    }
}
