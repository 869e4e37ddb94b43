//! Purchases at Alipay and WeChat Pay, played by the simulator: on every channel, and with everything going wrong that
//! does. After each test the platform's books are held against the providers'.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cfmp::books::{Books, ForAPerson, Report};
use cfmp::buyer::{Buyer, Paying};
use cfmp::purchases::Run;
use cfmp::simulator::{Fate, Operation, Simulator, Spoiling, Switches};
use cfmp::{Options, Platform, Providers};
use kernel::PaymentId;
use serde_json::{Value, json};

use crate::payments::{cancel_path, ledger, payment_path, text};
use crate::world::{Answer, Member, Product, World, in_world_with, uuid_text};

const MINUTE: Duration = Duration::from_secs(60);
/// Longer than a message of a queue stays hidden after its handling failed.
const NEXT_TRY: Duration = Duration::from_secs(61);
/// People that a test may need.
const CROWD: usize = 160;
/// Sellers type such titles.
const TITLE: &str = r#"台灯 & "lamp" = a+b/c "} 🛋"#;
const ALIPAY: [&str; 3] = ["page", "mobile_page", "qr_code"];
const WECHAT_PAY: [&str; 3] = ["qr_code", "in_app", "mobile_page"];
/// A way to pay at each provider.
const BOTH: [(&str, &str); 2] = [("alipay", "page"), ("wechat_pay", "qr_code")];

/// A world with simulated providers, its people and what was put up in it.
struct Market<'a> {
    world: &'a World,
    platform: &'a Platform,
    people: Vec<Member<'a>>,
    met: AtomicUsize,
    put_up: Mutex<BTreeMap<String, i64>>,
}

/// An order, and the payment that its buyer was offered.
struct Deal<'a> {
    seller: Member<'a>,
    buyer: Member<'a>,
    lamp: Product,
    order: Value,
    payment: Value,
}

