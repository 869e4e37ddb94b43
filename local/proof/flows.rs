//! The flows: what people do, and where it has to end whatever happens on the way.

use std::fmt;
use std::time::Duration;

use keys::ServiceName;
use serde_json::{Value, json};
use uuid::Uuid;

use super::market::{Market, MarketError, Wish, text};
use super::page::Page;
use crate::Providers;

/// What an order of one piece costs.
const PRICE: &str = "19.90";
/// The same in fen.
pub(super) const FEN: i64 = 1990;
/// Half an hour, and then some.
pub(super) const UNTIL_UNPAID: Duration = Duration::from_secs(31 * 60);

/// As long as a reservation waits for its order, and then some.
const UNTIL_LEASES_END: Duration = Duration::from_secs(16 * 60);

/// Something that people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Flow {
    /// A buyer places an order.
    Create,
    /// A buyer places an order, with a client that knows no `Idempotency-Key`.
    CreateUnkeyed,
    /// A buyer opens a payment and pays it.
    Pay,
    /// Nobody pays.
    Expire,
    /// A buyer calls off an order that he has begun to pay.
    CancelUnpaid,
    /// A buyer calls off a paid order.
    CancelPaid,
    /// A buyer confirms receipt.
    Complete,
    /// A buyer asks all of his money back.
    Refund,
    /// A buyer asks a part of his money back.
    PartialRefund,
    /// A payment that was called off is paid after all.
    LatePayment,
    /// Two payments of one order are paid.
    DoublePayment,
    /// An order of two products is called off.
    Restock,
    /// A service has somebody told something.
    Notify,
    /// The same, while the page of who is told is open.
    Push,
    /// [`Flow::Pay`], at the simulated Alipay.
    PayAlipay,
    /// [`Flow::Pay`], at the simulated WeChat Pay.
    PayWechat,
    /// [`Flow::CancelUnpaid`], at the simulated Alipay.
    CancelUnpaidAlipay,
    /// [`Flow::CancelUnpaid`], at the simulated WeChat Pay.
    CancelUnpaidWechat,
    /// [`Flow::Refund`], at the simulated Alipay.
    RefundAlipay,
    /// [`Flow::Refund`], at the simulated WeChat Pay.
    RefundWechat,
}

/// What a flow has to work with.
#[derive(Debug, Clone, Default)]
pub(super) struct Scene {
    /// What notifications are about: an order, mostly.
    pub(super) about: String,
    pub(super) products: Vec<String>,
    pub(super) payments: Vec<Value>,
    pub(super) wish: Option<Wish>,
    /// Name of the way to pay, where it is not the usual one.
    method: Option<&'static str>,
    /// Whether its payment pages are those of the simulated providers.
    simulated: bool,
    /// Whether an open page was told without asking.
    pub(super) pushed: bool,
}

/// Where a flow ends once all time is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// Status of its order; `None`: there is no order.
    pub(super) status: Option<&'static str>,
    pub(super) captured_fen: i64,
    pub(super) refunded_fen: i64,
    pub(super) released_fen: i64,
    pub(super) buyer_told: Vec<&'static str>,
    pub(super) seller_told: Vec<&'static str>,
    /// Mails at most: where nobody knows whether one was sent, it is not sent again.
    pub(super) most_mails: [usize; 2],
}

pub(super) const PLACED: [&str; 2] = ["订单已提交", "您有新的订单"];
pub(super) const PAID: [&str; 2] = ["支付成功", "买家已付款"];
pub(super) const CANCELLED: [&str; 2] = ["订单已取消"; 2];
pub(super) const COMPLETED: [&str; 2] = ["交易完成"; 2];
pub(super) const REFUNDED: [&str; 2] = ["退款成功"; 2];
const REMINDED: &str = "即将自动确认收货";
/// Title of what a service has told.
const NOTICE: &str = "系统维护";

impl Flow {
    /// All of them.
    pub const ALL: [Flow; 20] = [
        Flow::Create,
        Flow::CreateUnkeyed,
        Flow::Pay,
        Flow::Expire,
        Flow::CancelUnpaid,
        Flow::CancelPaid,
        Flow::Complete,
        Flow::Refund,
        Flow::PartialRefund,
        Flow::LatePayment,
        Flow::DoublePayment,
        Flow::Restock,
        Flow::Notify,
        Flow::Push,
        Flow::PayAlipay,
        Flow::PayWechat,
        Flow::CancelUnpaidAlipay,
        Flow::CancelUnpaidWechat,
        Flow::RefundAlipay,
        Flow::RefundWechat,
    ];

