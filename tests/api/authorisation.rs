//! Who may do what: every route, asked by everybody.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cfmp::Platform;
use kernel::{Timestamp, UserId};
use keys::user_token::{self, UserTokens};
use keys::{Privilege, Seed, ServiceName, ServiceTokens, service_token};
use serde_json::{Value, json};

use crate::inside;
use crate::push::Tab;
use crate::world::{Answer, Member, Product, World, in_world, uuid_text};

/// `in`: the operation takes place or is refused for reasons that have nothing to do with who asks. A number: that
/// status, and nothing is written.
///
/// `nobody` is asked in every way of [`nobodies`]. The order is the buyer's; the product of a route is the seller's. The
/// sandbox provider opens to signatures, of a link or of a merchant, and to nobody's token.
const MATRIX: &str = "
                                                      nobody stranger buyer seller admin service

    GET   /.well-known/jwks.json                      in     in       in    in     in    in
    GET   /.well-known/service-jwks.json              in     in       in    in     in    in
    GET   /api/openapi.json                           in     in       in    in     in    in
    GET   /api/docs                                   in     in       in    in     in    in
    GET   /api/docs/{file}                            in     in       in    in     in    in
    POST  /api/v1/captcha                             in     in       in    in     in    in
    POST  /api/v1/auth/register                       in     in       in    in     in    in
    POST  /api/v1/auth/login-with-password            in     in       in    in     in    in
    POST  /api/auth/verify-token                      in     in       in    in     in    in
    GET   /api/users/{user_id}                        in     in       in    in     in    in
    GET   /api/v1/user/{user_id}                      in     in       in    in     in    in
    GET   /api/internal/users/{user_id}/contact       401    403      403   403    403   403
    GET   /api/v1/user/me                             401    in       in    in     in    403
    PATCH /api/v1/user/me                             401    in       in    in     in    403
    GET   /api/v1/user                                401    403      403   403    in    403
    GET   /api/root/user/{user_id}                    401    403      403   403    in    403
    PATCH /api/root/user/{user_id}                    401    403      403   403    in    403

    GET   /api/product                                in     in       in    in     in    in
    GET   /api/products                               in     in       in    in     in    in
    GET   /api/product/{product_id}                   in     in       in    in     in    in
    GET   /api/products/{product_id}                  in     in       in    in     in    in
    POST  /api/product                                401    in       in    in     in    403
    PUT   /api/product/{product_id}                   401    404      404   in     404   403
    PATCH /api/product/{product_id}                   401    404      404   in     404   403
    GET   /api/product/category                       in     in       in    in     in    in
    GET   /api/product/publish                        401    in       in    in     in    403
    GET   /api/product/{product_id}/reviews           in     in       in    in     in    in
    POST  /api/product/{product_id}/reviews           401    403      in    403    403   403
    GET   /api/product/{product_id}/collection        in     in       in    in     in    403
    POST  /api/product/{product_id}/collection        401    in       in    in     in    403
    DELETE /api/product/{product_id}/collection       401    in       in    in     in    403
    PATCH /api/root/products/{product_id}             401    403      403   403    in    403
    POST  /api/product/{product_id}/update-stock      401    403      403   403    403   in
    POST  /api/products/{product_id}/reserve-stock    401    403      403   403    403   in
    POST  /api/products/{product_id}/restore-stock    401    403      403   403    403   in

    POST  /api/orders                                 401    in       in    in     in    403
    GET   /api/orders                                 401    in       in    in     in    403
    GET   /api/orders/sold                            401    in       in    in     in    403
    GET   /api/orders/stats                           401    in       in    in     in    403
    GET   /api/orders/{order_id}                      401    404      in    in     404   403
    DELETE /api/orders/{order_id}                     401    404      in    403    404   403
    GET   /api/root/order                             401    403      403   403    in    403
    GET   /api/orders/internal/{order_uuid}           401    403      403   403    403   in
    GET   /api/orders/internal/orders/{order_uuid}    401    403      403   403    403   in
    PATCH /api/orders/internal/orders/{order_uuid}    401    403      403   403    403   in
    POST  /api/orders/internal/{order_uuid}/refund    401    403      403   403    403   in

    POST  /api/payment/create                         401    404      in    404    404   403
    GET   /api/payment/{order_id}                     401    404      in    404    404   403
    GET   /api/payment/records                        401    in       in    in     in    403
    POST  /api/payment/{order_uuid}/refund            401    404      in    404    404   in
    POST  /api/payment/callback/{payment_method}      401    404      in    404    404   403
    GET   /api/payment/callback/{payment_method}      in     in       in    in     in    in
    POST  /api/payment/{payment_uuid}/cancel          401    404      in    404    404   403
    PUT   /api/payment/{payment_uuid}/cancel          401    404      in    404    404   403
    PATCH /api/payment/{payment_uuid}/cancel          401    404      in    404    404   403
    GET   /api/payment/reconciliation/{payment_method} 401   403      403   403    in    403
    GET   /sandbox/pay                                403    403      403   403    403   403
    POST  /sandbox/pay                                403    403      403   403    403   403
    POST  /sandbox/trades/{out_trade_no}/{call}       401    401      401   401    401   401

    POST  /api/orders/{order_id}/complete             401    404      in    403    404   403
    PUT   /api/orders/{order_id}/complete             401    404      in    403    404   403
    PATCH /api/orders/{order_id}/complete             401    404      in    403    404   403
    POST  /api/orders/{order_id}/cancel               401    404      in    in     404   403
    PUT   /api/orders/{order_id}/cancel               401    404      in    in     404   403
    PATCH /api/orders/{order_id}/cancel               401    404      in    in     404   403

    POST  /api/notifications                          401    403      403   403    403   in
    POST  /api/internal/notifications/create          401    403      403   403    403   in
    GET   /api/notifications                          401    in       in    in     in    403
    GET   /api/v1/user/message                        401    in       in    in     in    403
    GET   /api/notifications/unread-count             401    in       in    in     in    403
    GET   /api/notifications/preferences              401    in       in    in     in    403
    PUT   /api/notifications/preferences              401    in       in    in     in    403
    POST  /api/notifications/read-all                 401    in       in    in     in    403
    PUT   /api/notifications/read-all                 401    in       in    in     in    403
    PATCH /api/notifications/read-all                 401    in       in    in     in    403
    GET   /api/notifications/{notification_id}        401    404      in    404    404   403
    GET   /api/notifications/detail/{notification_id} 401    404      in    404    404   403
    POST  /api/notifications/{notification_id}/read   401    404      in    404    404   403
    PUT   /api/notifications/{notification_id}/read   401    404      in    404    404   403
    PATCH /api/notifications/{notification_id}/read   401    404      in    404    404   403
    DELETE /api/notifications/{notification_id}       401    404      in    404    404   403

    DELETE /api/product/{product_id}                  401    404      404   in     404   403

    GET   /api/root/dead-letters                      401    403      403   403    in    403
    GET   /api/root/dead-letters/{letter_id}          401    403      403   403    in    403
    POST  /api/root/dead-letters/{letter_id}/preview  401    403      403   403    in    403
    POST  /api/root/dead-letters/{letter_id}/redrive  401    403      403   403    in    403
    POST  /api/root/dead-letters/{letter_id}/discard  401    403      403   403    in    403

    GET   /api/security/policies                      401    in       in    in     in    403
    PUT   /api/security/policies/update               401    403      403   403    in    403
    POST  /api/security/policies/back-test            401    403      403   403    in    403
    POST  /api/security/risk-assessment               401    in       in    in     in    in
    POST  /api/security/fraud-detection               401    in       in    in     in    in
    GET   /api/security/risk-assessments              401    403      403   403    in    403
    POST  /api/internal/security/assess-order         401    403      403   403    403   in