/// Runs a test in a market; then its books have to be right. What is for people to decide, the test has to say.
fn in_market(options: Options, for_people: usize, test: impl AsyncFnOnce(&Market<'_>)) {
    in_world_with(options, async |world| {
        let Some(platform) = world.platform() else { return };
        let market = Market {
            world,
            platform,
            people: world.crowd(CROWD).unwrap(),
            met: AtomicUsize::new(0),
            put_up: Mutex::default(),
        };
        test(&market).await;
        world.settle().await;
        let report = market.report().await;
        assert_eq!(report.for_people.len(), for_people, "{:#?}", report.for_people);
    });
}

impl<'a> Market<'a> {
    fn simulator(&self) -> &'a Simulator {
        self.platform.simulator().unwrap()
    }

    fn person(&self) -> Member<'a> {
        self.people[self.met.fetch_add(1, Ordering::Relaxed)].clone()
    }

    fn hands(&self) -> Buyer {
        Buyer::new(Some(self.simulator().base_url()))
    }

    fn switch(&self, number: Option<&str>, switches: &Switches) {
        self.simulator().set_switches(number, switches).unwrap();
    }

    /// Somebody orders a lamp of somebody's.
    async fn orders(&self) -> Deal<'a> {
        let (seller, buyer) = (self.person(), self.person());
        let lamp = seller.puts_up(TITLE, "19.90", 1).await;
        self.put_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(lamp.id.clone(), 1);
        let order = buyer.orders(&lamp).await;
        Deal {
            seller,
            buyer,
            lamp,
            order,
            payment: Value::Null,
        }
    }

    /// Somebody orders, and is offered a way to pay.
    async fn deal(&self, (method, channel): (&str, &str)) -> Deal<'a> {
        let mut deal = self.orders().await;
        deal.opens((method, channel)).await;
        deal
    }

    /// The same, with switches set for the trade.
    async fn troubled(&self, way: (&str, &str), switches: &Switches) -> Deal<'a> {
        let deal = self.deal(way).await;
        self.switch(Some(&deal.number()), switches);
        deal
    }

    async fn pays(&self, deal: &Deal<'_>) -> Paying {
        self.hands().pays(&deal.payment["payment_data"]).await.unwrap()
    }

    async fn is_paid_at_once(&self, way: (&str, &str)) -> Deal<'a> {
        let deal = self.deal(way).await;
        assert!(matches!(self.pays(&deal).await, Paying::Paid(_)));
        self.world.settle().await;
        assert_eq!(deal.status().await, 1);
        deal
    }

    /// Time passes by minutes, as for the schedules it does.
    async fn minutes(&self, count: u32) {
        for _ in 0..count {
            self.world.advance(MINUTE).await;
            self.world.settle().await;
        }
    }

    /// Time passes until what was asked for is true. Messages whose handling failed wait for it as well.
    async fn until(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        self.until_after(NEXT_TRY, what, holds).await;
    }

    async fn until_after(&self, step: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..40 {
            for _ in 0..20 {
                if holds().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.world.advance(step).await;
        }
        panic!("waited in vain until {what}");
    }

    async fn report(&self) -> Report {
        let put_up = self.put_up.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let report = Books::read(self.platform).await.unwrap().check(&put_up);
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
        report
    }

    /// The notifications of a deal's trade, as the provider sees them.
    fn notifications(&self, deal: &Deal<'_>) -> Vec<Value> {
        let told = self.simulator().notifications(Some(&deal.number())).unwrap();
        let told = told.get("notifications").cloned().unwrap_or(told);
        told.as_array().unwrap().clone()
    }

    /// The provider's own refunds of a deal's trade: amount and outcome.
    fn refunds(&self, deal: &Deal<'_>) -> Vec<(i64, String)> {
        let books = self.simulator().books(None).unwrap();
        let of_deal = |refund: &&Value| refund["out_trade_no"] == json!(deal.number());
        let refunds = books["refunds"].as_array().unwrap().iter().filter(of_deal);
        refunds
            .map(|refund| (refund["amount_fen"].as_i64().unwrap(), text(&refund["outcome"])))
            .collect()
    }

    async fn ledger(&self, deal: &Deal<'_>) -> Vec<(String, i64)> {
        let mut entries = ledger(self.platform, &deal.payment).await;
        entries.sort();
        entries
    }

    async fn table(&self, operation: &str, table: &str, mut body: Value) -> Value {
        body["TableName"] = json!(self.platform.template().tables[table].name);
        let (status, answer) = self.platform.dynamodb(operation, &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// What stands in the table about a deal's payment.
    async fn stored(&self, deal: &Deal<'_>) -> Value {
        let key = json!({"Key": {"payment_uuid": {"S": deal.payment["payment_uuid"]}}, "ConsistentRead": true});
        self.table("GetItem", "PaymentsTable", key).await["Item"].clone()
    }

    /// The exact word for where a deal's payment stands.
    async fn payment_status(&self, deal: &Deal<'_>) -> String {
        text(&self.stored(deal).await["status"]["S"])
    }

    async fn stock(&self, deal: &Deal<'_>) -> Value {
        let path = format!("/api/product/{}/", deal.lamp.id);
        self.world.get(&path).expect(200).await.json()["stock"].clone()
    }
}

impl Deal<'_> {
    fn wish(&self, (method, channel): (&str, &str)) -> Value {
        let mut wish = json!({
            "order_uuid": self.order["order_uuid"], "payment_method": method, "channel": channel, "amount": "19.90",
        });
        if channel == "in_app" {
            wish["openid"] = json!("o6_bmjrPTlm6_2sgVt7hMZOPfL2M");
        }
        wish
    }

    /// Asks for a way to pay, whatever comes of it.
    async fn asks_to_pay(&self, way: (&str, &str)) -> Answer {
        self.buyer.post("/api/payment/create/", &self.wish(way)).send().await
    }

    async fn opens(&mut self, way: (&str, &str)) {
        let answer = self.asks_to_pay(way).await;
        assert!(answer.status.is_success(), "{}: {}", answer.asked, answer.text());
        self.payment = answer.data();
    }

    /// Under which the provider knows the payment.
    fn number(&self) -> String {
        text(&self.payment["payment_uuid"]).replace('-', "")
    }

    async fn status(&self) -> Value {
        self.buyer.order(&self.order).await["status"].clone()
    }

    async fn refund_status(&self) -> Value {
        self.buyer.order(&self.order).await["refund_status"].clone()
    }

    async fn shown(&self) -> Value {
        self.buyer.get(&payment_path(&self.order)).expect(200).await.data()
    }

    async fn completes(&self) {
        let path = format!("/api/orders/{}/complete/", text(&self.order["order_uuid"]));
        self.buyer.ask("POST", &path).expect(200).await;
    }

    async fn asks_back(&self, amount: &str) {
        let path = format!("/api/payment/{}/refund/", text(&self.order["order_uuid"]));
        self.buyer
            .post(&path, &json!({"refund_amount": amount}))
            .expect(201)
            .await;
    }
}

fn lost() -> Switches {
    Switches {
        lost: true,
        ..Switches::default()
    }
}

fn spoiled(answer: Spoiling, to: Operation, times: Option<u32>) -> Switches {
    Switches {
        answer,
        answer_to: Some(to),
        answer_times: times,
        // Longer than a function waits.
        hang_ms: 2_300,
        ..Switches::default()
    }
}

fn movements(of: &[(&str, i64)]) -> Vec<(String, i64)> {
    of.iter().map(|(kind, fen)| ((*kind).to_owned(), *fen)).collect()
}

async fn whole_purchases(market: &Market<'_>, method: &str, channels: &[&str]) {
    let hands = market.hands();
    for channel in channels {
        // Paid, and the browser comes back; then completed.
        let deal = market.deal((method, channel)).await;
        let Paying::Paid(back) = market.pays(&deal).await else {
            panic!("{method} {channel} can not be paid");
        };
        if let Some(back) = back {
            assert!(!hands.returns(&back).await.unwrap().is_server_error());
        }
        market.world.settle().await;
        assert_eq!(deal.status().await, 1, "{method} {channel}");
        // Paid is paid: the page shows it, and pays nothing more.
        assert!(matches!(market.pays(&deal).await, Paying::Refused(_)));
        deal.completes().await;

        // Paid, a part asked back, completed. Alipay tells of the part with the word that it told of the payment with.
        let part = market.is_paid_at_once((method, channel)).await;
        part.asks_back("5.00").await;
        market.world.settle().await;
        let told = market.notifications(&part);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told.iter().all(|notice| notice["state"] == "confirmed"), "{told:#?}");
        assert_eq!(part.refund_status().await, "succeeded");
        part.completes().await;

        // Paid and called off.
        let cancelled = market.is_paid_at_once((method, channel)).await;
        cancelled.seller.cancels(&cancelled.order, "卖掉了").await;
        market.world.settle().await;

        assert_eq!(deal.status().await, 2);
        assert_eq!(
            market.ledger(&deal).await,
            movements(&[("held", 1990), ("released", -1990)])
        );
        assert_eq!(
            market.ledger(&part).await,
            movements(&[("held", 1990), ("refunded", -500), ("released", -1490)])
        );
        assert_eq!(market.refunds(&part), [(500, "succeeded".to_owned())]);
        assert_eq!(cancelled.refund_status().await, "succeeded");
        assert_eq!(
            market.ledger(&cancelled).await,
            movements(&[("held", 1990), ("refunded", -1990)])
        );
        assert_eq!(market.refunds(&cancelled), [(1990, "succeeded".to_owned())]);
        assert_eq!(market.stock(&cancelled).await, 1);
    }
}

