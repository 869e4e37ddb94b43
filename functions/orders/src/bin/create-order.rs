//! `POST /api/orders`: a buyer orders products of one seller.
//!
//! Three round trips one after the other: look (products, claims, and an earlier order of the same `Idempotency-Key`, all
//! at once), reserve and ask SecurityService, put. `OrderCreated` is announced by the table's stream, not from here.
//!
//! A crash between the steps loses nothing: a claim without an order is taken over, a reservation without an order is
//! freed by ProductService when its lease ends, and the same `Idempotency-Key` goes on where the first attempt stopped.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::{Cloud, StartError};
use contracts::payments::PaymentMethod;
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::{BuyerId, Money, OrderId, ProductId, Quantity, SellerId, Text, Timestamp};
use keys::{Seed, SeedError};
use orders::catalogue::{Catalogue, Product};
use orders::claim::{Claim, Claims, IN_FLIGHT};
use orders::delivery::{Particulars, Seal};
use orders::error::OrderError;
use orders::order::{Line, MAX_LINES, Order, State, TIME_TO_PAY};
use orders::risk::{ContactKey, RiskCheck};
use orders::table::WriteOrders;
use orders::view;
use orders::view::{DuplicateOrder, OrderView};
use serde::Deserialize;
use service_client::Services;
use utoipa::ToSchema;

struct Shop {
    catalogue: Catalogue,
    claims: Claims,
    orders: WriteOrders,
    seal: Seal,
    risk: RiskCheck,
}

impl Shop {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        let (services, (seal, contacts)) = tokio::try_join!(
            Services::from_env(&cloud),
            cloud.derived("SEALING_SECRET", |seed: &Seed| {
                Ok::<_, SeedError>((Seal::derive(seed)?, ContactKey::derive(seed)?))
            }),
        )?;
        Ok(Self {
            risk: RiskCheck::from_env(&cloud, services.clone(), contacts)?,
            catalogue: Catalogue::new(services),
            claims: Claims::from_env(&cloud)?,
            orders: WriteOrders::from_env(&cloud)?,
            seal,
        })
    }
}

/// `total_amount` is accepted and not read: the client's word on a total counts for nothing.
#[derive(Deserialize, ToSchema)]
struct NewOrder {
    /// Each product once, all of one seller.
    #[schema(min_items = 1, max_items = 20)]
    products: Vec<OrderedProduct>,
    seller_uuid: SellerId,
    /// How the buyer means to pay: 0 alipay, 1 wechat_pay.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    payment_method: Option<u64>,
    // Written out instead of flattened: only so does a refusal name the member that is at fault.
    shipping_name: Text<1, 100>,
    shipping_phone: Text<3, 30>,
    shipping_address: Text<1, 300>,
    #[serde(default)]
    shipping_postal_code: Option<Text<0, 20>>,
    #[serde(default)]
    remark: Option<Text<0, 500>>,
}

#[derive(Deserialize, ToSchema)]
struct OrderedProduct {
    product_uuid: ProductId,
    /// The price that the buyer saw.
    #[schema(value_type = kernel::schema::Amount)]
    price: Money,
    quantity: Quantity,
}

/// An order about to be placed.
struct Attempt {
    id: OrderId,
    /// Under an `Idempotency-Key` the attempt may be repeated, so what it holds is left to the repetition.
    repeatable: bool,
    fingerprint: Option<String>,
    buyer: BuyerId,
    products: Vec<ProductId>,
    intended_method: Option<PaymentMethod>,
}

fn main() -> ExitCode {
    http_function::open(Shop::from_env, create_order, describe)
}

