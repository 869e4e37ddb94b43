//! Security policies, and what they make of orders.

use std::collections::BTreeSet;
use std::time::Duration;

use cfmp::Platform;
use serde_json::{Value, json};

use crate::inside;
use crate::world::{Member, World, in_world, uuid_text};

/// After this, every instance has read the policies anew.
const POLICIES_KEPT: Duration = Duration::from_secs(11);

const UPDATE: &str = "/api/security/policies/update/";
const ASSESSMENTS: &str = "/api/security/risk-assessments/";
const ASSESS_ORDER: &str = "/api/internal/security/assess-order/";

/// Who runs the market, and does it.
struct Office<'a> {
    world: &'a World,
    platform: &'a Platform,
    administrator: Member<'a>,
}

impl<'a> Office<'a> {
    /// With policies that do nothing yet, and functions that have started: the risk check is not waited for for ever.
    async fn open(world: &'a World) -> Option<Self> {
        let platform = world.platform()?;
        let administrator = inside::administrator(world, platform).await;
        let office = Self {
            world,
            platform,
            administrator,
        };
        office.assess(&office.order_of(&uuid::Uuid::new_v4().to_string())).await;
        Some(office)
    }

    /// Edits the policies and waits until the edit is in force.
    async fn edits(&self, edit: &Value) -> Value {
        let answer = self.administrator.ask("PUT", UPDATE).json(edit).expect(200).await;
        self.world.advance(POLICIES_KEPT).await;
        answer.data()
    }

    /// The one policy, changed and everything else switched off.
    async fn only(&self, policy: &Value) -> Value {
        let mut policies = vec![policy.clone()];
        let listed = self
            .administrator
            .get("/api/security/policies/")
            .expect(200)
            .await
            .data();
        for other in listed["policies"].as_array().unwrap() {
            if other["policy_id"] != policy["policy_id"] {
                policies.push(json!({"policy_id": other["policy_id"], "is_enabled": false}));
            }
        }
        self.edits(&json!({"policies": policies})).await
    }

    async fn assessments(&self, query: &str) -> Vec<Value> {
        let list = self
            .administrator
            .get(&format!("{ASSESSMENTS}{query}"))
            .expect(200)
            .await;
        list.json()["results"]["data"].as_array().unwrap().clone()
    }

    /// What OrderService asks about an order of `buyer`, of a contact and a seller that nobody shares.
    fn order_of(&self, buyer: &str) -> Value {
        json!({
            "order_uuid": uuid::Uuid::new_v4(), "buyer_uuid": buyer, "seller_uuid": uuid::Uuid::new_v4(),
            "total_amount": "19.90", "phone_fingerprint": uuid_text(), "address_fingerprint": uuid_text(),
        })
    }

    async fn assess(&self, order: &Value) -> Value {
        let service = self.world.service_token("order-service").await;
        self.world
            .post(ASSESS_ORDER, order)
            .bearer(&service)
            .expect(200)
            .await
            .json()
    }

    /// Deletes a table, as no operator should.
    async fn loses(&self, table: &str) {
        let name = &self.platform.template().tables[table].name;
        let (status, answer) = self.platform.dynamodb("DeleteTable", &json!({"TableName": name})).await;
        assert!(status.is_success(), "{answer}");
    }
}

fn blocking(policy: &str, config: &Value) -> Value {
    json!({
        "policy_id": policy, "is_enabled": true, "mode": "block", "on_failure": "fail_open", "time_limit_ms": 2000,
        "config_data": config,
    })
}

fn rule<'a>(assessment: &'a Value, policy: &str) -> &'a Value {
    let rules = assessment["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["policy_id"] == policy).unwrap()
}

