//! `GET /api/root/order?day=5|10|15`: every order of the last days, for administrators.
//!
//! Days are those of the configured zone, and today is one of them.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use cloud::Cloud;
use http_function::{Api, Call, Method, Reply, operation};
use orders::error::OrderError;
use orders::table::PlacedOrders;
use orders::view;
use orders::view::PlacedOrderView;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// `day`: how many days, today included.
#[derive(Clone, Copy)]
struct Days(u32);

impl FromStr for Days {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "5" => Ok(Self(5)),
            "10" => Ok(Self(10)),
            "15" => Ok(Self(15)),
            _ => Err("must be 5, 10 or 15"),
        }
    }
}

impl PartialSchema for Days {
    fn schema() -> RefOr<Schema> {
        let choices = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .enum_values(Some([5, 10, 15]));
        RefOr::T(choices.into())
    }
}

impl ToSchema for Days {}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| PlacedOrders::from_env(&cloud),
        list_placed_orders,
        describe,
    )
}

async fn list_placed_orders(orders: Arc<PlacedOrders>, call: Call) -> Result<Reply, OrderError> {
    call.administrator()?;
    let Days(days) = call.query_parameter("day")?.unwrap_or(Days(5));

    let from = call.zone().midnight(call.now()).minus(A_DAY * (days - 1));
    let placed = orders.since(from).await?;

    let views: Vec<_> = placed.iter().map(|order| view::placed(order, call.zone())).collect();
    Ok(Reply::ok("获取订单成功", views)?)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/root/order", "Every order of the last days")
            .details("Days of the configured zone; today is one of them. The newest first.")
            .for_administrators()
            .query::<Days>("day", "How many days; 5 unless given")
            .ok::<Vec<PlacedOrderView>>("The orders"),
    );
}
