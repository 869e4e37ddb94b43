//! Bad input: every field of every body missing, null, of a wrong type, empty and too long, bodies that are none, and
//! paths and queries of the same kind. The answer is always a 4xx that names the field, and nothing is written.

use std::collections::BTreeSet;

use bytes::Bytes;
use cfmp::Platform;
use serde_json::{Map, Value, json};

use crate::inside;
use crate::world::{Answer, Ask, Member, PASSWORD, Product, World, in_world, uuid_text};

/// A body that some routes take.
struct Form {
    routes: &'static [&'static str],
    who: Who,
    /// A body that is accepted, with every field, and the status that says so. Sent last.
    body: Value,
    accepted: u16,
    fields: Vec<Field>,
    /// No body at all is a body as well.
    may_be_absent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Buyer,
    Seller,
    Service,
    Administrator,
}

/// A field, by the name that `error.fields` gives it.
struct Field {
    name: &'static str,
    is_required: bool,
    refused: Vec<Value>,
}

fn required(name: &'static str, refused: Vec<Value>) -> Field {
    Field {
        name,
        is_required: true,
        refused,
    }
}

fn optional(name: &'static str, refused: Vec<Value>) -> Field {
    Field {
        name,
        is_required: false,
        refused,
    }
}

/// What is no text of `min` to `max` characters.
fn text(min: usize, max: usize) -> Vec<Value> {
    let mut refused = vec![
        json!(1),
        json!(true),
        json!([]),
        json!({}),
        json!("长".repeat(max + 1)),
        json!("a\u{0}b"),
    ];
    if min > 0 {
        refused.extend([json!(""), json!(" \n ")]);
    }
    refused
}

fn uuid() -> Vec<Value> {
    let long = uuid_text().repeat(50);
    vec![
        json!(1),
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!("x"),
        json!(long),
    ]
}

fn price() -> Vec<Value> {
    let mut refused = vec![
        json!(true),
        json!([]),
        json!({}),
        json!(0),
        json!(-1),
        json!(19.901),
        json!(100_000_000),
    ];
    let texts = [
        "",
        "x",
        "0",
        "0.00",
        "-1",
        "0.004",
        "1e2",
        "1,5",
        "NaN",
        "100000000",
        " 1",
        "+1",
        "１",
    ];
    refused.extend(texts.map(Value::from));
    refused.push(json!("9".repeat(10_000)));
    refused
}

/// What is none of the whole numbers of which `over` is the first that is too large.
fn whole(over: u64) -> Vec<Value> {
    vec![
        json!(-1),
        json!(1.5),
        json!(over),
        json!(1e30),
        json!("1"),
        json!(""),
        json!(true),
        json!([]),
        json!({}),
    ]
}

fn word() -> Vec<Value> {
    vec![
        json!(9),
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!("x"),
        json!("x".repeat(1000)),
    ]
}

fn list(refused: impl IntoIterator<Item = Value>) -> Vec<Value> {
    [json!(1), json!("x"), json!(true), json!({})]
        .into_iter()
        .chain(refused)
        .collect()
}

/// What the log-in pages send: the same rules, and `fail_code` besides.
fn account_forms(buyer: &Member<'_>, new_email: &str, captcha: &str) -> Vec<Form> {
    let not_text = || vec![json!(1), json!(true), json!([]), json!({}), json!("")];
    let email = || {
        [
            not_text(),
            vec![
                json!("x"),
                json!("a@b@c"),
                json!(format!("{}@cfmp.test", "x".repeat(300))),
            ],
        ]
        .concat()
    };
    let password = || [not_text(), vec![json!("x".repeat(129))]].concat();
    let name = || [not_text(), vec![json!("a b"), json!("x".repeat(31))]].concat();
    let form = |routes, body, fields| Form {
        routes,
        who: Who::Nobody,
        body,
        accepted: 200,
        fields,
        may_be_absent: false,
    };
    vec![
        form(
            &["POST /api/v1/captcha"],
            json!({"scene": "register", "email": format!("{}@cfmp.test", uuid_text())}),
            vec![required("scene", word()), required("email", email())],
        ),
        form(
            &["POST /api/v1/auth/register"],
            json!({
                "username": &uuid_text()[..20], "password": PASSWORD, "password_repeat": PASSWORD,
                "email": new_email, "captcha": captcha,
            }),
            vec![
                required("username", name()),
                required("password", password()),
                required("password_repeat", [password(), vec![json!("another-1")]].concat()),
                required("email", email()),
                required("captcha", vec![json!(true), json!([]), json!({}), json!("")]),
            ],
        ),
        form(
            &["POST /api/v1/auth/login-with-password"],
            json!({"email": buyer.email, "password": PASSWORD}),
            vec![required("email", email()), required("password", password())],
        ),
        form(
            &["POST /api/auth/verify-token"],
            json!({"token": buyer.token}),
            vec![required("token", not_text())],
        ),
        Form {
            who: Who::Buyer,
            ..form(
                &["PATCH /api/v1/user/me"],
                json!({"username": &uuid_text()[..20], "address": "3号楼", "language": "en"}),
                vec![
                    optional("username", name()),
                    optional("address", text(0, 200)),
                    optional(
                        "language",
                        vec![json!(1), json!(true), json!({}), json!(""), json!("EN"), json!("fr")],
                    ),
                ],
            )
        },
        Form {
            who: Who::Administrator,
            ..form(
                &["PATCH /api/root/user/{user_id}"],
                json!({"username": &uuid_text()[..20], "status": 0, "privilege": 0}),
                vec![
                    optional("username", name()),
                    optional("status", whole(2)),
                    optional("privilege", whole(2)),
                ],
            )
        },
    ]
}