#[test]
fn a_policy_that_blocks_refuses_the_order_and_says_nothing_else() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let mut said = BTreeSet::new();
        for policy in [
            blocking("first_purchase", &json!({"max_amount": "19.89"})),
            blocking("amount_velocity", &json!({"max_amount": "19.89", "window_minutes": 5})),
        ] {
            office.only(&policy).await;
            let lamp = seller.puts_up("台灯", "19.90", 1).await;
            let refused = buyer.post("/api/orders/", &lamp.order()).expect(409).await;
            assert_eq!(refused.kind(), "order-refused");
            let mut body = refused.json();
            body.as_object_mut().unwrap().remove("request_id");
            said.insert(body.to_string());

            // What it had reserved is back, and the buyer is not held by it.
            world.settle().await;
            let path = format!("/api/product/{}/", lamp.id);
            assert_eq!(world.get(&path).expect(200).await.json()["stock"], 1);
            let flagged = office.assessments("?decision=block").await;
            assert_eq!(
                rule(&flagged[0], policy["policy_id"].as_str().unwrap())["verdict"],
                "hit"
            );
            assert_eq!(
                (&flagged[0]["user_uuid"], &flagged[0]["decision"]),
                (&json!(buyer.id), &json!("block"))
            );

            office
                .edits(&json!({"policies": [{"policy_id": policy["policy_id"], "mode": "off"}]}))
                .await;
            buyer.orders(&lamp).await;
        }
        assert_eq!(said.len(), 1, "the same words whatever the policy: {said:?}");
    });
}

#[test]
fn a_policy_that_warns_flags_the_order_where_only_administrators_see_it() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let mut policy = blocking("first_purchase", &json!({"max_amount": "10.00"}));
        let plain = buyer.orders(&seller.puts_up("书", "9.90", 1).await).await;

        policy["mode"] = json!("warn");
        office.only(&policy).await;
        let flagged = buyer.orders(&seller.puts_up("台灯", "19.90", 1).await).await;
        policy["mode"] = json!("shadow");
        office.only(&policy).await;
        let shadowed = buyer.orders(&seller.puts_up("椅子", "29.90", 1).await).await;

        let found = office.assessments("?decision=warn").await;
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0]["order_uuid"], flagged["order_uuid"]);
        let of_buyer = office.assessments(&format!("?user_uuid={}", buyer.id)).await;
        let orders: Vec<_> = of_buyer.iter().map(|assessment| &assessment["order_uuid"]).collect();
        assert_eq!(
            orders,
            [&shadowed["order_uuid"], &flagged["order_uuid"], &plain["order_uuid"]]
        );
        assert_eq!(rule(&of_buyer[0], "first_purchase")["verdict"], "hit");
        assert_eq!(
            (&of_buyer[0]["decision"], &of_buyer[2]["decision"]),
            (&json!("allow"), &json!("allow"))
        );

        // An order that is flagged looks like any other.
        let keys = |order: &Value| order.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for member in [&buyer, &seller] {
            assert_eq!(keys(&member.order(&flagged).await), keys(&member.order(&plain).await));
        }
        buyer.get(ASSESSMENTS).expect(403).await;
    });
}

#[test]
fn the_list_goes_on_where_it_stopped() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let buyer = uuid::Uuid::new_v4().to_string();
        let mut asked = Vec::new();
        for _ in 0..5 {
            let order = office.order_of(&buyer);
            office.assess(&order).await;
            asked.push(order["order_uuid"].clone());
        }
        asked.reverse();
        for query in [
            format!("?user_uuid={buyer}&page_size=2"),
            format!("?user_uuid={buyer}&decision=allow&page_size=2"),
            "?decision=allow&page_size=2".to_owned(),
            "?page_size=2&kind=order".to_owned(),
        ] {
            let (mut seen, mut url) = (Vec::new(), Some(format!("{ASSESSMENTS}{query}")));
            while let Some(next) = url {
                let page = office.administrator.get(&next).expect(200).await.json();
                let data = page["results"]["data"].as_array().unwrap();
                assert_eq!(page["count"], data.len());
                seen.extend(data.iter().map(|assessment| assessment["order_uuid"].clone()));
                url = page["next"].as_str().map(str::to_owned);
            }
            // The office's own first question is at the end of the lists of everybody.
            assert_eq!(seen[..5], asked, "{query}");
        }
    });
}

