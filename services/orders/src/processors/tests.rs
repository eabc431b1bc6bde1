//! A task as a whole: what it stores, emits and answers.

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1::Fulfilment;
use proto::orders::v1::order_event::Event;
use proto::orders::v1::{self as api, OrderState, StockAction};
use proto::validation::v1::validation_event::Event as Decided;
use proto::validation::v1::{self as validation};
use proto::{common::v1 as common, manufacturing::v1 as manufacturing, shipping::v1 as shipping};
use proto::{notifications::v1 as notifications, payments::v1 as payments};
use service_host::reply;
use task_runtime::CallError;
use testkit::{Driver, Emitted};

use crate::wire::requests::{CANCEL, CREATE};
use crate::{Config, definition, stores, topics};

const ORDER: &str = "o-1";

fn driver() -> Driver {
    let mut driver = Driver::new(definition(&Config::default()));
    driver.advance_to(1_700_000_000_123);
    driver
}

fn line(product_id: &str, quantity: i64) -> api::OrderLine {
    let unit_price = Some(common::Money { currency_code: "EUR".into(), minor_units: 1999 });
    api::OrderLine { product_id: product_id.into(), quantity, unit_price }
}

fn wish(order_id: &str, lines: Vec<api::OrderLine>) -> Vec<u8> {
    api::Order { order_id: order_id.into(), customer_id: "c-1".into(), lines, ..Default::default() }.encode_to_vec()
}

fn create(driver: &mut Driver) {
    let payload = wish(ORDER, vec![line("jumper", 2), line("sock", 1)]);
    driver.command(CREATE, ORDER.as_bytes(), None, payload, "").unwrap();
    driver.emitted();
}

fn validation_event(event: Decided) -> Vec<u8> {
    validation::ValidationEvent { order_id: ORDER.into(), event: Some(event), ..Default::default() }.encode_to_vec()
}

fn pass(driver: &mut Driver) {
    let fulfilments = vec![Fulfilment::FromStock.into(), Fulfilment::MadeToOrder.into()];
    let event = validation_event(Decided::Passed(validation::ValidationPassed { fulfilments }));
    driver.record(topics::ORDER_VALIDATIONS, ORDER.as_bytes(), event);
}

fn fail(driver: &mut Driver, code: &str) {
    let reason = validation::Reason { code: code.into(), ..Default::default() };
    let event = validation_event(Decided::Failed(validation::ValidationFailed { reasons: vec![reason] }));
    driver.record(topics::ORDER_VALIDATIONS, ORDER.as_bytes(), event);
}

fn manufacture(driver: &mut Driver, event: manufacturing::manufacturing_event::Event) {
    let event = manufacturing::ManufacturingEvent { order_id: ORDER.into(), time: None, event: Some(event) };
    driver.record(topics::MANUFACTURED, ORDER.as_bytes(), event.encode_to_vec());
}

fn ship(driver: &mut Driver, event: shipping::shipment_event::Event) {
    let event = shipping::ShipmentEvent { order_id: ORDER.into(), time: None, event: Some(event) };
    driver.record(topics::SHIPMENTS, ORDER.as_bytes(), event.encode_to_vec());
}

fn cancel(driver: &mut Driver, etag: &str, request_id: Option<&str>) -> Result<(), String> {
    let payload = api::CancelOrderRequest { order_id: ORDER.into(), etag: etag.into(), ..Default::default() };
    let answer = driver.command(CANCEL, ORDER.as_bytes(), request_id, payload.encode_to_vec(), "").unwrap();
    reply::decode::<api::CancelOrderReply>(answer).map(|_| ()).map_err(|problem| problem.reason.into_owned())
}

fn row(driver: &Driver) -> api::OrderRow {
    api::OrderRow::decode(driver.get(stores::ORDERS, ORDER.as_bytes()).unwrap()).unwrap()
}

fn state(driver: &Driver) -> OrderState {
    row(driver).state()
}

fn events(emitted: &[Emitted]) -> Vec<Event> {
    let orders = emitted.iter().filter(|record| record.topic == topics::ORDERS);
    let event = |record: &Emitted| {
        assert_eq!(record.key, ORDER);
        api::OrderEvent::decode(record.value.clone()).unwrap().event.unwrap()
    };
    orders.map(event).collect()
}

