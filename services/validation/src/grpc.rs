//! The methods of ValidationService on the owner's side: convert, call the task, convert back.

use std::sync::Arc;

use proto::validation::v1 as api;
use proto::validation::v1::validation_service_server::ValidationService;
use service_host::{Owner, Page, Problem, ReadBound, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::config::Config;
use crate::domain::Check;
use crate::{stores, wire};

/// The owner's side of ValidationService.
#[derive(Debug, Clone)]
pub struct Validations {
    owner: Owner,
    required: Arc<[Check]>,
    list_rows_max: usize,
}

impl Validations {
    pub(crate) fn new(owner: Owner, config: &Config) -> Self {
        Self { owner, required: config.required().into(), list_rows_max: config.list_rows_max }
    }
}

#[tonic::async_trait]
impl ValidationService for Validations {
    async fn get_validation(
        &self,
        request: Request<api::GetValidationRequest>,
    ) -> Result<Response<api::GetValidationResponse>, Status> {
        let api::GetValidationRequest { order_id, consistency } = request.into_inner();
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "order_id", &order_id);
        let bound = ReadBound::of(&mut faults, consistency.as_ref());
        faults.finish()?;
        let key = order_id.clone();
        let read = move |view: &View<'_>| {
            let row = owner::row(view, stores::VALIDATIONS, key.as_bytes())?;
            let row = row.ok_or_else(|| Problem::not_found("validation", &key))?;
            wire::validation(row).map_err(|error| owner::unreadable("validation row", &error))
        };
        let answer = self.owner.read(order_id.as_bytes(), bound, read).await?;
        let validation = Some(wire::validation_message(order_id, &answer.value, &self.required));
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(api::GetValidationResponse { validation, served_by }))
    }

    async fn list_fraud_alerts(
        &self,
        request: Request<api::ListFraudAlertsRequest>,
    ) -> Result<Response<api::ListFraudAlertsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        validate::optional_id(&mut faults, "customer_id", &request.customer_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let of_customer =
            if request.customer_id.is_empty() { Vec::new() } else { stores::alerts_of(&request.customer_id) };
        let rows_max = self.list_rows_max;
        let read = move |view: &View<'_>, page: &Page| {
            page.fill(view, stores::FRAUD_ALERTS, &of_customer, rows_max, |key, row| {
                let Some((customer_id, start_ms)) = stores::alert_of_key(key) else { return Ok(None) };
                let alert = wire::alert_message(customer_id, start_ms, row);
                alert.map(Some).map_err(|error| owner::unreadable("fraud alert row", &error))
            })
        };
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (fraud_alerts, next_page_token) = answer.value;
        let unreachable = Vec::new();
        Ok(Response::new(api::ListFraudAlertsResponse { fraud_alerts, next_page_token, unreachable, served_by }))
    }
}

#[cfg(test)]
mod tests;
