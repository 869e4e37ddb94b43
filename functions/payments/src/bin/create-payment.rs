//! `POST /api/payment/create`: the buyer of an order starts to pay it.
//!
//! Clients repeat this at every click, so it opens an attempt only where none is live. `PaymentSucceeded` comes later, from
//! the table's stream, when the provider says so.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::payments::PaymentMethod;
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::{Money, OrderId, PaymentId, Text};
use payments::cashier::{Cashier, Wish};
use payments::error::PaymentError;
use payments::orders::{Orders, payable};
use payments::payment::Payment;
use payments::provider::{Channel, Payer, Provider, ProviderName};
use payments::view::PaymentOpened;
use serde::Deserialize;
use service_client::Services;
use utoipa::ToSchema;

struct Desk {
    cashier: Cashier,
    orders: Orders,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        let (cashier, services) = tokio::try_join!(Cashier::from_env(&cloud), Services::from_env(&cloud))?;
        Ok(Self {
            cashier,
            orders: Orders::new(services),
        })
    }
}

/// `order_id` is accepted and not read: the order is the one of `order_uuid`.
#[derive(Deserialize, ToSchema)]
struct NewPayment {
    order_uuid: OrderId,
    payment_method: PaymentMethod,
    /// What the order costs.
    #[schema(value_type = kernel::schema::Amount)]
    amount: Money,
    /// Checked, but what the buyer reads at the provider is the order's own title.
    #[serde(default, rename = "payment_subject")]
    _subject: Option<Text<0, 256>>,
    /// Where to pay. Left out: `page` for Alipay, `qr_code` for WeChat Pay.
    #[serde(default)]
    channel: Option<Channel>,
    /// The buyer's id in our WeChat app; `in_app` needs it.
    #[serde(default)]
    openid: Option<Text<1, 128>>,
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, create_payment, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/payment/create", "Start to pay an order")
            .details(
                "The buyer of an order that waits for payment. Clients repeat this at every click: the attempt that can \
                 still be paid is answered again; one by another method is closed first. What to show or open is in \
                 `payment_data`.",
            )
            .for_users()
            .idempotent()
            .body::<NewPayment>()
            .created::<PaymentOpened>("The attempt that was opened")
            .ok::<PaymentOpened>("The attempt that there is already")
            .refuses(
                StatusCode::BAD_REQUEST,
                "A field is missing or wrong; `amount-mismatch`: the order costs something else.",
            )
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order of yours.")
            .refuses(
                StatusCode::CONFLICT,
                "`order-not-payable`: it is paid, cancelled or too old. `already-paid`. `payment-under-review`: money \
                 came that does not match. `idempotency-key-reused`. `changed-meanwhile`.",
            )
            .refuses(StatusCode::SERVICE_UNAVAILABLE, "`payment-method-unavailable`, or `unavailable`."),
    );
}

async fn create_payment(desk: Arc<Desk>, call: Call) -> Result<Reply, PaymentError> {
    // 1. Who pays what, and how.
    let user = call.user()?.id;
    let request: NewPayment = call.json()?;
    let key = call.idempotency_key()?;
    let id = key
        .as_ref()
        .map(|key| PaymentId::derived(&[&user.to_string(), key.as_str()]));
    let fingerprint = key.map(|_| call.fingerprint());

    // 2. Read the order, what is known of its payments, and an earlier payment of the same key, all at once.
    let payments = desk.cashier.payments().read();
    let payer = Payer {
        openid: request.openid.as_ref().map(|openid| openid.as_str().to_owned()),
        ip: call.client_ip().map(str::to_owned),
    };
    let (order, head, earlier) = tokio::join!(
        desk.orders.find(request.order_uuid),
        payments.head(request.order_uuid),
        find_earlier(&desk, id),
    );
    if let Some(earlier) = earlier? {
        if earlier.fingerprint != fingerprint {
            return Err(PaymentError::KeyReused);
        }
        return answer(&desk.cashier.offer(earlier, &payer, call.now()).await?, false, &call);
    }

    // 3. Check owner, state and amount of the order.
    let order = payable(order?, user, request.amount, call.now())?;

    // 4. Open the attempt at the provider, unless one is live.
    let method = request.payment_method;
    let provider = desk
        .cashier
        .providers()
        .taking(method)
        .ok_or(PaymentError::MethodUnavailable)?;
    let channel = channel(provider, &request)?;
    let wish = Wish {
        id: id.unwrap_or_else(PaymentId::random),
        fingerprint,
        user,
        order,
        method,
        channel,
        payer,
    };
    let (payment, is_new) = desk.cashier.attempt(&wish, provider, head?, call.now()).await?;
    answer(&payment, is_new, &call)
}

fn channel(provider: &dyn Provider, request: &NewPayment) -> Result<Channel, Problem> {
    let Some(wanted) = request.channel.or_else(|| provider.channels().first().copied()) else {
        return Err(Problem::internal("a provider without a channel"));
    };
    if !provider.channels().contains(&wanted) {
        return Err(Problem::invalid_field(
            "channel",
            "this payment method has no such channel",
        ));
    }
    if wanted == Channel::InApp && provider.name() == ProviderName::WechatPay && request.openid.is_none() {
        return Err(Problem::invalid_field("openid", "is required to pay inside the app"));
    }
    Ok(wanted)
}

async fn find_earlier(desk: &Desk, id: Option<PaymentId>) -> Result<Option<Payment>, PaymentError> {
    match id {
        Some(id) => desk.cashier.payments().read().find(id).await,
        None => Ok(None),
    }
}

fn answer(payment: &Payment, is_new: bool, call: &Call) -> Result<Reply, PaymentError> {
    let view = PaymentOpened::of(payment, call.zone());
    let reply = if is_new {
        Reply::created("支付创建成功", view)
    } else {
        Reply::ok("支付已存在", view)
    };
    Ok(reply?)
}
