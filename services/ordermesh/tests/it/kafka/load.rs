//! Customers who order all the time, while something is done to the mesh, and the books afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proto::orders::v1::{Order, OrderState, WaitFor};
use proto::validation::v1::{Check, Outcome};
use tonic::Status;

use super::unique;
use crate::shop::{PATIENCE, Shop, eventually, named, order, outcomes, timed};

/// Orders that were begun before something is done, and after it.
const ORDERS: usize = 20;
/// Pieces in stock, of which each order takes one.
const STOCK: i64 = 100_000;

/// Customers at work.
pub(super) struct Load {
    product: String,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    customers: Vec<tokio::task::JoinHandle<Result<Ordered, Status>>>,
}

/// What one customer, or all of them, ordered.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    product: String,
    pub(super) orders: Vec<String>,
    /// The longest that anybody waited for the verdict on an order.
    pub(super) longest: Duration,
}

impl Load {
    /// One customer at each of these gateways, who orders one piece after the other and waits for the verdict on each.
    pub(super) async fn start(shops: &[Shop]) -> Self {
        let product = unique("jumper");
        shops[0].stock(&product, STOCK).await;
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let customers = shops.iter().map(|shop| {
            let customer = customer(shop.clone(), product.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(customer)
        });
        Self { customers: customers.collect(), product, stop, done }
    }

    /// Returns when some more orders have been judged, or somebody has given up.
    pub(super) async fn goes_on(&self) {
        let goal = self.done.load(Ordering::Relaxed) + ORDERS;
        eventually("orders are judged", async || {
            let gave_up = self.customers.iter().any(tokio::task::JoinHandle::is_finished);
            (gave_up || self.done.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Sends the customers home.
    ///
    /// # Panics
    /// One of them saw an error.
    pub(super) async fn end(self) -> Ordered {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Ordered { product: self.product, ..Ordered::default() };
        for customer in self.customers {
            let Ordered { orders, longest, .. } = customer.await.unwrap().expect("no customer sees an error");
            all.orders.extend(orders);
            all.longest = all.longest.max(longest);
        }
        all
    }
}

async fn customer(
    shop: Shop,
    product: String,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> Result<Ordered, Status> {
    let (mut ordered, mut customer_id) = (Ordered::default(), unique("c"));
    while !stop.load(Ordering::Relaxed) {
        if ordered.orders.len() % 50 == 49 {
            // Whoever orders much in an hour is a fraud.
            customer_id = unique("c");
        }
        let (begin, order_id) = (Instant::now(), unique("o"));
        let wanted = named(&order_id, order(&customer_id, &[(&product, 1)]));
        shop.create_as(wanted, &format!("r-{order_id}")).await?;
        let judged = shop.wait(&order_id, WaitFor::Validated).await?;
        assert!(matches!(judged.state(), OrderState::Validated | OrderState::Shipped), "{judged:?}");
        ordered.longest = ordered.longest.max(begin.elapsed());
        ordered.orders.push(order_id);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(ordered)
}

impl Ordered {
    /// Everything was shipped, each check said one thing of each order, and the stock is what is left.
    pub(super) async fn is_booked(&self, shop: &Shop) {
        for order_id in &self.orders {
            let order = shop.wait(order_id, WaitFor::Shipped).await.unwrap();
            assert_eq!(order.state(), OrderState::Shipped, "{order:?}");
            let verdicts = shop.verdicts(order_id).await;
            for check in [Check::Details, Check::Fraud, Check::Inventory, Check::Credit] {
                assert_eq!(outcomes(&verdicts, check), [Outcome::Pass], "{verdicts:?}");
            }
        }
        let left = STOCK - i64::try_from(self.orders.len()).unwrap();
        eventually("the books balance", async || (shop.pieces(&self.product).await == (left, 0, left)).then_some(()))
            .await;
    }
}

/// An order as one process shows it, and who answered.
pub(super) async fn look(shop: &Shop, order_id: &str) -> (Order, proto::mesh::v1::ServedBy) {
    let request = proto::orders::v1::GetOrderRequest { order_id: order_id.to_owned(), ..Default::default() };
    let answer = tokio::time::timeout(PATIENCE, shop.orders.clone().get_order(timed(request))).await.unwrap();
    let answer = answer.unwrap().into_inner();
    (answer.order.unwrap(), answer.served_by.unwrap())
}
