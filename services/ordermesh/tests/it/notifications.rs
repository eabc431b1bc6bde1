//! E-mails, to a real mail server over a real connection: acceptance case 15.

use std::collections::BTreeMap;
use std::time::Duration;

use ordermesh::Config;
use proto::customers::v1::{CreateCustomerRequest, Customer, CustomerLevel};
use proto::mesh::v1::{ListDeadLettersRequest, ReplayDeadLetterRequest};
use proto::notifications::v1::notification_service_client::NotificationServiceClient;
use proto::notifications::v1::{ListNotificationsRequest, Notification, NotificationState};
use proto::orders::v1::{OrderState, WaitFor};
use service_host::Clock;
use testkit::{MailServer, MailTls, Mesh, Misbehaviour};
use tonic::transport::Channel;

use crate::payments::{euros, pay};
use crate::process::Process;
use crate::shop::{Shop, eventually, named, order, timed};

/// What has to come before an e-mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Validated,
    Paid,
    Customer,
}

const ORDERS_OF_ARRIVAL: [[Step; 3]; 6] = [
    [Step::Validated, Step::Paid, Step::Customer],
    [Step::Validated, Step::Customer, Step::Paid],
    [Step::Paid, Step::Validated, Step::Customer],
    [Step::Paid, Step::Customer, Step::Validated],
    [Step::Customer, Step::Validated, Step::Paid],
    [Step::Customer, Step::Paid, Step::Validated],
];

/// A mesh whose orders need no customer to be validated, so that the customer may come last.
fn config(server: &MailServer) -> Config {
    let mut config = Mesh::config();
    config.validation.required_checks.retain(|check| *check != validation::RequiredCheck::Credit);
    config.notifications.sender = notifications::SenderKind::Smtp;
    config.notifications.retry_pause = Duration::from_millis(10);
    config.notifications.smtp.host = "127.0.0.1".to_owned();
    config.notifications.smtp.port = server.port();
    config.notifications.smtp.tls = notifications::TlsMode::None;
    config
}

async fn step(channel: &Channel, shop: &Shop, step: Step, name: &str) {
    match step {
        Step::Validated => {
            let wanted = named(&format!("o-{name}"), order(&format!("c-{name}"), &[("jumpers", 1)]));
            let order = shop.create_for_stranger(wanted, "").await.unwrap();
            let order = shop.wait(&order.order_id, WaitFor::Validated).await.unwrap();
            assert_ne!(order.state(), OrderState::Rejected, "{:?}", order.reasons);
        }
        Step::Paid => {
            pay(channel.clone(), &format!("o-{name}"), "p-1", euros(1999), "").await.unwrap();
        }
        Step::Customer => {
            let customer = Customer {
                customer_id: format!("c-{name}"),
                first_name: "Ada".to_owned(),
                email: format!("{name}@example.org"),
                level: CustomerLevel::Gold.into(),
                ..Default::default()
            };
            let request = CreateCustomerRequest { customer: Some(customer), request_id: String::new() };
            shop.customers.clone().create_customer(timed(request)).await.unwrap();
        }
    }
}

async fn listed(channel: &Channel, request: ListNotificationsRequest) -> Vec<Notification> {
    let request = ListNotificationsRequest { page_size: 1000, require_complete: true, ..request };
    let client = NotificationServiceClient::new(channel.clone());
    client.clone().list_notifications(timed(request)).await.unwrap().into_inner().notifications
}

async fn notification(channel: &Channel, order_id: &str) -> Option<Notification> {
    let request = ListNotificationsRequest { order_id: order_id.to_owned(), ..Default::default() };
    let mut found = listed(channel, request).await;
    assert!(found.len() <= 1);
    found.pop()
}

async fn reached(channel: &Channel, order_id: &str, state: NotificationState) -> Notification {
    eventually(&format!("{order_id} {state:?}"), async || {
        notification(channel, order_id).await.filter(|found| found.state() == state)
    })
    .await
}

