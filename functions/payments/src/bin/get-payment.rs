//! `GET /api/payment/{order_id}`: the latest attempt to pay an order, for its buyer.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Call, Reply};
use payments::error::PaymentError;
use payments::table::ReadPayments;
use payments::view;

async fn open(cloud: Cloud) -> Result<ReadPayments, StartError> {
    ReadPayments::from_env(&cloud)
}

fn main() -> ExitCode {
    http_function::open(open, get_payment)
}

async fn get_payment(payments: Arc<ReadPayments>, call: Call) -> Result<Reply, PaymentError> {
    let user = call.user()?.id;
    let order = call.path_parameter("order_id")?;

    let head = payments
        .head(order)
        .await?
        .filter(|head| head.user == user)
        .ok_or(PaymentError::NotFound)?;
    let payment = payments.find_for(head.latest, user).await?;

    Ok(Reply::ok("获取成功", view::payment_found(&payment, call.zone()))?)
}
