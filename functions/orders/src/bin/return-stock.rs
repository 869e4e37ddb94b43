//! `OrderCancelled`: what the order had reserved goes back on sale.
//!
//! ProductService is asked until it has done it; asking again changes nothing.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::OrderEvent;
use event_function::Delivery;
use orders::catalogue::Catalogue;
use orders::error::OrderError;
use service_client::Services;

struct Desk {
    catalogue: Catalogue,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            catalogue: Catalogue::new(Services::from_env(&cloud).await?),
        })
    }
}

fn main() -> ExitCode {
    event_function::open_queue(Desk::from_env, return_stock)
}

async fn return_stock(desk: Arc<Desk>, delivery: Delivery<OrderEvent>) -> Result<(), OrderError> {
    let OrderEvent::OrderCancelled { order, products, .. } = delivery.event.event else {
        // The subscription lets only cancellations through.
        return Ok(());
    };
    for held in products {
        desk.catalogue
            .restore(order.order_uuid, held.product_uuid, held.quantity)
            .await?;
    }
    Ok(())
}
