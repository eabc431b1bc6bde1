//! The methods over real tasks on a log in memory.

use proto::inventory::v1::Fulfilment;
use proto::orders::v1 as orders;
use service_host::{Code, Deadline, Look, Problem, headers};
use testkit::Running;
use tonic::metadata::{MetadataMap, MetadataValue};

use super::*;

struct Fixture {
    running: Running,
    owner: Owner,
    service: Manufacturing,
}

impl Fixture {
    async fn start() -> Self {
        let running = Running::start(crate::definition(&Config::default()), 1).await;
        let owner = Owner::new(running.tasks(), "here");
        let service = Manufacturing::new(owner.clone(), Config::default());
        Self { running, owner, service }
    }

    /// An order of desks, and the work order that it has opened.
    async fn ordered(&self, order_id: &str, quantity: i64) {
        let lines = vec![orders::OrderLine { product_id: "desk".into(), quantity, unit_price: None }];
        let order = orders::Order { lines, ..Default::default() };
        let validated =
            orders::OrderValidated { order: Some(order), fulfilments: vec![Fulfilment::MadeToOrder.into()] };
        let event = orders::OrderEvent {
            order_id: order_id.into(),
            event: Some(orders::order_event::Event::Validated(validated)),
            ..Default::default()
        };
        self.running.record("orders", order_id.as_bytes(), event.encode_to_vec()).await;
        let key = order_id.as_bytes().to_vec();
        let look = move |view: &View<'_>| Ok(work_order(view, &key)?.map_or(Look::Stage("UNKNOWN"), Look::Found));
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", MetadataValue::from_static("10S"));
        let deadline = Deadline::of(&metadata);
        self.owner.wait(deadline, WORK_ORDERS, order_id.as_bytes(), look).await.unwrap();
    }

    async fn report(&self, order_id: &str, quantity: i64) -> Result<pb::ReportManufacturedResponse, Problem> {
        let request = pb::ReportManufacturedRequest {
            order_id: order_id.into(),
            product_id: "desk".into(),
            quantity,
            request_id: String::new(),
        };
        let answer = self.service.report_manufactured(Request::new(request)).await;
        answer.map(Response::into_inner).map_err(|status| Problem::from(&status))
    }

    async fn list(&self, state: i32) -> Result<Vec<String>, Problem> {
        let mut request = Request::new(pb::ListWorkOrdersRequest { state, ..Default::default() });
        request.metadata_mut().insert(headers::PARTITION, 0.into());
        let answer = self.service.list_work_orders(request).await;
        let page = answer.map_err(|status| Problem::from(&status))?.into_inner();
        assert_eq!(page.next_page_token, "");
        Ok(page.work_orders.into_iter().map(|work_order| work_order.order_id).collect())
    }
}

#[tokio::test]
async fn a_work_order_is_shown_as_it_is_made() {
    let fixture = Fixture::start().await;
    fixture.ordered("o-1", 2).await;
    let response = fixture.report("o-1", 1).await.unwrap();
    assert!(!response.consistency_token.is_empty());
    let get = pb::GetWorkOrderRequest { order_id: "o-1".into(), consistency: None };
    let shown = fixture.service.get_work_order(Request::new(get)).await.unwrap().into_inner().work_order;
    assert_eq!(shown, response.work_order);
    assert_eq!(shown.unwrap().items[0].manufactured, 1);
    assert_eq!(fixture.report("o-1", 2).await.unwrap_err().reason, "TOO_MANY");
    fixture.running.stop().await;
}

#[tokio::test]
async fn an_order_that_only_has_reports_has_no_work_order() {
    let fixture = Fixture::start().await;
    assert!(fixture.report("o-1", 1).await.unwrap().remembered);
    let get = pb::GetWorkOrderRequest { order_id: "o-1".into(), consistency: None };
    let problem = Problem::from(&fixture.service.get_work_order(Request::new(get)).await.unwrap_err());
    assert_eq!((problem.code, problem.reason.as_ref()), (Code::NotFound, "WORK_ORDER_NOT_FOUND"));
    assert_eq!(fixture.list(0).await.unwrap(), [""; 0]);
    fixture.running.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_by_state() {
    let fixture = Fixture::start().await;
    for order_id in ["o-1", "o-2", "o-3"] {
        fixture.ordered(order_id, 1).await;
    }
    fixture.report("o-2", 1).await.unwrap();
    assert_eq!(fixture.list(pb::WorkOrderState::Open.into()).await.unwrap(), ["o-1", "o-3"]);
    assert_eq!(fixture.list(pb::WorkOrderState::Completed.into()).await.unwrap(), ["o-2"]);
    assert_eq!(fixture.list(0).await.unwrap(), ["o-1", "o-2", "o-3"]);
    assert_eq!(fixture.list(77).await.unwrap_err().violations[0].field, "state");
    fixture.running.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_report_is_named_at_once() {
    let fixture = Fixture::start().await;
    let answer = fixture.service.report_manufactured(Request::new(pb::ReportManufacturedRequest::default())).await;
    let problem = Problem::from(&answer.unwrap_err());
    let fields: Vec<_> = problem.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["order_id", "product_id", "quantity"]);
    fixture.running.stop().await;
}
