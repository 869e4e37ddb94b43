//! `GET /api/orders/stats`: how many orders the caller placed, by status, and what they cost him.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use orders::error::OrderError;
use orders::order::Party;
use orders::statistics::Account;
use orders::table::ReadFigures;
use orders::view;
use orders::view::StatisticsView;

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| ReadFigures::from_env(&cloud),
        order_statistics,
        describe,
    )
}

async fn order_statistics(figures: Arc<ReadFigures>, call: Call) -> Result<Reply, OrderError> {
    let account = Account {
        user: call.user()?.id,
        role: Party::Buyer,
    };
    let figures = figures.of(account).await?.statistics(call.now());

    Ok(Reply::bare(StatusCode::OK, view::statistics(figures))?)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/orders/stats",
            "How many orders you placed and what they cost",
        )
        .details("Follows changes within a second or so. Amounts count what was paid and not given back.")
        .for_users()
        .bare::<StatisticsView>(StatusCode::OK, "The figures, flat, and again under the older names"),
    );
}
