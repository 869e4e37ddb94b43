//! `/sandbox`: the provider's payment page for buyers, and its interface for merchants.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::Clock;
use sandbox_provider::error::SandboxError;
use sandbox_provider::merchant::{self, RefundQuestion, RefundRequest};
use sandbox_provider::notification::Notifier;
use sandbox_provider::order::{Order, StatedOrder, TradeNumber};
use sandbox_provider::page;
use sandbox_provider::signature::{SIGNATURE, Sent, Signatures, SignedAnswer, TIMESTAMP};
use sandbox_provider::stage;
use sandbox_provider::table::Trades;
use sandbox_provider::trade::{Event, Trade};
use serde_json::Value;
use utoipa::ToSchema;

struct House {
    trades: Trades,
    signatures: Signatures,
    notifier: Notifier,
    clock: Clock,
}

impl House {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        stage::refuse_production(cloud.settings())?;
        Ok(Self {
            trades: Trades::from_env(&cloud)?,
            signatures: Signatures::from_env(&cloud).await?,
            notifier: Notifier::from_env(&cloud)?,
            clock: cloud.clock().clone(),
        })
    }
}

fn main() -> ExitCode {
    http_function::open(House::from_env, sandbox_provider, describe)
}

/// The button on the payment page.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "read as a form; this only describes it")]
enum Press {
    Pay,
    Fail,
}

/// What the form on the payment page sends.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read as a form; this only describes it")]
struct PressedButton {
    outcome: Press,
}

fn describe(api: &mut Api) {
    const HTML: &str = "text/html; charset=utf-8";
    let page = |method, summary| {
        operation([method], "/sandbox/pay", summary)
            .details("The link is signed as a whole; any change of it is refused. Not in production.")
            .query::<String>("amount", "Fen")
            .query::<String>("expires_at", "Milliseconds since 1970")
            .query::<String>("merchant", "Who is paid")
            .query::<String>("method", "alipay or wechat_pay")
            .query::<String>("notify_url", "Where the merchant is notified")
            .query::<String>("out_trade_no", "The merchant's number of the trade")
            .query::<String>("return_url", "Where the browser returns to")
            .query::<String>("subject", "What is paid for")
            .query::<String>("sign", "Signature of all others")
            .answers_in(StatusCode::OK, HTML, "The page")
            .answers_in(StatusCode::FORBIDDEN, HTML, "The link proves nothing.")
    };
    api.add(page(Method::GET, "The sandbox provider's payment page"));
    api.add(
        page(Method::POST, "Pay on the sandbox provider's page, or fail to")
            .body_of_type::<PressedButton>("application/x-www-form-urlencoded")
            .answers_in(StatusCode::CONFLICT, HTML, "It can not be paid any more."),
    );
    api.add(
        operation(
            [Method::POST],
            "/sandbox/trades/{out_trade_no}/{call}",
            "What a merchant asks the sandbox provider",
        )
        .details(
            "`query`, `close`, `pay`, `refund` and `refund-query`; signed in the headers `sandbox-timestamp` and \
             `sandbox-signature`. Not in production.",
        )
        .path::<String>("out_trade_no", "The merchant's number of the trade")
        .path::<String>("call", "What is asked")
        .bare::<SignedAnswer>(StatusCode::OK, "The answer, signed")
        .refuses(StatusCode::BAD_REQUEST, "`bad-order`, or a field is missing or wrong.")
        .refuses(StatusCode::UNAUTHORIZED, "`bad-signature`: it proves nothing.")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such call."),
    );
}

async fn sandbox_provider(house: Arc<House>, call: Call) -> Result<Reply, SandboxError> {
    if call.path().starts_with("/sandbox/trades/") {
        return answer_merchant(&house, &call).await;
    }
    let ordered = house
        .signatures
        .verify_page(call.raw_query())
        .map_err(SandboxError::from)
        .and_then(|parameters| {
            StatedOrder::from_parameters(&parameters)
                .and_then(Order::try_from)
                .map_err(SandboxError::from)
        });
    let Ok(order) = ordered else {
        return Ok(page::of_bad_link()?);
    };
    if call.changes_something() {
        let event = wanted(&call)?;
        decide(&house, &call, &order, event).await
    } else {
        let trade = house.trades.find_or_open(&order).await?;
        Ok(page::of_trade(&trade, call.raw_query(), call.now())?)
    }
}

