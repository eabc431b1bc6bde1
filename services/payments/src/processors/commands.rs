//! Records what clients say was paid.

use proto::payments::v1 as pb;
use service_host::input::{InputError, decode};
use service_host::reply;
use task_runtime::{Command, Context, Definition, ProcessError, Reply};

use super::{account, carry_out};
use crate::domain::{self, Recorded};
use crate::{Config, wire};

/// Name of the command behind `RecordPayment`; its payload is the request, its attachment the id of a payment without one.
pub(crate) const RECORD_PAYMENT: &str = "record-payment";

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let payments_max = config.payments_per_order_max;
    definition.command(RECORD_PAYMENT, move |ctx, command| record(ctx, command, payments_max))
}

fn record(ctx: &mut Context<'_>, command: &Command, payments_max: usize) -> Result<Reply, ProcessError> {
    let request: pb::RecordPaymentRequest = decode("RecordPaymentRequest", &command.payload)?;
    let payment = request.payment.ok_or(InputError::Missing { field: "payment" })?;
    let amount = wire::money(payment.amount.ok_or(InputError::Missing { field: "payment.amount" })?);
    let (order_id, currency) = (payment.order_id, amount.currency.clone());
    let payment_id = if payment.payment_id.is_empty() {
        String::from_utf8_lossy(&command.attachment).into_owned()
    } else {
        payment.payment_id
    };
    let before = account(ctx, &order_id)?;
    let response = match domain::record(before, &payment_id, amount, payments_max, ctx.now_ms()) {
        Err(refusal) => {
            let problem = wire::problem(&refusal, &order_id, &payment_id, &currency);
            return Ok(Reply(reply::encode_problem(&problem)));
        }
        Ok(Recorded::Known(account)) => wire::recorded(&order_id, &payment_id, &account),
        Ok(Recorded::New(change)) => {
            let response = wire::recorded(&order_id, &payment_id, &change.account);
            carry_out(ctx, &order_id, change)?;
            response
        }
    };
    Ok(Reply(reply::encode_ok(&response)))
}
