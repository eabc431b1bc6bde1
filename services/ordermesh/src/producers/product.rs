//! `ordermesh product`: what can be ordered.

use clap::Subcommand;
use proto::inventory::v1::{Fulfilment, Product, UpsertProductRequest, UpsertProductResponse};

use super::Write;
use super::client::{Client, Failure};
use super::output::{facts, short};

const UPSERT: &str = "ordermesh.inventory.v1.InventoryService/UpsertProduct";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Creates a product, or changes its name and how it is fulfilled.
    Upsert {
        /// Key of the product
        product_id: String,
        /// Name for people [default: the key]
        #[arg(long)]
        name: Option<String>,
        /// It is made for each order, and not taken from stock
        #[arg(long)]
        made_to_order: bool,
        /// Version of the product that must be current
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        write: Write,
    },
}

pub(super) async fn run(client: &mut Client, command: Command) -> Result<(), Failure> {
    let Command::Upsert { product_id, name, made_to_order, etag, write } = command;
    let fulfilment = if made_to_order { Fulfilment::MadeToOrder } else { Fulfilment::FromStock };
    let name = name.unwrap_or_else(|| product_id.clone());
    let product = Product { product_id, name, fulfilment: fulfilment.into(), etag, ..Default::default() };
    let request_id = write.request_id();
    let request = UpsertProductRequest { product: Some(product), request_id: request_id.clone() };
    let answer: UpsertProductResponse = client.write(UPSERT, request_id, request).await?;
    client.print(UPSERT, &answer, |answer| sheet(answer.product.as_ref()));
    Ok(())
}

/// A product as people read it.
pub(super) fn sheet(product: Option<&Product>) -> String {
    let Some(product) = product else { return String::new() };
    let pieces =
        |pieces: i64| if product.fulfilment() == Fulfilment::FromStock { pieces.to_string() } else { String::new() };
    facts(
        &format!("product {}", product.product_id),
        &[
            ("name", product.name.clone()),
            ("fulfilment", short(product.fulfilment().as_str_name(), "FULFILMENT_").to_owned()),
            ("stock", pieces(product.stock)),
            ("reserved", pieces(product.reserved)),
            ("available", pieces(product.available)),
            ("etag", product.etag.clone()),
        ],
    )
}