#[test]
fn of_ten_orders_at_once_those_beyond_the_limit_are_refused() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let mut policy = blocking("order_velocity", &json!({"max_orders": 3, "window_minutes": 10}));
        // Whatever can not be decided in time counts against the buyer, never for him.
        policy["on_failure"] = json!("fail_closed");
        office.only(&policy).await;
        let buyer = uuid::Uuid::new_v4().to_string();
        let orders: Vec<Value> = (0..10).map(|_| office.order_of(&buyer)).collect();
        let answers = futures::future::join_all(orders.iter().map(|order| office.assess(order))).await;
        let allowed = answers.iter().filter(|answer| answer["decision"] == "allow").count();
        assert_eq!(allowed, 3, "{answers:?}");

        // Asked again, each is answered as before; and none is counted twice.
        for (order, answer) in orders.iter().zip(&answers) {
            assert_eq!(office.assess(order).await["decision"], answer["decision"]);
        }
        assert_eq!(
            office
                .assessments(&format!("?user_uuid={buyer}&page_size=100"))
                .await
                .len(),
            10
        );
        // The window moves on.
        world.advance(Duration::from_secs(600)).await;
        assert_eq!(office.assess(&office.order_of(&buyer)).await["decision"], "allow");
    });
}

#[test]
fn what_can_not_be_assessed_is_placed_or_refused_as_the_policies_want_it() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let mut policy = blocking("cancellations", &json!({"max_cancellations": 50, "window_days": 7}));
        let policies = |on_failure: &str| {
            policy["on_failure"] = json!(on_failure);
            policy.clone()
        };
        let (mut policies, lamps) = (policies, async |count: u32| {
            let mut lamps = Vec::new();
            for _ in 0..count {
                lamps.push(seller.puts_up("台灯", "19.90", 1).await);
            }
            lamps
        });
        let lamps = lamps(5).await;

        // Facts that can not be read.
        office.only(&policies("fail_open")).await;
        buyer.orders(&lamps[0]).await;
        world.settle().await;
        office.loses("RiskProfilesTable").await;
        buyer.orders(&lamps[1]).await;
        let undecided = &office.assessments("?decision=allow").await[0];
        assert_eq!(rule(undecided, "cancellations")["verdict"], "unknown");
        office.only(&policies("fail_closed")).await;
        let refused = buyer.post("/api/orders/", &lamps[2].order()).expect(409).await;
        assert_eq!(refused.kind(), "order-refused");

        // Nobody who could decide: the last answer said what is to be done then.
        office.loses("RiskAssessmentsTable").await;
        world.expect_failures(1);
        let refused = buyer.post("/api/orders/", &lamps[3].order()).expect(503).await;
        assert_eq!(refused.kind(), "unavailable");
        // What events tell finds no profiles any more.
        world.expect_dead_letters(10);
        world
            .until("what can not be learnt is a dead letter", async || {
                world.advance(Duration::from_secs(60)).await;
                !world.dead_letters().await.is_empty()
            })
            .await;
    });
}

#[test]
fn orders_are_placed_while_nobody_can_assess_them_and_the_log_says_so() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        office.loses("RiskAssessmentsTable").await;
        buyer.orders(&seller.puts_up("台灯", "19.90", 1).await).await;
        let log = office.platform.logs().of(Some("CreateOrderFunction"));
        assert!(
            log.iter()
                .any(|line| line.text.contains("an order goes on without a risk assessment")),
            "the message that the metric OrdersNotAssessed counts"
        );
    });
}

