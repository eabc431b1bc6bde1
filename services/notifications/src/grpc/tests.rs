//! The methods over real tasks on a log in memory.

use prost::Message;
use proto::customers::v1 as customers;
use proto::orders::v1 as orders;
use service_host::headers;
use testkit::Running;

use super::*;
use crate::topics;

/// E-mails to so many orders of one customer, none of them sent.
async fn fixture(count: usize) -> (Running, Notifications) {
    let config = Config::default();
    let running = Running::start(crate::definition(&config), 1).await;
    let customer =
        customers::Customer { customer_id: "c-1".into(), email: "ada@example.org".into(), ..Default::default() };
    let event = customers::customer_event::Event::Created(customers::CustomerCreated { customer: Some(customer) });
    let event = customers::CustomerEvent { customer_id: "c-1".into(), time: None, event: Some(event) };
    running.record(topics::CUSTOMERS, b"c-1", event.encode_to_vec()).await;
    for number in 0..count {
        let (order_id, customer_id) = (format!("o-{number}"), "c-1".to_owned());
        let state = orders::OrderState::Validated.into();
        let placed =
            orders::OrderPlaced { order_id: order_id.clone(), customer_id: customer_id.clone(), ..Default::default() };
        let changed = orders::CustomerOrderChanged {
            order_id: order_id.clone(),
            customer_id: customer_id.clone(),
            state,
            ..Default::default()
        };
        let paid = proto::payments::v1::OrderPaid { order_id, customer_id, ..Default::default() };
        running.record(topics::ORDERS_BY_CUSTOMER, b"c-1", placed.encode_to_vec()).await;
        running.record(topics::ORDER_CHANGES_BY_CUSTOMER, b"c-1", changed.encode_to_vec()).await;
        running.record(topics::ORDER_PAYMENTS, b"c-1", paid.encode_to_vec()).await;
    }
    let service = Notifications::new(Owner::new(running.tasks(), "here"), config);
    let all = async {
        while list(&service, pb::ListNotificationsRequest::default()).await.unwrap().notifications.len() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), all).await.expect("every e-mail is decided");
    (running, service)
}

async fn list(
    service: &Notifications,
    request: pb::ListNotificationsRequest,
) -> Result<pb::ListNotificationsResponse, Problem> {
    let mut request = Request::new(request);
    request.metadata_mut().insert(headers::PARTITION, 0.into());
    let answer = service.list_notifications(request).await;
    answer.map(Response::into_inner).map_err(|status| Problem::from(&status))
}

#[tokio::test]
async fn notifications_are_listed_by_order_and_by_state() {
    let (running, service) = fixture(12).await;
    let of = |order_id: &str, state: pb::NotificationState| pb::ListNotificationsRequest {
        order_id: order_id.into(),
        state: state.into(),
        ..Default::default()
    };
    let found = list(&service, of("o-1", pb::NotificationState::Unspecified)).await.unwrap().notifications;
    assert_eq!(found.len(), 1, "o-10 and o-11 are other orders");
    assert_eq!((found[0].order_id.as_str(), found[0].recipient.as_str()), ("o-1", "ada@example.org"));
    assert_eq!(list(&service, of("", pb::NotificationState::Pending)).await.unwrap().notifications.len(), 12);
    assert_eq!(list(&service, of("", pb::NotificationState::Sent)).await.unwrap().notifications.len(), 0);
    assert_eq!(list(&service, of("o-99", pb::NotificationState::Unspecified)).await.unwrap().notifications.len(), 0);
    running.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_once() {
    let (running, service) = fixture(0).await;
    let request =
        pb::ListNotificationsRequest { order_id: "a b".into(), state: 77, page_size: -1, ..Default::default() };
    let problem = list(&service, request).await.unwrap_err();
    let fields: Vec<_> = problem.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["order_id", "state", "page_size"]);
    running.stop().await;
}
