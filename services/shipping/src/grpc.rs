//! The methods of ShippingService on the owner's side: convert, ask the task that owns the order, convert back.

use bytes::Bytes;
use proto::shipping::v1 as pb;
use proto::shipping::v1::shipping_service_server::ShippingService;
use service_host::watch::{Messages, Typed};
use service_host::{Owner, Page, Problem, ReadBound, Watches, owner, validate};
use task_runtime::{Feed, View};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::Config;
use crate::domain::State;
use crate::stores::{SHIPMENTS, WAITING};
use crate::{topics, watch, wire};

/// The owner's side of ShippingService.
#[derive(Debug, Clone)]
pub struct Shipping {
    owner: Owner,
    watches: Watches,
    /// What becomes of shipments, for all who watch.
    feed: Feed,
    config: Config,
}

impl Shipping {
    pub(crate) fn new(owner: Owner, watches: &Watches, config: Config) -> Self {
        let feed = watches.feed(owner.role(), topics::SHIPMENTS, watch::content);
        Self { owner, watches: watches.clone(), feed, config }
    }

    pub(crate) async fn open(
        &self,
        metadata: &MetadataMap,
        request: pb::WatchShipmentsRequest,
    ) -> Result<Messages, Problem> {
        self.watches.open(&self.owner, &self.feed, watch::plan(self.owner.faults(), request, metadata)?).await
    }
}

#[tonic::async_trait]
impl ShippingService for Shipping {
    type WatchShipmentsStream = Typed<pb::WatchShipmentsResponse>;

    async fn get_shipment(
        &self,
        request: Request<pb::GetShipmentRequest>,
    ) -> Result<Response<pb::GetShipmentResponse>, Status> {
        let request = request.into_inner();
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "order_id", &request.order_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        faults.finish()?;
        let order_id = request.order_id.clone();
        let read = move |view: &View<'_>| {
            shipment(view, order_id.as_bytes())?.ok_or_else(|| Problem::not_found("shipment", &order_id))
        };
        let answer = self.owner.read(request.order_id.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(pb::GetShipmentResponse { shipment: Some(answer.value), served_by }))
    }

    async fn list_shipments(
        &self,
        request: Request<pb::ListShipmentsRequest>,
    ) -> Result<Response<pb::ListShipmentsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        let state = wire::state_filter(request.state).unwrap_or_else(|()| {
            faults.add("state", "is no state of a shipment");
            None
        });
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let rows_max = self.config.list_rows_max;
        let read = move |view: &View<'_>, page: &Page| match state {
            Some(State::Waiting) => page.fill(view, WAITING, b"", rows_max, |key, _| shipment(view, key)),
            state => page.fill(view, SHIPMENTS, b"", rows_max, |key, row| listed(key, &row, state)),
        };
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (shipments, next_page_token) = answer.value;
        let unreachable = Vec::new();
        Ok(Response::new(pb::ListShipmentsResponse { shipments, next_page_token, unreachable, served_by }))
    }

    async fn watch_shipments(
        &self,
        request: Request<pb::WatchShipmentsRequest>,
    ) -> Result<Response<Self::WatchShipmentsStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        Ok(Response::new(Typed::new(self.open(&metadata, request).await?)))
    }
}

pub(crate) fn shipment(view: &View<'_>, order_id: &[u8]) -> Result<Option<pb::Shipment>, Problem> {
    match owner::row(view, SHIPMENTS, order_id)? {
        Some(row) => listed(order_id, &row, None),
        None => Ok(None),
    }
}

/// The shipment of a row, if its order is known and it is in the wanted state.
pub(crate) fn listed(order_id: &[u8], row: &Bytes, wanted: Option<State>) -> Result<Option<pb::Shipment>, Problem> {
    let shipment = wire::shipment(row).map_err(|error| owner::unreadable("row of a shipment", &error))?;
    if wanted.is_some_and(|wanted| wanted != shipment.state) {
        return Ok(None);
    }
    Ok(wire::shipment_to_proto(&String::from_utf8_lossy(order_id), shipment))
}

#[cfg(test)]
mod tests;
