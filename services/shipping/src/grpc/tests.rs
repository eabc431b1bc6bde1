//! The methods over real tasks on a log in memory.

use prost::Message;
use proto::inventory::v1::Fulfilment;
use proto::orders::v1 as orders;
use service_host::{Code, Deadline, Look, Problem, WatchConfig, headers};
use testkit::Running;
use tonic::metadata::{MetadataMap, MetadataValue};

use super::*;

struct Fixture {
    running: Running,
    owner: Owner,
    service: Shipping,
}

impl Fixture {
    async fn start() -> Self {
        let running = Running::start(crate::definition(&Config::default()), 1).await;
        let owner = Owner::new(running.tasks(), "here");
        let watches = Watches::new(WatchConfig::default(), running.log(), 1);
        let service = Shipping::new(owner.clone(), &watches, Config::default());
        Self { running, owner, service }
    }

    /// An order of one desk, and the shipment that it has led to.
    async fn ordered(&self, order_id: &str, fulfilment: Fulfilment) {
        let lines = vec![orders::OrderLine { product_id: "desk".into(), quantity: 1, unit_price: None }];
        let order = orders::Order { lines, ..Default::default() };
        let validated = orders::OrderValidated { order: Some(order), fulfilments: vec![fulfilment.into()] };
        let event = orders::OrderEvent {
            order_id: order_id.into(),
            event: Some(orders::order_event::Event::Validated(validated)),
            ..Default::default()
        };
        self.running.record("orders", order_id.as_bytes(), event.encode_to_vec()).await;
        let key = order_id.as_bytes().to_vec();
        let look = move |view: &View<'_>| Ok(shipment(view, &key)?.map_or(Look::Stage("UNKNOWN"), Look::Found));
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", MetadataValue::from_static("10S"));
        let deadline = Deadline::of(&metadata);
        self.owner.wait(deadline, SHIPMENTS, order_id.as_bytes(), look).await.unwrap();
    }

    async fn get(&self, order_id: &str) -> Result<pb::Shipment, Problem> {
        let request = pb::GetShipmentRequest { order_id: order_id.into(), consistency: None };
        let answer = self.service.get_shipment(Request::new(request)).await;
        answer.map(|response| response.into_inner().shipment.unwrap()).map_err(|status| Problem::from(&status))
    }

    async fn list(&self, state: i32) -> Result<Vec<String>, Problem> {
        let mut request = Request::new(pb::ListShipmentsRequest { state, ..Default::default() });
        request.metadata_mut().insert(headers::PARTITION, 0.into());
        let answer = self.service.list_shipments(request).await;
        let page = answer.map_err(|status| Problem::from(&status))?.into_inner();
        Ok(page.shipments.into_iter().map(|shipment| shipment.order_id).collect())
    }
}

#[tokio::test]
async fn a_shipment_is_shown_with_its_progress() {
    let fixture = Fixture::start().await;
    fixture.ordered("o-1", Fulfilment::MadeToOrder).await;
    let shown = fixture.get("o-1").await.unwrap();
    assert_eq!((shown.state(), shown.progress.as_str()), (pb::ShipmentState::Waiting, "0/1 manufactured"));
    assert_eq!(shown.missing, ["desk"]);
    fixture.running.stop().await;
}

#[tokio::test]
async fn an_unknown_order_has_no_shipment() {
    let fixture = Fixture::start().await;
    let problem = fixture.get("o-1").await.unwrap_err();
    assert_eq!((problem.code, problem.reason.as_ref()), (Code::NotFound, "SHIPMENT_NOT_FOUND"));
    assert_eq!(fixture.get("o/1").await.unwrap_err().violations[0].field, "order_id");
    fixture.running.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_by_state() {
    let fixture = Fixture::start().await;
    fixture.ordered("o-1", Fulfilment::MadeToOrder).await;
    fixture.ordered("o-2", Fulfilment::FromStock).await;
    fixture.ordered("o-3", Fulfilment::MadeToOrder).await;
    assert_eq!(fixture.list(pb::ShipmentState::Waiting.into()).await.unwrap(), ["o-1", "o-3"]);
    assert_eq!(fixture.list(pb::ShipmentState::Shipped.into()).await.unwrap(), ["o-2"]);
    assert_eq!(fixture.list(0).await.unwrap(), ["o-1", "o-2", "o-3"]);
    assert_eq!(fixture.list(77).await.unwrap_err().violations[0].field, "state");
    fixture.running.stop().await;
}
