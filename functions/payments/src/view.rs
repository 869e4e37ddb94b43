//! The JSON that leaves PaymentService, the numbers and words that clients know for statuses included.

use kernel::Zone;
use serde_json::{Value, json};

use crate::payment::{Payment, State};
use crate::provider::Offer;
use crate::status::Status;

/// A payment whose status is a number, as the answer to opening it has it.
#[must_use]
pub fn payment_opened(payment: &Payment, zone: Zone) -> Value {
    let mut view = payment_found(payment, zone);
    view["status"] = json!(payment.status().number());
    view
}

/// A payment whose status is a word.
#[must_use]
pub fn payment_found(payment: &Payment, zone: Zone) -> Value {
    let paid = payment.receipt().filter(|_| payment.status() == Status::Paid);
    json!({
        "payment_id": payment.id,
        "payment_uuid": payment.id,
        "order_id": payment.order,
        "order_uuid": payment.order,
        "user_uuid": payment.user,
        "amount": payment.amount,
        "payment_method": payment.method.number(),
        "payment_subject": payment.subject,
        "status": payment.status().client_word(),
        "status_display": status_display(payment),
        "created_at": zone.show(payment.created_at),
        "updated_at": zone.show(payment.updated_at),
        "expires_at": zone.show(payment.expires_at),
        "paid_at": paid.map(|receipt| zone.show(receipt.paid_at)),
        "transaction_id": paid.map(|receipt| receipt.trade_no.as_str()),
        "payment_data": payment_data(payment),
    })
}

/// Always the four texts that clients read; empty once there is nothing left to pay.
fn payment_data(payment: &Payment) -> Value {
    let offer = match &payment.state {
        State::Pending { offer, .. } => Some(offer),
        _ => None,
    };
    let text = match offer {
        Some(Offer::QrCode(text) | Offer::Redirect(text)) => text.as_str(),
        Some(Offer::AutoForm(_) | Offer::JsapiParams(_)) | None => "",
    };
    let mut data = json!({"qrcode": text, "qr_code": text, "url": text, "payment_url": text});
    match offer {
        Some(Offer::AutoForm(html)) => data["form"] = json!(html),
        Some(Offer::JsapiParams(parameters)) => data["jsapi_params"] = json!(parameters),
        Some(Offer::QrCode(_) | Offer::Redirect(_)) | None => {}
    }
    data
}

fn status_display(payment: &Payment) -> &'static str {
    let given_back = payment.ledger.refunded().is_ok_and(|refunded| !refunded.is_zero());
    match payment.status() {
        Status::Created | Status::Pending => "待支付",
        Status::Paid | Status::LatePaid if given_back => "已退款",
        Status::Paid => "支付成功",
        Status::Closed => "已取消",
        Status::Expired => "已超时",
        Status::Failed => "支付失败",
        Status::Mismatch => "核实中",
        Status::LatePaid => "已关闭，退款中",
    }
}
