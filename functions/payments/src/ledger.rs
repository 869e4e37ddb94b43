//! The ledger of one payment: append-only entries that say where its money is.
//!
//! Money that comes is held (+). It leaves either to the seller (released, -) or to the buyer (refunded, -). Once
//! everything has left, the entries sum to zero.

use kernel::money::MoneyError;
use kernel::{Money, RefundId, Timestamp};
use serde::{Deserialize, Serialize};

/// What an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Came from the buyer.
    Held,
    /// Is the seller's now.
    Released,
    /// Went back to the buyer.
    Refunded,
}

/// One movement of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which way.
    pub kind: EntryKind,
    /// How much.
    #[serde(with = "kernel::money::fen")]
    pub amount: Money,
    /// When.
    pub at: Timestamp,
    /// By which refund, where it went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_uuid: Option<RefundId>,
}

/// All movements of one payment's money, and how much of it is promised to refunds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    entries: Vec<Entry>,
    #[serde(with = "kernel::money::fen")]
    refund_reserved: Money,
}

/// A movement that the money there is does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// More is to go back than is left of what came.
    #[error("only {left} of this payment is left to give back")]
    NotEnough {
        /// What is left.
        left: Money,
    },
    /// A refund that nothing was reserved for.
    #[error("nothing is reserved for this refund")]
    NotReserved,
    /// Sums beyond what money can be, or below zero.
    #[error("the ledger does not add up: {0}")]
    Sum(#[from] MoneyError),
}

impl Ledger {
    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What came.
    ///
    /// # Errors
    /// [`LedgerError::Sum`].
    pub fn captured(&self) -> Result<Money, LedgerError> {
        self.sum(EntryKind::Held)
    }

    /// What went back.
    ///
    /// # Errors
    /// [`LedgerError::Sum`].
    pub fn refunded(&self) -> Result<Money, LedgerError> {
        self.sum(EntryKind::Refunded)
    }

    /// What is still here: held, and neither released nor refunded. It is never negative.
    ///
    /// # Errors
    /// [`LedgerError::Sum`].
    pub fn balance(&self) -> Result<Money, LedgerError> {
        let left = self.sum(EntryKind::Released)?.checked_add(self.refunded()?)?;
        Ok(self.captured()?.checked_sub(left)?)
    }

    /// What may still be promised: held, not released, not reserved for a refund.
    ///
    /// # Errors
    /// [`LedgerError::Sum`].
    pub fn uncommitted(&self) -> Result<Money, LedgerError> {
        let committed = self.sum(EntryKind::Released)?.checked_add(self.refund_reserved)?;
        Ok(self.captured()?.checked_sub(committed)?)
    }

    /// Money that came.
    #[must_use]
    pub fn hold(&self, amount: Money, at: Timestamp) -> Self {
        self.with(Entry {
            kind: EntryKind::Held,
            amount,
            at,
            refund_uuid: None,
        })
    }

    /// Promises `amount` to a refund, so that all refunds together never exceed what came.
    ///
    /// # Errors
    /// [`LedgerError::NotEnough`].
    pub fn reserve(&self, amount: Money) -> Result<Self, LedgerError> {
        let left = self.uncommitted()?;
        if amount > left {
            return Err(LedgerError::NotEnough { left });
        }
        Ok(Self {
            refund_reserved: self.refund_reserved.checked_add(amount)?,
            entries: self.entries.clone(),
        })
    }

    /// A refund went out. `None`: its entry is here already.
    ///
    /// # Errors
    /// [`LedgerError::NotReserved`].
    pub fn refund(&self, refund: RefundId, amount: Money, at: Timestamp) -> Result<Option<Self>, LedgerError> {
        if self.entries.iter().any(|entry| entry.refund_uuid == Some(refund)) {
            return Ok(None);
        }
        if self.refunded()?.checked_add(amount)? > self.refund_reserved {
            return Err(LedgerError::NotReserved);
        }
        Ok(Some(self.with(Entry {
            kind: EntryKind::Refunded,
            amount,
            at,
            refund_uuid: Some(refund),
        })))
    }