async fn create_order(shop: Arc<Shop>, call: Call) -> Result<Reply, OrderError> {
    // 1. Who orders what.
    let buyer = BuyerId::from(call.user()?.id);
    let request: NewOrder = call.json()?;
    let attempt = attempt(buyer, &call, &request)?;

    // 2. Verify the products; claim them, so that the buyer has one pending order for each.
    let (placed, products, claimed) = tokio::join!(
        find_placed(&shop, &attempt),
        shop.catalogue.products(&attempt.products),
        shop.claims.take(buyer, &attempt.products, attempt.id, &[], call.now()),
    );
    if let Some(order) = placed? {
        return answer_placed(&shop, &attempt, &order, &call);
    }
    if !claimed? && let Err(error) = claim_after_others(&shop, &attempt, call.now()).await {
        return match error {
            OrderError::PendingOrderExists(order) => duplicate(order),
            error => Err(error),
        };
    }
    let composed = products.and_then(|products| compose(&shop, &attempt, request, &products, call.now()));
    let (order, particulars) = match composed {
        Ok(composed) => composed,
        Err(error) => {
            shop.claims.give_up(buyer, &attempt.products, attempt.id).await;
            return Err(error);
        }
    };

    // 3. Reserve the stock; meanwhile, ask whether a security policy refuses the order.
    let (reserved, passed) = tokio::join!(
        shop.catalogue.reserve(order.id, &order.lines),
        shop.risk.pass(&order, &particulars),
    );
    if let Err(error) = reserved.and(passed) {
        undo(&shop, &attempt, &order, &error).await;
        return Err(error);
    }

    // 4. Create the order.
    if !shop.orders.insert(&order).await? {
        let placed = shop.orders.read().find(order.id).await?.ok_or(OrderError::NotFound)?;
        return answer_placed(&shop, &attempt, &placed, &call);
    }
    answer(&shop, &order, &call)
}

fn attempt(buyer: BuyerId, call: &Call, request: &NewOrder) -> Result<Attempt, OrderError> {
    let products: Vec<ProductId> = request.products.iter().map(|line| line.product_uuid).collect();
    if !(1..=MAX_LINES).contains(&products.len()) {
        return Err(Problem::invalid_field("products", format!("must be 1 to {MAX_LINES} products")).into());
    }
    if (1..products.len()).any(|position| products[..position].contains(&products[position])) {
        return Err(Problem::invalid_field("products", "must name each product once").into());
    }
    for (position, line) in request.products.iter().enumerate() {
        line.price
            .positive()
            .map_err(|error| Problem::invalid_field(format!("products[{position}].price"), error))?;
    }
    let intended_method = match request.payment_method.map(PaymentMethod::from_number) {
        Some(None) => {
            return Err(Problem::invalid_field("payment_method", "must be 0 (alipay) or 1 (wechat_pay)").into());
        }
        method => method.flatten(),
    };
    let key = call.idempotency_key()?;
    Ok(Attempt {
        id: key.as_ref().map_or_else(OrderId::random, |key| {
            OrderId::derived(&[&buyer.to_string(), key.as_str()])
        }),
        repeatable: key.is_some(),
        fingerprint: key.map(|_| call.fingerprint()),
        buyer,
        products,
        intended_method,
    })
}

async fn find_placed(shop: &Shop, attempt: &Attempt) -> Result<Option<Order>, OrderError> {
    if attempt.repeatable {
        shop.orders.read().find(attempt.id).await
    } else {
        Ok(None)
    }
}

