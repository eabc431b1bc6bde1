//! The methods of ValidationService on the owner's side: convert, call the task, convert back.

use std::sync::Arc;

use proto::validation::v1 as api;
use proto::validation::v1::validation_service_server::ValidationService;
use service_host::{FieldFaults, Owner, Problem, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::domain::Check;
use crate::{stores, wire};

/// The owner's side of ValidationService.
#[derive(Debug, Clone)]
pub struct Validations {
    owner: Owner,
    required: Arc<[Check]>,
}

impl Validations {
    pub(crate) fn new(owner: Owner, required: Vec<Check>) -> Self {
        Self { owner, required: required.into() }
    }
}

#[tonic::async_trait]
impl ValidationService for Validations {
    async fn get_validation(
        &self,
        request: Request<api::GetValidationRequest>,
    ) -> Result<Response<api::GetValidationResponse>, Status> {
        let api::GetValidationRequest { order_id, consistency } = request.into_inner();
        let mut faults = FieldFaults::new();
        validate::id(&mut faults, "order_id", &order_id);
        faults.finish()?;
        let key = order_id.clone();
        let read = move |view: &View<'_>| {
            let row = owner::row(view, stores::VALIDATIONS, key.as_bytes())?;
            let row = row.ok_or_else(|| Problem::not_found("validation", &key))?;
            wire::validation(row).map_err(|error| owner::unreadable("validation row", &error))
        };
        let answer = self.owner.read(order_id.as_bytes(), consistency.as_ref(), read).await?;
        let validation = Some(wire::validation_message(order_id, &answer.value, &self.required));
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(api::GetValidationResponse { validation, served_by }))
    }
}

#[cfg(test)]
mod tests;