fn stock(emitted: &[Emitted]) -> Vec<(Bytes, u32, StockAction, i64)> {
    let requests = emitted.iter().filter(|record| record.topic == topics::STOCK_REQUESTS);
    let request = |record: &Emitted| {
        let request = api::StockRequest::decode(record.value.clone()).unwrap();
        assert_eq!((request.order_id.as_str(), request.product_id.as_bytes()), (ORDER, &record.key[..]));
        (record.key.clone(), request.line, request.action(), request.quantity)
    };
    requests.map(request).collect()
}

fn both_lines(action: StockAction) -> Vec<(Bytes, u32, StockAction, i64)> {
    vec![("jumper".into(), 0, action, 2), ("sock".into(), 1, action, 1)]
}

/// State, version and number of reasons, as those learn them who keep the orders of a customer.
fn told_of_customer(emitted: &[Emitted]) -> Vec<(OrderState, u64, usize)> {
    let changes = emitted.iter().filter(|record| record.topic == topics::ORDER_CHANGES_BY_CUSTOMER);
    let change = |record: &Emitted| {
        let change = api::CustomerOrderChanged::decode(record.value.clone()).unwrap();
        assert_eq!((change.order_id.as_str(), change.customer_id.as_bytes()), (ORDER, &record.key[..]));
        (change.state(), change.version, change.reasons.len())
    };
    changes.map(change).collect()
}

fn is_dead_letter(emitted: &[Emitted]) -> bool {
    emitted.iter().all(|record| record.topic == "orders-dead-letters") && emitted.len() == 1
}

#[test]
fn a_new_order_is_stored_and_everyone_is_told() {
    let mut driver = driver();
    let payload = wish(ORDER, vec![line("jumper", 2), line("sock", 1)]);
    let answer = driver.command(CREATE, ORDER.as_bytes(), Some("r"), payload, "").unwrap();
    let answer: api::CreateOrderReply = reply::decode(answer).unwrap();
    let wanted = api::CreateOrderReply { create_time_ms: 1_700_000_000_123, ..Default::default() };
    assert_eq!(answer, wanted, "the answer repeats nothing of the request");

    let emitted = driver.emitted();
    let [Event::Created(created)] = &events(&emitted)[..] else { panic!("created") };
    let order = created.order.clone().unwrap();
    assert_eq!((order.order_id.as_str(), order.state(), order.etag.as_str()), (ORDER, OrderState::Created, "1"));
    assert_eq!(order.total, Some(common::Money { currency_code: "EUR".into(), minor_units: 3 * 1999 }));
    let create_time = order.create_time.unwrap();
    assert_eq!((create_time.seconds, create_time.nanos), (1_700_000_000, 123_000_000));
    let placed = emitted.iter().find(|record| record.topic == topics::ORDERS_BY_CUSTOMER).unwrap();
    assert_eq!(placed.key, "c-1");
    let placed = api::OrderPlaced::decode(placed.value.clone()).unwrap();
    assert_eq!(placed.lines, order.lines);
    assert_eq!((placed.order_id.as_str(), placed.total, placed.time), (ORDER, order.total, order.create_time));
    assert_eq!(stock(&emitted), both_lines(StockAction::Reserve));
    assert_eq!(state(&driver), OrderState::Created);
    assert!(driver.get(stores::BY_CUSTOMER, &stores::customer_key("c-1", ORDER)).is_some());
}

#[test]
fn the_history_of_an_order_of_a_thousand_pieces_has_its_end() {
    use manufacturing::manufacturing_event::Event as Made;
    let mut driver = driver();
    create(&mut driver);
    pass(&mut driver);
    manufacture(&mut driver, Made::Opened(manufacturing::WorkOrderOpened::default()));
    for _ in 0..1_100 {
        manufacture(&mut driver, Made::ItemManufactured(manufacturing::ItemManufactured::default()));
    }
    let pieces = row(&driver).history.len();
    manufacture(&mut driver, Made::Completed(manufacturing::WorkOrderCompleted::default()));
    assert_eq!((pieces, row(&driver).history.len()), (600, 602), "all is made, and it is ready");
    assert_eq!(state(&driver), OrderState::Ready);
}

