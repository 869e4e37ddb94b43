//! `/api/payment/callback/{payment_method}`: what comes from outside about a payment.
//!
//! - `POST` by a provider: its signed notification, answered in its own words, and only once its result is stored.
//! - `POST` by the front-end's "simulated payment" button, with the buyer's token: asks the sandbox to be paid. Only where
//!   the sandbox is enabled.
//! - `GET` by the buyer's browser on its way back: proves nothing, so the provider is asked.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::payments::PaymentMethod;
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::{OrderId, PaymentId, Timestamp};
use payments::cashier::Cashier;
use payments::error::PaymentError;
use payments::provider::{CallbackError, Handled, News, Provider, ProviderName};
use payments::providers::Providers;
use payments::refunds::Refunds;
use payments::sandbox::Sandbox;
use payments::status::Status;
use payments::view::{BrowserReturned, PaymentSimulated};
use serde::Deserialize;
use utoipa::ToSchema;

struct Desk {
    cashier: Cashier,
    refunds: Refunds,
    /// Page of the front-end to which returning browsers are sent.
    return_page: Option<String>,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        let return_page = cloud.settings().optional("PAYMENT_RETURN_PAGE");
        let providers = Arc::new(Providers::heard(&cloud).await?);
        Ok(Self {
            cashier: Cashier::with(&cloud, providers.clone())?,
            refunds: Refunds::with(&cloud, providers)?,
            return_page,
        })
    }
}

/// What the front-end's button sends. `total_amount` and `payment_id` are not read.
#[derive(Deserialize, ToSchema)]
struct SimulatedPayment {
    order_uuid: OrderId,
    payment_uuid: PaymentId,
    /// 2: success.
    #[schema(minimum = 2, maximum = 2)]
    status: u8,
    #[serde(rename = "sign")]
    #[schema(pattern = "^simulated_signature$")]
    _sign: String,
}

/// The `sign` by which a simulated payment is recognised. It proves nothing; the buyer's token does.
const SIMULATED: &str = "simulated_signature";
/// Number of the status "success".
const SUCCESS: u8 = 2;

fn main() -> ExitCode {
    http_function::open(Desk::from_env, payment_callback, describe)
}

fn describe(api: &mut Api) {
    const TEXT: &str = "text/plain; charset=utf-8";
    const PATH: &str = "/api/payment/callback/{payment_method}";
    api.add(
        operation([Method::POST], PATH, "What a provider says of a payment")
            .details(
                "A provider's notification is proved by its own signature and answered in the provider's words. The body \
                 described here is the front-end's simulated payment: understood where the sandbox provider is enabled, \
                 and done for the buyer of the order only.",
            )
            .for_users()
            .path::<PaymentMethod>("payment_method", "Whose provider calls")
            .body::<SimulatedPayment>()
            .bare::<PaymentSimulated>(StatusCode::OK, "It is paid.")
            .answers_in(StatusCode::OK, TEXT, "The notification's result is stored.")
            .answers_in(StatusCode::BAD_REQUEST, TEXT, "The notification is not understood.")
            .refuses(StatusCode::BAD_REQUEST, "A field is missing or wrong; `error.fields` names it.")
            .answers_in(StatusCode::UNAUTHORIZED, TEXT, "The notification proves nothing.")
            .refuses(StatusCode::UNAUTHORIZED, "No token, or one that proves nothing.")
            .answers_in(StatusCode::NOT_FOUND, TEXT, "The notification is about no payment of ours.")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such sandbox payment of yours.")
            .answers_in(StatusCode::SERVICE_UNAVAILABLE, TEXT, "It could not be stored; send it again.")
            .refuses(StatusCode::SERVICE_UNAVAILABLE, "`unavailable`: try again.")
            .refuses(StatusCode::CONFLICT, "`payment-not-payable`: it has ended. `changed-meanwhile`."),
    );
    api.add(
        operation([Method::GET], PATH, "The way back from the provider")
            .details("Whatever the browser brings proves nothing: the provider is asked, and nothing else is changed.")
            .path::<PaymentMethod>("payment_method", "Whose provider the browser comes from")
            .query::<PaymentId>("out_trade_no", "The payment")
            .ok::<BrowserReturned>("What is known of the payment, where no page is configured")
            .answers_empty(
                StatusCode::SEE_OTHER,
                "To the configured page of the front-end, with `order_uuid` in its query.",
            ),
    );
}

async fn payment_callback(desk: Arc<Desk>, call: Call) -> Result<Reply, PaymentError> {
    if !call.changes_something() {
        return welcome_back(&desk, &call).await;
    }
    match desk.cashier.providers().sandbox() {
        Some(sandbox) if is_simulated(&call) => simulate(&desk, sandbox, &call).await,
        _ => notified(&desk, &call).await,
    }
}

