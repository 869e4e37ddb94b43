//! The JSON that leaves OrderService, the numbers that clients know for statuses and methods included.

use contracts::orders::{OrderForServices, RefundForServices, RefundStatus, Reserved};
use kernel::{BuyerId, Money, OrderId, PaymentId, ProductId, Quantity, RefundId, SellerId, Timestamp, Zone};
use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::Particulars;
use crate::error::OrderError;
use crate::order::{Line, Order, RefundOutcome, State};
use crate::statistics::Statistics;
use crate::table::PlacedOrder;

/// An order, for its buyer or seller. Times are ISO-8601 with the offset of the configured zone.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderView {
    /// The order; the same as `order_uuid`.
    pub order_id: OrderId,
    /// The order.
    pub order_uuid: OrderId,
    /// 0 pending_payment, 1 paid, 2 completed, 3 cancelled.
    #[schema(minimum = 0, maximum = 3)]
    pub status: u8,
    /// When it was placed.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// How it was paid, or is meant to be: 0 alipay, 1 wechat_pay.
    #[schema(required, minimum = 0, maximum = 1)]
    pub payment_method: Option<u8>,
    /// When it was paid.
    #[schema(required, format = DateTime)]
    pub payment_time: Option<String>,
    /// Who buys; the same as `buyer_uuid`.
    pub buyer_id: BuyerId,
    /// Who buys.
    pub buyer_uuid: BuyerId,
    /// Who sells; the same as `seller_uuid`.
    pub seller_id: SellerId,
    /// Who sells.
    pub seller_uuid: SellerId,
    /// What it costs.
    pub total_amount: Money,
    /// The buyer's word to the seller.
    pub remark: String,
    /// Why it was called off.
    #[schema(required)]
    pub cancel_reason: Option<String>,
    /// What became of money that goes back.
    #[schema(required)]
    pub refund_status: Option<RefundStatus>,
    /// Who receives it.
    pub shipping_name: String,
    /// His phone.
    pub shipping_phone: String,
    /// Where.
    pub shipping_address: String,
    /// Postal code.
    pub shipping_postal_code: String,
    /// Until when it can be paid, while it waits for that.
    #[schema(required, format = DateTime)]
    pub expires_at: Option<String>,
    /// What was ordered.
    pub products: Vec<LineView>,
}

/// One product of an order as it was when the order was placed.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineView {
    /// The product; the same as `product_uuid`.
    pub product_id: ProductId,
    /// The product.
    pub product_uuid: ProductId,
    /// Its title.
    pub product_name: String,
    /// URL or path of its main image; may be empty.
    pub product_image: String,
    /// Price of one piece.
    pub price: Money,
    /// Pieces.
    pub quantity: Quantity,
}

impl From<&Line> for LineView {
    fn from(line: &Line) -> Self {
        Self {
            product_id: line.product_uuid,
            product_uuid: line.product_uuid,
            product_name: line.title.clone(),
            product_image: line.image.clone(),
            price: line.price,
            quantity: line.quantity,
        }
    }
}

/// An order, for its buyer or seller.
#[must_use]
pub fn order(order: &Order, particulars: &Particulars, zone: Zone) -> OrderView {
    let show = |at: Timestamp| zone.show(at);
    let paid = order.paid();
    let (expires_at, cancel_reason) = match &order.state {
        State::PendingPayment { expires_at } => (Some(show(*expires_at)), None),
        State::Cancelled { reason, .. } => (None, Some(reason.clone())),
        State::Paid { .. } | State::Completed { .. } => (None, None),
    };
    OrderView {
        order_id: order.id,
        order_uuid: order.id,
        status: order.status().number(),
        created_at: show(order.placed_at),
        updated_at: show(order.updated_at),
        payment_method: paid
            .map(|paid| paid.method)
            .or(order.intended_method)
            .map(|method| method.number()),
        payment_time: paid.map(|paid| show(paid.at)),
        buyer_id: order.buyer,
        buyer_uuid: order.buyer,
        seller_id: order.seller,
        seller_uuid: order.seller,
        total_amount: order.total,
        remark: particulars.remark.as_deref().unwrap_or_default().to_owned(),
        cancel_reason,
        refund_status: order.refund_outcome().map(refund_status),
        shipping_name: particulars.shipping_name.to_string(),
        shipping_phone: particulars.shipping_phone.to_string(),
        shipping_address: particulars.shipping_address.to_string(),
        shipping_postal_code: particulars
            .shipping_postal_code
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        expires_at,
        products: order.lines.iter().map(LineView::from).collect(),
    }
}

/// An order for services, with what they compute with. It holds no personal data.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceOrderView {
    /// What the contract between services promises.
    #[serde(flatten)]
    pub order: OrderForServices,
    /// The order; the same as `order_uuid`.
    pub order_id: OrderId,
    /// Who buys; the same as `buyer_uuid`.
    pub buyer_id: BuyerId,
    /// Who sells; the same as `seller_uuid`.
    pub seller_id: SellerId,
    /// When it was placed.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The payment that paid it.
    #[schema(required)]
    pub payment_uuid: Option<PaymentId>,
    /// What became of money that goes back.
    #[schema(required)]
    pub refund_status: Option<RefundStatus>,
    /// The stock it holds.
    pub products: Vec<Reserved>,
}

/// The envelope of internal routes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceAnswer {
    /// Always true; refusals have the envelope of errors.
    pub success: bool,
    /// The order.
    pub data: ServiceAnswerData,
}