#[test]
fn a_repeated_request_gets_the_first_answer_with_the_first_id() {
    let mut driver = driver();
    let payload = wish("", vec![line("jumper", 1)]);
    let first = driver.command(CREATE, b"made-1", Some("r"), payload.clone(), "made-1").unwrap();
    assert_eq!(reply::decode::<api::CreateOrderReply>(first.clone()).unwrap().generated_order_id, "made-1");
    driver.emitted();
    let second = driver.command(CREATE, b"made-2", Some("r"), payload, "made-2").unwrap();
    assert_eq!(second, first);
    assert_eq!(driver.emitted(), []);
    assert_eq!(driver.get(stores::ORDERS, b"made-2"), None);
    let other = driver.command(CREATE, b"made-3", Some("r"), wish("", vec![line("jumper", 2)]), "made-3");
    assert_eq!(other, Err(CallError::RequestIdReused));
}

#[test]
fn the_same_order_again_is_the_existing_one_and_another_is_refused() {
    let mut driver = driver();
    create(&mut driver);
    pass(&mut driver);
    driver.emitted();
    let same = wish(ORDER, vec![line("jumper", 2), line("sock", 1)]);
    let answer = driver.command(CREATE, ORDER.as_bytes(), None, same, "").unwrap();
    let existing = reply::decode::<api::CreateOrderReply>(answer).unwrap().existing.unwrap();
    assert_eq!(existing.state(), OrderState::Validated);
    let other = wish(ORDER, vec![line("jumper", 3)]);
    let answer = driver.command(CREATE, ORDER.as_bytes(), None, other, "").unwrap();
    assert_eq!(reply::decode::<api::CreateOrderReply>(answer).unwrap_err().reason, "ORDER_EXISTS");
    assert_eq!(driver.emitted(), []);
}

#[test]
fn an_order_lives_to_be_shipped_and_its_stock_is_taken_once() {
    use manufacturing::manufacturing_event::Event as Made;
    let mut driver = driver();
    create(&mut driver);
    pass(&mut driver);
    let [Event::Validated(validated)] = &events(&driver.emitted())[..] else { panic!("validated") };
    assert_eq!(validated.fulfilments, [Fulfilment::FromStock as i32, Fulfilment::MadeToOrder as i32]);
    assert_eq!(validated.order.as_ref().unwrap().lines.len(), 2);

    manufacture(&mut driver, Made::Opened(manufacturing::WorkOrderOpened::default()));
    assert_eq!(state(&driver), OrderState::InManufacturing);
    manufacture(&mut driver, Made::ItemManufactured(manufacturing::ItemManufactured::default()));
    manufacture(&mut driver, Made::Completed(manufacturing::WorkOrderCompleted {}));
    assert_eq!(state(&driver), OrderState::Ready);
    let made = [Event::InManufacturing(api::OrderInManufacturing {}), Event::Ready(api::OrderReady {})];
    assert_eq!(events(&driver.emitted()), made);

    let shipped = || shipping::shipment_event::Event::Shipped(shipping::ShipmentShipped {});
    ship(&mut driver, shipped());
    let emitted = driver.emitted();
    assert_eq!(events(&emitted), [Event::Shipped(api::OrderShipped {})]);
    assert_eq!(stock(&emitted), both_lines(StockAction::Ship));
    ship(&mut driver, shipped());
    pass(&mut driver);
    assert_eq!(driver.emitted(), [], "late and repeated records are no news");
    assert_eq!((state(&driver), row(&driver).version), (OrderState::Shipped, 5));
    assert_eq!(cancel(&mut driver, "", None), Err("ILLEGAL_TRANSITION".to_owned()));
}

#[test]
fn a_rejected_order_gives_its_stock_back_once_and_keeps_late_reasons() {
    let mut driver = driver();
    create(&mut driver);
    fail(&mut driver, "FIRST");
    let emitted = driver.emitted();
    assert!(matches!(events(&emitted)[..], [Event::Rejected(_)]));
    assert_eq!(told_of_customer(&emitted), [(OrderState::Rejected, 2, 1)]);
    assert_eq!(stock(&emitted), both_lines(StockAction::Release));
    fail(&mut driver, "LATE");
    let emitted = driver.emitted();
    assert!(matches!(events(&emitted)[..], [Event::ReasonsAdded(_)]));
    assert_eq!(told_of_customer(&emitted), [(OrderState::Rejected, 3, 2)]);
    assert_eq!(stock(&emitted), []);
    let codes: Vec<_> = row(&driver).reasons.into_iter().map(|reason| reason.code).collect();
    assert_eq!(codes, ["FIRST", "LATE"]);
}

