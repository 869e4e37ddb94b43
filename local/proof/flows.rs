//! The flows: what people do, and where it has to end whatever happens on the way.

use std::fmt;
use std::time::Duration;

use keys::ServiceName;
use serde_json::{Value, json};
use uuid::Uuid;

use super::market::{Market, MarketError, Wish, text};

/// What an order of one piece costs.
const PRICE: &str = "19.90";
/// The same in fen.
const FEN: i64 = 1990;
/// Half an hour, and then some.
const UNTIL_UNPAID: Duration = Duration::from_secs(31 * 60);

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
}

/// What a flow has to work with.
#[derive(Debug, Clone, Default)]
pub(super) struct Scene {
    /// What notifications are about: an order, mostly.
    pub(super) about: String,
    pub(super) products: Vec<String>,
    payments: Vec<Value>,
    wish: Option<Wish>,
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

const PLACED: [&str; 2] = ["订单已提交", "您有新的订单"];
const PAID: [&str; 2] = ["支付成功", "买家已付款"];
const CANCELLED: [&str; 2] = ["订单已取消"; 2];
const COMPLETED: [&str; 2] = ["交易完成"; 2];
const REFUNDED: [&str; 2] = ["退款成功"; 2];
const REMINDED: &str = "即将自动确认收货";
/// Title of what a service has told.
const NOTICE: &str = "系统维护";

impl Flow {
    /// All of them.
    pub const ALL: [Flow; 13] = [
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
    ];

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
        }
    }

    /// Everything before the flow begins; nothing goes wrong here.
    pub(super) async fn prepare(self, market: &mut Market) -> Result<Scene, MarketError> {
        let mut scene = Scene::default();
        let pieces = if self == Flow::Restock { 2 } else { 1 };
        if self != Flow::Notify {
            for _ in 0..pieces {
                scene.products.push(market.puts_up(PRICE, 3).await?);
            }
        }
        match self {
            Flow::Create => scene.wish = Some(scene.order(market)?.keyed()),
            Flow::CreateUnkeyed => scene.wish = Some(scene.order(market)?),
            Flow::Notify => {
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
        match self {
            Flow::Create | Flow::CreateUnkeyed | Flow::Notify => {}
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
                let wish = match self {
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
                if self == Flow::DoublePayment {
                    scene.opens_payment(market).await?;
                }
            }
        }
        market.rests().await?;
        Ok(scene)
    }

    /// The flow itself, in which things go wrong.
    pub(super) async fn act(self, market: &Market, scene: &mut Scene) -> Result<(), MarketError> {
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
            match self {
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
        let told = |steps: &[[&'static str; 2]], reminded: bool| {
            let mut buyer: Vec<_> = steps.iter().map(|[buyer, _]| *buyer).collect();
            buyer.extend(reminded.then_some(REMINDED));
            buyer.sort_unstable();
            let mut seller: Vec<_> = steps.iter().map(|[_, seller]| *seller).collect();
            seller.sort_unstable();
            (buyer, seller)
        };
        let end = |status, (captured_fen, refunded_fen): (i64, i64), most_mails, (buyer_told, seller_told)| End {
            status: Some(status),
            captured_fen,
            refunded_fen,
            released_fen: captured_fen - refunded_fen,
            buyer_told,
            seller_told,
            most_mails,
        };
        match self {
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
            Flow::Notify => End {
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

    fn path(&self, verb: &str) -> String {
        format!("/api/orders/{}/{verb}", self.about)
    }

    async fn places(&mut self, market: &Market) -> Result<(), MarketError> {
        let answer = market.insist(&self.order(market)?.keyed()).await?;
        self.about = order_of(&answer.text)?;
        market.rests().await
    }

    fn payment(&self, market: &Market) -> Result<Wish, MarketError> {
        let body = json!({
            "order_uuid": self.about, "payment_method": "alipay", "amount": PRICE, "payment_subject": "台灯",
        });
        Ok(Wish::post("/api/payment/create", &body).by(market.token(&market.buyer)?))
    }

    async fn opens_payment(&mut self, market: &Market) -> Result<(), MarketError> {
        let answer = market.insist(&self.payment(market)?.keyed()).await?;
        self.payments.push(answer.data());
        market.rests().await
    }

    async fn closes_payment(&mut self, market: &Market) -> Result<(), MarketError> {
        let payment = text(self.payments.last().unwrap_or(&Value::Null), "payment_uuid")?;
        let wish = Wish::post(format!("/api/payment/{payment}/cancel"), &json!({}));
        market.insist(&wish.by(market.token(&market.buyer)?)).await?;
        market.rests().await
    }

    /// Opens the payment page and presses the button, until the page says that it is paid.
    async fn pays(&self, market: &Market, payment: usize) -> Result<(), MarketError> {
        let data = self.payments.get(payment).unwrap_or(&Value::Null);
        let url = text(&data["payment_data"], "payment_url")?;
        market.insist(&Wish::get(&url)).await?;
        market.insist(&Wish::form(&url, "outcome=pay")).await?;
        Ok(())
    }
}
