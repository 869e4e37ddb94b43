//! The payment page: what the buyer sees. It needs no script.

use askama::Template;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use http_function::{Problem, Reply, StatusCode};
use kernel::Timestamp;

use crate::trade::{Refusal, Status, Trade};

/// A trade that waits for its buyer: amount, title, and the two buttons.
#[derive(Template)]
#[template(path = "pay.html")]
struct PayPage<'a> {
    amount: String,
    subject: &'a str,
    method: &'static str,
    trade_no: &'a str,
    /// The query of this very page: the form posts back to it.
    query: &'a str,
}

/// A trade that is decided, or a page that can not be shown.
#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage<'a> {
    is_paid: bool,
    title: &'static str,
    english: &'static str,
    amount: Option<String>,
    subject: &'a str,
    return_url: Option<String>,
}

/// The page of a trade as it stands; `query` is the query under which it was asked for.
///
/// # Errors
/// [`Problem`] when the page can not be written.
pub fn of_trade(trade: &Trade, query: &str, now: Timestamp) -> Result<Reply, Problem> {
    match trade.status {
        Status::Waiting if now < trade.order.expires_at => render(
            StatusCode::OK,
            &PayPage {
                amount: trade.order.amount.to_string(),
                subject: &trade.order.subject,
                method: method(&trade.order.method),
                trade_no: &trade.trade_no,
                query,
            },
        ),
        Status::Waiting => result(
            StatusCode::OK,
            trade,
            "订单已超时，不能再支付",
            "This payment has run out of time.",
        ),
        Status::Paid => result(StatusCode::OK, trade, "支付成功", "Paid."),
        Status::Failed => result(StatusCode::OK, trade, "支付失败", "The payment failed."),
        Status::Closed => result(StatusCode::OK, trade, "交易已关闭", "The merchant closed this payment."),
    }
}

/// The page of a trade that is not what the buyer wanted it to become.
///
/// # Errors
/// [`Problem`] when the page can not be written.
pub fn of_refusal(trade: &Trade, refusal: Refusal) -> Result<Reply, Problem> {
    let (title, english) = match refusal {
        Refusal::Expired => ("订单已超时，不能再支付", "This payment has run out of time."),
        Refusal::Closed => ("交易已关闭", "The merchant closed this payment."),
        Refusal::Failed => ("支付失败", "The payment failed."),
        Refusal::Paid => ("该订单已支付", "This has been paid already."),
        Refusal::OrderDiffers | Refusal::NotPaid | Refusal::RefundExceeds | Refusal::RefundDiffers => {
            ("支付信息不一致", "This number was used for another order.")
        }
    };
    result(StatusCode::CONFLICT, trade, title, english)
}

/// The page for a link that no merchant of ours made.
///
/// # Errors
/// [`Problem`] when the page can not be written.
pub fn of_bad_link() -> Result<Reply, Problem> {
    let page = ResultPage {
        is_paid: false,
        title: "支付链接无效",
        english: "This payment link is not valid.",
        amount: None,
        subject: "",
        return_url: None,
    };
    render(StatusCode::FORBIDDEN, &page)
}

fn result(status: StatusCode, trade: &Trade, title: &'static str, english: &'static str) -> Result<Reply, Problem> {
    let page = ResultPage {
        is_paid: trade.status == Status::Paid,
        title,
        english,
        amount: Some(trade.order.amount.to_string()),
        subject: &trade.order.subject,
        return_url: Some(return_url(trade)),
    };
    render(status, &page)
}

fn return_url(trade: &Trade) -> String {
    let (url, number) = (&trade.order.return_url, trade.order.out_trade_no.as_str());
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}out_trade_no={number}")
}

fn method(word: &str) -> &'static str {
    match word {
        "alipay" => "支付宝 Alipay",
        "wechat_pay" => "微信支付 WeChat Pay",
        _ => "沙箱 Sandbox",
    }
}

fn render(status: StatusCode, page: &impl Template) -> Result<Reply, Problem> {
    let html = page.render().map_err(Problem::internal)?;
    Reply::page(status, html)
        .header(
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        )?
        .header(REFERRER_POLICY, "no-referrer")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Titles are typed by sellers; what they type is shown, never run.
    #[test]
    fn a_title_can_not_break_out_of_the_page() {
        let page = PayPage {
            amount: "19.90".into(),
            subject: "<script>alert('x')</script> \" & 台灯 💡",
            method: method("alipay"),
            trade_no: "SB1",
            query: "amount=1990&subject=%22%3E<b>\"onload=x&sign=1",
        };
        let html = page.render().unwrap();
        assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains("\"onload"));
        assert!(html.contains("台灯 💡") && html.contains("19.90"));
    }
}
