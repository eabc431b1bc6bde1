//! The courier over real tasks on a log in memory: what is committed is sent, what is sent is committed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use prost::Message;
use proto::customers::v1 as customers;
use proto::notifications::v1::NotificationState;
use proto::orders::v1 as orders;
use testkit::Running;
use tokio::task::JoinHandle;

use super::*;
use crate::topics;

const PATIENCE: Duration = Duration::from_secs(30);

/// Counts e-mails by Message-ID, and fails the first so many tries of each.
#[derive(Debug, Default)]
struct Recorder {
    tries: Mutex<BTreeMap<String, usize>>,
    failures: usize,
    is_final: bool,
}

#[tonic::async_trait]
impl Sender for Recorder {
    async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let tries = {
            let mut tries = self.tries.lock().unwrap();
            let tries = tries.entry(mail.message_id.clone()).or_default();
            *tries += 1;
            *tries
        };
        if tries > self.failures {
            return Ok(());
        }
        Err(SendError { reason: "not now".into(), is_final: self.is_final })
    }
}

/// Records of a customer and one order, after which there is an e-mail to send.
fn everything_of(customer_id: &str) -> [(&'static str, Vec<u8>); 4] {
    let order_id = format!("order-of-{customer_id}");
    let customer =
        customers::Customer { customer_id: customer_id.into(), email: "ada@example.org".into(), ..Default::default() };
    let event = customers::customer_event::Event::Created(customers::CustomerCreated { customer: Some(customer) });
    let event = customers::CustomerEvent { customer_id: customer_id.into(), time: None, event: Some(event) };
    let customer_id = customer_id.to_owned();
    let placed =
        orders::OrderPlaced { order_id: order_id.clone(), customer_id: customer_id.clone(), ..Default::default() };
    let changed = orders::CustomerOrderChanged {
        order_id: order_id.clone(),
        customer_id: customer_id.clone(),
        state: orders::OrderState::Validated.into(),
        ..Default::default()
    };
    let paid = proto::payments::v1::OrderPaid { order_id, customer_id, ..Default::default() };
    [
        (topics::CUSTOMERS, event.encode_to_vec()),
        (topics::ORDERS_BY_CUSTOMER, placed.encode_to_vec()),
        (topics::ORDER_CHANGES_BY_CUSTOMER, changed.encode_to_vec()),
        (topics::ORDER_PAYMENTS, paid.encode_to_vec()),
    ]
}

struct Fixture {
    running: Running,
    stop: CancellationToken,
    job: JoinHandle<()>,
}

impl Fixture {
    async fn start(sender: Arc<Recorder>) -> Self {
        let pause = Duration::from_millis(1);
        let config = Config { tries_max: 3, retry_pause: pause, retry_pause_max: pause, ..Config::default() };
        let running = Running::start(crate::definition(&config), 2).await;
        let stop = CancellationToken::new();
        let courier = Courier::new(running.tasks(), sender, Clock::system(), &config);
        let job = tokio::spawn(courier.run(stop.clone()));
        Self { running, stop, job }
    }

    /// A customer with one order for which everything is there.
    async fn complete(&self, customer_id: &str) {
        for (topic, record) in everything_of(customer_id) {
            self.running.record(topic, customer_id.as_bytes(), record).await;
        }
    }

    /// Waits until the e-mail to this customer is in this state, and says how many tries it took.
    async fn reached(&self, customer_id: &str, state: NotificationState) -> u32 {
        let tasks = self.running.tasks();
        let handle = tasks.for_key(customer_id.as_bytes()).unwrap();
        let key = format!("order-of-{customer_id}");
        let store_key = key.clone();
        let reached = handle.wait(NOTIFICATIONS, key.as_bytes(), move |view| {
            let row = wire::notification_row(&view.get(NOTIFICATIONS, store_key.as_bytes()).ok()??).ok()?;
            (row.state() == state).then_some(row.tries)
        });
        tokio::time::timeout(PATIENCE, reached).await.expect("the e-mail gets there").unwrap().0
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.job).await.expect("the courier stops").unwrap();
        self.running.stop().await;
    }
}

#[tokio::test]
async fn every_e_mail_is_sent_once() {
    let recorder = Arc::new(Recorder::default());
    let fixture = Fixture::start(recorder.clone()).await;
    for number in 0..100 {
        fixture.complete(&format!("c-{number}")).await;
    }
    for number in 0..100 {
        assert_eq!(fixture.reached(&format!("c-{number}"), NotificationState::Sent).await, 1);
    }
    fixture.stop().await;
    let tries = recorder.tries.lock().unwrap();
    assert_eq!((tries.len(), tries.values().sum::<usize>()), (100, 100));
}

#[tokio::test]
async fn a_try_that_fails_is_made_again_with_the_same_message_id() {
    let recorder = Arc::new(Recorder { failures: 2, ..Recorder::default() });
    let fixture = Fixture::start(recorder.clone()).await;
    fixture.complete("c-1").await;
    assert_eq!(fixture.reached("c-1", NotificationState::Sent).await, 3);
    fixture.stop().await;
    let wanted = BTreeMap::from([("<order.order-of-c-1@ordermesh>".to_owned(), 3)]);
    assert_eq!(*recorder.tries.lock().unwrap(), wanted);
}

#[tokio::test]
async fn what_cannot_be_sent_is_given_up_and_holds_up_nobody() {
    let recorder = Arc::new(Recorder { failures: usize::MAX, ..Recorder::default() });
    let fixture = Fixture::start(recorder.clone()).await;
    fixture.complete("c-1").await;
    fixture.complete("c-2").await;
    assert_eq!(fixture.reached("c-1", NotificationState::Undeliverable).await, 3);
    assert_eq!(fixture.reached("c-2", NotificationState::Undeliverable).await, 3);
    fixture.stop().await;
    let recorder = Arc::new(Recorder { failures: 9, is_final: true, ..Recorder::default() });
    let fixture = Fixture::start(recorder.clone()).await;
    fixture.complete("c-1").await;
    assert_eq!(fixture.reached("c-1", NotificationState::Undeliverable).await, 1);
    fixture.stop().await;
}

#[test]
fn a_try_that_was_put_off_by_a_clock_ahead_of_ours_is_due() {
    const HOUR_MS: i64 = 3_600_000;
    let config = Config::default();
    let mut driver = testkit::Driver::new(crate::definition(&config));
    driver.advance_to(2 * HOUR_MS);
    for (topic, record) in everything_of("c-1") {
        driver.record(topic, b"c-1", record);
    }
    let fails = wire::report("order-of-c-1", 0, Outcome::Failed { error: "not now".into(), is_final: false });
    driver.command(REPORT_DELIVERY, b"order-of-c-1", None, fails, "").unwrap();
    let of_the_same_clock = look(&driver.view(), 2 * HOUR_MS + 1);
    let pause_ms = i64::try_from(config.retry_pause.as_millis()).unwrap();
    assert_eq!((of_the_same_clock.due.len(), of_the_same_clock.next_due_ms), (0, Some(2 * HOUR_MS + pause_ms)));
    let of_one_behind = look(&driver.view(), HOUR_MS);
    assert_eq!((of_one_behind.due.len(), of_one_behind.next_due_ms), (1, None));
}
