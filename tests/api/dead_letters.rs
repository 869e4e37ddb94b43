//! What nobody could handle: administrators find it, are told what it means and what a redrive would change, and redrive it
//! once.

use std::collections::BTreeSet;
use std::time::Duration;

use cfmp::Platform;
use cfmp::faults::{Fault, Point};
use cfmp::template::model::EventSource;
use root::consumer::{Consumer, Directory};
use serde_json::{Value, json};

use crate::inside;
use crate::world::{Member, World, in_world};

const LETTERS: &str = "/api/root/dead-letters/";
/// Longer than a queue's visibility timeout.
const MINUTE: Duration = Duration::from_secs(60);
const DELIVERY: &str = "ApplyPaymentEventFunction delivery queue PaymentEventsForOrdersQueue";
const INVOKE: &str = "RedriveDeadLetterFunction call lambda:Invoke ApplyPaymentEventFunction #1";

fn point(text: &str) -> Point {
    text.parse().unwrap()
}

/// What happens at this place fails so many times.
fn poison(platform: &Platform, place: &str, times: u32) {
    platform.faults().watch();
    for ordinal in 1..=times {
        platform
            .faults()
            .set(point(&format!("{place} #{ordinal}")), Fault::Fail);
    }
}

struct Scene<'a> {
    world: &'a World,
    platform: &'a Platform,
    administrator: Member<'a>,
    buyer: Member<'a>,
    seller: Member<'a>,
    order: Value,
}