#[test]
fn a_whole_purchase_works_on_every_channel_of_alipay() {
    in_market(Options::simulated(), 0, async |market| {
        whole_purchases(market, "alipay", &ALIPAY).await;
    });
}

#[test]
fn a_whole_purchase_works_on_every_channel_of_wechat_pay() {
    in_market(Options::simulated(), 0, async |market| {
        whole_purchases(market, "wechat_pay", &WECHAT_PAY).await;
    });
}

#[test]
fn a_whole_purchase_works_with_alipays_certificates() {
    let options = Options {
        alipay_certificates: true,
        ..Options::simulated()
    };
    in_market(options, 0, async |market| {
        whole_purchases(market, "alipay", &["qr_code", "page"]).await;
    });
}

/// An answer that is no answer: the payment stays, the buyer is told when to ask again, and asks for the same trade.
#[test]
fn a_trade_that_is_made_without_an_answer_is_made_once() {
    in_market(Options::simulated(), 0, async |market| {
        for (way, spoiling) in [
            (("alipay", "qr_code"), Spoiling::Lost),
            (("alipay", "qr_code"), Spoiling::Hanging),
            (("alipay", "qr_code"), Spoiling::WronglySigned),
            (("alipay", "qr_code"), Spoiling::Unsigned),
            (("wechat_pay", "qr_code"), Spoiling::Lost),
            (("wechat_pay", "in_app"), Spoiling::Hanging),
            (("wechat_pay", "mobile_page"), Spoiling::SignTest),
            (("wechat_pay", "qr_code"), Spoiling::ServerError),
            (("alipay", "qr_code"), Spoiling::ServerError),
        ] {
            let mut deal = market.orders().await;
            let key = uuid_text();
            let number = PaymentId::derived(&[&deal.buyer.id, &key]).uuid().simple().to_string();
            market.switch(Some(&number), &spoiled(spoiling, Operation::Create, Some(1)));
            market.world.expect_failures(1);
            let ask = deal.buyer.post("/api/payment/create/", &deal.wish(way));
            let ask = ask.header("Idempotency-Key", &key);
            let answer = ask.clone().expect(503).await;
            assert!(answer.headers.contains_key("retry-after"), "{way:?} {spoiling:?}");
            let answer = ask.send().await;
            assert!(answer.status.is_success(), "{way:?} {spoiling:?}: {}", answer.text());
            deal.payment = answer.data();
            assert_eq!(deal.number(), number);
            assert!(
                matches!(market.pays(&deal).await, Paying::Paid(_)),
                "{way:?} {spoiling:?}"
            );
            market.world.settle().await;
            assert_eq!(deal.status().await, 1, "{way:?} {spoiling:?}");
        }
    });
}