fn product_forms(order: &Value) -> Vec<Form> {
    let pictures = || {
        let picture = "https://example.edu/1.jpg";
        list([
            json!(["javascript:alert(1)"]),
            json!([1]),
            json!([null]),
            json!(vec![picture; 10]),
        ])
    };
    let picture = || {
        [
            text(1, 500),
            vec![json!("javascript:alert(1)"), json!("//evil.example")],
        ]
        .concat()
    };
    let body = json!({
        "title": "台灯", "name": "台灯", "description": "九成新", "price": "19.90", "stock": 3,
        "image": "/1.jpg", "media": ["/2.jpg"], "categories": ["家居"], "function": 1,
    });
    let fields = |field: fn(&'static str, Vec<Value>) -> Field| {
        vec![
            field("title", text(1, 100)),
            optional("name", text(1, 100)),
            field("description", text(1, 5000)),
            field("price", price()),
            optional("stock", whole(1000)),
            optional("image", picture()),
            optional("media", pictures()),
            optional(
                "categories",
                list([json!([""]), json!([99]), json!(["x".repeat(31)]), json!(vec!["x"; 6])]),
            ),
            optional("function", whole(2)),
        ]
    };
    let mut change = body.clone();
    change["status"] = json!(0);
    let mut changeable = fields(optional);
    changeable.push(optional("status", [whole(3), vec![json!(1)]].concat()));
    let form = |routes, body, accepted, fields| Form {
        routes,
        who: Who::Seller,
        body,
        accepted,
        fields,
        may_be_absent: false,
    };
    vec![
        form(&["POST /api/product"], body, 201, fields(required)),
        form(
            &["PUT /api/product/{product_id}", "PATCH /api/product/{product_id}"],
            change,
            200,
            changeable,
        ),
        Form {
            who: Who::Administrator,
            ..form(
                &["PATCH /api/root/products/{product_id}"],
                json!({"status": 0}),
                200,
                vec![required("status", [whole(4), vec![json!(2)]].concat())],
            )
        },
        Form {
            who: Who::Buyer,
            ..form(
                &["POST /api/product/{product_id}/reviews"],
                json!({"order_uuid": order["order_uuid"], "rating": 5, "content": "很好"}),
                // It is another product's order: nothing but that is at fault.
                403,
                vec![
                    required("order_uuid", uuid()),
                    required("rating", [whole(6), vec![json!(0)]].concat()),
                    required("content", text(1, 500)),
                ],
            )
        },
        Form {
            who: Who::Service,
            ..form(
                &["POST /api/product/{product_id}/update-stock"],
                json!({"quantity": -1}),
                200,
                vec![required("quantity", {
                    let mut refused = whole(1000);
                    refused.retain(|value| *value != json!(-1));
                    refused.extend([json!(0), json!(-1000)]);
                    refused
                })],
            )
        },
        Form {
            who: Who::Service,
            ..form(
                &[
                    "POST /api/products/{product_id}/reserve-stock",
                    "POST /api/products/{product_id}/restore-stock",
                ],
                json!({"order_uuid": uuid::Uuid::new_v4(), "quantity": 1}),
                200,
                vec![
                    required("order_uuid", uuid()),
                    required("quantity", [whole(1000), vec![json!(0)]].concat()),
                ],
            )
        },
    ]
}

