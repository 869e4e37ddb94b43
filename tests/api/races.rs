//! Two things that happen to one order at the same time: whichever comes first, money and goods end up somewhere.

use std::time::Duration;

use cfmp::proof::{self, Pair, RacePlan};
use serde_json::{Value, json};

use crate::world::{Member, Product, World, in_world};

/// Some minutes before an order of half an hour expires. Time also passes by itself, and a slow machine is left enough of
/// it; how close the end is makes no difference, since it is reached by a jump.
const SHORTLY_BEFORE: Duration = Duration::from_secs(25 * 60);
/// From then until after the end.
const PAST_THE_END: Duration = Duration::from_secs(6 * 60);

/// The order is paid and the goods are gone; or it is cancelled, the goods are back, and so is money that came.
async fn ends_well(world: &World, buyer: &Member<'_>, order: &Value, lamp: &Product) -> &'static str {
    world
        .until("the order is paid or cancelled", async || {
            buyer.order(order).await["status"] != 0
        })
        .await;
    world.settle().await;
    let order = buyer.order(order).await;
    let payment = buyer
        .get(&format!("/api/payment/{}/", order["order_uuid"].as_str().unwrap()))
        .expect(200)
        .await
        .data();
    let stock = world
        .get(&format!("/api/product/{}/", lamp.id))
        .expect(200)
        .await
        .json()["stock"]
        .clone();
    match order["status"].as_u64().unwrap() {
        1 => {
            assert_eq!(
                (&payment["status"], &stock, &order["refund_status"]),
                (&json!("success"), &json!(0), &json!(null))
            );
            "paid"
        }
        3 => {
            assert_eq!(stock, 1, "{order:#}");
            match order["refund_status"].as_str() {
                Some(status) => {
                    assert_eq!(
                        (status, &payment["status"]),
                        ("succeeded", &json!("success")),
                        "{payment:#}"
                    );
                    "refunded"
                }
                // Nothing came, or it came for a payment that had been closed, which sends it back by itself.
                None => {
                    assert_ne!(payment["status"], "success", "{payment:#}");
                    assert_ne!(payment["status"], "pending", "{payment:#}");
                    "not paid"
                }
            }
        }
        _ => panic!("{order:#}"),
    }
}

#[test]
fn paying_and_expiring_in_any_order_ends_well() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);

        // Paid shortly before the time is up, and the order has heard of it.
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        let payment = buyer.starts_paying(&order).await;
        world.settle().await;
        world.advance(SHORTLY_BEFORE).await;
        buyer.clicks_pay(&payment).await;
        world.settle().await;
        world.advance(PAST_THE_END).await;
        assert_eq!(ends_well(world, &buyer, &order, &lamp).await, "paid");

        // The time is up; then the button is pressed.
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        let payment = buyer.starts_paying(&order).await;
        world.settle().await;
        world.advance(SHORTLY_BEFORE + PAST_THE_END).await;
        world
            .until("the order has expired", async || {
                buyer.order(&order).await["status"] == 3
            })
            .await;
        buyer.presses_pay(&payment).await;
        assert_eq!(ends_well(world, &buyer, &order, &lamp).await, "not paid");

        // Both at once, several times.
        for _ in 0..4 {
            let lamp = seller.puts_up("台灯", "19.90", 1).await;
            let order = buyer.orders(&lamp).await;
            let payment = buyer.starts_paying(&order).await;
            world.settle().await;
            world.advance(SHORTLY_BEFORE).await;
            tokio::join!(buyer.presses_pay(&payment), world.advance(PAST_THE_END));
            ends_well(world, &buyer, &order, &lamp).await;
        }
    });
}

#[test]
fn paying_and_cancelling_in_both_orders_ends_well() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        buyer.pays(&order).await;
        // Not settled: the payment may still be on its way to the order.
        buyer.cancels(&order, "").await;
        assert_eq!(ends_well(world, &buyer, &order, &lamp).await, "refunded");

        let order = buyer.orders(&lamp).await;
        let payment = buyer.starts_paying(&order).await;
        buyer.cancels(&order, "").await;
        buyer.presses_pay(&payment).await;
        ends_well(world, &buyer, &order, &lamp).await;

        for _ in 0..4 {
            let order = buyer.orders(&lamp).await;
            let payment = buyer.starts_paying(&order).await;
            let (_, cancelled) = tokio::join!(buyer.presses_pay(&payment), buyer.cancels(&order, ""));
            assert_eq!(cancelled["status"], 3);
            ends_well(world, &buyer, &order, &lamp).await;
        }
    });
}

#[test]
fn both_sides_cancelling_at_once_cancel_once() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        buyer.pays(&order).await;
        world.settle().await;
        let (told_buyer, told_seller) = (buyer.notices().await.len(), seller.notices().await.len());
        tokio::join!(
            buyer.cancels(&order, "买错了"),
            seller.cancels(&order, "卖掉了"),
            buyer.cancels(&order, "再来一次")
        );
        assert_eq!(ends_well(world, &buyer, &order, &lamp).await, "refunded");
        assert_eq!(
            buyer.notices().await.len(),
            told_buyer + 2,
            "cancelled and refunded, once"
        );
        assert_eq!(
            seller.notices().await.len(),
            told_seller + 2,
            "cancelled and refunded, once"
        );
    });
}

#[test]
fn completing_and_cancelling_at_once_do_one_of_them() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        for _ in 0..3 {
            let lamp = seller.puts_up("台灯", "19.90", 1).await;
            let order = buyer.orders(&lamp).await;
            buyer.pays(&order).await;
            world.settle().await;
            let path = format!("/api/orders/{}", order["order_uuid"].as_str().unwrap());
            let (completed, cancelled) = tokio::join!(
                buyer.ask("POST", &format!("{path}/complete")).send(),
                seller.ask("POST", &format!("{path}/cancel")).send(),
            );
            let won = [completed.status.as_u16(), cancelled.status.as_u16()];
            assert!(won == [200, 409] || won == [409, 200], "{won:?}");
            world.settle().await;
            let order = buyer.order(&order).await;
            let (status, refund) = if won[0] == 200 {
                (2, json!(null))
            } else {
                (3, json!("succeeded"))
            };
            assert_eq!((&order["status"], &order["refund_status"]), (&json!(status), &refund));
        }
    });
}

/// A sample of what `cargo run -- races` runs in full.
#[tokio::test(flavor = "multi_thread")]
async fn two_flows_on_one_order_end_well_in_any_order_of_their_steps() {
    if crate::inside::is_elsewhere() {
        return;
    }
    let plan = RacePlan {
        short: true,
        seed: 1,
        markets: 2,
        ..RacePlan::default()
    };
    let races = proof::race(&plan, |_| {})
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(races.failures().count(), 0, "{races}");
    assert_eq!(races.heats.len(), Pair::ALL.len());
    for (pair, heat) in &races.heats {
        assert!(heat.orders > 1, "{pair} can come in one order only");
        assert!(heat.steps.iter().all(|steps| !steps.is_empty()), "{pair}: {heat:?}");
    }
    // Not only one flow after the other.
    let mixed = races
        .ran
        .iter()
        .filter(|ran| ran.race.interleaving.switches() > 1 && ran.kept.made > 2);
    assert!(mixed.count() > 0, "{races}");
}