    /// Releases `amount` to the seller: what the order left him. `None`: that is done, or nothing is his.
    ///
    /// The order divides the money, and its refunds may still be on their way here: releasing whatever is not promised yet
    /// would give the seller what goes back to the buyer.
    ///
    /// # Errors
    /// [`LedgerError::NotEnough`].
    pub fn release(&self, amount: Money, at: Timestamp) -> Result<Option<Self>, LedgerError> {
        if amount.is_zero() || self.entries.iter().any(|entry| entry.kind == EntryKind::Released) {
            return Ok(None);
        }
        let left = self.uncommitted()?;
        if amount > left {
            return Err(LedgerError::NotEnough { left });
        }
        Ok(Some(self.with(Entry {
            kind: EntryKind::Released,
            amount,
            at,
            refund_uuid: None,
        })))
    }

    fn with(&self, entry: Entry) -> Self {
        let mut ledger = self.clone();
        ledger.entries.push(entry);
        ledger
    }

    fn sum(&self, kind: EntryKind) -> Result<Money, LedgerError> {
        let mut amounts = self
            .entries
            .iter()
            .filter(|entry| entry.kind == kind)
            .map(|entry| entry.amount);
        Ok(amounts.try_fold(Money::ZERO, Money::checked_add)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1);

    fn fen(fen: i64) -> Money {
        Money::from_fen(fen).unwrap()
    }

    #[test]
    fn refunds_never_exceed_what_came() {
        let ledger = Ledger::default().hold(fen(100), AT).reserve(fen(60)).unwrap();
        assert_eq!(ledger.reserve(fen(41)), Err(LedgerError::NotEnough { left: fen(40) }));
        assert!(Ledger::default().reserve(fen(1)).is_err());
    }

    #[test]
    fn a_refund_is_entered_once_and_only_if_reserved() {
        let refund = RefundId::random();
        let ledger = Ledger::default().hold(fen(100), AT).reserve(fen(60)).unwrap();
        assert_eq!(ledger.refund(refund, fen(61), AT), Err(LedgerError::NotReserved));
        let ledger = ledger.refund(refund, fen(60), AT).unwrap().unwrap();
        assert_eq!(ledger.refund(refund, fen(60), AT), Ok(None));
        assert_eq!(ledger.balance(), Ok(fen(40)));
    }

    #[test]
    fn money_is_released_once_and_never_what_a_refund_was_promised() {
        let ledger = Ledger::default().hold(fen(100), AT).reserve(fen(60)).unwrap();
        assert_eq!(
            ledger.release(fen(41), AT),
            Err(LedgerError::NotEnough { left: fen(40) })
        );
        let ledger = ledger.release(fen(40), AT).unwrap().unwrap();
        assert_eq!(ledger.balance(), Ok(fen(60)));
        assert_eq!(ledger.release(fen(40), AT), Ok(None));
        assert_eq!(Ledger::default().hold(fen(1), AT).release(fen(0), AT), Ok(None));
    }

    proptest! {
        /// However an order divides its money, and in whatever order its refunds and the release come here: none is
        /// refused, and in the end the entries sum to zero.
        #[test]
        fn every_division_of_the_money_works_out_in_every_order(
            parts in proptest::collection::vec(1..500_i64, 1..8),
            to_seller in 0..500_i64,
            order in Just((0..24_usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut ledger = Ledger::default().hold(fen(parts.iter().sum::<i64>() + to_seller), AT);
            let refunds: Vec<_> = parts.iter().map(|part| (RefundId::random(), fen(*part))).collect();
            let mut requested = vec![false; refunds.len()];
            for step in order {
                let (refund, kind) = (step % 8, step / 8);
                match (refunds.get(refund), kind) {
                    (Some((id, amount)), 0 | 1) if !requested[refund] => {
                        ledger = ledger.reserve(*amount).unwrap();
                        requested[refund] = true;
                        if kind == 1 {
                            ledger = ledger.refund(*id, *amount, AT).unwrap().unwrap();
                        }
                    }
                    (Some((id, amount)), 0 | 1) => {
                        ledger = ledger.refund(*id, *amount, AT).unwrap().unwrap_or(ledger);
                    }
                    (_, 2) => ledger = ledger.release(fen(to_seller), AT).unwrap().unwrap_or(ledger),
                    _ => {}
                }
                prop_assert!(ledger.refunded().unwrap() <= ledger.captured().unwrap());
                prop_assert!(ledger.uncommitted().is_ok());
            }
            for (id, amount) in refunds {
                ledger = ledger.refund(id, amount, AT).unwrap().unwrap_or(ledger);
            }
            prop_assert_eq!(ledger.balance(), Ok(Money::ZERO));
        }
    }
}
