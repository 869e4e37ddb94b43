//! `GET /api/payment/{order_id}`: the latest attempt to pay an order, or one payment by its own UUID, for the buyer.
//!
//! An order is named by its UUID, or, where it was migrated, by its old number, which OrderService knows.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::{OrderId, PaymentId, UserId};
use payments::error::PaymentError;
use payments::orders::{Named, Orders};
use payments::payment::Payment;
use payments::table::ReadPayments;
use payments::view::PaymentFound;
use service_client::Services;

struct Desk {
    payments: ReadPayments,
    orders: Orders,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            payments: ReadPayments::from_env(&cloud)?,
            orders: Orders::new(Services::from_env(&cloud).await?),
        })
    }
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, get_payment, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/payment/{order_id}", "The payment of an order")
            .details("The attempt opened last, or the very one whose UUID is given. For the buyer.")
            .for_users()
            .path::<OrderId>(
                "order_id",
                "The order or the payment; an older order's number is understood as well",
            )
            .ok::<PaymentFound>("The payment")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such payment of yours."),
    );
}

async fn get_payment(desk: Arc<Desk>, call: Call) -> Result<Reply, PaymentError> {
    let user = call.user()?.id;

    let payment = match call.path_parameter("order_id")? {
        Named::Uuid(uuid) => {
            let (latest, named) = tokio::join!(
                latest_of(&desk.payments, OrderId::from(uuid), user),
                desk.payments.find_for(PaymentId::from(uuid), user),
            );
            match latest {
                Err(PaymentError::NotFound) => named?,
                latest => latest?,
            }
        }
        Named::Number(number) => {
            let order = desk.orders.numbered(number).await?.ok_or(PaymentError::NotFound)?;
            latest_of(&desk.payments, order.order_uuid, user).await?
        }
    };
    Ok(Reply::ok("获取成功", PaymentFound::of(&payment, call.zone()))?)
}

async fn latest_of(payments: &ReadPayments, order: OrderId, user: UserId) -> Result<Payment, PaymentError> {
    let head = payments
        .head(order)
        .await?
        .filter(|head| head.user == user)
        .ok_or(PaymentError::NotFound)?;
    payments.find_for(head.latest, user).await
}
