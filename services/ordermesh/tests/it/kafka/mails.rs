//! Acceptance case 15 on several instances: each of them could send an e-mail, and exactly one does.

use std::collections::BTreeMap;

use proto::customers::v1::{CreateCustomerRequest, Customer, CustomerLevel};
use proto::notifications::v1::notification_service_client::NotificationServiceClient;
use proto::notifications::v1::{ListNotificationsRequest, NotificationState};
use testkit::{MailServer, MailTls};

use super::{Cluster, GATEWAY, unique};
use crate::payments::{euros, pay};
use crate::shop::{Shop, eventually, named, order, timed};

/// E-mails that can be on their way when an instance dies: its partitions, four at once for each.
const ON_THEIR_WAY_MAX: usize = 16;

/// An order for which there will be an e-mail.
async fn buy(cluster: &Cluster, shop: &Shop, product: &str) -> String {
    let (order_id, customer_id) = (unique("o"), unique("c"));
    let customer = Customer {
        email: format!("{customer_id}@example.org"),
        customer_id: customer_id.clone(),
        first_name: "Ada".to_owned(),
        level: CustomerLevel::Gold.into(),
        ..Default::default()
    };
    let request = CreateCustomerRequest { customer: Some(customer), request_id: unique("r") };
    shop.customers.clone().create_customer(timed(request)).await.unwrap();
    shop.create_for_stranger(named(&order_id, order(&customer_id, &[(product, 1)])), &order_id).await.unwrap();
    pay(cluster.channel(GATEWAY), &order_id, "p-1", euros(1999), &order_id).await.unwrap();
    order_id
}

async fn all_sent(cluster: &Cluster, orders: &[String]) {
    let client = NotificationServiceClient::new(cluster.channel(GATEWAY));
    for order_id in orders {
        eventually(&format!("the e-mail of {order_id}"), async || {
            let request = ListNotificationsRequest { order_id: order_id.clone(), ..Default::default() };
            let found = client.clone().list_notifications(timed(request)).await.ok()?.into_inner().notifications;
            found.iter().any(|mail| mail.state() == NotificationState::Sent).then_some(())
        })
        .await;
    }
}

/// How often the e-mail of each order arrived.
fn arrived(server: &MailServer, orders: &[String]) -> Vec<usize> {
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for mail in server.mails() {
        *arrived.entry(mail.header("Message-ID").unwrap().to_owned()).or_default() += 1;
    }
    orders.iter().map(|order| arrived.get(&format!("<order.{order}@ordermesh>")).copied().unwrap_or(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn one_e_mail_for_each_order_while_instances_leave_and_die() {
    const ORDERS: usize = 20;
    let server = MailServer::start(MailTls::None).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ordermesh.toml");
    let smtp = format!("[notifications.smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n", server.port());
    std::fs::write(&file, format!("[notifications]\nsender = \"smtp\"\n{smtp}")).unwrap();
    let mut cluster = Cluster::empty(&["--config", file.to_str().unwrap()]).await;
    cluster.add(&["a", "b", "c", GATEWAY]).await;
    cluster.settled().await;
    let (shop, product) = (cluster.shop(GATEWAY), unique("jumper"));
    shop.stock(&product, 1_000).await;

    let mut orders = Vec::new();
    while orders.len() < ORDERS {
        orders.push(buy(&cluster, &shop, &product).await);
    }
    // Some of them are on their way now; whoever leaves lets them arrive.
    cluster.stop("c").await;
    while orders.len() < 2 * ORDERS {
        orders.push(buy(&cluster, &shop, &product).await);
    }
    all_sent(&cluster, &orders).await;
    assert!(arrived(&server, &orders).iter().all(|count| *count == 1), "{:?}", arrived(&server, &orders));

    cluster.add(&["c"]).await;
    cluster.settled().await;
    let mut more = Vec::new();
    while more.len() < ORDERS {
        more.push(buy(&cluster, &shop, &product).await);
    }
    cluster.kill("b");
    all_sent(&cluster, &more).await;
    // Whether an e-mail of the one that died had been taken, nobody knows: it is sent again, with the same Message-ID.
    let counts = arrived(&server, &more);
    assert!(counts.iter().all(|count| (1..=2).contains(count)), "{counts:?}");
    assert!(counts.iter().filter(|count| **count == 2).count() <= ON_THEIR_WAY_MAX, "{counts:?}");
    // What was on the record as sent is not sent again by anybody.
    assert!(arrived(&server, &orders).iter().all(|count| *count == 1), "{:?}", arrived(&server, &orders));
}
