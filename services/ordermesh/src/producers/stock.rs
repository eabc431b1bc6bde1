//! `ordermesh stock`: what stands in the warehouse.

use clap::Subcommand;
use proto::inventory::v1::{AddStockRequest, AddStockResponse, SetStockRequest, SetStockResponse};

use super::client::{Client, Failure};
use super::{Write, product};

const SET: &str = "ordermesh.inventory.v1.InventoryService/SetStock";
const ADD: &str = "ordermesh.inventory.v1.InventoryService/AddStock";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sets the stock to what was counted.
    Set(Change),
    /// Adds to the stock; a negative quantity takes away.
    Add(Change),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// Key of the product
    product_id: String,
    /// Pieces
    #[arg(allow_negative_numbers = true)]
    quantity: i64,
    /// Version of the product that must be current
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    write: Write,
}

pub(super) async fn run(client: &mut Client, command: Command) -> Result<(), Failure> {
    match command {
        Command::Set(Change { product_id, quantity, etag, write }) => {
            let request_id = write.request_id();
            let request = SetStockRequest { product_id, quantity, etag, request_id: request_id.clone() };
            let answer: SetStockResponse = client.write(SET, request_id, request).await?;
            client.print(SET, &answer, |answer| product::sheet(answer.product.as_ref()));
        }
        Command::Add(Change { product_id, quantity, etag, write }) => {
            let request_id = write.request_id();
            let request = AddStockRequest { product_id, quantity, etag, request_id: request_id.clone() };
            let answer: AddStockResponse = client.write(ADD, request_id, request).await?;
            client.print(ADD, &answer, |answer| product::sheet(answer.product.as_ref()));
        }
    }
    Ok(())
}
