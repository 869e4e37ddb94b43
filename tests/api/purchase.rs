//! A whole purchase, and its undoing.

use serde_json::json;

use crate::world::in_world;

#[test]
fn an_order_reaches_its_buyer_and_seller_as_notifications() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let bicycle = seller.puts_up("二手自行车", "128.50", 1).await;

        let order = buyer.orders(&bicycle).await;
        assert_eq!(order["status"], 0);
        assert_eq!(order["total_amount"], "128.50");
        assert_eq!(order["products"][0]["product_name"], "二手自行车");
        assert_eq!(order["seller_uuid"], json!(seller.id));

        world.settle().await;
        for person in [&buyer, &seller] {
            assert_eq!(person.notices().await.len(), 1);
        }
    });
}

#[test]
fn a_paid_order_is_delivered_and_completed() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;

        buyer.pays(&order).await;
        world.settle().await;
        let paid = buyer.order(&order).await;
        assert_eq!((&paid["status"], &paid["payment_method"]), (&json!(1), &json!(0)));
        assert!(paid["payment_time"].as_str().unwrap().ends_with("+08:00"));
        assert_eq!((buyer.notices().await.len(), seller.notices().await.len()), (2, 2));

        let path = format!("/api/orders/{}/complete/", order["order_uuid"].as_str().unwrap());
        seller.ask("POST", &path).expect(403).await;
        assert_eq!(buyer.ask("POST", &path).expect(200).await.data()["status"], 2);
        world.settle().await;
        assert_eq!((buyer.notices().await.len(), seller.notices().await.len()), (3, 3));
        let payment = buyer
            .get(&format!("/api/payment/{}/", order["order_uuid"].as_str().unwrap()))
            .expect(200)
            .await;
        assert_eq!(payment.data()["status"], "success");
    });
}

#[test]
fn a_paid_order_that_is_cancelled_gives_money_and_stock_back() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let product = format!("/api/product/{}/", lamp.id);
        let order = buyer.orders(&lamp).await;
        assert_eq!(world.get(&product).expect(200).await.json()["stock"], 0);
        buyer.pays(&order).await;
        world.settle().await;

        let cancelled = seller.cancels(&order, "已经卖给室友了").await;
        assert_eq!(
            (&cancelled["status"], &cancelled["refund_status"]),
            (&json!(3), &json!("pending"))
        );
        world.settle().await;

        let order = buyer.order(&order).await;
        assert_eq!(order["refund_status"], "succeeded");
        assert_eq!(order["cancel_reason"], "已经卖给室友了");
        let lamp = world.get(&product).expect(200).await.json();
        assert_eq!((&lamp["stock"], &lamp["status"]), (&json!(1), &json!(0)));
        // Placed, paid, cancelled, refunded.
        assert_eq!(buyer.notices().await.len(), 4, "{:?}", buyer.notices().await);
        assert!(seller.notices().await.len() >= 3, "{:?}", seller.notices().await);
    });
}