/// How often each e-mail arrived, by its Message-ID.
fn arrived(server: &MailServer) -> BTreeMap<String, usize> {
    let mut arrived = BTreeMap::new();
    for mail in server.mails() {
        *arrived.entry(mail.header("Message-ID").unwrap().to_owned()).or_default() += 1;
    }
    arrived
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_e_mail_in_every_order_of_arrival_and_none_again_after_a_restart() {
    let server = MailServer::start(MailTls::None).await;
    let mesh = Mesh::with(config(&server), Clock::system()).await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 100).await;
    let mut wanted = BTreeMap::new();
    for (number, steps) in ORDERS_OF_ARRIVAL.iter().enumerate() {
        let name = number.to_string();
        for (index, next) in steps.iter().enumerate() {
            assert_eq!(notification(&mesh.channel(), &format!("o-{name}")).await, None, "{steps:?} before {index}");
            step(&mesh.channel(), &shop, *next, &name).await;
        }
        let sent = reached(&mesh.channel(), &format!("o-{name}"), NotificationState::Sent).await;
        assert_eq!((sent.recipient, sent.attempts), (format!("{name}@example.org"), 1));
        wanted.insert(format!("<order.o-{name}@ordermesh>"), 1);
    }
    assert_eq!(arrived(&server), wanted);
    let mail = server.mails().remove(0);
    assert_eq!(
        (mail.to.as_slice(), mail.header("Subject")),
        (&["0@example.org".to_owned()][..], Some("Your order o-0"))
    );

    drop(shop);
    let mesh = mesh.restart().await;
    let shop = Shop::new(mesh.channel());
    // One more goes its way through every task and the courier: whatever was to be sent again would have been.
    for next in ORDERS_OF_ARRIVAL[0] {
        step(&mesh.channel(), &shop, next, "last").await;
    }
    reached(&mesh.channel(), "o-last", NotificationState::Sent).await;
    wanted.insert("<order.o-last@ordermesh>".to_owned(), 1);
    drop(shop);
    // Each was enriched once, for the level that its customer has.
    let enriched = mesh.records("orders-gold").await;
    let mut orders: Vec<_> = enriched.iter().map(|record| record.key.clone().unwrap()).collect();
    orders.sort();
    assert_eq!(orders, ["o-0", "o-1", "o-2", "o-3", "o-4", "o-5", "o-last"]);
    for other in ["orders-platinum", "orders-silver", "orders-bronze"] {
        assert_eq!(mesh.records(other).await, []);
    }
    assert!(mesh.stop().await.tasks_finished);
    assert_eq!(arrived(&server), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_delays_an_e_mail_and_one_that_refuses_it_makes_a_dead_letter_that_can_be_replayed() {
    let server = MailServer::start(MailTls::None).await;
    let mesh = Mesh::with(config(&server), Clock::system()).await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 100).await;
    server.misbehave([Misbehaviour::Refuse("450 busy"), Misbehaviour::Refuse("451 still busy")]);
    for next in ORDERS_OF_ARRIVAL[0] {
        step(&mesh.channel(), &shop, next, "busy").await;
    }
    assert_eq!(reached(&mesh.channel(), "o-busy", NotificationState::Sent).await.attempts, 3);

    server.misbehave([Misbehaviour::Refuse("550 no such user")]);
    for next in ORDERS_OF_ARRIVAL[4] {
        step(&mesh.channel(), &shop, next, "gone").await;
    }
    let given_up = reached(&mesh.channel(), "o-gone", NotificationState::Undeliverable).await;
    assert!(given_up.last_error.contains("no such user"), "{}", given_up.last_error);
    let letter = eventually("the dead letter", async || {
        let request = ListDeadLettersRequest { service: "notifications".to_owned(), ..Default::default() };
        mesh.dead_letters().list_dead_letters(timed(request)).await.unwrap().into_inner().dead_letters.pop()
    })
    .await;
    assert!(letter.reason.contains("no such user"), "{}", letter.reason);
    for _ in 0..2 {
        let dead_letter_id = letter.dead_letter_id.clone();
        let request = ReplayDeadLetterRequest { dead_letter_id, request_id: String::new() };
        mesh.dead_letters().replay_dead_letter(timed(request)).await.unwrap();
    }
    let sent = reached(&mesh.channel(), "o-gone", NotificationState::Sent).await;
    assert_eq!((sent.attempts, sent.message_id.as_str()), (2, "<order.o-gone@ordermesh>"));
    let wanted =
        BTreeMap::from([("<order.o-busy@ordermesh>".to_owned(), 1), ("<order.o-gone@ordermesh>".to_owned(), 1)]);
    assert_eq!(arrived(&server), wanted);
}

/// E-mails that can be on their way when a process dies: four partitions, four at once for each.
const ON_THEIR_WAY_MAX: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_the_record_as_sent_is_not_sent_again_after_a_kill_and_nothing_is_lost() {
    const ORDERS: usize = 60;
    let server = MailServer::start(MailTls::None).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ordermesh.toml");
    let smtp = format!("[notifications.smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n", server.port());
    std::fs::write(&file, format!("[notifications]\nsender = \"smtp\"\n{smtp}")).unwrap();
    let (data, flags) = (directory.path().join("data"), ["--config", file.to_str().unwrap()]);
    let process = Process::start(&data, &flags);
    let shop = Shop::new(process.channel());
    shop.stock("jumpers", 1_000).await;
    for number in 0..ORDERS {
        for next in ORDERS_OF_ARRIVAL[4] {
            step(&process.channel(), &shop, next, &number.to_string()).await;
        }
    }
    eventually("some e-mails", async || (server.mails().len() >= ORDERS / 4).then_some(())).await;
    let sent = ListNotificationsRequest { state: NotificationState::Sent.into(), ..Default::default() };
    let on_the_record = listed(&process.channel(), sent.clone()).await;
    process.kill();

    let process = Process::start(&data, &flags);
    eventually("every e-mail", async || (listed(&process.channel(), sent.clone()).await.len() == ORDERS).then_some(()))
        .await;
    let arrived = arrived(&server);
    assert_eq!(arrived.len(), ORDERS);
    for notification in on_the_record {
        assert_eq!(arrived[&notification.message_id], 1, "{} was on the record", notification.order_id);
    }
    let repeated = arrived.values().filter(|count| **count > 1).count();
    assert!(repeated <= ON_THEIR_WAY_MAX && arrived.values().all(|count| *count <= 2), "{arrived:?}");
}
