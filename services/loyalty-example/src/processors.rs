//! What a loyalty task reacts to: payments that come over a topic, and commands of clients.
//!
//! Nothing here sends or waits. What is put, emitted and replied becomes one commit; it takes effect once, or not at all.

use prost::Message;
use proto::payments::v1::OrderPaid;
use service_host::input::{InputError, check_key, decode};
use service_host::{Code, Problem, reply, timestamp};
use task_runtime::{Command, Context, Input, ProcessError, Reply};

use crate::api::{PointsChanged, PointsRow, RedeemPointsRequest, RedeemPointsResponse};
use crate::{BALANCES, POINTS, domain};

/// Name of the command behind `RedeemPoints`; its payload is the request without its request_id.
pub(crate) const REDEEM: &str = "redeem";

/// An order is paid: its customer earns points.
pub(crate) fn earn(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let paid: OrderPaid = decode("OrderPaid", input.value()?)?;
    check_key("customer", &paid.customer_id, input.record.key.as_ref())?;
    let amount = paid.amount.ok_or(InputError::Missing { field: "amount" })?;
    let earned = domain::earned(amount.minor_units);
    let points = balance(ctx, &paid.customer_id)?.saturating_add(earned);
    let change = i64::try_from(earned).unwrap_or(i64::MAX);
    set(ctx, PointsChanged { customer_id: paid.customer_id, change, points, order_id: paid.order_id, time: None })
}

/// A customer spends points.
pub(crate) fn redeem(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let RedeemPointsRequest { customer_id, points: wanted, .. } = decode("RedeemPointsRequest", &command.payload)?;
    let balance = balance(ctx, &customer_id)?;
    let Some(points) = domain::redeemed(balance, wanted) else {
        let message = format!("{wanted} points are more than the {balance} that customer {customer_id} has");
        let refusal = Problem::new(Code::FailedPrecondition, "NOT_ENOUGH_POINTS", message).with("points", balance);
        return Ok(Reply(reply::encode_problem(&refusal)));
    };
    let change = i64::try_from(wanted).map_or(i64::MIN, |wanted| -wanted);
    set(ctx, PointsChanged { customer_id, change, points, ..PointsChanged::default() })?;
    Ok(Reply(reply::encode_ok(&RedeemPointsResponse { points, ..RedeemPointsResponse::default() })))
}

fn balance(ctx: &mut Context<'_>, customer_id: &str) -> Result<u64, ProcessError> {
    let row = ctx.get(BALANCES, customer_id.as_bytes())?;
    Ok(row.map(|row| decode::<PointsRow>("PointsRow", row)).transpose()?.unwrap_or_default().points)
}

/// Keeps the points and tells of them.
fn set(ctx: &mut Context<'_>, changed: PointsChanged) -> Result<(), ProcessError> {
    let key = changed.customer_id.clone().into_bytes();
    ctx.put(BALANCES, &key, PointsRow { points: changed.points }.encode_to_vec());
    let time = Some(timestamp(ctx.now_ms()));
    ctx.emit(POINTS, &key, PointsChanged { time, ..changed }.encode_to_vec())
}

#[cfg(test)]
mod tests;
