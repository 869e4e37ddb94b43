//! What is known about all attempts to pay one order: which one is live, which paid. It is changed together with the
//! attempt, in one transaction, and so makes sure that an order has one live attempt, however many requests race.

use kernel::{OrderId, PaymentId, UserId};

/// The head of an order's attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The order.
    pub order: OrderId,
    /// Its buyer.
    pub user: UserId,
    /// The attempt that keeps others from being opened.
    pub live: Option<PaymentId>,
    /// The attempt opened last.
    pub latest: PaymentId,
    /// Attempts that paid the order.
    pub paid: Vec<PaymentId>,
    /// How many attempts there were.
    pub attempts: u32,
    /// Counts the changes, from 1.
    pub version: u64,
}

impl Head {
    /// The head once `payment` is opened for the order of `user`, after the attempts of `before`.
    #[must_use]
    pub fn with_attempt(before: Option<&Self>, order: OrderId, user: UserId, payment: PaymentId) -> Self {
        Self {
            order,
            user,
            live: Some(payment),
            latest: payment,
            paid: before.map(|head| head.paid.clone()).unwrap_or_default(),
            attempts: before.map_or(0, |head| head.attempts).saturating_add(1),
            version: before.map_or(0, |head| head.version) + 1,
        }
    }

    /// The head once `payment` does not occupy the order any more.
    #[must_use]
    pub fn without(&self, payment: PaymentId, paid: bool) -> Self {
        let mut head = self.clone();
        head.live = self.live.filter(|live| *live != payment);
        if paid && !head.paid.contains(&payment) {
            head.paid.push(payment);
        }
        head.version += 1;
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_ends_makes_room_for_the_next() {
        let (order, user) = (OrderId::random(), UserId::random());
        let (first, second) = (PaymentId::random(), PaymentId::random());
        let head = Head::with_attempt(None, order, user, first).without(first, false);
        assert_eq!((head.live, head.latest, head.version), (None, first, 2));
        let head = Head::with_attempt(Some(&head), order, user, second);
        assert_eq!((head.live, head.latest, head.attempts), (Some(second), second, 2));
        let head = head.without(second, true);
        assert_eq!((head.live, head.paid.as_slice()), (None, [second].as_slice()));
    }
}