#[test]
fn a_created_order_is_cancelled_at_once_and_nothing_revives_it() {
    let mut driver = driver();
    create(&mut driver);
    assert_eq!(cancel(&mut driver, "1", Some("r")), Ok(()));
    let emitted = driver.emitted();
    assert_eq!(events(&emitted), [Event::Cancelled(api::OrderCancelled {})]);
    assert_eq!(stock(&emitted), both_lines(StockAction::Release));
    pass(&mut driver);
    fail(&mut driver, "LATE");
    assert_eq!(cancel(&mut driver, "1", Some("r")), Ok(()), "the same request again");
    assert_eq!(cancel(&mut driver, "", None), Err("ILLEGAL_TRANSITION".to_owned()));
    assert_eq!(driver.emitted(), []);
    assert_eq!(state(&driver), OrderState::Cancelled);
}

#[test]
fn a_validated_order_is_cancelled_when_shipping_says_so() {
    let mut driver = driver();
    create(&mut driver);
    pass(&mut driver);
    driver.emitted();
    assert_eq!(cancel(&mut driver, "", Some("r")), Ok(()));
    let emitted = driver.emitted();
    assert_eq!(events(&emitted), [Event::CancellationRequested(api::OrderCancellationRequested {})]);
    assert_eq!(told_of_customer(&emitted), [], "clients do not see it");
    assert_eq!(cancel(&mut driver, "", Some("another")), Ok(()));
    assert_eq!(driver.emitted(), [], "shipping is asked once");
    assert_eq!((state(&driver), row(&driver).version), (OrderState::Validated, 2));
    ship(&mut driver, shipping::shipment_event::Event::Cancelled(shipping::ShipmentCancelled {}));
    let emitted = driver.emitted();
    assert_eq!(events(&emitted), [Event::Cancelled(api::OrderCancelled {})]);
    assert_eq!(stock(&emitted), both_lines(StockAction::Release));
    assert!(!row(&driver).cancellation_requested);
}

#[test]
fn a_cancel_is_refused_for_an_unknown_order_and_for_another_version() {
    let mut driver = driver();
    assert_eq!(cancel(&mut driver, "", None), Err("ORDER_NOT_FOUND".to_owned()));
    create(&mut driver);
    for etag in ["2", "0", "01", "+1", "one"] {
        assert_eq!(cancel(&mut driver, etag, None), Err("VERSION_CONFLICT".to_owned()), "{etag}");
    }
    assert_eq!(state(&driver), OrderState::Created);
}

#[test]
fn records_that_cannot_be_applied_go_to_the_dead_letters_and_change_nothing() {
    let mut driver = driver();
    pass(&mut driver);
    assert!(is_dead_letter(&driver.emitted()), "the order does not exist");
    create(&mut driver);
    let before = row(&driver);
    ship(&mut driver, shipping::shipment_event::Event::Shipped(shipping::ShipmentShipped {}));
    assert!(is_dead_letter(&driver.emitted()), "it was never validated");
    driver.record(topics::SHIPMENTS, ORDER.as_bytes(), "\u{7f}garbage");
    assert!(is_dead_letter(&driver.emitted()), "the bytes are no message");
    let elsewhere = shipping::ShipmentEvent { order_id: ORDER.into(), time: None, event: None }.encode_to_vec();
    driver.record(topics::SHIPMENTS, b"o-2", elsewhere);
    assert!(is_dead_letter(&driver.emitted()), "the key is another order's");
    let fulfilments = vec![77, Fulfilment::FromStock.into()];
    let event = validation_event(Decided::Passed(validation::ValidationPassed { fulfilments }));
    driver.record(topics::ORDER_VALIDATIONS, ORDER.as_bytes(), event);
    assert!(is_dead_letter(&driver.emitted()), "the fulfilment is unknown");
    assert_eq!(row(&driver), before);
}