";

/// A line of the matrix.
struct Rule {
    method: &'static str,
    path: &'static str,
    verdicts: [Verdict; 6],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    LetIn,
    Refused(u16),
}

impl FromStr for Verdict {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "in" => Ok(Self::LetIn),
            status => status.parse().map(Self::Refused),
        }
    }
}

impl Verdict {
    fn is_met(self, status: u16) -> bool {
        match self {
            Self::LetIn => status < 500 && ![401, 403, 404].contains(&status),
            Self::Refused(expected) => status == expected,
        }
    }
}

fn matrix() -> Vec<Rule> {
    let lines = MATRIX.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|words| words.len() == 8)
        .map(|words| Rule {
            method: words[0],
            path: words[1],
            verdicts: std::array::from_fn(|column| words[column + 2].parse().unwrap()),
        })
        .collect()
}

/// What the routes are asked about.
struct Stage<'a> {
    buyer: Member<'a>,
    /// The buyer's order, pending until he pays it.
    order: Value,
    payment: Value,
    /// What the order is about.
    ordered: Product,
    /// Something else that the seller offers.
    offered: Product,
    /// Something that the buyer was told.
    notification: String,
    /// Something that nobody could handle.
    letter: String,
}

impl<'a> Stage<'a> {
    async fn set(world: &'a World, platform: &Platform, seller: &Member<'a>) -> Self {
        let buyer = world.member("买家").await;
        let ordered = seller.puts_up("台灯", "19.90", 1).await;
        let offered = seller.puts_up("书", "9.00", 5).await;
        let order = buyer.orders(&ordered).await;
        let payment = buyer.starts_paying(&order).await;
        world.settle().await;
        let notices = buyer.get("/api/notifications").expect(200).await.json();
        let notification = text(&notices["results"]["data"][0]["notification_uuid"]);
        Self {
            buyer,
            order,
            payment,
            ordered,
            offered,
            notification,
            letter: inside::dead_letter(world, platform, "NoticesDeadLetters", &json!({"type": "OrderPaid"})).await,
        }
    }