async fn notified(desk: &Desk, call: &Call) -> Result<Reply, PaymentError> {
    let method: PaymentMethod = call.path_parameter("payment_method")?;
    let provider = desk
        .cashier
        .providers()
        .calling_back(method, call.headers())
        .ok_or_else(not_genuine)?;
    let handled = match provider.parse_callback(call.headers(), call.raw_body(), call.now()) {
        Ok(news) => match hear(desk, &news, call.now()).await {
            Ok(()) => Handled::Stored,
            Err(PaymentError::NotFound) => {
                tracing::error!(payment = %news.payment(), "a provider speaks of a payment that is not ours");
                Handled::UnknownTrade
            }
            Err(error) => {
                tracing::error!(payment = %news.payment(), cause = %error, "a callback could not be stored");
                Handled::NotStored
            }
        },
        Err(error @ CallbackError::NotGenuine(_)) => {
            tracing::warn!(cause = %error, "a callback is not genuine");
            Handled::NotGenuine
        }
        Err(error @ CallbackError::NotUnderstood(_)) => {
            tracing::error!(cause = %error, "a provider's callback is not understood");
            Handled::NotUnderstood
        }
    };
    Ok(acknowledge(provider, handled))
}

async fn hear(desk: &Desk, news: &News, now: Timestamp) -> Result<(), PaymentError> {
    match news {
        News::Payment(seen) => desk.cashier.apply(seen, now).await.map(|_| ()),
        News::Refund(seen) => {
            let payment = desk.cashier.payments().read().find(seen.payment).await?;
            let payment = payment.ok_or(PaymentError::NotFound)?;
            // What goes back has come before: the word of that is still on its way, or lost.
            if payment.status().is_open() {
                desk.cashier.query(payment, now).await?;
            }
            desk.refunds.hear(seen, now).await
        }
    }
}

fn acknowledge(provider: &dyn Provider, handled: Handled) -> Reply {
    let acknowledgement = provider.ack(handled);
    Reply::text(
        acknowledgement.status,
        acknowledgement.content_type,
        acknowledgement.text,
    )
}

/// Without a provider nobody can have signed anything.
fn not_genuine() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "bad-signature",
        "This callback is not genuine.",
    )
}

fn is_simulated(call: &Call) -> bool {
    #[derive(Deserialize)]
    struct Sign {
        sign: String,
    }
    serde_json::from_slice::<Sign>(call.raw_body()).is_ok_and(|body| body.sign == SIMULATED)
}

async fn simulate(desk: &Desk, sandbox: &Sandbox, call: &Call) -> Result<Reply, PaymentError> {
    let user = call.user()?.id;
    call.path_parameter::<PaymentMethod>("payment_method")?;
    let request: SimulatedPayment = call.json()?;
    if request.status != SUCCESS {
        return Err(Problem::invalid_field("status", format!("must be {SUCCESS}")).into());
    }
    let payment = desk
        .cashier
        .payments()
        .read()
        .find_for(request.payment_uuid, user)
        .await?;
    if payment.order != request.order_uuid || payment.provider != ProviderName::Sandbox {
        return Err(PaymentError::NotFound);
    }

    let id = payment.id;
    let payment = match payment.status().is_open() {
        true => match sandbox.pay(&payment).await? {
            Some(seen) => desk.cashier.apply(&seen, call.now()).await?,
            None => desk.cashier.query(payment, call.now()).await?,
        },
        false => payment,
    };
    match payment.status() {
        Status::Paid => Ok(Reply::bare(StatusCode::OK, PaymentSimulated::done())?),
        status => Err(PaymentError::NotPayable { id, status }),
    }
}

/// Whatever the browser claims, only the provider's answer counts. Anonymous: the browser may have lost its log-in.
async fn welcome_back(desk: &Desk, call: &Call) -> Result<Reply, PaymentError> {
    call.path_parameter::<PaymentMethod>("payment_method")?;
    let known = match call.query_parameter::<PaymentId>("out_trade_no")? {
        Some(id) => desk.cashier.payments().read().find(id).await?,
        None => None,
    };
    let payment = match known {
        Some(payment) if payment.status().is_open() => {
            match desk.cashier.query(payment.clone(), call.now()).await {
                Ok(payment) => Some(payment),
                // The notification, or the next scheduled question, brings the result.
                Err(PaymentError::Provider(silence)) => {
                    tracing::warn!(payment = %payment.id, cause = %silence, "a returning browser was not answered");
                    Some(payment)
                }
                Err(error) => return Err(error),
            }
        }
        other => other,
    };
    match &desk.return_page {
        Some(page) => {
            let order = payment.as_ref().map(|payment| payment.order);
            Ok(Reply::redirect(StatusCode::SEE_OTHER, &page_about(page, order))?)
        }
        None => Ok(Reply::ok("支付结果", BrowserReturned::of(payment.as_ref()))?),
    }
}

/// The configured page, told which order it is about. Nothing that the browser brought gets into the address; what became
/// of the payment the page asks for itself.
fn page_about(page: &str, order: Option<OrderId>) -> String {
    let mark = if page.contains('?') { '&' } else { '?' };
    match order {
        Some(order) => format!("{page}{mark}order_uuid={order}"),
        None => page.to_owned(),
    }
}
