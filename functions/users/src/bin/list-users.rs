//! `GET /api/v1/user`, for administrators: all accounts, newest first, by the page.
//!
//! One read of the index `by-roll` (all partitions side by side) brings what filtering needs; then one batch reads the
//! accounts of the page.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::Text;
use users::roll::{Filter, PrivilegeNumber};
use users::table::ReadRoll;
use users::user::Status;
use users::view::RollView;

/// Accounts on a page, if nobody says otherwise.
const PAGE_SIZE: u32 = 10;

fn main() -> ExitCode {
    http_function::open(|cloud| async move { ReadRoll::from_env(&cloud) }, list_users, describe)
}

async fn list_users(roll: Arc<ReadRoll>, call: Call) -> Result<Reply, Problem> {
    call.administrator()?;
    let request = call.page(PAGE_SIZE)?;
    let filter = Filter {
        username: call.query_parameter::<Text<1, 30>>("username")?.map(Text::into_string),
        status: call.query_parameter("status")?,
        privilege: call
            .query_parameter("privilege")?
            .map(|PrivilegeNumber(privilege)| privilege),
    };

    let found = request.cut(filter.among(roll.entries().await?));
    let page = found.with_entries(roll.find_all(&found.entries).await?);
    Reply::bare(StatusCode::OK, RollView::of(&page, &call))
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/v1/user", "All accounts, newest first")
            .for_administrators()
            .query::<Text<1, 30>>("username", "The name contains this, in large or small letters")
            .query::<Status>("status", "0 normal, 1 banned")
            .query::<PrivilegeNumber>("privilege", "0 member, 1 administrator")
            .paged(PAGE_SIZE)
            .bare::<RollView>(StatusCode::OK, "A page of accounts"),
    );
}
