//! `ordermesh payment`: money that came in.

use clap::Subcommand;
use proto::payments::v1::{Payment, RecordPaymentRequest, RecordPaymentResponse};

use super::Write;
use super::client::{Client, Failure};
use super::money;
use super::output::{facts, short};

const RECORD: &str = "ordermesh.payments.v1.PaymentService/RecordPayment";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Records a payment for an order.
    Record {
        /// Key of the order
        order_id: String,
        /// Amount, such as 19.99
        #[arg(allow_negative_numbers = true)]
        amount: String,
        /// Currency of the amount
        #[arg(long, default_value = "EUR")]
        currency: String,
        /// Key of the payment within its order [default: a new one]
        #[arg(long, default_value = "", hide_default_value = true)]
        id: String,
        #[command(flatten)]
        write: Write,
    },
}

pub(super) async fn run(client: &mut Client, command: Command) -> Result<(), Failure> {
    let Command::Record { order_id, amount, currency, id, write } = command;
    let amount = Some(money::parse(&amount, &currency)?);
    let payment = Payment { payment_id: id, order_id, amount, ..Default::default() };
    let request_id = write.request_id();
    let request = RecordPaymentRequest { payment: Some(payment), request_id: request_id.clone() };
    let answer: RecordPaymentResponse = client.write(RECORD, request_id, request).await?;
    client.print(RECORD, &answer, sheet);
    Ok(())
}

fn sheet(answer: &RecordPaymentResponse) -> String {
    let payment = answer.payment.clone().unwrap_or_default();
    facts(
        &format!("payment {}", payment.payment_id),
        &[
            ("order", payment.order_id.clone()),
            ("amount", money::text(payment.amount.as_ref())),
            ("state", short(payment.state().as_str_name(), "PAYMENT_STATE_").to_owned()),
            ("paid", money::text(answer.paid.as_ref())),
            ("balance", money::text(answer.balance.as_ref())),
            ("settlement", short(answer.state().as_str_name(), "SETTLEMENT_STATE_").to_owned()),
        ],
    )
}
