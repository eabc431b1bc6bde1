//! The FRAUD check: acceptance case 4, on a clock that the test moves.

use std::time::Duration;

use proto::orders::v1::OrderState;
use proto::validation::v1::{Check, Outcome};
use service_host::Clock;
use testkit::Mesh;

use crate::shop::{Shop, eventually, priced};

/// What FRAUD says of an order of so many cents.
async fn fraud(shop: &Shop, customer_id: &str, cents: i64) -> Outcome {
    let order = shop.create(priced(customer_id, &[("jumpers", 1, cents)])).await.unwrap();
    eventually("the verdict of FRAUD", async || {
        let validation = shop.verdicts(&order.order_id).await;
        validation.verdicts.iter().find(|verdict| verdict.check() == Check::Fraud).map(|verdict| verdict.outcome())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_fails_when_its_total_reaches_the_limit_and_an_hour_later_begins_anew() {
    let mesh = Mesh::with(Mesh::config(), Clock::manual(1_750_000_000_000)).await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 1_000).await;
    let mut outcomes = Vec::new();
    for cents in [1_500, 7_500, 100_000, 100_000] {
        outcomes.push(fraud(&shop, "c-1", cents).await);
        mesh.clock().advance(Duration::from_secs(60));
    }
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Pass, Outcome::Pass, Outcome::Fail]);
    assert_eq!(fraud(&shop, "c-2", 199_999).await, Outcome::Pass);
    assert_eq!(fraud(&shop, "c-3", 200_000).await, Outcome::Fail, "the limit itself is too much");

    mesh.clock().advance(Duration::from_secs(3600 - 60));
    assert_eq!(fraud(&shop, "c-1", 1_000).await, Outcome::Fail, "within the hour failed orders keep counting");
    mesh.clock().advance(Duration::from_secs(3601));
    assert_eq!(fraud(&shop, "c-1", 199_999).await, Outcome::Pass);
    let rejected = shop.all_orders().await.iter().filter(|order| order.state() == OrderState::Rejected).count();
    assert_eq!(rejected, 3);
}
