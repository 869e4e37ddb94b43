//! `GET /api/payment/reconciliation/{payment_method}`: an administrator compares a day of our books with the provider's
//! statement of it, as JSON or as a table for spreadsheet programs.
//!
//! Changes nothing: what differs is for a person to look into.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::payments::PaymentMethod;
use futures::future::try_join_all;
use http_function::header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::Timestamp;
use payments::error::PaymentError;
use payments::provider::Provider;
use payments::providers::Providers;
use payments::reconciliation::Report;
use payments::spreadsheet;
use payments::statement::{Day, Stated, StatementLine};
use payments::table::ReadBooks;
use payments::view::ReconciliationView;
use utoipa::ToSchema;

const CSV: &str = "text/csv; charset=utf-8";

struct Desk {
    books: ReadBooks,
    providers: Providers,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            books: ReadBooks::from_env(&cloud)?,
            providers: Providers::from_env(&cloud).await?,
        })
    }
}

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(as = ReportFormat, rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
}

#[derive(Debug, thiserror::Error)]
#[error("must be json or csv")]
struct NotAFormat;

impl FromStr for Format {
    type Err = NotAFormat;

    fn from_str(word: &str) -> Result<Self, NotAFormat> {
        match word {
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            _ => Err(NotAFormat),
        }
    }
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, reconciliation_report, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/payment/reconciliation/{payment_method}",
            "A day of our books against the provider's statement",
        )
        .details(
            "Payments count to the provider's day in +08:00. A refund that was made around midnight is looked for on the days \
             beside it. As a table with `format=csv` or `Accept: text/csv`.",
        )
        .for_administrators()
        .path::<PaymentMethod>("payment_method", "Whose statement")
        .query::<Day>("day", "A day that is over; yesterday where none is given")
        .query::<Format>("format", "How it is written; `Accept` decides where nothing is said")
        .ok::<ReconciliationView>("The comparison")
        .answers_in(StatusCode::OK, CSV, "The comparison as a table, with a byte order mark.")
        .refuses(
            StatusCode::CONFLICT,
            "`statement-not-ready`: until 10:00 on the next day, in +08:00. `no-statement`: there is none and will be none.",
        ),
    );
}

async fn reconciliation_report(desk: Arc<Desk>, call: Call) -> Result<Reply, PaymentError> {
    call.administrator()?;
    let method: PaymentMethod = call.path_parameter("payment_method")?;
    let day = wanted_day(&call)?;
    let format = wanted_format(&call)?;
    let provider = desk.providers.stating(method).ok_or_else(nobody)?;

    let books = desk.books.of(provider.name(), day).await?;
    let other_days = books.other_days(day);
    let others = other_days
        .into_iter()
        .map(|other| moved_on(provider, other, call.now()));
    let (lines, others) = tokio::try_join!(stated_of(provider, day), try_join_all(others))?;
    let looked_up = desk.books.named(provider.name(), &books.lack(&lines)).await?;
    let report = Report::of(day, &books.with(looked_up), &lines, &others.concat());

    let (agrees, differences) = (report.differences.is_empty(), report.differences.len());
    tracing::info!(%day, method = method.word(), agrees, differences, "books were compared with a statement");
    Ok(match format {
        Format::Json => Reply::ok("对账完成", ReconciliationView::of(&report, method, call.zone()))?,
        Format::Csv => {
            let table = spreadsheet::table(&report, method, call.zone()).map_err(Problem::internal)?;
            let name = format!("attachment; filename=\"reconciliation-{}-{day}.csv\"", method.word());
            // `lambda_http` takes the byte order mark off what goes as text; what has a coding goes as it is.
            Reply::file(CSV, table)?
                .header(CONTENT_ENCODING, "identity")?
                .header(CACHE_CONTROL, "no-store")?
                .header(CONTENT_DISPOSITION, &name)?
        }
    })
}

fn wanted_day(call: &Call) -> Result<Day, PaymentError> {
    let today = Day::of(call.now());
    let day = call.query_parameter("day")?.unwrap_or_else(|| today.before());
    match day < today {
        true => Ok(day),
        false => Err(PaymentError::StatementNotReady(day)),
    }
}

fn wanted_format(call: &Call) -> Result<Format, Problem> {
    let accepts_csv = call
        .header(ACCEPT.as_str())
        .is_some_and(|accept| accept.contains("text/csv"));
    let otherwise = if accepts_csv { Format::Csv } else { Format::Json };
    Ok(call.query_parameter("format")?.unwrap_or(otherwise))
}

fn nobody() -> PaymentError {
    PaymentError::NoStatement("no provider takes payments by this method".to_owned())
}

async fn stated_of(provider: &dyn Provider, day: Day) -> Result<Vec<StatementLine>, PaymentError> {
    match provider.statement(day).await {
        Stated::Lines(lines) => Ok(lines),
        Stated::NotReady => Err(PaymentError::StatementNotReady(day)),
        Stated::Absent(reason) => Err(PaymentError::NoStatement(reason)),
        Stated::Unknown(silence) => Err(silence.into()),
    }
}

/// What the provider has on a day beside the one that is looked at. What is not stated yet is not there.
async fn moved_on(provider: &dyn Provider, day: Day, now: Timestamp) -> Result<Vec<StatementLine>, PaymentError> {
    if now < day.is_stated_from() {
        return Ok(Vec::new());
    }
    match stated_of(provider, day).await {
        Err(PaymentError::StatementNotReady(_) | PaymentError::NoStatement(_)) => Ok(Vec::new()),
        stated => stated,
    }
}
