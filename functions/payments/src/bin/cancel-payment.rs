//! `POST /api/payment/{payment_uuid}/cancel`: the buyer calls off an attempt that is still open. His order stays, and can
//! be paid by another one.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::PaymentId;
use payments::cashier::Cashier;
use payments::error::PaymentError;
use payments::status::Status;
use payments::view::PaymentFound;

async fn open(cloud: Cloud) -> Result<Cashier, StartError> {
    Cashier::from_env(&cloud).await
}

fn main() -> ExitCode {
    http_function::open(open, cancel_payment, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST, Method::PUT, Method::PATCH],
            "/api/payment/{payment_uuid}/cancel",
            "Call a payment off",
        )
        .details("The buyer, while it can still be paid. The order stays, and can be paid by another payment. A repetition is no error.")
        .for_users()
        .path::<PaymentId>("payment_uuid", "The payment")
        .ok::<PaymentFound>("The payment as it is now")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such payment of yours.")
        .refuses(
            StatusCode::CONFLICT,
            "`payment-not-cancellable`: it is paid, failed or looked at by a person. `changed-meanwhile`.",
        ),
    );
}

async fn cancel_payment(cashier: Arc<Cashier>, call: Call) -> Result<Reply, PaymentError> {
    let user = call.user()?.id;
    let id = call.path_parameter("payment_uuid")?;

    let payment = cashier.payments().read().find_for(id, user).await?;
    // Closed at the provider first: where that says it is paid, that counts.
    let payment = cashier.close(payment, call.now()).await?;

    match payment.status() {
        // Over is over, whatever ended it first: a repeated click is no error.
        Status::Closed | Status::Expired | Status::LatePaid => {
            Ok(Reply::ok("支付已取消", PaymentFound::of(&payment, call.zone()))?)
        }
        status => Err(PaymentError::NotCancellable { id, status }),
    }
}