fn order_forms(offered: &Product, order: &Value, payment: &Value) -> Vec<Form> {
    let mut new_order = offered.order();
    new_order["shipping_postal_code"] = json!("100084");
    let line = &new_order["products"][0];
    let too_many: Vec<Value> = std::iter::repeat_n(line.clone(), 21).collect();
    let twice = json!([line, line]);
    let lines = list([json!([]), json!([1]), json!([null]), json!(too_many), twice]);
    let form = |routes, body, accepted, fields| Form {
        routes,
        who: Who::Buyer,
        body,
        accepted,
        fields,
        may_be_absent: false,
    };
    vec![
        form(
            &["POST /api/orders"],
            new_order,
            201,
            vec![
                required("products", lines),
                required("products[0].product_uuid", uuid()),
                required("products[0].price", price()),
                required("products[0].quantity", [whole(1000), vec![json!(0)]].concat()),
                required("seller_uuid", uuid()),
                optional("payment_method", whole(2)),
                required("shipping_name", text(1, 100)),
                required("shipping_phone", [text(3, 30), vec![json!("12")]].concat()),
                required("shipping_address", text(1, 300)),
                optional("shipping_postal_code", text(0, 20)),
                optional("remark", text(0, 500)),
            ],
        ),
        Form {
            who: Who::Service,
            ..form(
                &["PATCH /api/orders/internal/orders/{order_uuid}"],
                json!({"status": 0, "cancel_reason": "x"}),
                200,
                vec![required("status", whole(4)), optional("cancel_reason", text(0, 500))],
            )
        },
        form(
            &["POST /api/payment/create"],
            json!({
                "order_uuid": order["order_uuid"], "payment_method": "alipay", "amount": "9.00",
                "payment_subject": "二手", "order_id": order["order_id"], "channel": "page", "openid": "o1",
            }),
            200,
            vec![
                required("order_uuid", uuid()),
                required("payment_method", word()),
                required("amount", price()),
                optional("payment_subject", text(0, 256)),
                optional("channel", word()),
                optional("openid", text(1, 128)),
            ],
        ),
        // Nothing is paid yet, so there is nothing to give back: that is as far as a good body leads.
        Form {
            may_be_absent: true,
            ..form(
                &["POST /api/payment/{order_uuid}/refund"],
                json!({"refund_amount": "5.00", "refund_reason": "有划痕"}),
                409,
                vec![
                    optional("refund_amount", price()),
                    optional("refund_reason", text(0, 500)),
                ],
            )
        },
        Form {
            who: Who::Service,
            ..form(
                &["POST /api/orders/internal/{order_uuid}/refund"],
                json!({"refund_uuid": uuid_text(), "amount": "5.00", "reason": "有划痕", "fingerprint": "x"}),
                409,
                vec![
                    required("refund_uuid", uuid()),
                    optional("buyer_uuid", uuid()),
                    optional("amount", price()),
                    optional("reason", text(0, 500)),
                    optional("fingerprint", text(1, 64)),
                ],
            )
        },
        form(
            &["POST /api/payment/callback/{payment_method}"],
            json!({
                "order_uuid": order["order_uuid"], "payment_id": payment["payment_id"],
                "payment_uuid": payment["payment_uuid"], "status": 2, "total_amount": 0, "sign": "simulated_signature",
            }),
            200,
            vec![
                required("order_uuid", uuid()),
                required("payment_uuid", uuid()),
                required("status", [whole(3), vec![json!(0), json!(1)]].concat()),
            ],
        ),
        Form {
            may_be_absent: true,
            ..form(
                &[
                    "POST /api/orders/{order_id}/cancel",
                    "PUT /api/orders/{order_id}/cancel",
                    "PATCH /api/orders/{order_id}/cancel",
                ],
                json!({"reason": "不要了"}),
                200,
                vec![optional("reason", text(0, 500))],
            )
        },
    ]
}

fn notification_form(buyer: &Member<'_>) -> Form {
    let too_large = json!({"long": "x".repeat(4096)});
    Form {
        routes: &["POST /api/notifications", "POST /api/internal/notifications/create"],
        who: Who::Service,
        body: json!({
            "user_uuid": buyer.id, "type": "system", "title": "维护", "content": "今晚维护",
            "related_id": "1", "related_data": {"at": "22:00"},
        }),
        accepted: 201,
        fields: vec![
            required("user_uuid", uuid()),
            required("type", word()),
            required("title", text(1, 100)),
            required("content", text(1, 2000)),
            optional("related_id", text(1, 100)),
            optional(
                "related_data",
                vec![json!(1), json!("x"), json!(true), json!([]), too_large],
            ),
        ],
        may_be_absent: false,
    }
}