#[test]
fn an_edit_takes_effect_within_ten_seconds_and_its_author_is_named() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let buyer = uuid::Uuid::new_v4().to_string();
        let edit = json!({"security_level": "high", "policies": [
            blocking("amount_velocity", &json!({"max_amount": "10.00", "window_minutes": 5})),
        ]});
        let edited = office
            .administrator
            .ask("PUT", UPDATE)
            .json(&edit)
            .expect(200)
            .await
            .data();
        assert_eq!(
            (&edited["security_level"], &edited["edition"]),
            (&json!("high"), &json!(1))
        );
        let policy = &edited["policies"][1];
        assert_eq!(policy["updated_by"], json!(office.administrator.id));
        assert!(policy["updated_at"].is_string());
        assert_eq!(
            policy["config_data"],
            json!({"max_amount": "10.00", "window_minutes": 5})
        );

        world.advance(POLICIES_KEPT).await;
        assert_eq!(office.assess(&office.order_of(&buyer)).await["decision"], "block");

        // The same again makes no new edition; nothing of a wrong edit is done.
        assert_eq!(office.edits(&edit).await["edition"], 1);
        let wrong = json!({"policies": [
            {"policy_id": "amount_velocity", "is_enabled": false},
            {"policy_id": "cancellations", "config_data": {"max_cancellations": 0}},
        ]});
        let refused = office.administrator.ask("PUT", UPDATE).json(&wrong).expect(400).await;
        let fields = refused.json()["error"]["fields"].clone();
        assert!(
            fields["policies[1].config_data.max_cancellations"].is_string(),
            "{fields}"
        );
        let listed = office
            .administrator
            .get("/api/security/policies")
            .expect(200)
            .await
            .data();
        assert_eq!(listed, edited);

        // Every edition stays.
        office.edits(&json!({"security_level": "low"})).await;
        let name = &office.platform.template().tables["SecurityPoliciesTable"].name;
        let (_, rows) = office.platform.dynamodb("Scan", &json!({"TableName": name})).await;
        assert_eq!(rows["Count"], 2);

        // Everybody may know what is looked at, and not how.
        let seen = world
            .member("买家")
            .await
            .get("/api/security/policies")
            .expect(200)
            .await
            .data();
        assert_eq!(seen["policies"].as_array().unwrap().len(), 8);
        for hidden in ["config_data", "mode", "on_failure", "time_limit_ms", "updated_by"] {
            assert_eq!(seen["policies"][0].get(hidden), None, "{hidden}");
        }
    });
}

#[test]
fn two_administrators_at_once_lose_neither_edit() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let edit = |policy: &str| json!({"policies": [{"policy_id": policy, "mode": "off"}]});
        let edits: Vec<Value> = ["order_velocity", "new_account", "linked_parties"].map(edit).to_vec();
        let asks = edits
            .iter()
            .map(|edit| office.administrator.ask("PUT", UPDATE).json(edit).expect(200));
        futures::future::join_all(asks).await;
        let listed = office
            .administrator
            .get("/api/security/policies")
            .expect(200)
            .await
            .data();
        let off = listed["policies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|policy| policy["mode"] == "off");
        assert_eq!((off.count(), &listed["edition"]), (3, &json!(3)));
    });
}

#[test]
fn a_back_test_says_what_an_edit_would_have_done_and_changes_nothing() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        for price in ["9.90", "19.90", "29.90"] {
            buyer.orders(&seller.puts_up("台灯", price, 1).await).await;
        }
        let before = office
            .administrator
            .get("/api/security/policies")
            .expect(200)
            .await
            .data();
        let mut edit = json!({"policies": [blocking("first_purchase", &json!({"max_amount": "10.00"}))], "limit": 3});
        let path = "/api/security/policies/back-test/";
        let test = office.administrator.post(path, &edit).expect(200).await.data();
        assert_eq!(
            (&test["looked_at"], &test["changed"]),
            (&json!(3), &json!(2)),
            "{test:#}"
        );
        assert_eq!(test["would_be"], json!({"allow": 1, "warn": 0, "block": 2}));
        assert_eq!(test["was"], json!({"allow": 3, "warn": 0, "block": 0}));
        let example = &test["examples"][0];
        assert_eq!(
            (&example["was"], &example["would_be"]),
            (&json!("allow"), &json!("block"))
        );
        assert_eq!(rule(example, "first_purchase")["verdict"], "hit");

        edit["limit"] = json!(1);
        let test = office.administrator.post(path, &edit).expect(200).await.data();
        assert_eq!((&test["looked_at"], &test["changed"]), (&json!(1), &json!(1)));
        let after = office
            .administrator
            .get("/api/security/policies")
            .expect(200)
            .await
            .data();
        assert_eq!(before, after);
        buyer.orders(&seller.puts_up("台灯", "39.90", 1).await).await;
    });
}