/// How long a request waits for another one that is placing an order for the same product.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// The products are claimed by other orders of the buyer: those that wait for payment stand; those that ended, or never
/// came to be, are taken over; one that is being placed at this moment is waited for.
async fn claim_after_others(shop: &Shop, attempt: &Attempt, now: Timestamp) -> Result<(), OrderError> {
    let since = Instant::now();
    loop {
        let others = shop
            .claims
            .in_the_way(attempt.buyer, &attempt.products, attempt.id)
            .await?;
        let mut stale: Vec<Claim> = Vec::new();
        let mut being_placed = false;
        for claim in others {
            match shop.orders.read().find(claim.order_uuid).await? {
                Some(order) if order.is_payable(now) => return Err(OrderError::PendingOrderExists(order.id)),
                None if now.since(claim.claimed_at) < IN_FLIGHT => being_placed = true,
                Some(_) | None => stale.push(claim),
            }
        }
        if !being_placed
            && shop
                .claims
                .take(attempt.buyer, &attempt.products, attempt.id, &stale, now)
                .await?
        {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            return Err(OrderError::BeingPlaced);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The order, from what ProductService says; of the request only what the buyer decides.
fn compose(
    shop: &Shop,
    attempt: &Attempt,
    request: NewOrder,
    products: &[Product],
    now: Timestamp,
) -> Result<(Order, Particulars), OrderError> {
    let lines = request
        .products
        .iter()
        .map(|wanted| line(attempt, request.seller_uuid, wanted, products))
        .collect::<Result<Vec<_>, _>>()?;
    let particulars = Particulars {
        shipping_name: request.shipping_name,
        shipping_phone: request.shipping_phone,
        shipping_address: request.shipping_address,
        shipping_postal_code: request.shipping_postal_code,
        remark: request.remark,
    };
    let order = Order {
        id: attempt.id,
        legacy_id: None,
        buyer: attempt.buyer,
        seller: request.seller_uuid,
        total: Order::total_of(&lines)?,
        lines,
        particulars: shop.seal.seal(attempt.id, &particulars)?,
        intended_method: attempt.intended_method,
        placed_at: now,
        updated_at: now,
        state: State::PendingPayment {
            expires_at: now.plus(TIME_TO_PAY),
        },
        refunds: Vec::new(),
        fingerprint: attempt.fingerprint.clone(),
        hidden: false,
        version: 1,
    };
    Ok((order, particulars))
}

fn line(
    attempt: &Attempt,
    seller: SellerId,
    wanted: &OrderedProduct,
    products: &[Product],
) -> Result<Line, OrderError> {
    let id = wanted.product_uuid;
    let product = products
        .iter()
        .find(|product| product.product_uuid == id)
        .ok_or(OrderError::NoSuchProduct(id))?;
    if product.seller_uuid.uuid() == attempt.buyer.uuid() {
        return Err(OrderError::OwnProduct(id));
    }
    if product.seller_uuid != seller {
        return Err(OrderError::SeveralSellers);
    }
    // An earlier try of the same request may hold the last pieces: only a reservation tells.
    if product.is_sold_out() && !attempt.repeatable {
        return Err(OrderError::OutOfStock(id));
    }
    if !product.is_on_sale() && !product.is_sold_out() {
        return Err(OrderError::NotOnSale(id));
    }
    if product.price != wanted.price {
        return Err(OrderError::PriceChanged {
            product: id,
            current: product.price,
        });
    }
    Ok(Line {
        product_uuid: id,
        title: product.title.clone(),
        image: product.image.clone().unwrap_or_default(),
        price: product.price,
        quantity: wanted.quantity,
    })
}

/// Gives back what a refused attempt holds. After an unclear failure, an attempt that may be repeated keeps it: its
/// repetition, or the end of the lease, settles it.
async fn undo(shop: &Shop, attempt: &Attempt, order: &Order, error: &OrderError) {
    if attempt.repeatable && matches!(error, OrderError::Service(_)) {
        return;
    }
    for line in &order.lines {
        if let Err(error) = shop.catalogue.restore(order.id, line.product_uuid, line.quantity).await {
            tracing::warn!(order = %order.id, cause = %error, "a reservation stays until its lease ends");
        }
    }
    shop.claims.give_up(attempt.buyer, &attempt.products, attempt.id).await;
}

fn answer(shop: &Shop, order: &Order, call: &Call) -> Result<Reply, OrderError> {
    let particulars = shop.seal.open(order.id, &order.particulars)?;
    Ok(Reply::created(
        "订单创建成功",
        view::order(order, &particulars, call.zone()),
    )?)
}

/// The order that an earlier request with the same `Idempotency-Key` placed, as it stands now.
fn answer_placed(shop: &Shop, attempt: &Attempt, order: &Order, call: &Call) -> Result<Reply, OrderError> {
    if order.fingerprint != attempt.fingerprint {
        return Err(OrderError::KeyReused);
    }
    answer(shop, order, call)
}

fn duplicate(order: OrderId) -> Result<Reply, OrderError> {
    Ok(Reply::bare(StatusCode::OK, view::duplicate(order))?)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/orders", "Order products of one seller")
            .details(
                "Price, title, image and seller come from the products; the price that the buyer saw is compared. The stock is \
                 reserved, and the order waits half an hour for its payment.",
            )
            .for_users()
            .idempotent()
            .body::<NewOrder>()
            .created::<OrderView>("The order; under an `Idempotency-Key` that placed one before, that order as it stands now")
            .bare::<DuplicateOrder>(StatusCode::OK, "A pending order for one of the products exists already.")
            .refuses(
                StatusCode::BAD_REQUEST,
                "A field is missing or wrong; `error.fields` names it. `own-product`, `several-sellers`, `too-expensive`.",
            )
            .refuses(StatusCode::NOT_FOUND, "`product-not-found`: one of the products does not exist.")
            .refuses(
                StatusCode::CONFLICT,
                "`price-changed` (with `current_price`), `out-of-stock`, `not-on-sale`, `idempotency-key-reused`, \
                 `idempotency-key-abandoned`.",
            ),
    );
}