/// An edit of the policies, and what is refused in it.
fn policy_edit() -> (Value, Vec<Field>) {
    let edit = json!({"security_level": "medium", "policies": [{
        "policy_id": "amount_velocity", "security_level": "medium", "is_enabled": true, "mode": "warn",
        "on_failure": "fail_open", "time_limit_ms": 1000,
        "config_data": {"max_amount": "50000.00", "window_minutes": 60},
    }]});
    let policies = list([json!([1]), json!([null]), json!([[]])]);
    let no_object = vec![json!(1), json!("x"), json!(true), json!([])];
    let fields = vec![
        optional("security_level", word()),
        optional("policies", policies),
        required("policies[0].policy_id", word()),
        optional("policies[0].security_level", word()),
        optional(
            "policies[0].is_enabled",
            vec![json!(1), json!("true"), json!([]), json!({})],
        ),
        optional("policies[0].mode", word()),
        optional("policies[0].on_failure", word()),
        optional("policies[0].time_limit_ms", [whole(2001), vec![json!(9)]].concat()),
        optional("policies[0].config_data", no_object),
        optional("policies[0].config_data.max_amount", price()),
        optional(
            "policies[0].config_data.window_minutes",
            [whole(1441), vec![json!(0)]].concat(),
        ),
    ];
    (edit, fields)
}

fn security_forms(buyer: &Member<'_>, seller: &Member<'_>) -> Vec<Form> {
    let form = |routes, who, body, fields| Form {
        routes,
        who,
        body,
        accepted: 200,
        fields,
        may_be_absent: false,
    };
    let (edit, edited) = policy_edit();
    let (mut test, mut tested) = policy_edit();
    test["limit"] = json!(10);
    tested.push(optional("limit", [whole(501), vec![json!(0)]].concat()));
    let fingerprint = || [text(1, 32), vec![json!("A".repeat(32)), json!("13800138000")]].concat();
    vec![
        form(&["PUT /api/security/policies/update"], Who::Administrator, edit, edited),
        form(
            &["POST /api/security/policies/back-test"],
            Who::Administrator,
            test,
            tested,
        ),
        Form {
            may_be_absent: true,
            ..form(
                &[
                    "POST /api/security/risk-assessment",
                    "POST /api/security/fraud-detection",
                ],
                Who::Service,
                json!({"user_uuid": buyer.id, "amount": "19.90", "seller_uuid": seller.id}),
                vec![
                    required("user_uuid", uuid()),
                    optional("amount", price()),
                    optional("seller_uuid", uuid()),
                ],
            )
        },
        form(
            &["POST /api/internal/security/assess-order"],
            Who::Service,
            json!({
                "order_uuid": uuid::Uuid::new_v4(), "buyer_uuid": buyer.id, "seller_uuid": seller.id,
                "total_amount": "19.90", "phone_fingerprint": "a".repeat(32), "address_fingerprint": "b".repeat(32),
            }),
            vec![
                required("order_uuid", uuid()),
                required("buyer_uuid", uuid()),
                required("seller_uuid", uuid()),
                required("total_amount", price_or_nothing()),
                required("phone_fingerprint", fingerprint()),
                required("address_fingerprint", fingerprint()),
            ],
        ),
    ]
}

/// What is no amount of money; nothing at all is one.
fn price_or_nothing() -> Vec<Value> {
    let is_nothing = |value: &Value| [json!(0), json!("0"), json!("0.00")].contains(value);
    price().into_iter().filter(|value| !is_nothing(value)).collect()
}

fn discard_form() -> Form {
    Form {
        routes: &["POST /api/root/dead-letters/{letter_id}/discard"],
        who: Who::Administrator,
        body: json!({"reason": "处理过了"}),
        accepted: 200,
        fields: vec![required("reason", text(1, 200))],
        may_be_absent: false,
    }
}

fn preferences_form() -> Form {
    let flag = || vec![json!(1), json!("true"), json!([]), json!({})];
    let channels = || vec![json!(1), json!("x"), json!(true)];
    let mut hidden = flag();
    hidden.push(json!(false));
    let all = json!({"in_app": true, "push": false, "email": true});
    Form {
        routes: &["PUT /api/notifications/preferences"],
        who: Who::Buyer,
        body: json!({"transaction": all, "system": all, "promotion": all}),
        accepted: 200,
        fields: vec![
            optional("transaction", channels()),
            optional("transaction.in_app", hidden),
            optional("transaction.push", flag()),
            optional("system", channels()),
            optional("system.email", flag()),
            optional("promotion", channels()),
            optional("promotion.in_app", flag()),
        ],
        may_be_absent: false,
    }
}

