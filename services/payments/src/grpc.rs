//! The methods of PaymentService on the owner's side: convert, ask the task that owns the order, convert back.

use bytes::Bytes;
use prost::Message;
use proto::payments::v1 as pb;
use proto::payments::v1::payment_service_server::PaymentService;
use service_host::{Call, FieldFaults, Owner, Problem, ReadBound, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::processors::commands::RECORD_PAYMENT;
use crate::stores::ACCOUNTS;
use crate::wire;

/// The owner's side of PaymentService.
#[derive(Debug, Clone)]
pub struct Payments {
    owner: Owner,
}

impl Payments {
    pub(crate) fn new(owner: Owner) -> Self {
        Self { owner }
    }
}

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn record_payment(
        &self,
        request: Request<pb::RecordPaymentRequest>,
    ) -> Result<Response<pb::RecordPaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let payment = check(self.owner.faults(), &request)?;
        let pb::Payment { payment_id, order_id, amount, .. } = payment.clone();
        let key = Bytes::copy_from_slice(order_id.as_bytes());
        // What a client cannot set must not make a repeat look different.
        let payment = pb::Payment { payment_id, order_id, amount, ..Default::default() };
        let payload = pb::RecordPaymentRequest { payment: Some(payment), ..Default::default() }.encode_to_vec().into();
        let attachment = uuid::Uuid::now_v7().to_string().into();
        let call = Call { name: RECORD_PAYMENT, key, request_id: request.request_id, payload, attachment };
        let answer = self.owner.execute::<pb::RecordPaymentResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::RecordPaymentResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn get_payment(
        &self,
        request: Request<pb::GetPaymentRequest>,
    ) -> Result<Response<pb::GetPaymentResponse>, Status> {
        let request = request.into_inner();
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "order_id", &request.order_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        faults.finish()?;
        let order_id = request.order_id.clone();
        let read = move |view: &View<'_>| {
            let row = owner::row(view, ACCOUNTS, order_id.as_bytes())?;
            let row = row.ok_or_else(|| Problem::not_found("payment", &order_id))?;
            let account = wire::account(&row).map_err(|error| owner::unreadable("row of an account", &error))?;
            Ok(wire::account_to_proto(&order_id, account))
        };
        let answer = self.owner.read(request.order_id.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(pb::GetPaymentResponse { served_by, ..answer.value }))
    }
}

fn check(mut faults: FieldFaults, request: &pb::RecordPaymentRequest) -> Result<&pb::Payment, Problem> {
    validate::request_id(&mut faults, &request.request_id);
    let Some(payment) = &request.payment else {
        faults.add("payment", "must be set");
        return Err(faults.finish().expect_err("a fault was just added"));
    };
    validate::optional_id(&mut faults, "payment.payment_id", &payment.payment_id);
    validate::id(&mut faults, "payment.order_id", &payment.order_id);
    let amount = validate::money(&mut faults, "payment.amount", payment.amount.as_ref());
    if amount.is_some_and(|amount| amount.minor_units <= 0) {
        faults.add("payment.amount.minor_units", "must be above zero");
    }
    faults.finish()?;
    Ok(payment)
}

#[cfg(test)]
mod tests;