/// The button that was pressed.
fn wanted(call: &Call) -> Result<Event, Problem> {
    let mut form = form_urlencoded::parse(call.raw_body());
    match form
        .find(|(name, _)| name == "outcome")
        .map(|(_, value)| value)
        .as_deref()
    {
        Some("pay") => Ok(Event::Pay),
        Some("fail") => Ok(Event::Fail),
        _ => Err(Problem::invalid_field("outcome", "must be pay or fail")),
    }
}

async fn decide(house: &House, call: &Call, order: &Order, event: Event) -> Result<Reply, SandboxError> {
    let trade = house.trades.find_or_open(order).await?;
    match settle(house, order, event).await {
        Ok(trade) => Ok(page::of_trade(&trade, call.raw_query(), call.now())?),
        Err(SandboxError::Refused(refusal)) => Ok(page::of_refusal(&trade, refusal)?),
        Err(error) => Err(error),
    }
}

/// Pays or fails the trade of an order, and tells the merchant at once. What he does not confirm stays owed.
async fn settle(house: &House, order: &Order, event: Event) -> Result<Trade, SandboxError> {
    let decided = house.trades.change(&order.out_trade_no, |trade| {
        Ok(trade.decided(order, event, house.clock.now())?)
    });
    let trade = decided.await?.ok_or(SandboxError::ChangedMeanwhile)?;
    if trade.owed.is_some() {
        house.notifier.notify(&house.trades, &house.signatures, &trade).await?;
    }
    Ok(trade)
}

async fn answer_merchant(house: &House, call: &Call) -> Result<Reply, SandboxError> {
    let sent = Sent {
        timestamp: call.header(TIMESTAMP),
        signature: call.header(SIGNATURE),
    };
    house
        .signatures
        .verify_call(call.path(), sent, call.raw_body(), call.now())?;
    let number: TradeNumber = call.path_parameter("out_trade_no")?;
    let verb: String = call.path_parameter("call")?;
    let answer = match verb.as_str() {
        "query" => house
            .trades
            .find(&number)
            .await?
            .map_or_else(merchant::trade_not_exist, |trade| merchant::found(&trade)),
        "close" => close(house, &number).await?,
        "pay" => pay(house, &number, call).await?,
        "refund" => refund(house, &number, call).await?,
        "refund-query" => {
            let question: RefundQuestion = call.json()?;
            let trade = house.trades.find(&number).await?;
            match trade.and_then(|trade| trade.refund(&question.refund_no).cloned()) {
                Some(_) => merchant::refunded(),
                None => merchant::refund_not_exist(),
            }
        }
        _ => return Err(SandboxError::NoSuchCall),
    };
    let signed = house.signatures.sign_answer(sent.signature.unwrap_or_default(), answer);
    Ok(Reply::bare(StatusCode::OK, signed)?)
}

async fn close(house: &House, number: &TradeNumber) -> Result<Value, SandboxError> {
    match house.trades.change(number, |trade| Ok(trade.closed()?)).await {
        Ok(Some(_)) => Ok(merchant::closed()),
        Ok(None) => Ok(merchant::trade_not_exist()),
        Err(SandboxError::Refused(_)) => Ok(merchant::already_paid()),
        Err(error) => Err(error),
    }
}

async fn pay(house: &House, number: &TradeNumber, call: &Call) -> Result<Value, SandboxError> {
    let order = Order::try_from(call.json::<StatedOrder>()?)?;
    if order.out_trade_no != *number {
        return Err(Problem::invalid_field("out_trade_no", "is not the one of the path").into());
    }
    house.trades.find_or_open(&order).await?;
    match settle(house, &order, Event::Pay).await {
        Ok(trade) => Ok(merchant::found(&trade)),
        Err(SandboxError::Refused(refusal)) => Ok(merchant::refused(refusal)),
        Err(error) => Err(error),
    }
}

async fn refund(house: &House, number: &TradeNumber, call: &Call) -> Result<Value, SandboxError> {
    let request: RefundRequest = call.json()?;
    let now = house.clock.now();
    let changed = house.trades.change(number, |trade| {
        Ok(trade.refunded(&request.refund_no, request.amount, now)?)
    });
    match changed.await {
        Ok(Some(_)) => Ok(merchant::refunded()),
        Ok(None) => Ok(merchant::refund_rejected(sandbox_provider::trade::Refusal::NotPaid)),
        Err(SandboxError::Refused(refusal)) => Ok(merchant::refund_rejected(refusal)),
        Err(error) => Err(error),
    }
}
