//! The methods of CustomerService on the owner's side: convert, call the task that owns the customer, convert back.

mod lists;

use proto::customers::v1 as pb;
use proto::customers::v1::customer_service_server::CustomerService;
use service_host::{Owner, Page, Problem, ReadBound, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::Config;
use crate::domain::Customer;
use crate::stores::{CREDIT, CUSTOMERS};
use crate::wire::{self, requests};

/// The owner's side of CustomerService.
#[derive(Debug, Clone)]
pub struct Customers {
    owner: Owner,
    config: Config,
}

impl Customers {
    pub(crate) fn new(owner: Owner, config: Config) -> Self {
        Self { owner, config }
    }
}

#[tonic::async_trait]
impl CustomerService for Customers {
    async fn create_customer(
        &self,
        request: Request<pb::CreateCustomerRequest>,
    ) -> Result<Response<pb::CreateCustomerResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::create(self.owner.faults(), request)?;
        let answer = self.owner.execute::<pb::CreateCustomerResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::CreateCustomerResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn update_customer(
        &self,
        request: Request<pb::UpdateCustomerRequest>,
    ) -> Result<Response<pb::UpdateCustomerResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::update(self.owner.faults(), request)?;
        let answer = self.owner.execute::<pb::UpdateCustomerResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::UpdateCustomerResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn set_credit_limit(
        &self,
        request: Request<pb::SetCreditLimitRequest>,
    ) -> Result<Response<pb::SetCreditLimitResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::set_credit_limit(self.owner.faults(), request)?;
        let answer = self.owner.execute::<pb::SetCreditLimitResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::SetCreditLimitResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn get_customer(
        &self,
        request: Request<pb::GetCustomerRequest>,
    ) -> Result<Response<pb::GetCustomerResponse>, Status> {
        let request = request.into_inner();
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "customer_id", &request.customer_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        faults.finish()?;
        let customer_id = request.customer_id.clone();
        let read = move |view: &View<'_>| {
            customer(view, &customer_id)?.ok_or_else(|| Problem::not_found("customer", &customer_id))
        };
        let answer = self.owner.read(request.customer_id.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(pb::GetCustomerResponse { customer: Some(answer.value), served_by }))
    }

    async fn list_customers(
        &self,
        request: Request<pb::ListCustomersRequest>,
    ) -> Result<Response<pb::ListCustomersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let rows_max = self.config.list_rows_max;
        let read = move |view: &View<'_>, page: &Page| lists::customers(view, page, rows_max);
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (customers, next_page_token) = answer.value;
        Ok(Response::new(pb::ListCustomersResponse { customers, next_page_token, unreachable: Vec::new(), served_by }))
    }

    async fn list_customer_orders(
        &self,
        request: Request<pb::ListCustomerOrdersRequest>,
    ) -> Result<Response<pb::ListCustomerOrdersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        validate::optional_id(&mut faults, "customer_id", &request.customer_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let (customer_id, rows_max) = (request.customer_id, self.config.list_rows_max);
        let read = move |view: &View<'_>, page: &Page| lists::orders(view, page, &customer_id, rows_max);
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (customer_orders, next_page_token) = answer.value;
        let unreachable = Vec::new();
        Ok(Response::new(pb::ListCustomerOrdersResponse { customer_orders, next_page_token, unreachable, served_by }))
    }

    async fn send_greeting(
        &self,
        request: Request<pb::SendGreetingRequest>,
    ) -> Result<Response<pb::SendGreetingResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::greet(self.owner.faults(), request, &metadata)?;
        let answer = self.owner.execute::<pb::SendGreetingResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::SendGreetingResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn list_greetings(
        &self,
        request: Request<pb::ListGreetingsRequest>,
    ) -> Result<Response<pb::ListGreetingsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        validate::optional_id(&mut faults, "customer_id", &request.customer_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let (customer_id, rows_max) = (request.customer_id, self.config.list_rows_max);
        let read = move |view: &View<'_>, page: &Page| lists::greetings(view, page, &customer_id, rows_max);
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (greetings, next_page_token) = answer.value;
        Ok(Response::new(pb::ListGreetingsResponse { greetings, next_page_token, unreachable: Vec::new(), served_by }))
    }
}

/// A customer as clients see it; none when there is no such customer.
fn customer(view: &View<'_>, customer_id: &str) -> Result<Option<pb::Customer>, Problem> {
    let key = customer_id.as_bytes();
    let (Some(profile), Some(credit)) = (owner::row(view, CUSTOMERS, key)?, owner::row(view, CREDIT, key)?) else {
        return Ok(None);
    };
    let unreadable = |error| owner::unreadable("row of a customer", &error);
    let profile = wire::profile(&profile).map_err(unreadable)?;
    let credit = wire::credit(&credit).map_err(unreadable)?;
    Ok(Some(wire::customer_to_proto(customer_id, Customer { profile, credit })))
}

#[cfg(test)]
mod tests;