#[test]
fn unknown_kinds_of_events_are_skipped() {
    let mut driver = driver();
    create(&mut driver);
    // Field 99, as a later release may add it.
    let later = [
        &shipping::ShipmentEvent { order_id: ORDER.into(), ..Default::default() }.encode_to_vec()[..],
        b"\x9a\x06\x00",
    ];
    let topics = [topics::SHIPMENTS, topics::MANUFACTURED, topics::ORDER_VALIDATIONS, topics::PAYMENTS, topics::MAILS];
    for topic in topics {
        driver.record(topic, ORDER.as_bytes(), later.concat());
    }
    assert_eq!(driver.emitted(), []);
}

fn payment(driver: &mut Driver, order_id: &str, event: payments::payment_event::Event) {
    let event = payments::PaymentEvent { order_id: order_id.into(), time: None, event: Some(event) };
    driver.record(topics::PAYMENTS, ORDER.as_bytes(), event.encode_to_vec());
}

fn mail(driver: &mut Driver, order_id: &str, event: notifications::mail_event::Event) {
    let event = notifications::MailEvent { order_id: order_id.into(), event: Some(event), ..Default::default() };
    driver.record(topics::MAILS, ORDER.as_bytes(), event.encode_to_vec());
}

fn marks(driver: &Driver) -> Vec<(api::MarkedTopic, u64)> {
    row(driver).history.iter().map(|mark| (mark.topic(), mark.at)).collect()
}

#[test]
fn payments_and_e_mails_belong_to_the_history_and_change_nothing_else() {
    use notifications::mail_event::Event as Mail;
    use payments::payment_event::Event as Paid;
    let mut driver = driver();
    // Money that comes before its order is remembered, and stands before it in the history.
    payment(&mut driver, ORDER, Paid::Recorded(payments::PaymentRecorded::default()));
    payment(&mut driver, ORDER, Paid::Recorded(payments::PaymentRecorded::default()));
    assert_eq!((driver.get(stores::ORDERS, ORDER.as_bytes()), driver.emitted()), (None, vec![]));
    create(&mut driver);
    assert_eq!(driver.get(stores::EARLY, ORDER.as_bytes()), None, "it has come");
    payment(&mut driver, ORDER, Paid::Booked(payments::PaymentBooked::default()));
    payment(&mut driver, ORDER, Paid::Settled(payments::OrderSettled::default()));
    pass(&mut driver);
    driver.emitted();
    let before = row(&driver);
    mail(&mut driver, ORDER, Mail::Decided(notifications::MailDecided {}));
    mail(&mut driver, ORDER, Mail::Sent(notifications::MailSent { attempts: 1 }));
    assert_eq!(driver.emitted(), [], "nobody is told of it again");

    use api::MarkedTopic::{Mails, OrderValidations, Orders, Payments};
    let topics: Vec<_> = marks(&driver).into_iter().map(|(topic, _)| topic).collect();
    let wanted = [Payments, Payments, Orders, Payments, Payments, OrderValidations, Orders, Mails, Mails];
    assert_eq!(topics, wanted);
    let of = |topic| marks(&driver).into_iter().filter(move |(of, _)| *of == topic).map(|(_, at)| at);
    assert_eq!((of(Payments).collect(), of(Mails).collect()), (vec![0, 1, 2, 3], vec![5, 6]));
    assert_eq!(api::OrderRow { history: before.history.clone(), ..row(&driver) }, before, "clients see no change");
}

#[test]
fn an_e_mail_about_an_order_that_does_not_exist_is_a_dead_letter_and_so_is_one_under_another_key() {
    use notifications::mail_event::Event as Mail;
    let mut driver = driver();
    mail(&mut driver, ORDER, Mail::Decided(notifications::MailDecided {}));
    assert!(is_dead_letter(&driver.emitted()), "the order does not exist");
    mail(&mut driver, "o-2", Mail::Decided(notifications::MailDecided {}));
    assert!(is_dead_letter(&driver.emitted()), "the key is another order's");
    payment(&mut driver, "o-2", payments::payment_event::Event::Settled(payments::OrderSettled::default()));
    assert!(is_dead_letter(&driver.emitted()), "the key is another order's");
    driver.record(topics::PAYMENTS, ORDER.as_bytes(), "\u{7f}garbage");
    assert!(is_dead_letter(&driver.emitted()), "the bytes are no message");
}