/// Routes that change something and read no JSON.
const WITHOUT_JSON: &[&str] = &[
    "DELETE /api/product/{product_id}",
    "POST /api/product/{product_id}/collection",
    "DELETE /api/product/{product_id}/collection",
    "DELETE /api/orders/{order_id}",
    "POST /api/orders/{order_id}/complete",
    "PUT /api/orders/{order_id}/complete",
    "PATCH /api/orders/{order_id}/complete",
    "POST /api/payment/{payment_uuid}/cancel",
    "PUT /api/payment/{payment_uuid}/cancel",
    "PATCH /api/payment/{payment_uuid}/cancel",
    "POST /api/notifications/{notification_id}/read",
    "PUT /api/notifications/{notification_id}/read",
    "PATCH /api/notifications/{notification_id}/read",
    "DELETE /api/notifications/{notification_id}",
    "POST /api/root/dead-letters/{letter_id}/preview",
    "POST /api/root/dead-letters/{letter_id}/redrive",
    "POST /api/notifications/read-all",
    "PUT /api/notifications/read-all",
    "PATCH /api/notifications/read-all",
    // A form and signed messages: nothing of them is read before the signature was verified.
    "POST /sandbox/pay",
    "POST /sandbox/trades/{out_trade_no}/{call}",
];

/// What the routes are asked about, and who asks.
struct Stage<'a> {
    world: &'a World,
    platform: &'a Platform,
    buyer: Member<'a>,
    seller: Member<'a>,
    administrator: Member<'a>,
    offered: Product,
    order: Value,
    payment: Value,
    /// Something that nobody could handle.
    letter: String,
}

impl<'a> Stage<'a> {
    async fn set(world: &'a World, platform: &'a Platform) -> Self {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let offered = seller.puts_up("台灯", "19.90", 9).await;
        let order = buyer.orders(&seller.puts_up("书", "9.00", 1).await).await;
        let payment = buyer.starts_paying(&order).await;
        Self {
            world,
            platform,
            buyer,
            seller,
            administrator: inside::administrator(world, platform).await,
            offered,
            order,
            payment,
            letter: inside::dead_letter(world, platform, "NoticesDeadLetters", &json!({"type": "OrderPaid"})).await,
        }
    }

    fn path(&self, route: &str) -> String {
        inside::filled(route, |parameter| {
            let value = match parameter {
                "product_id" => return self.offered.id.clone(),
                "letter_id" => return self.letter.clone(),
                "user_id" => return self.buyer.id.clone(),
                "order_id" | "order_uuid" => &self.order["order_uuid"],
                "payment_uuid" | "out_trade_no" => &self.payment["payment_uuid"],
                "payment_method" => return "alipay".to_owned(),
                "call" => return "query".to_owned(),
                // Nobody was told anything; it stands for one that is somebody else's.
                "notification_id" => return uuid::Uuid::new_v4().to_string(),
                other => panic!("what is a {other}?"),
            };
            value.as_str().unwrap().to_owned()
        })
    }

    /// The request of a form, without its body.
    fn ask(&self, route: &str, who: Who, service: &str) -> Ask<'a> {
        let (method, path) = route.split_once(' ').unwrap();
        let ask = self.world.ask(method, &self.path(path));
        match who {
            Who::Nobody => ask,
            Who::Buyer => ask.bearer(&self.buyer.token),
            Who::Seller => ask.bearer(&self.seller.token),
            Who::Administrator => ask.bearer(&self.administrator.token),
            Who::Service => ask.bearer(service),
        }
    }

    fn function(&self, route: &str) -> &'a str {
        let mut routes = inside::routes(self.platform);
        let found = routes.find(|known| format!("{} {}", known.method, known.path) == route);
        &found.unwrap_or_else(|| panic!("there is no {route}")).function
    }
}

/// What `body` becomes when the field `name` is `value`, or is taken out.
fn with(body: &Value, name: &str, value: Option<Value>) -> Value {
    let pointer = format!("/{}", name.replace(['.', '['], "/").replace(']', ""));
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let mut changed = body.clone();
    let object = changed.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
    match value {
        Some(value) => object.insert(last.to_owned(), value),
        None => object.remove(last),
    };
    changed
}