/// Whether a refund was made is not known: it keeps its number, and is asked after before it is made.
#[test]
fn a_refund_without_an_answer_is_made_once() {
    in_market(Options::simulated(), 0, async |market| {
        for way in BOTH {
            for spoiling in [
                Spoiling::Lost,
                Spoiling::Hanging,
                Spoiling::ServerError,
                Spoiling::WronglySigned,
            ] {
                let deal = market.is_paid_at_once(way).await;
                let mut switches = spoiled(spoiling, Operation::Refund, Some(1));
                // Nobody tells of it either.
                switches.lost = true;
                market.switch(Some(&deal.number()), &switches);
                deal.buyer.cancels(&deal.order, "").await;
                market
                    .until("the refund is made", async || deal.refund_status().await == "succeeded")
                    .await;
                market.world.settle().await;
                assert_eq!(
                    market.refunds(&deal),
                    [(1990, "succeeded".to_owned())],
                    "{way:?} {spoiling:?}"
                );
                assert_eq!(
                    market.ledger(&deal).await,
                    movements(&[("held", 1990), ("refunded", -1990)])
                );
            }
        }
    });
}

/// Refunds that take their time, and those that the provider does not make.
#[test]
fn a_refund_is_done_when_the_provider_says_so_and_a_person_sees_to_one_that_is_not() {
    in_market(Options::simulated(), 4, async |market| {
        let mut deals = Vec::new();
        for way in BOTH {
            for (fate, end) in [
                (Fate::Slow, "succeeded"),
                (Fate::Refused, "needs_attention"),
                (Fate::Abnormal, "needs_attention"),
            ] {
                let deal = market.is_paid_at_once(way).await;
                let switches = Switches { refund: fate, ..lost() };
                market.switch(Some(&deal.number()), &switches);
                deals.push((deal, fate, end));
            }
        }
        for (deal, fate, _) in &deals {
            deal.buyer.cancels(&deal.order, "").await;
            if *fate == Fate::Slow {
                market
                    .world
                    .until("the refund is under way", async || {
                        market.refunds(deal) == [(1990, "processing".to_owned())]
                    })
                    .await;
                assert_eq!(deal.refund_status().await, "pending");
                assert_eq!(market.ledger(deal).await, movements(&[("held", 1990)]));
            }
        }
        for (deal, fate, end) in &deals {
            // Longer than anybody's token lives.
            market
                .until_after(7 * 60 * MINUTE, "the refund is decided", async || {
                    let key = json!({"Key": {"order_uuid": {"S": deal.order["order_uuid"]}}});
                    let order = market.table("GetItem", "OrdersTable", key).await;
                    order["Item"]["refunds"]["L"][0]["M"]["outcome"]["S"] == *end
                })
                .await;
            if *fate == Fate::Slow {
                assert_eq!(market.refunds(deal), [(1990, "succeeded".to_owned())]);
            }
        }
    });
}

/// Late, twice, in the wrong order, after everything, or never: an order is paid once.
#[test]
fn notifications_come_as_they_like_and_an_order_is_paid_once() {
    in_market(Options::simulated(), 0, async |market| {
        for way in BOTH {
            let copies = Switches {
                copies: 3,
                ..Switches::default()
            };
            let deal = market.troubled(way, &copies).await;
            market.pays(&deal).await;
            market.world.settle().await;
            assert_eq!(deal.status().await, 1);
            assert_eq!(market.ledger(&deal).await, movements(&[("held", 1990)]));

            // Nobody tells: the scheduled question pays it.
            let unheard = market.troubled(way, &lost()).await;
            market.pays(&unheard).await;
            market.world.settle().await;
            assert_eq!(unheard.status().await, 0);
            market.minutes(2).await;
            assert_eq!(unheard.status().await, 1, "{way:?}");

            // Told an hour later, when the order is completed.
            let late = Switches {
                late_ms: 3_600_000,
                ..Switches::default()
            };
            let late = market.troubled(way, &late).await;
            market.pays(&late).await;
            market.minutes(2).await;
            late.completes().await;
            market.world.settle().await;
            market.world.advance(60 * MINUTE).await;
            market.world.settle().await;
            assert_eq!(market.notifications(&late)[0]["state"], "confirmed");
            assert_eq!(late.status().await, 2);

            // The refund is told of before the payment.
            for switches in [
                Switches {
                    after_refund: true,
                    ..Switches::default()
                },
                Switches {
                    reordered: true,
                    ..Switches::default()
                },
            ] {
                let deal = market.troubled(way, &switches).await;
                market.pays(&deal).await;
                market.minutes(2).await;
                assert_eq!(deal.status().await, 1, "{way:?}");
                deal.buyer.cancels(&deal.order, "").await;
                market.world.settle().await;
                let told = market.notifications(&deal);
                assert!(told.iter().all(|notice| notice["state"] == "confirmed"), "{told:#?}");
                assert_eq!(deal.refund_status().await, "succeeded");
                assert_eq!(
                    market.ledger(&deal).await,
                    movements(&[("held", 1990), ("refunded", -1990)])
                );
            }
        }
    });
}