    /// What is done, whoever plays the provider.
    fn deed(self) -> Flow {
        match self {
            Flow::PayAlipay | Flow::PayWechat => Flow::Pay,
            Flow::CancelUnpaidAlipay | Flow::CancelUnpaidWechat => Flow::CancelUnpaid,
            Flow::RefundAlipay | Flow::RefundWechat => Flow::Refund,
            other => other,
        }
    }

    /// Who plays the providers.
    #[must_use]
    pub fn providers(self) -> Providers {
        if self.deed() == self {
            Providers::Sandbox
        } else {
            Providers::Simulated
        }
    }

    /// As it is written on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Flow::Create => "create",
            Flow::CreateUnkeyed => "create-unkeyed",
            Flow::Pay => "pay",
            Flow::Expire => "expire",
            Flow::CancelUnpaid => "cancel-unpaid",
            Flow::CancelPaid => "cancel-paid",
            Flow::Complete => "complete",
            Flow::Refund => "refund",
            Flow::PartialRefund => "partial-refund",
            Flow::LatePayment => "late-payment",
            Flow::DoublePayment => "double-payment",
            Flow::Restock => "restock",
            Flow::Notify => "notify",
            Flow::Push => "push",
            Flow::PayAlipay => "pay-alipay",
            Flow::PayWechat => "pay-wechat",
            Flow::CancelUnpaidAlipay => "cancel-unpaid-alipay",
            Flow::CancelUnpaidWechat => "cancel-unpaid-wechat",
            Flow::RefundAlipay => "refund-alipay",
            Flow::RefundWechat => "refund-wechat",
        }
    }

    /// Everything before the flow begins; nothing goes wrong here.
    pub(super) async fn prepare(self, market: &mut Market) -> Result<Scene, MarketError> {
        let mut scene = Scene {
            simulated: self.providers() == Providers::Simulated,
            method: match self {
                Flow::PayWechat | Flow::CancelUnpaidWechat | Flow::RefundWechat => Some("wechat_pay"),
                _ => None,
            },
            ..Scene::default()
        };
        let deed = self.deed();
        let pieces = if deed == Flow::Restock { 2 } else { 1 };
        if !matches!(deed, Flow::Notify | Flow::Push) {
            for _ in 0..pieces {
                scene.products.push(market.puts_up(PRICE, 3).await?);
            }
        }
        match deed {
            Flow::Create => scene.wish = Some(scene.order(market)?.keyed()),
            Flow::CreateUnkeyed => scene.wish = Some(scene.order(market)?),
            Flow::Notify | Flow::Push => {
                scene.about = Uuid::new_v4().to_string();
                let notice = json!({
                    "user_uuid": market.buyer.id, "type": 1, "title": NOTICE, "content": "今晚维护",
                    "related_id": scene.about,
                });
                let token = market.service_token(ServiceName::OrderService)?;
                scene.wish = Some(Wish::post("/api/notifications", &notice).keyed().by(token));
            }
            _ => scene.places(market).await?,
        }
        match deed {
            Flow::Create | Flow::CreateUnkeyed | Flow::Notify | Flow::Push => {}
            Flow::Restock => {
                // After the leases: before their end the sweeper would return what nobody else does.
                market.lives_through(UNTIL_LEASES_END).await?;
                scene.wish = Some(Wish::post(scene.path("cancel"), &json!({})).by(market.token(&market.buyer)?));
            }
            Flow::Pay => scene.wish = Some(scene.payment(market)?.keyed()),
            Flow::Expire => scene.opens_payment(market).await?,
            Flow::CancelUnpaid => {
                scene.opens_payment(market).await?;
                scene.wish = Some(Wish::post(scene.path("cancel"), &json!({})).by(market.token(&market.buyer)?));
            }
            Flow::CancelPaid | Flow::Complete | Flow::Refund | Flow::PartialRefund => {
                scene.opens_payment(market).await?;
                scene.pays(market, 0).await?;
                market.rests().await?;
                let refund = format!("/api/payment/{}/refund", scene.about);
                let wish = match deed {
                    Flow::CancelPaid => Wish::post(scene.path("cancel"), &json!({})),
                    Flow::Complete => Wish::post(scene.path("complete"), &json!({})),
                    Flow::Refund => Wish::post(refund, &json!({})).keyed(),
                    _ => Wish::post(refund, &json!({"refund_amount": "5.00"})).keyed(),
                };
                scene.wish = Some(wish.by(market.token(&market.buyer)?));
            }
            Flow::LatePayment | Flow::DoublePayment => {
                scene.opens_payment(market).await?;
                scene.closes_payment(market).await?;
                if deed == Flow::DoublePayment {
                    scene.opens_payment(market).await?;
                }
            }
            // Deeds are none of these.
            Flow::PayAlipay
            | Flow::PayWechat
            | Flow::CancelUnpaidAlipay
            | Flow::CancelUnpaidWechat
            | Flow::RefundAlipay
            | Flow::RefundWechat => {}
        }
        market.rests().await?;
        Ok(scene)
    }

    /// The flow itself, in which things go wrong.
    pub(super) async fn act(self, market: &Market, scene: &mut Scene) -> Result<(), MarketError> {
        if self == Flow::Push {
            return scene.is_told(market).await;
        }
        match self {
            Flow::Expire => market.lives_through(UNTIL_UNPAID).await?,
            Flow::LatePayment => scene.pays(market, 0).await?,
            Flow::DoublePayment => {
                scene.pays(market, 1).await?;
                scene.pays(market, 0).await?;
            }
            _ => {}
        }
        if let Some(wish) = scene.wish.take() {
            let answer = market.insist(&wish).await?;
            match self.deed() {
                Flow::Create | Flow::CreateUnkeyed => scene.about = order_of(&answer.text)?,
                Flow::Pay => {
                    scene.payments.push(answer.data());
                    scene.pays(market, 0).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where it ends.
    pub(super) fn end(self) -> End {
        match self.deed() {
            Flow::Create | Flow::CreateUnkeyed | Flow::Expire | Flow::CancelUnpaid | Flow::Restock => {
                end("cancelled", (0, 0), [0, 0], told(&[PLACED, CANCELLED], false))
            }
            Flow::Pay => end("completed", (FEN, 0), [0, 1], told(&[PLACED, PAID, COMPLETED], true)),
            Flow::Complete => end("completed", (FEN, 0), [0, 1], told(&[PLACED, PAID, COMPLETED], false)),
            Flow::CancelPaid | Flow::Refund => end(
                "cancelled",
                (FEN, FEN),
                [1, 1],
                told(&[PLACED, PAID, CANCELLED, REFUNDED], false),
            ),
            Flow::PartialRefund => end(
                "completed",
                (FEN, 500),
                [1, 1],
                told(&[PLACED, PAID, REFUNDED, COMPLETED], true),
            ),
            Flow::LatePayment => {
                let (mut buyer, seller) = told(&[PLACED, CANCELLED], false);
                buyer.push(REFUNDED[0]);
                buyer.sort_unstable();
                end("cancelled", (FEN, FEN), [1, 0], (buyer, seller))
            }
            Flow::DoublePayment => {
                let (mut buyer, seller) = told(&[PLACED, PAID, COMPLETED], true);
                buyer.push(REFUNDED[0]);
                buyer.sort_unstable();
                end("completed", (2 * FEN, FEN), [1, 1], (buyer, seller))
            }
            // Deeds are none of the rest.
            Flow::Notify
            | Flow::Push
            | Flow::PayAlipay
            | Flow::PayWechat
            | Flow::CancelUnpaidAlipay
            | Flow::CancelUnpaidWechat
            | Flow::RefundAlipay
            | Flow::RefundWechat => End {
                status: None,
                captured_fen: 0,
                refunded_fen: 0,
                released_fen: 0,
                buyer_told: vec![NOTICE],
                seller_told: Vec::new(),
                most_mails: [0, 0],
            },
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who was told what: every step tells both.
pub(super) fn told(steps: &[[&'static str; 2]], reminded: bool) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut buyer: Vec<_> = steps.iter().map(|[buyer, _]| *buyer).collect();
    buyer.extend(reminded.then_some(REMINDED));
    buyer.sort_unstable();
    let mut seller: Vec<_> = steps.iter().map(|[_, seller]| *seller).collect();
    seller.sort_unstable();
    (buyer, seller)
}

/// The end of an order: what came and went back in fen, how many mails at most, who was told what.
pub(super) fn end(
    status: &'static str,
    (captured_fen, refunded_fen): (i64, i64),
    most_mails: [usize; 2],
    (buyer_told, seller_told): (Vec<&'static str>, Vec<&'static str>),
) -> End {
    End {
        status: Some(status),
        captured_fen,
        refunded_fen,
        released_fen: captured_fen - refunded_fen,
        buyer_told,
        seller_told,
        most_mails,
    }
}

/// The order of an answer: the new one, or the one that there is already.
fn order_of(answer: &str) -> Result<String, MarketError> {
    let body: Value = serde_json::from_str(answer).unwrap_or_default();
    match body["data"]["order_uuid"].as_str() {
        Some(order) => Ok(order.to_owned()),
        None => text(&body, "order_uuid"),
    }
}

impl Scene {
    fn order(&self, market: &Market) -> Result<Wish, MarketError> {
        let line = |product: &String| json!({"product_uuid": product, "price": PRICE, "quantity": 1});
        let body = json!({
            "products": self.products.iter().map(line).collect::<Vec<_>>(),
            "seller_uuid": market.seller.id, "payment_method": 0, "shipping_name": "张三丰",
            "shipping_phone": "13800138000", "shipping_address": "大学城北区 8 号楼 404", "remark": "",
        });
        Ok(Wish::post("/api/orders", &body).by(market.token(&market.buyer)?))
    }

    pub(super) fn path(&self, verb: &str) -> String {
        format!("/api/orders/{}/{verb}", self.about)
    }

    pub(super) async fn places(&mut self, market: &Market) -> Result<(), MarketError> {
        let answer = market.insist(&self.order(market)?.keyed()).await?;
        self.about = order_of(&answer.text)?;
        market.rests().await
    }

    pub(super) fn payment(&self, market: &Market) -> Result<Wish, MarketError> {
        let body = json!({
            "order_uuid": self.about, "payment_method": self.method.unwrap_or("alipay"), "amount": PRICE, "payment_subject": "台灯",
        });
        Ok(Wish::post("/api/payment/create", &body).by(market.token(&market.buyer)?))
    }

    pub(super) async fn opens_payment(&mut self, market: &Market) -> Result<(), MarketError> {
        let answer = market.insist(&self.payment(market)?.keyed()).await?;
        self.payments.push(answer.data());
        market.rests().await
    }

    pub(super) async fn closes_payment(&mut self, market: &Market) -> Result<(), MarketError> {
        let payment = text(self.payments.last().unwrap_or(&Value::Null), "payment_uuid")?;
        let wish = Wish::post(format!("/api/payment/{payment}/cancel"), &json!({}));
        market.insist(&wish.by(market.token(&market.buyer)?)).await?;
        market.rests().await
    }

    /// Where a payment is paid, at the sandbox.
    pub(super) fn page(&self, payment: usize) -> Result<String, MarketError> {
        let data = self.payments.get(payment).unwrap_or(&Value::Null);
        text(&data["payment_data"], "payment_url")
    }

    /// Has the buyer told something while he has a page open.
    async fn is_told(&mut self, market: &Market) -> Result<(), MarketError> {
        let mut page = Page::opens(market).await?;
        if let Some(wish) = self.wish.take() {
            market.insist(&wish).await?;
        }
        market.rests().await?;
        self.pushed = page.was_told(&self.about).await;
        page.knows(market, &self.about).await
    }

    /// Opens the payment page and presses the button, until the page says that it is paid.
    pub(super) async fn pays(&self, market: &Market, payment: usize) -> Result<(), MarketError> {
        let data = self.payments.get(payment).unwrap_or(&Value::Null);
        if self.simulated {
            return market.pays_at_the_provider(&data["payment_data"]).await;
        }
        let url = self.page(payment)?;
        market.insist(&Wish::get(&url)).await?;
        market.insist(&Wish::form(&url, "outcome=pay")).await?;
        Ok(())
    }
}
