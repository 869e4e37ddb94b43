//! Claims: a buyer has at most one pending order for a product, however many requests race.
//!
//! Before anything is reserved, create-order claims (buyer, product) for its order. Whoever finds the claim taken learns
//! which order has it. A claim needs no release to be correct: it counts only while its order waits for payment, or was
//! claimed so recently that its order may be about to be stored; everybody else may take it over.

use std::time::Duration;

use cloud::{Cloud, StartError};
use kernel::{BuyerId, OrderId, ProductId, Timestamp};
use serde::{Deserialize, Serialize};
use tables::{Key, Table, TableError, Transaction, Update};

use crate::error::OrderError;
use crate::order::Order;

/// Longer than create-order may run (template.yaml): after that, a claim without an order is of one that never came.
pub const IN_FLIGHT: Duration = Duration::from_secs(10);
/// After that the table may forget the claim: no order waits longer than half an hour for its payment.
const KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// A claim that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// The product.
    pub product_uuid: ProductId,
    /// The order that has it.
    pub order_uuid: OrderId,
    /// Since when.
    pub claimed_at: Timestamp,
}

/// The table of claims.
#[derive(Debug, Clone)]
pub struct Claims {
    table: Table,
}

impl Claims {
    /// Reads `PENDING_CLAIMS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            table: Table::from_env(cloud, "PENDING_CLAIMS_TABLE")?,
        })
    }

    /// Claims all `products` for `order`, or none. Claims of the orders in `stale` are taken over. `false`: one of the
    /// products is claimed by another order.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn take(
        &self,
        buyer: BuyerId,
        products: &[ProductId],
        order: OrderId,
        stale: &[Claim],
        now: Timestamp,
    ) -> Result<bool, OrderError> {
        let mut updates = products.iter().map(|product| {
            let over = stale
                .iter()
                .find(|claim| claim.product_uuid == *product)
                .map_or(order, |claim| claim.order_uuid);
            Update::new(
                key(buyer, *product),
                "SET order_uuid = :order, claimed_at = :now, expires_at = :forget",
                "attribute_not_exists(order_uuid) OR order_uuid = :order OR order_uuid = :stale",
            )
            .text(":order", order)
            .text(":stale", over)
            .number(":now", now.millis())
            .number(":forget", now.plus(KEPT).seconds())
        });
        let taken = match (updates.next(), products.len()) {
            (Some(only), 1) => self.table.update(only).await,
            (first, _) => {
                let all = first.into_iter().chain(updates);
                all.fold(Transaction::new(), |all, update| all.update(&self.table, update))
                    .commit()
                    .await
            }
        };
        match taken {
            Ok(()) => Ok(true),
            Err(TableError::ConditionFailed | TableError::TransactionRefused { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The claims of other orders than `order` on `products`.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn in_the_way(
        &self,
        buyer: BuyerId,
        products: &[ProductId],
        order: OrderId,
    ) -> Result<Vec<Claim>, OrderError> {
        let keys = products.iter().map(|product| key(buyer, *product)).collect();
        let mut claims: Vec<Claim> = self.table.find_all(keys).await?;
        claims.retain(|claim| claim.order_uuid != order);
        Ok(claims)
    }

    /// Gives up the claims of `order`, so that the buyer need not wait until they are seen to be stale. Not giving them
    /// up is harmless, so a failure is only logged.
    pub async fn give_up(&self, buyer: BuyerId, products: &[ProductId], order: OrderId) {
        for product in products {
            match self.table.delete_if(&key(buyer, *product), "order_uuid", order).await {
                Ok(()) | Err(TableError::ConditionFailed) => {}
                Err(error) => tracing::warn!(%order, cause = %error, "a claim stays until it is seen to be stale"),
            }
        }
    }
}

/// The claim of an imported order on one of its products.
pub(crate) fn imported(order: &Order, product: ProductId) -> (Key, ClaimRow) {
    let row = ClaimRow {
        buyer_uuid: order.buyer,
        product_uuid: product,
        order_uuid: order.id,
        claimed_at: order.placed_at,
        expires_at: order.due_at().unwrap_or(order.placed_at).plus(KEPT).seconds(),
    };
    (key(order.buyer, product), row)
}

/// A claim as it is stored.
#[derive(Debug, Serialize)]
pub(crate) struct ClaimRow {
    buyer_uuid: BuyerId,
    product_uuid: ProductId,
    order_uuid: OrderId,
    claimed_at: Timestamp,
    /// Seconds, as the table's time to live counts.
    expires_at: i64,
}

fn key(buyer: BuyerId, product: ProductId) -> Key {
    Key::of("buyer_uuid", buyer).and("product_uuid", product)
}