/// A refund by a person's hand is told of before anything else is known of the payment.
#[test]
fn a_refund_that_is_told_of_before_the_payment_has_the_provider_asked() {
    in_market(Options::simulated(), 3, async |market| {
        let held_back = Switches {
            after_refund: true,
            ..Switches::default()
        };
        for way in BOTH {
            let deal = market.troubled(way, &held_back).await;
            market.pays(&deal).await;
            market.world.settle().await;
            assert_eq!(deal.status().await, 0);
            market.simulator().refund(&deal.number(), 500).unwrap();
            market.world.settle().await;
            let told = market.notifications(&deal);
            assert!(told.iter().all(|notice| notice["state"] == "confirmed"), "{told:#?}");
            // WeChat Pay says that money went back, and not how much is left: a person decides.
            let (order, payment) = match way.0 {
                "alipay" => (1, "paid"),
                _ => (0, "mismatch"),
            };
            assert_eq!(
                (deal.status().await, market.payment_status(&deal).await.as_str()),
                (json!(order), payment),
                "{way:?}"
            );
        }
    });
}

#[test]
fn notifications_that_prove_nothing_change_nothing() {
    in_market(Options::simulated(), 0, async |market| {
        let switches = Switches::default;
        for (method, switches) in [
            (
                "alipay",
                Switches {
                    forged: true,
                    ..switches()
                },
            ),
            (
                "wechat_pay",
                Switches {
                    forged: true,
                    ..switches()
                },
            ),
            (
                "wechat_pay",
                Switches {
                    unknown_serial: true,
                    ..switches()
                },
            ),
            (
                "wechat_pay",
                Switches {
                    stale_timestamp: true,
                    ..switches()
                },
            ),
        ] {
            let deal = market.troubled((method, "qr_code"), &switches).await;
            let before = market.stored(&deal).await;
            market.pays(&deal).await;
            market.world.settle().await;
            let told = market.notifications(&deal);
            assert_eq!(told[0]["state"], "waiting", "{switches:?}: {told:#?}");
            assert_eq!(told[0]["tries"][0]["status"], 401, "{switches:?}: {told:#?}");
            assert_eq!(market.stored(&deal).await, before, "{switches:?}");
            assert_eq!(deal.status().await, 0);
            // The provider's word, when it is asked, counts.
            market.minutes(2).await;
            assert_eq!(deal.status().await, 1, "{switches:?}");
        }
        // A probe is refused, and the real one behind it is not.
        let probe = Switches {
            sign_test: true,
            ..switches()
        };
        let deal = market.troubled(("wechat_pay", "in_app"), &probe).await;
        market.pays(&deal).await;
        market.world.settle().await;
        let told = market.notifications(&deal);
        let tries = told[0]["tries"].as_array().unwrap();
        assert_eq!((&tries[0]["kind"], &tries[0]["status"]), (&json!("probe"), &json!(401)));
        assert_eq!(
            (&told[0]["state"], deal.status().await),
            (&json!("confirmed"), json!(1))
        );
    });
}

