//! Answers what clients ask of products. What changes is told to the topic `products`.

use proto::inventory::v1 as pb;
use service_host::input::{InputError, decode};
use service_host::{Problem, reply};
use task_runtime::{Command, Context, Definition, ProcessError, Reply};

use super::sweep::CLOSED_LINES;
use crate::domain::{self, Product, Refusal};
use crate::stores::{PRODUCTS, STOCK};
use crate::topics;
use crate::wire::{self, Change};

/// Name of the command behind `UpsertProduct`; its payload is the request.
pub(crate) const UPSERT_PRODUCT: &str = "upsert-product";
/// Name of the command behind `SetStock`; its payload is the request.
pub(crate) const SET_STOCK: &str = "set-stock";
/// Name of the command behind `AddStock`; its payload is the request.
pub(crate) const ADD_STOCK: &str = "add-stock";

pub(crate) fn register(definition: Definition) -> Definition {
    definition.command(UPSERT_PRODUCT, upsert_product).command(SET_STOCK, set_stock).command(ADD_STOCK, add_stock)
}

fn upsert_product(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let request: pb::UpsertProductRequest = decode("UpsertProductRequest", &command.payload)?;
    let wanted = request.product.unwrap_or_default();
    let fulfilment = wire::fulfilment(wanted.fulfilment)
        .ok_or(InputError::UnknownValue { field: "product.fulfilment", value: wanted.fulfilment })?;
    let before = product(ctx, &wanted.product_id)?;
    let after = match domain::upsert(before.as_ref(), &wanted.name, fulfilment, wire::version(&wanted.etag)) {
        Ok(after) => after,
        Err(refusal) => return Ok(refused(&wire::problem(&refusal, &wanted.product_id, &wanted.etag))),
    };
    if before.is_none() {
        CLOSED_LINES.ensure(ctx)?;
    }
    if before.as_ref() != Some(&after) {
        ctx.put(PRODUCTS, wanted.product_id.as_bytes(), wire::name_row(&after.name));
        save(ctx, &wanted.product_id, &after, Change::Upserted)?;
    }
    let product = Some(wire::product_to_proto(&wanted.product_id, after));
    Ok(Reply(reply::encode_ok(&pb::UpsertProductResponse { product, ..Default::default() })))
}

fn set_stock(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let request: pb::SetStockRequest = decode("SetStockRequest", &command.payload)?;
    let pb::SetStockRequest { product_id, quantity, etag, .. } = request;
    let set = |before: Option<&domain::Stock>| domain::set_stock(before, quantity, wire::version(&etag));
    match change_stock(ctx, &product_id, Change::StockSet, set)? {
        Ok(after) => {
            let product = Some(wire::product_to_proto(&product_id, after));
            Ok(Reply(reply::encode_ok(&pb::SetStockResponse { product, ..Default::default() })))
        }
        Err(refusal) => Ok(refused(&wire::problem(&refusal, &product_id, &etag))),
    }
}

fn add_stock(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let request: pb::AddStockRequest = decode("AddStockRequest", &command.payload)?;
    let pb::AddStockRequest { product_id, quantity, etag, .. } = request;
    let add = |before: Option<&domain::Stock>| domain::add_stock(before, quantity, wire::version(&etag));
    match change_stock(ctx, &product_id, Change::StockAdded(quantity), add)? {
        Ok(after) => {
            let product = Some(wire::product_to_proto(&product_id, after));
            Ok(Reply(reply::encode_ok(&pb::AddStockResponse { product, ..Default::default() })))
        }
        Err(refusal) => Ok(refused(&wire::problem(&refusal, &product_id, &etag))),
    }
}

/// Carries out a change of the stock; the inner result is the rule's.
fn change_stock(
    ctx: &mut Context<'_>,
    product_id: &str,
    change: Change,
    rule: impl FnOnce(Option<&domain::Stock>) -> Result<domain::Stock, Refusal>,
) -> Result<Result<Product, Refusal>, ProcessError> {
    let before = product(ctx, product_id)?;
    let stock = match rule(before.as_ref().map(|product| &product.stock)) {
        Ok(stock) => stock,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let name = before.as_ref().map_or_else(String::new, |product| product.name.clone());
    let after = Product { name, stock };
    if before.as_ref() != Some(&after) {
        save(ctx, product_id, &after, change)?;
    }
    Ok(Ok(after))
}

fn product(ctx: &mut Context<'_>, product_id: &str) -> Result<Option<Product>, ProcessError> {
    let Some(stock) = ctx.get(STOCK, product_id.as_bytes())? else { return Ok(None) };
    let name = ctx.get(PRODUCTS, product_id.as_bytes())?.map(|row| wire::name(&row)).transpose()?.unwrap_or_default();
    Ok(Some(Product { name, stock: wire::stock(&stock)? }))
}

fn save(ctx: &mut Context<'_>, product_id: &str, product: &Product, change: Change) -> Result<(), ProcessError> {
    ctx.put(STOCK, product_id.as_bytes(), wire::stock_row(&product.stock));
    ctx.emit(topics::PRODUCTS, product_id.as_bytes(), wire::event(product_id, product, change, ctx.now_ms()))
}

fn refused(problem: &Problem) -> Reply {
    Reply(reply::encode_problem(problem))
}
