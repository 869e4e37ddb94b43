//! The pages that buyers see, and an overview for developers. Titles are typed by sellers: everything is escaped.

use askama::Template;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY};
use http::{HeaderValue, Response, StatusCode};

use super::amount::yuan;
use super::trade::{Company, Standing, Trade, Way};

/// A trade that waits for its buyer.
#[derive(Template)]
#[template(path = "cashier.html", config = "local/simulator/askama.toml")]
struct CashierPage<'a> {
    company: &'static str,
    title: &'a str,
    amount: String,
    action: String,
    trade_no: &'a str,
    declined: bool,
}

/// A trade that is decided, or a page that can not be shown.
#[derive(Template)]
#[template(path = "result.html", config = "local/simulator/askama.toml")]
struct ResultPage<'a> {
    headline: &'a str,
    english: &'a str,
}

/// All trades.
#[derive(Template)]
#[template(path = "overview.html", config = "local/simulator/askama.toml")]
struct OverviewPage {
    trades: Vec<Row>,
}

struct Row {
    page: String,
    company: &'static str,
    out_trade_no: String,
    title: String,
    amount: String,
    standing: &'static str,
}

fn company(trade: &Trade) -> &'static str {
    match trade.company {
        Company::Alipay => "支付宝 Alipay",
        Company::WechatPay => "微信支付 WeChat Pay",
    }
}

/// Where a trade's payment page is.
pub(super) fn cashier_path(trade: &Trade) -> String {
    format!("/{}/cashier/{}", trade.company.name(), trade.token)
}

/// The page of a trade as it stands; `declined` says that the buyer just failed to pay.
pub(super) fn of_trade(trade: &Trade, declined: bool, now_ms: i64) -> Response<Bytes> {
    match trade.standing(now_ms) {
        Standing::Waiting | Standing::Prepared if now_ms < trade.wish.expires_ms => render(
            StatusCode::OK,
            &CashierPage {
                company: company(trade),
                title: &trade.wish.title,
                amount: yuan(trade.wish.amount_fen),
                action: cashier_path(trade),
                trade_no: &trade.trade_no,
                declined,
            },
        ),
        Standing::Waiting | Standing::Prepared | Standing::Closed => closed(),
        Standing::Paid | Standing::Finished => result(StatusCode::OK, "✓ 支付成功", "Paid."),
        Standing::Returned => result(StatusCode::OK, "✓ 已退款", "Paid, and refunded."),
    }
}

/// The page of a trade that can not be paid any more.
pub(super) fn closed() -> Response<Bytes> {
    result(
        StatusCode::OK,
        "✕ 交易已关闭",
        "This trade is closed or has run out of time.",
    )
}

/// A page that only says something.
pub(super) fn result(status: StatusCode, headline: &str, english: &str) -> Response<Bytes> {
    render(status, &ResultPage { headline, english })
}

/// The trades with the newest first.
pub(super) fn overview(trades: &[Trade], now_ms: i64) -> Response<Bytes> {
    let row = |trade: &Trade| Row {
        page: match (trade.company, trade.wish.way) {
            // As if the code were scanned: from then on Alipay knows the trade.
            (Company::Alipay, Way::QrCode) => format!("/alipay/qr/{}", trade.token),
            _ => cashier_path(trade),
        },
        company: company(trade),
        out_trade_no: trade.wish.out_trade_no.clone(),
        title: trade.wish.title.clone(),
        amount: yuan(trade.wish.amount_fen),
        standing: match trade.standing(now_ms) {
            Standing::Prepared => "not scanned",
            Standing::Waiting => "waiting",
            Standing::Paid => "paid",
            Standing::Returned => "refunded",
            Standing::Finished => "finished",
            Standing::Closed => "closed",
        },
    };
    let trades = trades.iter().rev().map(row).collect();
    render(StatusCode::OK, &OverviewPage { trades })
}

/// Sends the browser elsewhere.
pub(super) fn redirect(url: &str) -> Response<Bytes> {
    let Ok(location) = HeaderValue::from_str(url) else {
        return result(
            StatusCode::BAD_REQUEST,
            "✕ 返回地址无效",
            "The address to return to is not one.",
        );
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, location);
    response
}

fn render(status: StatusCode, page: &impl Template) -> Response<Bytes> {
    let (status, text) = match page.render() {
        Ok(text) => (status, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Without a form-action: browsers would apply it to where the merchant's return leads.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        ),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::super::trade::{State, Wish};
    use super::*;

    fn trade(title: &str) -> Trade {
        Trade {
            company: Company::Alipay,
            trade_no: "2026".to_owned(),
            token: "token".to_owned(),
            wish: Wish {
                out_trade_no: "order_1".to_owned(),
                way: Way::QrCode,
                title: title.to_owned(),
                amount_fen: 1_990,
                notify_url: None,
                return_url: None,
                attach: None,
                openid: None,
                expires_ms: 100,
            },
            created_ms: 0,
            state: State::Waiting,
            refunds: Vec::new(),
        }
    }

    fn text(response: &Response<Bytes>) -> String {
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    #[test]
    fn a_title_is_text_and_never_markup() {
        let trade = trade("<script>alert(1)</script> \"}&");
        for page in [of_trade(&trade, false, 50), overview(std::slice::from_ref(&trade), 50)] {
            let page = text(&page);
            assert!(!page.contains("<script"), "{page}");
            assert!(page.contains("&#60;script&#62;"), "{page}");
        }
    }

    #[test]
    fn a_page_shows_how_its_trade_stands() {
        let mut trade = trade("Lamp");
        let page = text(&of_trade(&trade, true, 50));
        assert!(
            page.contains("¥19.90") && page.contains("/alipay/cashier/token") && page.contains("alert"),
            "{page}"
        );
        assert!(text(&of_trade(&trade, false, 100)).contains("closed"));
        trade.state = State::Paid { at_ms: 50 };
        assert!(text(&of_trade(&trade, false, 60)).contains("Paid."));
    }
}
