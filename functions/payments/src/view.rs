//! The JSON that leaves PaymentService, the numbers and words that clients know for statuses included.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use contracts::orders::{RefundForServices, RefundStatus};
use contracts::payments::PaymentMethod;
use kernel::{Money, OrderId, PaymentId, RefundId, UserId, Zone};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Serialize;
use utoipa::ToSchema;

use crate::payment::{Payment, State};
use crate::provider::Offer;
use crate::reconciliation::{self, Difference, Kind, Report};
use crate::statement::{Day, StatementLine};
use crate::status::{Shown, Status};

/// A payment whose status is a number, as the answer to opening it has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentOpened {
    #[serde(flatten)]
    payment: PaymentFacts,
    /// 0 pending, 1 processing, 2 success, 3 failed, 4 cancelled.
    #[schema(minimum = 0, maximum = 4)]
    status: u8,
}

/// A payment whose status is a word.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentFound {
    #[serde(flatten)]
    payment: PaymentFacts,
    status: Shown,
}

#[derive(Debug, Serialize, ToSchema)]
struct PaymentFacts {
    payment_id: PaymentId,
    payment_uuid: PaymentId,
    order_id: OrderId,
    order_uuid: OrderId,
    user_uuid: UserId,
    amount: Money,
    /// 0 alipay, 1 wechat_pay.
    #[schema(minimum = 0, maximum = 1)]
    payment_method: u8,
    payment_subject: String,
    status_display: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(required, format = DateTime)]
    paid_at: Option<String>,
    /// The provider's number of it.
    #[schema(required)]
    transaction_id: Option<String>,
    payment_data: PaymentData,
}

/// How it is paid: always the four texts that clients read; empty once there is nothing left to pay. For a code to scan,
/// `qr_code` is the picture of it as a data URL, the others are its text; otherwise all four are the page's address.
#[derive(Debug, Serialize, ToSchema)]
struct PaymentData {
    qrcode: String,
    qr_code: String,
    url: String,
    payment_url: String,
    /// An HTML form that submits itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<String>,
    /// For a script inside the provider's app.
    #[serde(skip_serializing_if = "Option::is_none")]
    jsapi_params: Option<String>,
}

impl PaymentOpened {
    /// Of `payment`.
    #[must_use]
    pub fn of(payment: &Payment, zone: Zone) -> Self {
        Self {
            payment: PaymentFacts::of(payment, zone),
            status: payment.status().shown().number(),
        }
    }
}

impl PaymentFound {
    /// Of `payment`.
    #[must_use]
    pub fn of(payment: &Payment, zone: Zone) -> Self {
        Self {
            payment: PaymentFacts::of(payment, zone),
            status: payment.status().shown(),
        }
    }
}

impl PaymentFacts {
    fn of(payment: &Payment, zone: Zone) -> Self {
        let paid = payment.receipt().filter(|_| payment.status() == Status::Paid);
        Self {
            payment_id: payment.id,
            payment_uuid: payment.id,
            order_id: payment.order,
            order_uuid: payment.order,
            user_uuid: payment.user,
            amount: payment.amount,
            payment_method: payment.method.number(),
            payment_subject: payment.subject.clone(),
            status_display: status_display(payment),
            created_at: zone.show(payment.created_at),
            updated_at: zone.show(payment.updated_at),
            expires_at: zone.show(payment.expires_at),
            paid_at: paid.map(|receipt| zone.show(receipt.paid_at)),
            transaction_id: paid.map(|receipt| receipt.trade_no.clone()),
            payment_data: PaymentData::of(payment),
        }
    }
}

/// The code that says `text`, as a picture. `None` for a text that is too long for any code; none of a provider's is.
fn picture(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let svg = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    Some(format!("data:image/svg+xml;base64,{}", BASE64.encode(svg)))
}

impl PaymentData {
    fn of(payment: &Payment) -> Self {
        let offer = match &payment.state {
            State::Pending { offer, .. } => Some(offer),
            _ => None,
        };
        let text = match offer {
            Some(Offer::QrCode(text) | Offer::Redirect(text)) => text.clone(),
            Some(Offer::AutoForm(_) | Offer::JsapiParams(_)) | None => String::new(),
        };
        let (form, jsapi_params) = match offer {
            Some(Offer::AutoForm(html)) => (Some(html.clone()), None),
            Some(Offer::JsapiParams(parameters)) => (None, Some(parameters.clone())),
            Some(Offer::QrCode(_) | Offer::Redirect(_)) | None => (None, None),
        };
        Self {
            qrcode: text.clone(),
            qr_code: match offer {
                Some(Offer::QrCode(text)) => picture(text).unwrap_or_else(|| text.clone()),
                _ => text.clone(),
            },
            url: text.clone(),
            payment_url: text,
            form,
            jsapi_params,
        }
    }
}

fn status_display(payment: &Payment) -> &'static str {
    let refunded = payment.ledger.refunded().unwrap_or_default();
    match payment.status() {
        Status::Created | Status::Pending => "待支付",
        Status::Paid | Status::LatePaid if !refunded.is_zero() && refunded < payment.amount => "部分退款",
        Status::Paid | Status::LatePaid if !refunded.is_zero() => "已退款",
        Status::Paid => "支付成功",
        Status::Closed => "已取消",
        Status::Expired => "已超时",
        Status::Failed => "支付失败",
        Status::Mismatch => "核实中",
        Status::LatePaid => "已关闭，退款中",
    }
}

