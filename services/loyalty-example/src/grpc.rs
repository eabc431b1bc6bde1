//! The methods of LoyaltyService on the owner's side: check, ask the task that owns the customer, convert back.

use bytes::Bytes;
use prost::Message;
use service_host::{Call, Owner, ReadBound, input, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::BALANCES;
use crate::api::loyalty_service_server::LoyaltyService;
use crate::api::{GetPointsRequest, GetPointsResponse, PointsRow, RedeemPointsRequest, RedeemPointsResponse};
use crate::processors::REDEEM;

/// The owner's side of LoyaltyService.
#[derive(Debug, Clone)]
pub struct Loyalty {
    owner: Owner,
}

impl Loyalty {
    pub(crate) fn new(owner: Owner) -> Self {
        Self { owner }
    }
}

#[tonic::async_trait]
impl LoyaltyService for Loyalty {
    async fn get_points(&self, request: Request<GetPointsRequest>) -> Result<Response<GetPointsResponse>, Status> {
        let GetPointsRequest { customer_id, consistency } = request.into_inner();
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "customer_id", &customer_id);
        let bound = ReadBound::of(&mut faults, consistency.as_ref());
        faults.finish()?;
        let key = customer_id.clone().into_bytes();
        let read = move |view: &View<'_>| {
            let Some(row) = owner::row(view, BALANCES, &key)? else { return Ok(0) };
            let row: PointsRow =
                input::decode("PointsRow", row).map_err(|error| owner::unreadable("row of points", &error))?;
            Ok(row.points)
        };
        let answer = self.owner.read(customer_id.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(GetPointsResponse { points: answer.value, served_by }))
    }

    async fn redeem_points(
        &self,
        request: Request<RedeemPointsRequest>,
    ) -> Result<Response<RedeemPointsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let RedeemPointsRequest { customer_id, points, request_id } = request;
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "customer_id", &customer_id);
        validate::request_id(&mut faults, &request_id);
        if points == 0 {
            faults.add("points", "must be above zero");
        }
        faults.finish()?;
        let key = Bytes::copy_from_slice(customer_id.as_bytes());
        // Without its id: a repeat is known by its payload, too.
        let payload = RedeemPointsRequest { customer_id, points, request_id: String::new() }.encode_to_vec().into();
        let call = Call { name: REDEEM, key, request_id, payload, attachment: Bytes::new() };
        let answer = self.owner.execute::<RedeemPointsResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(RedeemPointsResponse { consistency_token, served_by, ..answer.value }))
    }
}