/// Another amount, another app, another merchant: the money is not taken for what it is not.
#[test]
fn money_that_does_not_match_waits_for_a_person() {
    in_market(Options::simulated(), 8, async |market| {
        let mut deals = Vec::new();
        for way in BOTH {
            for switches in [
                Switches {
                    wrong_amount_fen: Some(1),
                    ..Switches::default()
                },
                Switches {
                    wrong_amount_fen: Some(1991),
                    ..Switches::default()
                },
                Switches {
                    wrong_app: true,
                    ..Switches::default()
                },
                Switches {
                    wrong_merchant: true,
                    ..Switches::default()
                },
            ] {
                let deal = market.troubled(way, &switches).await;
                market.pays(&deal).await;
                market.world.settle().await;
                let told = market.notifications(&deal);
                assert_eq!(told[0]["state"], "confirmed", "{way:?} {switches:?}: {told:#?}");
                assert_eq!(deal.status().await, 0, "{way:?} {switches:?}");
                assert_eq!(market.payment_status(&deal).await, "mismatch");
                assert_eq!(market.ledger(&deal).await, []);
                // Nobody else's money is taken for the order meanwhile.
                let refused = deal.asks_to_pay(BOTH[1]).await;
                assert_eq!(
                    (refused.status.as_u16(), refused.kind().as_str()),
                    (409, "payment-under-review")
                );
                deals.push(deal);
            }
        }
        market.world.advance(40 * MINUTE).await;
        market.minutes(2).await;
        for deal in deals {
            assert_eq!(deal.status().await, 3, "its time ran out");
            assert_eq!(market.payment_status(&deal).await, "mismatch");
            assert_eq!(market.refunds(&deal), []);
        }
    });
}

/// Money that comes for what is over goes back, and nothing is revived by it.
#[test]
fn money_for_what_is_over_goes_back() {
    in_market(Options::simulated(), 0, async |market| {
        // A link that was never opened, and a code that was never scanned: the provider has no trade to close.
        for channel in ALIPAY {
            for switches in [Switches::default(), lost()] {
                let is_lost = switches.lost;
                let deal = market.troubled(("alipay", channel), &switches).await;
                deal.buyer.cancels(&deal.order, "").await;
                market.world.settle().await;
                assert_eq!(market.payment_status(&deal).await, "closed");
                assert!(matches!(market.pays(&deal).await, Paying::Paid(_)), "{channel}");
                market.world.settle().await;
                if is_lost {
                    // Only the last look finds it, after the order's time.
                    assert_eq!(market.payment_status(&deal).await, "closed");
                    market.world.advance(36 * MINUTE).await;
                    market.world.settle().await;
                }
                assert_eq!(market.payment_status(&deal).await, "late_paid", "{channel}");
                market.world.settle().await;
                assert_eq!(deal.status().await, 3);
                assert_eq!(
                    market.ledger(&deal).await,
                    movements(&[("held", 1990), ("refunded", -1990)]),
                    "{channel}"
                );
                assert_eq!(market.stock(&deal).await, 1);
            }
        }
        // WeChat Pay knows the trade, and closes it.
        for channel in WECHAT_PAY {
            let deal = market.deal(("wechat_pay", channel)).await;
            deal.buyer.cancels(&deal.order, "").await;
            market.world.settle().await;
            assert!(matches!(market.pays(&deal).await, Paying::Refused(_)), "{channel}");
        }
    });
}

/// The provider does not say until long after the end what was paid before it.
#[test]
fn money_that_is_heard_of_after_expiry_goes_back() {
    in_market(Options::simulated(), 0, async |market| {
        for way in BOTH {
            let mute = Switches {
                answer: Spoiling::ServerError,
                lost: true,
                ..Switches::default()
            };
            let deal = market.troubled(way, &mute).await;
            market.pays(&deal).await;
            market.world.advance(31 * MINUTE).await;
            market
                .until("the order has expired", async || deal.status().await == 3)
                .await;
            market.switch(Some(&deal.number()), &lost());
            market
                .until("the money went back", async || {
                    market.refunds(&deal) == [(1990, "succeeded".to_owned())]
                })
                .await;
            market.world.advance(NEXT_TRY).await;
            market.world.settle().await;
            assert_eq!(deal.status().await, 3, "{way:?}");
            assert_eq!(
                market.ledger(&deal).await,
                movements(&[("held", 1990), ("refunded", -1990)]),
                "{way:?}"
            );
        }
    });
}

#[test]
fn of_two_attempts_that_are_paid_one_pays_and_the_other_goes_back() {
    in_market(Options::simulated(), 0, async |market| {
        for old_one_first in [true, false] {
            for switches in [Switches::default(), lost()] {
                let mut deal = market.troubled(("alipay", "page"), &switches).await;
                let (old, old_number) = (deal.payment.clone(), deal.number());
                deal.opens(("wechat_pay", "in_app")).await;
                let hands = market.hands();
                let pay = async |payment: &Value| {
                    let paid = hands.pays(&payment["payment_data"]).await.unwrap();
                    assert!(matches!(paid, Paying::Paid(_)));
                };
                if old_one_first {
                    pay(&old).await;
                    pay(&deal.payment).await;
                } else {
                    pay(&deal.payment).await;
                    pay(&old).await;
                }
                market.world.settle().await;
                assert_eq!(deal.status().await, 1);
                market.world.advance(36 * MINUTE).await;
                market.world.settle().await;
                assert_eq!(market.ledger(&deal).await, movements(&[("held", 1990)]));
                let books = market.simulator().books(None).unwrap();
                let refunds = books["refunds"].as_array().unwrap();
                let refund = refunds
                    .iter()
                    .find(|refund| refund["out_trade_no"] == json!(old_number));
                assert_eq!(refund.unwrap()["amount_fen"], 1990);
            }
        }
    });
}

