//! The methods of ManufacturingService on the owner's side: convert, call the task that owns the order, convert back.

use bytes::Bytes;
use prost::Message;
use proto::manufacturing::v1 as pb;
use proto::manufacturing::v1::manufacturing_service_server::ManufacturingService;
use service_host::{Call, FieldFaults, Owner, Page, Problem, ReadBound, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::Config;
use crate::domain::{Known, State};
use crate::processors::reports::REPORT_MANUFACTURED;
use crate::stores::{OPEN, WORK_ORDERS, order_of_open_key};
use crate::wire;

/// The owner's side of ManufacturingService.
#[derive(Debug, Clone)]
pub struct Manufacturing {
    owner: Owner,
    config: Config,
}

impl Manufacturing {
    pub(crate) fn new(owner: Owner, config: Config) -> Self {
        Self { owner, config }
    }
}

#[tonic::async_trait]
impl ManufacturingService for Manufacturing {
    async fn report_manufactured(
        &self,
        request: Request<pb::ReportManufacturedRequest>,
    ) -> Result<Response<pb::ReportManufacturedResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        check_report(self.owner.faults(), &request)?;
        let request_id = std::mem::take(&mut request.request_id);
        let key = Bytes::copy_from_slice(request.order_id.as_bytes());
        let payload = request.encode_to_vec().into();
        let call = Call { name: REPORT_MANUFACTURED, key, request_id, payload, attachment: Bytes::new() };
        let answer = self.owner.execute::<pb::ReportManufacturedResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::ReportManufacturedResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn get_work_order(
        &self,
        request: Request<pb::GetWorkOrderRequest>,
    ) -> Result<Response<pb::GetWorkOrderResponse>, Status> {
        let request = request.into_inner();
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "order_id", &request.order_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        faults.finish()?;
        let order_id = request.order_id.clone();
        let read = move |view: &View<'_>| {
            let found = work_order(view, order_id.as_bytes())?;
            found.ok_or_else(|| Problem::not_found("work order", &order_id))
        };
        let answer = self.owner.read(request.order_id.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(pb::GetWorkOrderResponse { work_order: Some(answer.value), served_by }))
    }

    async fn list_work_orders(
        &self,
        request: Request<pb::ListWorkOrdersRequest>,
    ) -> Result<Response<pb::ListWorkOrdersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        let state = wire::state_filter(request.state).unwrap_or_else(|()| {
            faults.add("state", "is no state of a work order");
            None
        });
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let rows_max = self.config.list_rows_max;
        let read = move |view: &View<'_>, page: &Page| match state {
            // The queue of open work orders is short where the work orders of all time are many.
            Some(State::Open) => {
                page.fill(view, OPEN, b"", rows_max, |key, _| work_order(view, order_of_open_key(key)))
            }
            state => page.fill(view, WORK_ORDERS, b"", rows_max, |key, row| listed(key, &row, state)),
        };
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (work_orders, next_page_token) = answer.value;
        let unreachable = Vec::new();
        Ok(Response::new(pb::ListWorkOrdersResponse { work_orders, next_page_token, unreachable, served_by }))
    }
}

fn check_report(mut faults: FieldFaults, request: &pb::ReportManufacturedRequest) -> Result<(), Problem> {
    validate::id(&mut faults, "order_id", &request.order_id);
    validate::id(&mut faults, "product_id", &request.product_id);
    if request.quantity < 1 {
        faults.add("quantity", "must be 1 or more");
    }
    validate::request_id(&mut faults, &request.request_id);
    faults.finish()
}

fn work_order(view: &View<'_>, order_id: &[u8]) -> Result<Option<pb::WorkOrder>, Problem> {
    match owner::row(view, WORK_ORDERS, order_id)? {
        Some(row) => listed(order_id, &row, None),
        None => Ok(None),
    }
}

/// The work order of a row, if it has one and it is in the wanted state.
fn listed(order_id: &[u8], row: &Bytes, wanted: Option<State>) -> Result<Option<pb::WorkOrder>, Problem> {
    match wire::known(row).map_err(|error| owner::unreadable("row of a work order", &error))? {
        Known::Opened(work_order) if wanted.is_none_or(|wanted| wanted == work_order.state) => {
            Ok(Some(wire::work_order_to_proto(&String::from_utf8_lossy(order_id), work_order)))
        }
        Known::Opened(_) | Known::Early(_) | Known::Idle(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