/// The scores were once the same for everybody.
#[test]
fn scores_follow_from_what_people_did() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let (seller, good, fickle) = (
            world.member("卖家").await,
            world.member("买家").await,
            world.member("买家").await,
        );
        let config = json!({"max_cancellations": 2, "window_days": 7});
        office
            .edits(&json!({"policies": [{"policy_id": "cancellations", "mode": "warn", "config_data": config}]}))
            .await;
        for _ in 0..3 {
            let order = fickle.orders(&seller.puts_up("台灯", "19.90", 1).await).await;
            fickle.cancels(&order, "不要了").await;
        }
        let order = good.orders(&seller.puts_up("台灯", "19.90", 1).await).await;
        good.pays(&order).await;
        world.settle().await;

        let path = "/api/security/risk-assessment/";
        let own = fickle.post(path, &json!({})).expect(200).await.data();
        let other = good.ask("POST", path).expect(200).await.data();
        assert!(
            own["risk_score"].as_u64() > other["risk_score"].as_u64(),
            "{own:#} {other:#}"
        );
        assert_eq!(rule(&own, "cancellations")["verdict"], "hit");
        assert_eq!(rule(&other, "cancellations")["verdict"], "clear");
        assert_eq!(own["rules"].as_array().unwrap().len(), 8);
        for hidden in ["decision", "policy_edition"] {
            assert_eq!(own.get(hidden), None, "a user is not told what would follow");
        }
        // Of others, and of orders that could be, only those who run the market hear.
        fickle.post(path, &json!({"user_uuid": good.id})).expect(403).await;
        let service = world.service_token("order-service").await;
        let question = json!({"user_uuid": fickle.id, "amount": "99999.00", "seller_uuid": seller.id});
        let told = world.post(path, &question).bearer(&service).expect(200).await.data();
        assert!(told["score"].as_u64() > own["score"].as_u64());
        assert_eq!(rule(&told, "cancellations")["reason"], "3 orders called off in 7 days");
        assert_eq!(rule(&told, "first_purchase")["verdict"], "hit");

        let detected = good
            .ask("POST", "/api/security/fraud-detection")
            .expect(200)
            .await
            .data();
        assert_eq!(
            (&detected["assessment_type"], &detected["is_suspicious"]),
            (&json!("fraud"), &json!(false))
        );
        let detected = fickle
            .ask("POST", "/api/security/fraud-detection")
            .expect(200)
            .await
            .data();
        assert_eq!(detected["is_suspicious"], true);

        // Each answer was stored, and stays as it was.
        let stored = office.assessments(&format!("?user_uuid={}", fickle.id)).await;
        let ids: BTreeSet<_> = stored
            .iter()
            .map(|row| row["assessment_uuid"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), 6, "three orders and three questions");
        let again = office.assessments(&format!("?user_uuid={}", fickle.id)).await;
        assert_eq!(stored, again);
        let asked = office.assessments("?kind=request").await;
        assert_eq!(asked.len(), 5);
    });
}

/// Nobody may write over or delete what was assessed, or an edition of the policies.
#[test]
fn assessments_and_editions_are_only_ever_added() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        for table in ["RiskAssessmentsTable", "SecurityPoliciesTable"] {
            for function in platform.template().functions.values() {
                for statement in &function.statements {
                    let concerns = format!("{statement:?}").contains(table);
                    for action in ["UpdateItem", "DeleteItem", "BatchWriteItem", "dynamodb:*"] {
                        let allows = format!("{statement:?}").contains(action);
                        assert!(!(concerns && allows), "{}: {action} on {table}", function.logical_id);
                    }
                }
            }
        }
    });
}

