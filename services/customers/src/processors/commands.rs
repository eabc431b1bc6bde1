//! Answers what clients ask of customers. What changes is told to the topic `customers`.

use proto::customers::v1 as pb;
use service_host::input::decode;
use service_host::{Problem, reply};
use task_runtime::{Command, Context, Definition, ProcessError, Reply};

use super::credit;
use crate::domain::Customer;
use crate::domain::profile::{self, Refusal};
use crate::stores::{CREDIT, CUSTOMERS};
use crate::topics;
use crate::wire::requests::{self, CREATE, SET_CREDIT_LIMIT, UPDATE};
use crate::wire::{self, Change};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.command(CREATE, create).command(UPDATE, update).command(SET_CREDIT_LIMIT, set_credit_limit)
}

fn create(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let request: pb::CreateCustomerRequest = decode("CreateCustomerRequest", &command.payload)?;
    let wanted = request.customer.unwrap_or_default();
    let (profile, limit) = (requests::profile(&wanted), wanted.credit_limit.clone().map(wire::money));
    let rule = |current: Option<&Customer>| profile::create(current, profile, limit);
    let answer = |customer| pb::CreateCustomerResponse { customer, ..Default::default() };
    match change(ctx, &wanted.customer_id, Change::Created, rule)? {
        Ok(customer) => Ok(Reply(reply::encode_ok(&answer(Some(customer))))),
        Err(refusal) => Ok(refused(&wire::problem(refusal, &wanted.customer_id, ""))),
    }
}

fn update(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let request: pb::UpdateCustomerRequest = decode("UpdateCustomerRequest", &command.payload)?;
    let wanted = request.customer.unwrap_or_default();
    let changes = requests::changes(&wanted, &request.update_mask.unwrap_or_default().paths);
    let rule = |current: Option<&Customer>| profile::update(current, changes, wire::version(&wanted.etag));
    let answer = |customer| pb::UpdateCustomerResponse { customer, ..Default::default() };
    match change(ctx, &wanted.customer_id, Change::Updated, rule)? {
        Ok(customer) => Ok(Reply(reply::encode_ok(&answer(Some(customer))))),
        Err(refusal) => Ok(refused(&wire::problem(refusal, &wanted.customer_id, &wanted.etag))),
    }
}

fn set_credit_limit(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let request: pb::SetCreditLimitRequest = decode("SetCreditLimitRequest", &command.payload)?;
    let pb::SetCreditLimitRequest { customer_id, credit_limit, etag, .. } = request;
    let limit = wire::money(credit_limit.unwrap_or_default());
    let rule = |current: Option<&Customer>| profile::set_credit_limit(current, limit, wire::version(&etag));
    let answer = |customer| pb::SetCreditLimitResponse { customer, ..Default::default() };
    match change(ctx, &customer_id, Change::CreditLimitSet, rule)? {
        Ok(customer) => Ok(Reply(reply::encode_ok(&answer(Some(customer))))),
        Err(refusal) => Ok(refused(&wire::problem(refusal, &customer_id, &etag))),
    }
}

/// Carries out a change of a customer; the inner result is the rule's.
fn change(
    ctx: &mut Context<'_>,
    customer_id: &str,
    change: Change,
    rule: impl FnOnce(Option<&Customer>) -> Result<Customer, Refusal>,
) -> Result<Result<pb::Customer, Refusal>, ProcessError> {
    let key = customer_id.as_bytes();
    let before = match (ctx.get(CUSTOMERS, key)?, credit(ctx, customer_id)?) {
        (Some(row), Some(credit)) => Some(Customer { profile: wire::profile(&row)?, credit }),
        _ => None,
    };
    let after = match rule(before.as_ref()) {
        Ok(after) => after,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if before.as_ref() != Some(&after) {
        if before.as_ref().map(|before| &before.profile) != Some(&after.profile) {
            ctx.put(CUSTOMERS, key, wire::profile_row(&after.profile));
        }
        ctx.put(CREDIT, key, wire::credit_row(&after.credit));
        ctx.emit(topics::CUSTOMERS, key, wire::event(customer_id, after.clone(), change, ctx.now_ms()))?;
    }
    Ok(Ok(wire::customer_to_proto(customer_id, after)))
}

fn refused(problem: &Problem) -> Reply {
    Reply(reply::encode_problem(problem))
}