/// Another way to pay is asked for while the first one is paid, and nobody has told.
#[test]
fn an_attempt_that_turns_out_to_be_paid_is_not_replaced() {
    in_market(Options::simulated(), 0, async |market| {
        for (way, other) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
            let deal = market.troubled(way, &lost()).await;
            market.pays(&deal).await;
            let refused = deal.asks_to_pay(other).await;
            assert_eq!(
                (refused.status.as_u16(), refused.kind().as_str()),
                (409, "already-paid"),
                "{way:?}"
            );
            market.world.settle().await;
            assert_eq!(deal.status().await, 1);
        }
    });
}

/// A provider may speak of what was lost here, and is never told that all is well.
#[test]
fn a_notification_of_an_unknown_trade_is_not_confirmed() {
    in_world_with(Options::simulated(), async |world| {
        let Some(platform) = world.platform() else { return };
        let market = Market {
            world,
            platform,
            people: world.crowd(CROWD).unwrap(),
            met: AtomicUsize::new(0),
            put_up: Mutex::default(),
        };
        for way in BOTH {
            let deal = market.deal(way).await;
            let key = json!({"Key": {"payment_uuid": {"S": deal.payment["payment_uuid"]}}});
            market.table("DeleteItem", "PaymentsTable", key).await;
            market.pays(&deal).await;
            world.settle().await;
            let told = market.notifications(&deal);
            assert_eq!(told[0]["state"], "waiting", "{told:#?}");
            let first = &told[0]["tries"][0];
            assert_eq!(first["status"], 404, "{told:#?}");
            assert!(!text(&first["answer"]).contains("success"), "{told:#?}");
        }
    });
}

/// What is not stored is not confirmed, and comes again.
#[test]
fn a_notification_that_can_not_be_stored_comes_again() {
    in_market(Options::simulated(), 0, async |market| {
        for way in BOTH {
            let deal = market.deal(way).await;
            // Beside the payment stands which of its order's attempts is live: both are written together, or none.
            let key = json!({"order_uuid": {"S": deal.order["order_uuid"]}});
            let set_version = |version: Value| {
                json!({
                    "Key": key, "UpdateExpression": "SET #version = :version",
                    "ExpressionAttributeNames": {"#version": "version"},
                    "ExpressionAttributeValues": {":version": version},
                })
            };
            let known = json!({"Key": key, "ConsistentRead": true});
            let version = market.table("GetItem", "OrderPaymentsTable", known).await["Item"]["version"].clone();
            market
                .table(
                    "UpdateItem",
                    "OrderPaymentsTable",
                    set_version(json!({"S": "unreadable"})),
                )
                .await;
            market.pays(&deal).await;
            market
                .world
                .until("the notification was refused", async || {
                    market.notifications(&deal)[0]["tries"]
                        .as_array()
                        .is_some_and(|tries| !tries.is_empty())
                })
                .await;
            let told = market.notifications(&deal);
            assert_eq!(told[0]["state"], "waiting", "{told:#?}");
            assert_eq!(told[0]["tries"][0]["status"], 503, "{told:#?}");
            market
                .table("UpdateItem", "OrderPaymentsTable", set_version(version))
                .await;
            market.world.advance(3 * MINUTE).await;
            market.world.settle().await;
            assert_eq!(deal.status().await, 1, "{way:?}");
            assert_eq!(market.notifications(&deal)[0]["state"], "confirmed", "{way:?}");
        }
    });
}

/// Somebody gives money back on the provider's own pages. Only he knows why; the order stays as it is.
#[test]
fn a_refund_by_hand_does_not_upset_the_books() {
    in_market(Options::simulated(), 4, async |market| {
        for way in BOTH {
            for amount in [500, 1990] {
                let deal = market.is_paid_at_once(way).await;
                market.simulator().refund(&deal.number(), amount).unwrap();
                market.world.settle().await;
                let told = market.notifications(&deal);
                assert!(told.iter().all(|notice| notice["state"] == "confirmed"), "{told:#?}");
                assert_eq!(deal.status().await, 1, "{way:?}");
                assert_eq!(deal.shown().await["status"], "success");
                assert_eq!(market.ledger(&deal).await, movements(&[("held", 1990)]));
                deal.completes().await;
            }
        }
        market.world.settle().await;
        let by_hand = |what: &ForAPerson| matches!(what, ForAPerson::GivenBackByHand { .. });
        assert!(market.report().await.for_people.iter().all(by_hand));
    });
}