impl<'a> Scene<'a> {
    async fn set(world: &'a World, platform: &'a Platform) -> Self {
        let (buyer, seller) = (world.member("买家").await, world.member("卖家").await);
        let product = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&product).await;
        world.settle().await;
        Self {
            world,
            platform,
            administrator: inside::administrator(world, platform).await,
            buyer,
            seller,
            order,
        }
    }

    /// The buyer pays, and the order does not hear of it: answers the letter.
    async fn unheard_payment(&self) -> String {
        poison(self.platform, DELIVERY, 5);
        self.buyer.pays(&self.order).await;
        self.letter_of("apply-payment-event").await
    }

    /// The letter of this consumer, once there is one and nothing moves any more.
    async fn letter_of(&self, consumer: &str) -> String {
        self.world
            .until("the message is a dead letter that is kept", async || {
                self.world.advance(MINUTE).await;
                self.list(&format!("?consumer={consumer}")).await["count"] == 1
            })
            .await;
        self.platform.faults().clear();
        self.world.settle().await;
        let list = self.list(&format!("?consumer={consumer}")).await;
        text(&list["results"]["data"][0]["letter_uuid"])
    }

    async fn list(&self, query: &str) -> Value {
        self.administrator
            .get(&format!("{LETTERS}{query}"))
            .expect(200)
            .await
            .json()
    }

    async fn explained(&self, letter: &str) -> Value {
        let path = format!("{LETTERS}{letter}/");
        self.administrator.get(&path).expect(200).await.data()
    }

    async fn preview(&self, letter: &str) -> Value {
        let path = format!("{LETTERS}{letter}/preview/");
        self.administrator.ask("POST", &path).expect(200).await.data()
    }

    fn redrive(&self, letter: &str) -> crate::world::Ask<'a> {
        self.administrator.ask("POST", &format!("{LETTERS}{letter}/redrive/"))
    }

    async fn status(&self) -> Value {
        self.buyer.order(&self.order).await["status"].clone()
    }

    /// Both were told of the payment, each once.
    async fn both_were_told_once(&self) {
        self.world.settle().await;
        for (member, title) in [(&self.seller, "买家已付款"), (&self.buyer, "支付成功")] {
            let told = member.notices().await;
            let times = told.iter().filter(|notice| *notice == title).count();
            assert_eq!(times, 1, "{told:?}");
        }
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

fn deeds(letter: &Value) -> Vec<String> {
    let history = letter["history"].as_array().unwrap();
    history.iter().map(|entry| text(&entry["deed"])).collect()
}

#[test]
fn a_letter_is_found_explained_previewed_and_redriven_once() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let scene = Scene::set(world, platform).await;
        let letter = scene.unheard_payment().await;
        assert_eq!(scene.status().await, 0);

        let list = scene.list("").await;
        let listed = &list["results"]["data"][0];
        assert_eq!((&listed["status"], &listed["tries"]), (&json!("waiting"), &json!(5)));
        assert_eq!(listed["about"]["type"], "PaymentSucceeded");
        assert_eq!(listed["about"]["order_uuid"], scene.order["order_uuid"]);
        assert_eq!(scene.list("?consumer=return-stock").await["count"], 0);
        assert_eq!(scene.list("?status=redriven").await["count"], 0);

        let explained = scene.explained(&letter).await;
        assert!(text(&explained["does"]).contains("pays its order"), "{explained}");
        assert_eq!(explained["history"], json!([]));

        // The preview is the consumer's own, from the order as it is, and changes nothing.
        let moment = inside::now(platform);
        let preview = scene.preview(&letter).await;
        assert_eq!(preview["outcome"], "changes", "{preview}");
        let effect = &preview["effect"];
        assert_eq!(effect["action"], "dynamodb:PutItem");
        assert_eq!(effect["before"]["status"], "pending_payment");
        assert_eq!(effect["after"]["status"], "paid");
        assert_eq!(effect["after"]["order_uuid"], scene.order["order_uuid"]);
        assert!(!preview.to_string().contains("张三丰"), "{preview}");
        let writes = inside::writes(platform, "ApplyPaymentEventFunction", moment);
        assert_eq!(writes, [""; 0]);
        assert_eq!(
            (scene.status().await, deeds(&scene.explained(&letter).await).len()),
            (json!(0), 0)
        );

        let redriven = scene.redrive(&letter).expect(200).await.data();
        assert_eq!(redriven["status"], "redriven");
        assert_eq!(deeds(&redriven), ["redrive_began", "redriven"]);
        assert_eq!(redriven["history"][0]["by"], scene.administrator.id);
        assert_eq!(scene.status().await, 1);
        scene.both_were_told_once().await;

        // Again: nothing.
        let moment = inside::now(platform);
        let again = scene.redrive(&letter).expect(200).await.data();
        assert_eq!(again, redriven);
        let preview = scene.preview(&letter).await;
        assert_eq!(
            (&preview["outcome"], &preview["effect"]),
            (&json!("nothing"), &Value::Null)
        );
        for function in ["ApplyPaymentEventFunction", "RedriveDeadLetterFunction"] {
            assert_eq!(inside::writes(platform, function, moment), [""; 0]);
        }
        scene.both_were_told_once().await;
        assert_eq!(scene.list("").await["count"], 0);
        assert_eq!(
            scene.list("?status=redriven&consumer=apply-payment-event").await["count"],
            1
        );
    });
}

#[test]
fn whoever_redrives_at_the_same_time_redrives_once() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let scene = Scene::set(world, platform).await;
        let letter = scene.unheard_payment().await;
        let moment = inside::now(platform);
        let all = (0..4).map(|_| scene.redrive(&letter).send());
        for answer in futures::future::join_all(all).await {
            let refused = ["redrive-under-way", "changed-meanwhile"].contains(&answer.kind().as_str());
            assert!(answer.status.as_u16() == 200 || refused, "{}", answer.text());
        }
        assert_eq!(scene.status().await, 1);
        let explained = scene.explained(&letter).await;
        assert_eq!(deeds(&explained), ["redrive_began", "redriven"]);
        let writes = inside::writes(platform, "ApplyPaymentEventFunction", moment);
        assert_eq!(writes.len(), 1, "{writes:?}");
        scene.both_were_told_once().await;
    });
}

