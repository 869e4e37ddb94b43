//! The figures behind a user's order statistics.

use std::time::Duration;

use kernel::{Money, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use crate::status::Status;
use crate::table::ListedOrder;

/// What counts as recent: 30 days.
const RECENT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Counts and sums over a buyer's orders. Amounts count what was paid and not given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    total_orders: usize,
    pending_payment: usize,
    paid_orders: usize,
    completed_orders: usize,
    cancelled_orders: usize,
    total_amount: Money,
    recent_orders: usize,
    recent_amount: Money,
}

impl Statistics {
    /// The figures of `orders` at the time `now`.
    #[must_use]
    pub fn of(orders: &[ListedOrder], now: Timestamp) -> Self {
        let mut figures = Self::default();
        for order in orders {
            let recent = now.since(order.placed_at) <= RECENT;
            figures.total_orders += 1;
            figures.recent_orders += usize::from(recent);
            let counter = match order.status {
                Status::PendingPayment => &mut figures.pending_payment,
                Status::Paid => &mut figures.paid_orders,
                Status::Completed => &mut figures.completed_orders,
                Status::Cancelled => &mut figures.cancelled_orders,
            };
            *counter += 1;
            if matches!(order.status, Status::Paid | Status::Completed) {
                // Beyond what one amount can be, the figure stays at the largest one.
                figures.total_amount = figures.total_amount.checked_add(order.total).unwrap_or(Money::MAX);
                if recent {
                    figures.recent_amount = figures.recent_amount.checked_add(order.total).unwrap_or(Money::MAX);
                }
            }
        }
        figures
    }

    /// The answer: flat, and under `data` with the older names.
    #[must_use]
    pub fn view(&self) -> Value {
        json!({
            "code": 200,
            "message": "订单统计",
            "total_orders": self.total_orders,
            "pending_payment": self.pending_payment,
            "paid_orders": self.paid_orders,
            "completed_orders": self.completed_orders,
            "cancelled_orders": self.cancelled_orders,
            "total_amount": self.total_amount,
            "recent_orders": self.recent_orders,
            "recent_amount": self.recent_amount,
            "data": {
                "total": self.total_orders,
                "pending_payment": self.pending_payment,
                "paid": self.paid_orders,
                "completed": self.completed_orders,
                "cancelled": self.cancelled_orders,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use kernel::OrderId;

    use super::*;

    #[test]
    fn only_money_that_was_kept_counts() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let listed = |status, total: &str, age: u64| ListedOrder {
            id: OrderId::random(),
            status,
            total: total.parse().unwrap(),
            placed_at: now.minus(Duration::from_secs(age * 24 * 60 * 60)),
        };
        let figures = Statistics::of(
            &[
                listed(Status::Paid, "10.00", 1),
                listed(Status::Completed, "5.50", 40),
                listed(Status::Cancelled, "99.00", 1),
                listed(Status::PendingPayment, "1.00", 1),
            ],
            now,
        );
        assert_eq!(figures.total_amount.to_string(), "15.50");
        assert_eq!(figures.recent_amount.to_string(), "10.00");
        assert_eq!(
            (figures.total_orders, figures.recent_orders, figures.pending_payment),
            (4, 3, 1)
        );
    }
}
