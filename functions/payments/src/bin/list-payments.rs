//! `GET /api/payment/records`: the caller's payments, newest first, all or those of one status.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Api, Call, Method, Reply, operation};
use payments::error::PaymentError;
use payments::status::{Shown, ShownFilter};
use payments::table::ListPayments;
use payments::view::PaymentFound;

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| ListPayments::from_env(&cloud),
        list_payments,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/payment/records", "Your payments")
            .details("Newest first.")
            .for_users()
            .query::<ShownFilter>("status", "Only those of this status, by its word or its number")
            .paged(10)
            .list::<PaymentFound>("A page of them"),
    );
}

async fn list_payments(payments: Arc<ListPayments>, call: Call) -> Result<Reply, PaymentError> {
    let user = call.user()?.id;
    let wanted = call.page(10)?;
    let filter: Option<Shown> = call.query_parameter("status")?;

    let page = payments.page_of(user, filter, wanted).await?;

    let views = page
        .entries
        .iter()
        .map(|payment| PaymentFound::of(payment, call.zone()))
        .collect();
    Ok(Reply::list(&call, "获取支付记录成功", &page.with_entries(views))?)
}
