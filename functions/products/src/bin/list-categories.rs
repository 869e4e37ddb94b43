//! `GET /api/product/category`: the market's categories, for everybody.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use products::category::{self, CategoryView};

fn main() -> ExitCode {
    http_function::open(|_| async { Ok(()) }, list_categories, describe)
}

async fn list_categories(_: Arc<()>, _: Call) -> Result<Reply, Problem> {
    Reply::bare(StatusCode::OK, category::all())
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/product/category", "The market's categories")
            .bare::<Vec<CategoryView>>(StatusCode::OK, "All of them, in the order in which pages show them"),
    );
}