fn names(answer: &Answer, field: &str) -> bool {
    let fields = answer.json()["error"]["fields"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    // An entry of a list is named as well as the list itself.
    fields
        .keys()
        .any(|name| name == field || name.strip_prefix(field).is_some_and(|rest| rest.starts_with('[')))
}

fn abridged(text: &str) -> String {
    text.chars().take(300).collect()
}

/// Bodies that are no JSON object, whatever they were to say.
fn no_objects() -> Vec<(&'static str, Bytes)> {
    let deep = format!("{}{}", r#"{"x":"#.repeat(100_000), "}".repeat(100_000));
    vec![
        ("words", Bytes::from_static(b"not json")),
        ("null", Bytes::from_static(b"null")),
        ("a number", Bytes::from_static(b"1")),
        ("text", Bytes::from_static(b"\"text\"")),
        ("a list", Bytes::from_static(b"[{}]")),
        ("half an object", Bytes::from_static(b"{\"a\":")),
        ("a form", Bytes::from_static(b"a=1&b=2")),
        ("no UTF-8", Bytes::from_static(b"{\"x\":\"\xff\xfe\"}")),
        ("UTF-16", Bytes::from_static(b"\xff\xfe{\0}\0")),
        ("objects without a bottom", Bytes::from(deep)),
    ]
}

/// Values that no `Value` can hold, as JSON text.
fn unspeakable() -> [(&'static str, String); 4] {
    [
        ("deep lists", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        (
            "deep objects",
            format!(r#"{}1{}"#, r#"{"x":"#.repeat(100_000), "}".repeat(100_000)),
        ),
        ("half a character", r#""\ud800""#.to_owned()),
        ("a number without bounds", "1e999999".to_owned()),
    ]
}

#[test]
fn every_field_of_every_body_is_refused_by_its_name_and_nothing_is_written() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let stage = Stage::set(world, platform).await;
        let new_email = format!("{}@cfmp.test", uuid_text());
        world
            .post("/api/v1/captcha/", &json!({"scene": "register", "email": new_email}))
            .expect(200)
            .await;
        let captcha = world.captcha(&new_email).await;
        let forms: Vec<Form> = account_forms(&stage.buyer, &new_email, &captcha)
            .into_iter()
            .chain(product_forms(&stage.order))
            .chain(order_forms(&stage.offered, &stage.order, &stage.payment))
            .chain([notification_form(&stage.buyer), preferences_form(), discard_form()])
            .chain(security_forms(&stage.buyer, &stage.seller))
            .collect();
        every_route_has_a_form(platform, &forms);

        let mut wrong = Vec::new();
        for form in &forms {
            let service = world.service_token("order-service").await;
            for route in form.routes {
                let function = stage.function(route);
                let ask = stage.ask(route, form.who, &service);
                for Refused { what, at_fault, body } in refused_bodies(form) {
                    let moment = inside::now(platform);
                    let answer = ask.clone().raw("application/json", body).send().await;
                    let fault = if answer.status.as_u16() != 400 {
                        Some(answer.status.to_string())
                    } else if !at_fault.iter().any(|field| names(&answer, field)) {
                        Some("the field is not named".to_owned())
                    } else {
                        inside::writes(platform, function, moment).into_iter().next()
                    };
                    if let Some(fault) = fault {
                        wrong.push(format!("{route}: {what}: {fault}: {}", abridged(&answer.text())));
                    }
                }
            }
        }
        // What they were made of is accepted: nothing but the one field was at fault.
        for form in &forms {
            let service = world.service_token("order-service").await;
            for route in form.routes {
                let answer = stage.ask(route, form.who, &service).json(&form.body).send().await;
                if answer.status.as_u16() != form.accepted {
                    wrong.push(format!(
                        "{route}: the good body: {} {}",
                        answer.status,
                        abridged(&answer.text())
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

fn every_route_has_a_form(platform: &Platform, forms: &[Form]) {
    let known: BTreeSet<String> = forms
        .iter()
        .flat_map(|form| form.routes)
        .chain(WITHOUT_JSON)
        .map(|route| (*route).to_owned())
        .collect();
    let deployed: BTreeSet<String> = inside::routes(platform)
        .filter(|route| route.method != "GET")
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(known, deployed, "every route that takes a body has its form here");
}

/// A body that has to be refused.
struct Refused {
    what: String,
    /// One of these is named.
    at_fault: Vec<&'static str>,
    body: Bytes,
}

fn refused_bodies(form: &Form) -> Vec<Refused> {
    let mut bodies = Vec::new();
    let mut add = |what: String, at_fault: &[&'static str], body: String| {
        bodies.push(Refused {
            what,
            at_fault: at_fault.to_vec(),
            body: Bytes::from(body),
        });
    };
    for field in &form.fields {
        let name = field.name;
        if field.is_required {
            add(
                format!("{name} missing"),
                &[name],
                with(&form.body, name, None).to_string(),
            );
            add(
                format!("{name} null"),
                &[name],
                with(&form.body, name, Some(Value::Null)).to_string(),
            );
        }
        for value in &field.refused {
            let what = format!("{name} = {}", abridged(&value.to_string()));
            add(what, &[name], with(&form.body, name, Some(value.clone())).to_string());
        }
    }
    let good = form.body.to_string();
    for (what, value) in unspeakable() {
        let name = form.fields[0].name;
        // It comes first: the good value behind it is not reached. Where it is no JSON, the whole body is at fault.
        add(
            format!("{name} = {what}"),
            &[name, "body"],
            format!(r#"{{"{name}":{value},{}"#, &good[1..]),
        );
    }
    // A callback that does not say that it is simulated is a provider's, and answered in its words.
    if form.body.get("sign").is_some() {
        return bodies;
    }
    add("two objects".to_owned(), &["body"], format!("{good} {{}}"));
    if !form.may_be_absent {
        add("no body".to_owned(), &["body"], String::new());
    }
    bodies.extend(no_objects().into_iter().map(|(what, body)| Refused {
        what: what.to_owned(),
        at_fault: vec!["body"],
        body,
    }));
    bodies
}

#[test]
fn a_body_of_seven_megabytes_stops_at_the_gateway() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let body = Bytes::from(json!({"x": "x".repeat(7 * 1024 * 1024)}).to_string());
        for route in inside::routes(platform).filter(|route| route.method != "GET") {
            let moment = inside::now(platform);
            let path = inside::filled(&route.path, |_| uuid_text());
            world
                .ask(&route.method, &path)
                .raw("application/json", body.clone())
                .expect(413)
                .await;
            assert_eq!(inside::invoked_over_http(platform, moment), []);
        }
    });
}

#[test]
fn what_no_provider_signed_is_refused_in_the_providers_words() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let stage = Stage::set(world, platform).await;
        let not_simulated = with(&json!({"status": 2}), "sign", Some(json!("x"))).to_string();
        let bodies = no_objects().into_iter().chain([
            ("another signature", Bytes::from(not_simulated)),
            ("none", Bytes::new()),
        ]);
        for (what, body) in bodies {
            for route in [
                "POST /api/payment/callback/{payment_method}",
                "POST /sandbox/pay",
                "POST /sandbox/trades/{out_trade_no}/{call}",
            ] {
                let moment = inside::now(platform);
                let answer = stage
                    .ask(route, Who::Nobody, "")
                    .raw("application/json", body.clone())
                    .send()
                    .await;
                assert!(
                    answer.status.is_client_error(),
                    "{what}: {}: {}",
                    answer.asked,
                    answer.status
                );
                assert_eq!(
                    inside::writes(platform, stage.function(route), moment),
                    [""; 0],
                    "{what}: {route}"
                );
            }
        }
    });
}

/// Routes for services.
fn is_internal(route: &str) -> bool {
    route.contains("/internal/") || route.ends_with("-stock") || route == "POST /api/notifications"
}

/// Routes for administrators.
fn is_for_administrators(route: &str) -> bool {
    route.contains("/root/") || route.contains("/reconciliation/")
}

#[test]
fn what_is_no_id_in_a_path_leads_nowhere() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let stage = Stage::set(world, platform).await;
        // The one that is let in everywhere.
        let service = world.service_token("notification-service").await;
        let long = "x".repeat(3000);
        let ids = [
            "x",
            "1",
            "-1",
            "%00",
            "%FF",
            "..%2F..",
            "%E4%B8%89",
            "{}",
            "%27",
            "me%20",
            &long,
        ];
        let routes = inside::routes(platform).filter(|route| route.path.contains('{'));
        for route in routes {
            let key = format!("{} {}", route.method, route.path);
            let token = if is_internal(&key) {
                &service
            } else if is_for_administrators(&key) {
                &stage.administrator.token
            } else {
                &stage.buyer.token
            };
            for id in ids {
                let path = inside::filled(&route.path, |_| id.to_owned());
                let mut ask = world.ask(&route.method, &path).bearer(token);
                if route.method != "GET" {
                    ask = ask.json(&Value::Object(Map::new()));
                }
                let moment = inside::now(platform);
                let answer = ask.send().await;
                // The sandbox provider verifies signatures before it reads anything.
                let refused = if route.path.starts_with("/sandbox/") {
                    &[401][..]
                } else {
                    &[400, 404]
                };
                assert!(
                    refused.contains(&answer.status.as_u16()),
                    "{}: {} {}",
                    answer.asked,
                    answer.status,
                    answer.text()
                );
                assert_eq!(
                    inside::writes(platform, &route.function, moment),
                    [""; 0],
                    "{}",
                    answer.asked
                );
            }
        }
    });
}

/// A list, a parameter of its query and what it can not be.
const QUERIES: &[(&str, &str, &[&str])] = &[
    (
        "/api/orders",
        "page",
        &["0", "-1", "1.5", "x", "99999999999999999999", "%FF", "%00"],
    ),
    ("/api/orders", "page_size", &["0", "101", "x", "-1"]),
    ("/api/orders", "status", &["x", "9", "PAID", "%00"]),
    ("/api/orders", "sort", &["x", "created", "%FF"]),
    ("/api/orders/sold", "page", &["0", "x"]),
    ("/api/orders/sold", "status", &["x"]),
    ("/api/product", "page", &["0", "x"]),
    ("/api/product", "page_size", &["0", "101"]),
    ("/api/product", "min_price", &["x", "-1", "0.001", "1e9"]),
    ("/api/product", "max_price", &["x", "-1", "0.001"]),
    ("/api/product", "status", &["x", "9"]),
    ("/api/product", "sort_by", &["x", "9"]),
    ("/api/product", "title", &["%00", "%20"]),
    ("/api/product/publish", "user_id", &["x", "1", "%00"]),
    ("/api/product/publish", "status", &["x", "4"]),
    ("/api/product/publish", "page", &["0", "x"]),
    (
        "/api/product/00000000-0000-4000-8000-000000000000/reviews",
        "page_size",
        &["0", "101", "x"],
    ),
    ("/api/products", "ids", &["x", "1,2", ",", "%FF"]),
    ("/api/notifications", "page", &["0", "x"]),
    ("/api/notifications", "type", &["x", "9"]),
    ("/api/notifications", "read", &["x", "2"]),
    ("/api/notifications", "unread_only", &["x"]),
    ("/api/notifications/unread-count", "type", &["x", "9"]),
    ("/api/payment/records", "page", &["0", "-1", "x", "%00"]),
    ("/api/payment/records", "page_size", &["0", "101", "x"]),
    ("/api/payment/records", "status", &["x", "5", "paid", "SUCCESS", "%FF"]),
    ("/api/v1/user/message", "page", &["0", "x"]),
    ("/api/v1/user/message", "page_size", &["0", "101"]),
    ("/api/payment/callback/alipay", "out_trade_no", &["x", "%00"]),
];

#[test]
fn a_query_that_means_nothing_is_refused_by_its_parameters_name() {
    in_world(async |world| {
        let member = world.member("买家").await;
        for (path, parameter, values) in QUERIES {
            for value in *values {
                let answer = member.get(&format!("{path}?{parameter}={value}")).expect(400).await;
                assert!(names(&answer, parameter), "{}: {}", answer.asked, answer.text());
            }
        }
        if let Some(platform) = world.platform() {
            let administrator = inside::administrator(world, platform).await;
            for (parameter, value) in [
                ("decision", "x"),
                ("decision", "BLOCK"),
                ("user_uuid", "x"),
                ("kind", "risk"),
                ("after", "x"),
                ("after", "1800000000000_x"),
                ("page_size", "0"),
                ("page_size", "101"),
            ] {
                let list = format!("/api/security/risk-assessments?{parameter}={value}");
                let answer = administrator.get(&list).expect(400).await;
                assert!(names(&answer, parameter), "{}: {}", answer.asked, answer.text());
            }
            for (parameter, value) in [
                ("status", "x"),
                ("status", "WAITING"),
                ("consumer", "create-order"),
                ("after", "x"),
                ("after", "1800000000000_x"),
                ("page_size", "0"),
                ("page_size", "101"),
            ] {
                let list = format!("/api/root/dead-letters?{parameter}={value}");
                let answer = administrator.get(&list).expect(400).await;
                assert!(names(&answer, parameter), "{}: {}", answer.asked, answer.text());
            }
            for (parameter, value) in [
                ("day", "x"),
                ("day", "2026-1-31"),
                ("day", "2026-02-30"),
                ("day", "20260131"),
                ("day", "%FF"),
                ("day", "%00"),
                ("format", "x"),
                ("format", "CSV"),
            ] {
                let report = format!("/api/payment/reconciliation/alipay?{parameter}={value}");
                let answer = administrator.get(&report).expect(400).await;
                assert!(names(&answer, parameter), "{}: {}", answer.asked, answer.text());
            }
        }
        // What is no parameter of a list changes nothing.
        for query in [
            "?",
            "?&&",
            "?=",
            "?x",
            "?x=%zz",
            "?%",
            "?page=",
            "?a[]=1&a[]=2",
            "?x=1&x=0",
        ] {
            member.get(&format!("/api/orders/{query}")).expect(200).await;
        }
        // Which of two is meant is anybody's guess.
        for query in ["?page=1&page=0", "?page=&page=1", "?page=1&page=1"] {
            let answer = member.get(&format!("/api/orders/{query}")).expect(400).await;
            assert!(names(&answer, "page"), "{}: {}", answer.asked, answer.text());
        }
    });
}