/// See [`ServiceAnswer`].
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceAnswerData {
    /// The order.
    pub order: ServiceOrderView,
}

/// The answer of internal routes.
#[must_use]
pub fn for_services(order: &Order, zone: Zone) -> ServiceAnswer {
    let payable_until = match order.state {
        State::PendingPayment { expires_at } => expires_at,
        _ => order.updated_at,
    };
    let core = OrderForServices {
        order_uuid: order.id,
        buyer_uuid: order.buyer,
        seller_uuid: order.seller,
        status: order.status().number(),
        total_amount: order.total,
        payable_until,
        title: order.summary().title,
    };
    let order = ServiceOrderView {
        order: core,
        order_id: order.id,
        buyer_id: order.buyer,
        seller_id: order.seller,
        created_at: zone.show(order.placed_at),
        payment_uuid: order.paid().map(|paid| paid.payment_uuid),
        refund_status: order.refund_outcome().map(refund_status),
        products: order.reserved(),
    };
    ServiceAnswer {
        success: true,
        data: ServiceAnswerData { order },
    }
}

/// Leads a buyer to the order that he has already. Its HTTP status is 200 on purpose: the front-end reads the code and
/// shows the payment page; a real 409 breaks it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DuplicateOrder {
    /// 409.
    pub code: u16,
    /// What happened.
    pub message: &'static str,
    /// The order there is.
    pub data: ExistingOrder,
}

/// See [`DuplicateOrder`].
#[derive(Debug, Serialize, ToSchema)]
pub struct ExistingOrder {
    /// The order; the same as `existing_order_uuid`.
    pub existing_order_id: OrderId,
    /// The order.
    pub existing_order_uuid: OrderId,
    /// Always true.
    pub redirect_to_payment: bool,
    /// Always `pending_payment`.
    pub order_status: &'static str,
}

/// See [`DuplicateOrder`].
#[must_use]
pub fn duplicate(order: OrderId) -> DuplicateOrder {
    DuplicateOrder {
        code: 409,
        message: "您已有一个包含该商品的待支付订单",
        data: ExistingOrder {
            existing_order_id: order,
            existing_order_uuid: order,
            redirect_to_payment: true,
            order_status: "pending_payment",
        },
    }
}

/// A buyer's figures: flat, and under `data` with the older names.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatisticsView {
    /// 200.
    pub code: u16,
    /// What this is.
    pub message: &'static str,
    /// The figures.
    #[serde(flatten)]
    pub figures: Statistics,
    /// Some of them again.
    pub data: OlderStatistics,
}

/// Figures by the names of the older system.
#[derive(Debug, Serialize, ToSchema)]
pub struct OlderStatistics {
    /// All orders.
    #[schema(minimum = 0)]
    pub total: i64,
    /// Those that wait for payment.
    #[schema(minimum = 0)]
    pub pending_payment: i64,
    /// Those that are paid.
    #[schema(minimum = 0)]
    pub paid: i64,
    /// Those that are completed.
    #[schema(minimum = 0)]
    pub completed: i64,
    /// Those that were called off.
    #[schema(minimum = 0)]
    pub cancelled: i64,
}

/// See [`StatisticsView`].
#[must_use]
pub fn statistics(figures: Statistics) -> StatisticsView {
    StatisticsView {
        code: 200,
        message: "订单统计",
        figures,
        data: OlderStatistics {
            total: figures.total_orders,
            pending_payment: figures.pending_payment,
            paid: figures.paid_orders,
            completed: figures.completed_orders,
            cancelled: figures.cancelled_orders,
        },
    }
}

/// An order, for administrators.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlacedOrderView {
    /// The order.
    pub order_id: OrderId,
    /// When it was placed.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// What it costs.
    pub total_amount: Money,
    /// 0 pending_payment, 1 paid, 2 completed, 3 cancelled.
    #[schema(minimum = 0, maximum = 3)]
    pub status: u8,
}

/// See [`PlacedOrderView`].
#[must_use]
pub fn placed(order: &PlacedOrder, zone: Zone) -> PlacedOrderView {
    PlacedOrderView {
        order_id: order.order_uuid,
        created_at: zone.show(order.created_at),
        total_amount: order.total,
        status: order.status.number(),
    }
}

fn refund_status(outcome: RefundOutcome) -> RefundStatus {
    match outcome {
        RefundOutcome::Pending => RefundStatus::Pending,
        RefundOutcome::Succeeded => RefundStatus::Succeeded,
        RefundOutcome::NeedsAttention => RefundStatus::NeedsAttention,
    }
}

/// A refund of an order, for a service.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundFound {
    success: bool,
    data: RefundOfOrder,
}

#[derive(Debug, Serialize, ToSchema)]
struct RefundOfOrder {
    refund: RefundForServices,
}

/// The refund `refund` of an order that has it, for a service.
///
/// # Errors
/// [`OrderError::NotFound`] when it has none of that name.
pub fn refund_for_services(order: &Order, refund: RefundId) -> Result<RefundFound, OrderError> {
    let refund = order.refund_named(refund).ok_or(OrderError::NotFound)?;
    Ok(RefundFound {
        success: true,
        data: RefundOfOrder {
            refund: RefundForServices {
                refund_uuid: refund.refund_uuid,
                order_uuid: order.id,
                amount: refund.amount,
                refund_status: refund_status(refund.outcome),
            },
        },
    })
}