/// Money that was asked back.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundView {
    success: bool,
    refund_id: RefundId,
    order_id: OrderId,
    refund_amount: Money,
    refund_status: RefundStatus,
}

impl From<RefundForServices> for RefundView {
    fn from(refund: RefundForServices) -> Self {
        Self {
            success: true,
            refund_id: refund.refund_uuid,
            order_id: refund.order_uuid,
            refund_amount: refund.amount,
            refund_status: refund.refund_status,
        }
    }
}

/// The answer to a simulated payment that took place.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentSimulated {
    success: bool,
    status: Shown,
    code: u16,
    message: &'static str,
}

impl PaymentSimulated {
    /// It took place.
    #[must_use]
    pub fn done() -> Self {
        Self {
            success: true,
            status: Shown::Success,
            code: 200,
            message: "支付成功",
        }
    }
}

/// What a returning browser is told where no page is configured to send it to.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrowserReturned {
    #[schema(required)]
    order_uuid: Option<OrderId>,
    #[schema(required)]
    status: Option<Shown>,
}

impl BrowserReturned {
    /// Of the payment that the browser comes from, if there is one.
    #[must_use]
    pub fn of(payment: Option<&Payment>) -> Self {
        Self {
            order_uuid: payment.map(|payment| payment.order),
            status: payment.map(|payment| payment.status().shown()),
        }
    }
}

/// The comparison of a day with the provider's statement of it. Amounts in fen.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconciliationView {
    payment_method: PaymentMethod,
    /// In +08:00, the provider's day.
    day: Day,
    /// Whether there is no difference.
    agrees: bool,
    totals: BothTotals,
    /// How many differences there are; the first 5000 are listed.
    difference_count: usize,
    differences: Vec<DifferenceView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct BothTotals {
    ours: DayTotals,
    theirs: DayTotals,
}

#[derive(Debug, Serialize, ToSchema)]
struct DayTotals {
    payments: DaySum,
    refunds: DaySum,
}

#[derive(Debug, Serialize, ToSchema)]
struct DaySum {
    count: u64,
    fen: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct DifferenceView {
    kind: Kind,
    /// Our payment, if it is of one.
    #[schema(required)]
    payment_uuid: Option<PaymentId>,
    /// Our refund, if it is of one.
    #[schema(required)]
    refund_uuid: Option<RefundId>,
    #[schema(required)]
    order_uuid: Option<OrderId>,
    /// The merchant's number of the trade at the provider, ours or another system's.
    out_trade_no: String,
    /// The merchant's number of the refund, where it is about one.
    #[schema(required)]
    out_refund_no: Option<String>,
    /// The provider's number of the trade.
    #[schema(required)]
    trade_no: Option<String>,
    /// What our books have.
    #[schema(required)]
    ours: Option<OurSideView>,
    /// What the statement has.
    #[schema(required)]
    theirs: Option<TheirSideView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OurSideView {
    /// The status in our books, not the one that buyers are shown.
    status: &'static str,
    /// What came or goes back; null where no money came.
    #[schema(required)]
    fen: Option<i64>,
    /// What was asked for, of a payment.
    #[schema(required)]
    asked_fen: Option<i64>,
    /// When it was paid; of a refund, when it was settled or else asked for.
    #[schema(required, format = DateTime)]
    at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TheirSideView {
    fen: i64,
    #[schema(format = DateTime)]
    at: String,
}

impl ReconciliationView {
    /// Of `report`, for the provider of `payment_method`.
    #[must_use]
    pub fn of(report: &Report, payment_method: PaymentMethod, zone: Zone) -> Self {
        Self {
            payment_method,
            day: report.day,
            agrees: report.differences.is_empty(),
            totals: BothTotals {
                ours: report.ours.into(),
                theirs: report.theirs.into(),
            },
            difference_count: report.differences.len(),
            differences: report
                .listed()
                .iter()
                .map(|difference| DifferenceView::of(difference, zone))
                .collect(),
        }
    }
}

impl From<reconciliation::Totals> for DayTotals {
    fn from(totals: reconciliation::Totals) -> Self {
        let sum = |sum: reconciliation::Sum| DaySum {
            count: sum.count,
            fen: sum.fen,
        };
        Self {
            payments: sum(totals.payments),
            refunds: sum(totals.refunds),
        }
    }
}

impl DifferenceView {
    fn of(difference: &Difference, zone: Zone) -> Self {
        Self {
            kind: difference.kind,
            payment_uuid: difference.payment_id(),
            refund_uuid: difference.refund.as_ref().map(|refund| refund.id),
            order_uuid: difference.payment.as_ref().map(|payment| payment.order),
            out_trade_no: difference.out_trade_no(),
            out_refund_no: difference.refund_no(),
            trade_no: difference.trade_no().map(str::to_owned),
            ours: difference.ours().map(|ours| OurSideView::of(ours, zone)),
            theirs: difference.line.as_ref().map(|line| TheirSideView::of(line, zone)),
        }
    }
}

impl OurSideView {
    fn of(ours: reconciliation::OurSide, zone: Zone) -> Self {
        Self {
            status: ours.status,
            fen: ours.amount.map(Money::fen),
            asked_fen: ours.asked.map(Money::fen),
            at: ours.at.map(|at| zone.show(at)),
        }
    }
}

impl TheirSideView {
    fn of(line: &StatementLine, zone: Zone) -> Self {
        Self {
            fen: line.amount.fen(),
            at: zone.show(line.at),
        }
    }
}