#[test]
fn a_redrive_that_is_interrupted_loses_nothing_and_does_nothing_twice() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        for (fault, status_after) in [(Fault::KillBefore, 0), (Fault::KillAfter, 1)] {
            let scene = Scene::set(world, platform).await;
            let letter = scene.unheard_payment().await;
            platform.faults().watch();
            platform.faults().set(point(INVOKE), fault);
            // Handed to the function itself: a gateway would answer 500 for it.
            let mut event = inside::sample_event("redrive-dead-letter");
            event["headers"]["authorization"] = json!(format!("Bearer {}", scene.administrator.token));
            event["pathParameters"]["letter_id"] = json!(letter);
            let killed = world.invoke("redrive-dead-letter", &event).await;
            assert!(killed.headers.contains_key("x-amz-function-error"), "{}", killed.text());
            platform.faults().clear();
            assert_eq!(scene.status().await, status_after);

            // It still waits, for whoever interrupted it to be gone.
            let explained = scene.explained(&letter).await;
            assert_eq!(
                (&explained["status"], &explained["redrive_began"]),
                (&json!("waiting"), &json!(true))
            );
            assert_eq!(scene.redrive(&letter).expect(409).await.kind(), "redrive-under-way");
            world.advance(Duration::from_secs(30)).await;
            let preview = scene.preview(&letter).await;
            let outcome = if status_after == 1 { "nothing" } else { "changes" };
            assert_eq!(preview["outcome"], outcome, "{preview}");
            let redriven = scene.redrive(&letter).expect(200).await.data();
            assert_eq!(deeds(&redriven), ["redrive_began", "redrive_began", "redriven"]);
            assert_eq!(scene.status().await, 1);
            scene.both_were_told_once().await;
        }
    });
}

#[test]
fn a_change_that_could_not_be_announced_is_kept_with_its_content_and_announced() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let scene = Scene::set(world, platform).await;
        let product = scene.seller.puts_up("书", "9.00", 1).await;
        // The first attempt and ten retries.
        poison(platform, "PublishOrderEventsFunction delivery stream OrdersTable", 11);
        let order = scene.buyer.orders(&product).await;
        let letter = scene.letter_of("publish-order-events").await;
        let explained = scene.explained(&letter).await;
        assert_eq!(explained["content_lost"], false);
        assert_eq!(explained["about"]["change"], "INSERT");
        assert_eq!(explained["about"]["order_uuid"], order["order_uuid"]);
        assert_eq!(explained["about"]["status_after"], "pending_payment");
        assert_eq!(explained["tries"], 11);
        assert!(!explained.to_string().contains("shipping"), "{explained}");

        let told = scene.seller.notices().await.len();
        let preview = scene.preview(&letter).await;
        assert_eq!(preview["outcome"], "changes", "{preview}");
        assert_eq!(preview["effect"]["target"], "OrderEventsTopic");
        assert!(preview["effect"]["after"]["OrderCreated"].is_string(), "{preview}");
        world.settle().await;
        assert_eq!(scene.seller.notices().await.len(), told);

        scene.redrive(&letter).expect(200).await;
        world.settle().await;
        assert_eq!(scene.seller.notices().await.len(), told + 1);
    });
}

#[test]
fn what_fails_again_goes_on_waiting_and_says_why_until_it_is_discarded() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let scene = Scene::set(world, platform).await;
        let event = json!({
            "event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": platform.clock().now_ms(),
            "type": "PaymentSucceeded", "data": {
                "payment_uuid": uuid::Uuid::new_v4(), "order_uuid": uuid::Uuid::new_v4(), "user_uuid": scene.buyer.id,
                "amount": 1990, "method": "alipay", "paid_at": platform.clock().now_ms(),
            },
        });
        let letter = inside::dead_letter(world, platform, "PaymentEventsForOrdersDeadLetters", &event).await;
        let preview = scene.preview(&letter).await;
        assert_eq!(preview["outcome"], "fails", "{preview}");
        let refused = scene.redrive(&letter).expect(409).await;
        assert_eq!(refused.kind(), "redrive-failed");
        let explained = scene.explained(&letter).await;
        assert_eq!(
            (&explained["status"], &explained["tries"]),
            (&json!("waiting"), &Value::Null)
        );
        assert_eq!(explained["last_error"], refused.json()["cause"]);
        assert_eq!(explained["last_error"], preview["cause"]);

        let discard = format!("{LETTERS}{letter}/discard/");
        scene.administrator.post(&discard, &json!({})).expect(400).await;
        let reason = json!({"reason": "a test's payment"});
        let discarded = scene.administrator.post(&discard, &reason).expect(200).await.data();
        assert_eq!(deeds(&discarded), ["redrive_began", "redrive_failed", "discarded"]);
        assert_eq!(discarded["history"][2]["remark"], "a test's payment");
        let again = scene
            .administrator
            .post(&discard, &json!({"reason": "x"}))
            .expect(200)
            .await;
        assert_eq!(again.data(), discarded);
        assert_eq!(scene.redrive(&letter).expect(409).await.kind(), "letter-closed");
        assert_eq!(scene.preview(&letter).await["outcome"], "nothing");
    });
}

