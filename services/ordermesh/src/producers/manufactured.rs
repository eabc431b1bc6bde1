//! `ordermesh manufactured`: what the workshop has made.

use clap::Subcommand;
use proto::manufacturing::v1::{ReportManufacturedRequest, ReportManufacturedResponse, WorkOrder};

use super::Write;
use super::client::{Client, Failure};
use super::output::{short, table};

const REPORT: &str = "ordermesh.manufacturing.v1.ManufacturingService/ReportManufactured";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reports pieces of a product as made for an order.
    Report {
        /// Key of the order
        order_id: String,
        /// Key of the product
        product_id: String,
        /// Pieces that were made
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        quantity: i64,
        #[command(flatten)]
        write: Write,
    },
}

pub(super) async fn run(client: &mut Client, command: Command) -> Result<(), Failure> {
    let Command::Report { order_id, product_id, quantity, write } = command;
    let request_id = write.request_id();
    let request = ReportManufacturedRequest { order_id, product_id, quantity, request_id: request_id.clone() };
    let answer: ReportManufacturedResponse = client.write(REPORT, request_id, request).await?;
    client.print(REPORT, &answer, |answer| match &answer.work_order {
        Some(work_order) => sheet(work_order),
        None => "the order is not known yet; the report is remembered".to_owned(),
    });
    Ok(())
}

fn sheet(work_order: &WorkOrder) -> String {
    let state = short(work_order.state().as_str_name(), "WORK_ORDER_STATE_");
    let row = |item: &proto::manufacturing::v1::WorkOrderItem| {
        [item.product_id.clone(), item.manufactured.to_string(), item.quantity.to_string()]
    };
    let rows: Vec<_> = work_order.items.iter().map(row).collect();
    format!("work order {}: {state}\n{}", work_order.order_id, table(["PRODUCT", "MADE", "OF"], &rows))
}
