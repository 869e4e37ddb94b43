//! Everything that can go wrong, goes wrong: a sample of what `cargo run -- proof` tries in full.

use std::time::Duration;

use cfmp::faults::{Fault, Kind};
use cfmp::mutants;
use cfmp::proof::{self, Flow, Plan, ProofError};
use serde_json::json;

use crate::inside::{is_elsewhere, template_that_loses_stock};
use crate::world::in_world;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_wherever_something_breaks() {
    if is_elsewhere() {
        return;
    }
    let plan = Plan {
        short: true,
        seed: 1,
        markets: 3,
        program: Some(env!("CARGO_BIN_EXE_cfmp").into()),
        ..Plan::default()
    };
    let outcome = proof::run(&plan, |_| {})
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(outcome.failures().count(), 0, "{outcome}");
    assert_eq!(outcome.points.len(), Flow::ALL.len());
    for (flow, points) in &outcome.points {
        for kind in [Kind::Call, Kind::Delivery, Kind::Answer] {
            // Nobody is answered where only time passes, nor where a page of the provider is all that is used.
            let expected = kind != Kind::Answer || *flow != Flow::Expire;
            let is_there = points.iter().any(|point| point.site.kind == kind);
            assert_eq!(is_there, expected, "{flow}: {kind:?}");
        }
        let tried = outcome.shown.iter().filter(|shown| shown.trial.flow == *flow);
        assert!(tried.count() > 0, "{flow}");
    }
    let whole = outcome
        .shown
        .iter()
        .filter(|shown| shown.trial.fault == Fault::Platform);
    assert!(whole.count() >= 4, "{outcome}");
    let reached = outcome.shown.iter().filter(|shown| shown.reached).count();
    assert!(reached * 10 > outcome.shown.len() * 9, "{outcome}");
}

/// A proof that always succeeds would prove nothing: here nobody returns the stock of cancelled orders.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_loses_something_does_not_pass() {
    if is_elsewhere() {
        return;
    }
    let (_folder, file) = template_that_loses_stock();
    let plan = Plan {
        flow: Some(Flow::Restock),
        short: true,
        template: Some(file),
        ..Plan::default()
    };
    match proof::run(&plan, |_| {}).await {
        Err(ProofError::Undisturbed { flow, found }) => {
            let said = found.join("\n");
            assert_eq!(flow, Flow::Restock);
            assert!(said.contains("still reserved by a cancelled order"), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

/// What `cargo run -- mutants` breaks, one after the other, it can still break.
#[test]
fn every_mutant_still_fits_the_sources_and_says_what_has_to_catch_it() {
    let mutants = mutants::Mutant::all().unwrap();
    assert!(mutants.len() >= 12, "{mutants:?}");
    for mutant in mutants {
        mutants::fits(&mutant).unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
    }
}

/// The mail was sent, and the connection broke before SES could say so.
#[test]
fn a_mail_whose_confirmation_was_lost_is_not_sent_again() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        world.settle().await;
        let mails = || {
            let mails = platform.aws().mails().unwrap();
            mails.iter().filter(|mail| mail.to.contains(&seller.email)).count()
        };
        let before = mails();
        let point = "MailPeopleFunction call ses:SendEmail market.example.edu #1";
        platform.faults().set(point.parse().unwrap(), Fault::LoseAnswer);
        buyer.pays(&order).await;
        world.until("the mail was sent", async || mails() > before).await;
        // Whatever was not finished comes again.
        world.advance(Duration::from_secs(65)).await;
        world.settle().await;
        assert_eq!(mails(), before + 1);
        assert_eq!(platform.faults().switches()[0].struck, 1);
        let said = platform.logs().of(Some("MailPeopleFunction"));
        assert!(
            said.iter().any(|line| line.text.contains("it is not sent again")),
            "a person is told"
        );
    });
}

#[test]
fn a_fault_is_set_over_http_and_strikes_once() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let point = "PublishOrderEventsFunction call sns:PublishBatch OrderEventsTopic #1";
        for wrong in [
            json!({}),
            json!({"point": point, "fault": "sometimes"}),
            json!({"point": "x", "fault": "hang"}),
        ] {
            world.post("/_local/faults", &wrong).expect(400).await;
        }
        world.post("/_local/faults/watch", &json!({})).expect(200).await;
        let fault = json!({"point": point, "fault": "kill-after"});
        world.post("/_local/faults", &fault).expect(200).await;

        // It is announced, the function is dead, and another instance announces it again: both are told once.
        buyer.orders(&lamp).await;
        world.settle().await;
        assert_eq!((buyer.notices().await.len(), seller.notices().await.len()), (1, 1));
        let crashed = platform
            .recording()
            .events(|event| event.entry.kind == "invocation" && event.entry.detail["outcome"] == "crashed");
        assert_eq!(crashed.len(), 1, "{crashed:?}");

        let seen = world.get("/_local/faults").expect(200).await.json();
        assert_eq!(
            seen["faults"],
            json!([{"point": point, "fault": "kill-after", "struck": 1}])
        );
        assert!(seen["points"].as_array().unwrap().contains(&json!(point)), "{seen}");
        world.ask("DELETE", "/_local/faults").expect(200).await;
        assert!(platform.faults().points().is_empty());
        assert_eq!(platform.faults().switches().len(), 0);
        assert!(Fault::of(&point.parse::<cfmp::faults::Point>().unwrap().site).contains(&Fault::KillAfter));
    });
}