#[test]
fn many_accounts_at_one_phone_and_linked_parties_are_found() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        office
            .edits(&json!({"policies": [
                {"policy_id": "shared_contact", "config_data": {"max_accounts_per_phone": 2}},
                {"policy_id": "linked_parties", "mode": "warn"},
            ]}))
            .await;
        let (seller, lamp_seller) = (world.member("卖家").await, world.member("卖家").await);
        let lamp = lamp_seller.puts_up("台灯", "19.90", 9).await;
        let book = seller.puts_up("书", "9.90", 9).await;
        let mut order = lamp.order();
        for (number, spelled) in ["13900000001", "+86 139 0000 0001", "139-0000-0001"]
            .into_iter()
            .enumerate()
        {
            let buyer = if number == 0 {
                seller.clone()
            } else {
                world.member("买家").await
            };
            order["shipping_phone"] = json!(spelled);
            buyer.post("/api/orders/", &order).expect(201).await;
            let found = office.assessments(&format!("?user_uuid={}", buyer.id)).await;
            let expected = if number == 2 { "hit" } else { "clear" };
            assert_eq!(rule(&found[0], "shared_contact")["verdict"], expected, "{spelled}");
            assert_eq!(rule(&found[0], "linked_parties")["verdict"], "clear");
            // The seller of the book ordered to this phone himself.
            if number == 1 {
                let mut order = book.order();
                order["shipping_phone"] = json!(spelled);
                let placed = buyer.post("/api/orders/", &order).expect(201).await.data();
                let found = office.assessments("?decision=warn").await;
                assert_eq!(found[0]["order_uuid"], placed["order_uuid"]);
                assert_eq!(rule(&found[0], "linked_parties")["verdict"], "hit");
            }
        }
    });
}

/// What the risk check costs: one call of create-order, made while it reserves, and five requests to tables.
#[test]
fn an_order_is_assessed_by_one_call_and_five_requests_however_many_there_were() {
    in_world(async |world| {
        let Some(office) = Office::open(world).await else {
            return;
        };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        buyer.orders(&lamp).await;
        world.settle().await;
        let calls = |since: u64, function: &str| {
            let calls = office
                .platform
                .recording()
                .calls(|call| call.sequence > since && call.entry.function == function);
            calls.into_iter().map(|call| call.entry).collect::<Vec<_>>()
        };
        let last = || {
            office
                .platform
                .recording()
                .calls(|_| true)
                .last()
                .map_or(0, |call| call.sequence)
        };

        let (mut reserving, mut assessing, mut units) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..12 {
            let lamp = seller.puts_up("台灯", "19.90", 1).await;
            let since = last();
            buyer.orders(&lamp).await;
            let placing = calls(since, "CreateOrderFunction");
            let of = |path: &str| {
                placing
                    .iter()
                    .filter(|call| call.target.ends_with(path))
                    .collect::<Vec<_>>()
            };
            let (reserve, assess) = (of("/reserve-stock"), of("/assess-order"));
            assert_eq!((reserve.len(), assess.len()), (1, 1), "{placing:#?}");
            reserving.push(reserve[0].duration_us);
            assessing.push(assess[0].duration_us);

            let asked = calls(since, "AssessOrderFunction");
            let mut targets: Vec<_> = asked.iter().map(|call| call.target.as_str()).collect();
            targets.sort_unstable();
            assert_eq!(
                targets,
                [
                    "dynamodb:GetItem",
                    "dynamodb:PutItem",
                    "dynamodb:UpdateItem",
                    "dynamodb:UpdateItem",
                    "dynamodb:UpdateItem"
                ]
            );
            let consumed = asked.iter().filter_map(|call| call.consumed.as_ref());
            units.push(
                consumed
                    .map(|units| units["CapacityUnits"].as_f64().unwrap_or_default())
                    .sum::<f64>(),
            );
        }
        reserving.sort_unstable();
        assessing.sort_unstable();
        println!(
            "p50 of 12: reserving {} µs, assessing {} µs; request units of the last {:?}",
            reserving[6],
            assessing[6],
            units.last()
        );
    });
}