/// A write that depends on what is there is asked about: what was mailed is not mailed again, and the preview knows.
#[test]
fn a_preview_tells_what_is_done_from_what_is_not() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        for (fault, outcome, mails_after) in [(Fault::LoseAnswer, "nothing", 0), (Fault::Fail, "changes", 1)] {
            let scene = Scene::set(world, platform).await;
            platform.faults().watch();
            for ordinal in 1..=5 {
                let delivery = format!("MailPeopleFunction delivery queue MailsQueue #{ordinal}");
                platform.faults().set(point(&delivery), fault);
            }
            scene.buyer.pays(&scene.order).await;
            let letter = scene.letter_of("mail-people").await;
            let mails = || platform.aws().mails().unwrap().len();
            let before = mails();
            let preview = scene.preview(&letter).await;
            assert_eq!(preview["outcome"], outcome, "{preview}");
            if outcome == "changes" {
                assert_eq!(preview["effect"]["action"], "dynamodb:PutItem");
                assert_eq!(preview["effect"]["target"], "InboxesTable");
                assert_eq!(preview["effect"]["after"]["user_uuid"], scene.seller.id);
            }
            assert_eq!(mails(), before);
            scene.redrive(&letter).expect(200).await;
            assert_eq!(mails(), before + mails_after);
            assert_eq!(scene.preview(&letter).await["outcome"], "nothing");
        }
    });
}

/// A consumer whose message nobody explains, or whose dead letters nobody keeps, does not get into the template.
#[test]
fn every_consumer_of_the_template_is_known_to_who_keeps_its_dead_letters() {
    let template = crate::template::template();
    let keeper = &template.functions["KeepDeadLettersFunction"];
    let directory =
        |function: &str, name: &str| -> Directory { template.functions[function].environment[name].parse().unwrap() };
    let queues = directory("KeepDeadLettersFunction", "DEAD_LETTER_QUEUES");
    let read: BTreeSet<&String> = keeper
        .sources
        .iter()
        .filter_map(|source| match source {
            EventSource::Queue { queue_arn, .. } => Some(queue_arn),
            EventSource::Stream { .. } => None,
        })
        .collect();
    let resorts = crate::template::last_resorts(&template);
    assert_eq!(
        read,
        resorts.iter().collect(),
        "every queue of dead letters is read by the keeper"
    );

    let mut known = BTreeSet::new();
    for function in template
        .functions
        .values()
        .filter(|function| function.logical_id != keeper.logical_id)
    {
        for source in &function.sources {
            let id = &function.logical_id;
            let consumer: Consumer = function
                .binary
                .parse()
                .unwrap_or_else(|_| panic!("{id} has no explanation"));
            known.insert(consumer);
            for who in [
                "KeepDeadLettersFunction",
                "PreviewRedriveFunction",
                "RedriveDeadLetterFunction",
            ] {
                let consumers = directory(who, "CONSUMERS");
                assert_eq!(consumers.name(consumer), Some(function.name.as_str()), "{who}: {id}");
            }
            if let EventSource::Queue { queue_arn, .. } = source {
                let queue = template.queues.values().find(|queue| queue.arn == *queue_arn).unwrap();
                let dead_letters = &queue.redrive.as_ref().unwrap().0;
                assert_eq!(queues.consumer(dead_letters), Some(consumer), "{id}");
            }
        }
    }
    assert_eq!(
        known,
        Consumer::ALL.into(),
        "an explanation of something that is no consumer"
    );
}