    fn path(&self, route: &str) -> String {
        inside::filled(route, |parameter| match parameter {
            "user_id" => self.buyer.id.clone(),
            // What the buyer's order is about; for the rest, what anybody may do something to.
            "product_id" if route.ends_with("/reviews") => self.ordered.id.clone(),
            "product_id" => self.offered.id.clone(),
            "order_id" | "order_uuid" => text(&self.order["order_uuid"]),
            "payment_uuid" | "out_trade_no" => text(&self.payment["payment_uuid"]),
            "payment_method" => "alipay".to_owned(),
            "notification_id" => self.notification.clone(),
            "letter_id" => self.letter.clone(),
            "call" => "query".to_owned(),
            "file" => "index.css".to_owned(),
            other => panic!("what is a {other}?"),
        })
    }

    /// A body that parses, where being let in depends on what it names.
    fn body(&self, method: &str, route: &str) -> Value {
        match (method, route) {
            (_, "/api/orders") => self.ordered.order(),
            (_, "/api/payment/create") => json!({
                "order_uuid": self.order["order_uuid"], "payment_method": "alipay",
                "amount": self.order["total_amount"],
            }),
            (_, "/api/orders/internal/{order_uuid}/refund") => json!({"refund_uuid": uuid_text()}),
            (_, "/api/payment/callback/{payment_method}") => json!({
                "order_uuid": self.order["order_uuid"], "payment_id": self.payment["payment_id"],
                "payment_uuid": self.payment["payment_uuid"], "status": 2, "total_amount": 0,
                "sign": "simulated_signature",
            }),
            (_, "/api/products/{product_id}/reserve-stock" | "/api/products/{product_id}/restore-stock") => {
                json!({"order_uuid": uuid::Uuid::new_v4(), "quantity": 1})
            }
            (_, "/api/product/{product_id}/update-stock") => json!({"quantity": 1}),
            (_, "/api/product/{product_id}/reviews") => json!({
                "order_uuid": self.order["order_uuid"], "rating": 5, "content": "很好",
            }),
            (_, "/api/root/products/{product_id}") => json!({"status": 0}),
            ("PATCH", "/api/orders/internal/orders/{order_uuid}") => json!({"status": 0}),
            (_, "/api/notifications" | "/api/internal/notifications/create") => json!({
                "user_uuid": self.buyer.id, "type": "system", "title": "维护", "content": "今晚维护",
            }),
            (_, "/api/internal/security/assess-order") => json!({
                "order_uuid": self.order["order_uuid"], "buyer_uuid": self.buyer.id, "seller_uuid": self.ordered.seller,
                "total_amount": "19.90", "phone_fingerprint": "a".repeat(32), "address_fingerprint": "b".repeat(32),
            }),
            _ => json!({}),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What `Authorization` may hold without proving anybody, each with a name for messages.
fn nobodies(platform: &Platform, member: &Member<'_>) -> Vec<(&'static str, Option<String>)> {
    let now = Timestamp::from_millis(platform.clock().now_ms());
    let seed = |secret: &str| -> Seed { platform.aws().secrets().value(secret).unwrap().parse().unwrap() };
    let foreign: Seed = json!({"seed": uuid_text() + &uuid_text()}).to_string().parse().unwrap();
    let id: UserId = member.id.parse().unwrap();
    let user = |seed: &Seed, at: Timestamp| {
        let tokens = UserTokens::derive(seed).unwrap();
        tokens.issue(id, "x", Privilege::Administrator, at).unwrap()
    };
    let service = |seed: &Seed, at: Timestamp| {
        ServiceTokens::derive(seed)
            .unwrap()
            .issue(ServiceName::OrderService, at)
            .unwrap()
    };
    let minute = Duration::from_secs(60);
    let bearer = |token: String| Some(format!("Bearer {token}"));

    // The buyer's own token, made an administrator's; and the same without a signature, with and without its key.
    let [header, claims, signature]: [&str; 3] = member.token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let decoded = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut promoted = decoded(claims);
    promoted["privilege"] = json!(1);
    let promoted = encoded(&promoted);
    let key_id = decoded(header)["kid"].clone();
    let unsigned = encoded(&json!({"alg": "none", "typ": "JWT"}));
    let unsigned_with_key = encoded(&json!({"alg": "none", "typ": "JWT", "kid": key_id}));
    let as_service = |header: &str| {
        let claims = json!({
            "iss": "cfmp-services", "aud": "cfmp-internal", "sub": "order-service",
            "iat": now.seconds(), "exp": now.plus(minute).seconds(),
        });
        bearer(format!("{header}.{}.", encoded(&claims)))
    };
    vec![
        ("anonymous", None),
        ("null", Some("Bearer null".to_owned())),
        ("undefined", Some("Bearer undefined".to_owned())),
        ("no token", Some("Bearer ".to_owned())),
        ("no JWT", Some("Bearer a.b.c".to_owned())),
        ("another scheme", Some(format!("Basic {}", member.token))),
        (
            "expired",
            bearer(user(&seed("UserTokenSecret"), now.minus(user_token::LIFETIME + minute))),
        ),
        ("foreign key", bearer(user(&foreign, now))),
        ("tampered", bearer(format!("{header}.{promoted}.{signature}"))),
        ("alg none", bearer(format!("{unsigned}.{claims}."))),
        (
            "alg none with a key",
            bearer(format!("{unsigned_with_key}.{promoted}.")),
        ),
        // The keys of users prove no service, nor the other way round.
        ("service: user key", bearer(service(&seed("UserTokenSecret"), now))),
        ("user: service key", bearer(user(&seed("ServiceTokenSecret"), now))),
        (
            "service: expired",
            bearer(service(
                &seed("ServiceTokenSecret"),
                now.minus(service_token::LIFETIME + minute),
            )),
        ),
        ("service: foreign key", bearer(service(&foreign, now))),
        ("service: alg none", as_service(&unsigned)),
    ]
}

#[test]
fn every_route_is_open_to_whom_it_is_meant_for_and_to_nobody_else() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let rules = matrix();
        let ruled: BTreeSet<_> = rules
            .iter()
            .map(|rule| (rule.method.to_owned(), rule.path.to_owned()))
            .collect();
        let deployed: BTreeSet<_> = inside::routes(platform)
            .map(|route| (route.method.clone(), route.path.clone()))
            .collect();
        assert_eq!(ruled, deployed, "the matrix has a line for every route");

        let seller = world.member("卖家").await;
        let stranger = world.member("路人").await;
        let administrator = inside::administrator(world, platform).await;
        let stage = Stage::set(world, platform, &seller).await;
        let nobodies = nobodies(platform, &stage.buyer);

        let mut wrong = Vec::new();
        for rule in &rules {
            // As short-lived as they are, services take a new one for every call.
            let service = world.service_token("payment-service").await;
            let known = [
                ("stranger", &stranger.token),
                ("buyer", &stage.buyer.token),
                ("seller", &seller.token),
                ("administrator", &administrator.token),
                ("service", &service),
            ];
            let [nobody, others @ ..] = rule.verdicts;
            let mut asked: Vec<(&str, Option<String>, Verdict)> = nobodies
                .iter()
                .map(|(name, header)| (*name, header.clone(), nobody))
                .collect();
            asked.extend(
                known
                    .into_iter()
                    .zip(others)
                    .map(|((name, token), verdict)| (name, Some(format!("Bearer {token}")), verdict)),
            );
            // Who is refused comes first, so that whatever is written then is written for him.
            asked.sort_by_key(|(_, _, verdict)| *verdict == Verdict::LetIn);
            let moment = inside::now(platform);
            for (who, authorization, verdict) in asked {
                let answer = ask(world, &stage, rule, authorization).await;
                if !verdict.is_met(answer.status.as_u16()) {
                    wrong.push(format!(
                        "{who}: {verdict:?}: {}: {} {}",
                        answer.asked,
                        answer.status,
                        answer.text().chars().take(300).collect::<String>()
                    ));
                }
                if verdict != Verdict::LetIn {
                    let function = function_of(platform, rule);
                    for write in inside::writes(platform, function, moment) {
                        wrong.push(format!("{who}: {}: {write}", answer.asked));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

async fn ask(world: &World, stage: &Stage<'_>, rule: &Rule, authorization: Option<String>) -> Answer {
    let mut ask = world.ask(rule.method, &stage.path(rule.path));
    if rule.method != "GET" {
        ask = ask.json(&stage.body(rule.method, rule.path));
    }
    if let Some(authorization) = authorization {
        ask = ask.header("authorization", authorization);
    }
    // Once an identity, to everybody who cared to write one.
    ask.header("UUID", &stage.buyer.id).send().await
}

fn function_of<'a>(platform: &'a Platform, rule: &Rule) -> &'a str {
    let mut routes = inside::routes(platform);
    let route = routes.find(|route| route.method == rule.method && route.path == rule.path);
    &route.unwrap().function
}

/// What is asked of routes is asked of the WebSocket API as well: only people connect, and nobody's connection is stored.
#[test]
fn only_people_connect_to_the_push_api() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let ann = world.member("ann").await;
        let service = world.service_token("payment-service").await;
        let mut asked: Vec<(&str, Option<String>, u16)> = Vec::new();
        for (who, authorization) in nobodies(platform, &ann) {
            let token = authorization.and_then(|header| header.strip_prefix("Bearer ").map(str::to_owned));
            asked.push((who, token, 401));
        }
        asked.push(("service", Some(service), 403));
        let moment = inside::now(platform);
        for (who, token, status) in asked {
            let refused = Tab::connect(platform, token.as_deref()).await.err();
            assert_eq!(refused.map(|status| status.as_u16()), Some(status), "{who}");
        }
        assert_eq!(inside::writes(platform, "WsConnectFunction", moment), [""; 0]);
        Tab::connect(platform, Some(&ann.token)).await.unwrap();
        assert_eq!(inside::writes(platform, "WsConnectFunction", moment).len(), 1);
    });
}