/// WeChat Pay's refusals may come without a signature, and prove nothing then: the question that is answered counts.
#[test]
fn refusals_without_a_signature_leave_nothing_stuck() {
    in_market(Options::simulated(), 0, async |market| {
        let unsigned = || Switches {
            unsigned_refusals: true,
            ..lost()
        };
        for channel in WECHAT_PAY {
            let way = ("wechat_pay", channel);
            // Paid, and unheard of: closing it to make room is refused, in a way that proves nothing.
            let paid = market.troubled(way, &unsigned()).await;
            market.pays(&paid).await;
            market.world.expect_failures(1);
            let answer = paid.asks_to_pay(BOTH[0]).await;
            assert!(matches!(answer.status.as_u16(), 409 | 503), "{}", answer.text());
            market.minutes(2).await;
            assert_eq!(paid.status().await, 1, "{channel}");
            paid.buyer.cancels(&paid.order, "").await;
            market
                .until("the money went back", async || {
                    paid.refund_status().await == "succeeded"
                })
                .await;

            // Never paid: called off, and expired.
            let cancelled = market.troubled(way, &unsigned()).await;
            cancelled.buyer.cancels(&cancelled.order, "").await;
            let expired = market.troubled(way, &unsigned()).await;
            market.world.advance(31 * MINUTE).await;
            market.minutes(3).await;
            for deal in [&cancelled, &expired] {
                let status = market.payment_status(deal).await;
                assert!(["closed", "expired"].contains(&status.as_str()), "{channel}: {status}");
                assert_eq!(deal.status().await, 3);
            }
        }
    });
}

/// WeChat Pay's pages for phones open for five minutes.
#[test]
fn a_page_that_has_run_out_is_made_anew_by_the_next_click() {
    in_market(Options::simulated(), 0, async |market| {
        let way = ("wechat_pay", "mobile_page");
        let mut deal = market.deal(way).await;
        let (first, number) = (deal.payment.clone(), deal.number());
        market.world.advance(6 * MINUTE).await;
        market.world.settle().await;
        assert!(matches!(market.pays(&deal).await, Paying::Refused(page) if page.contains("five minutes")));
        deal.opens(way).await;
        assert_eq!(deal.number(), number);
        assert_ne!(
            deal.payment["payment_data"]["payment_url"],
            first["payment_data"]["payment_url"]
        );
        assert!(matches!(market.pays(&deal).await, Paying::Paid(_)));
        market.world.settle().await;
        assert_eq!(deal.status().await, 1);
    });
}

/// A payment is called off by its buyer: at the provider first, and whatever it says, in the end it is paid or closed.
#[test]
fn a_payment_that_is_called_off_is_closed_or_turns_out_to_be_paid() {
    in_market(Options::simulated(), 0, async |market| {
        for way in [("alipay", "page"), ("wechat_pay", "in_app")] {
            for spoiling in [Spoiling::Lost, Spoiling::ServerError, Spoiling::WronglySigned] {
                let deal = market
                    .troubled(way, &spoiled(spoiling, Operation::Close, Some(1)))
                    .await;
                // The provider has to know it, or there is nothing to close.
                market
                    .hands()
                    .looks(&json!({"payment_url": deal.payment["payment_data"]["payment_url"]}))
                    .await
                    .ok();
                market.world.expect_failures(1);
                let path = cancel_path(&deal.payment);
                deal.buyer.post(&path, &json!({})).expect(503).await;
                assert_eq!(market.payment_status(&deal).await, "pending");
                deal.buyer.post(&path, &json!({})).expect(200).await;
                assert_eq!(market.payment_status(&deal).await, "closed", "{way:?} {spoiling:?}");
            }
            let paid = market.troubled(way, &lost()).await;
            market.pays(&paid).await;
            paid.buyer
                .post(&cancel_path(&paid.payment), &json!({}))
                .expect(409)
                .await;
            market.world.settle().await;
            assert_eq!(paid.status().await, 1, "{way:?}");
        }
    });
}

/// Everything above at once and at random, but repeatable: `cargo run -- purchases` runs it by the thousand.
#[test]
fn the_same_wishes_end_in_the_same_books_whatever_goes_wrong() {
    if crate::inside::is_elsewhere() {
        return;
    }
    let run = Run {
        seed: 20_260_131,
        orders: 40,
        providers: Providers::Simulated,
        options: Options::simulated(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime
        .block_on(run.play(|_| ()))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.is_clean(), "seed {}: {outcome}", run.seed);
}
