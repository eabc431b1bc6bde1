//! Bytes and proto to domain and back; the only place that converts.

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1 as pb;
use proto::inventory::v1::product_event::Event;
use proto::orders::v1::{StockAction, StockRequest};
use proto::validation::v1 as checks;
use service_host::Problem;
use service_host::input::{InputError, check_key, decode};
use service_host::timestamp;

use crate::domain::{Action, Fault, Fulfilment, Line, Product, Refusal, Stock, Verdict};

/// A request for one line, with the action as the domain knows it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) product_id: String,
    pub(crate) order_id: String,
    pub(crate) line: u32,
    pub(crate) action: Action,
    pub(crate) quantity: i64,
}

/// Reads a record of `stock-requests`. `None` for an action that this version does not know.
pub(crate) fn request(key: Option<&Bytes>, value: &Bytes) -> Result<Option<Request>, InputError> {
    let request: StockRequest = decode("StockRequest", value)?;
    check_key("product", &request.product_id, key)?;
    let action = match request.action() {
        StockAction::Reserve => Action::Reserve,
        StockAction::Release => Action::Release,
        StockAction::Ship => Action::Ship,
        StockAction::Unspecified => return Ok(None),
    };
    let StockRequest { product_id, order_id, line, quantity, .. } = request;
    Ok(Some(Request { product_id, order_id, line, action, quantity }))
}

/// The record of `inventory-verdicts` that answers a request.
pub(crate) fn verdict(request: &Request, verdict: Verdict, now_ms: i64) -> Vec<u8> {
    let Request { product_id, quantity, .. } = request;
    let (outcome, fulfilment, code, message) = match verdict {
        Verdict::Pass(fulfilment) => (checks::Outcome::Pass, fulfilment_to_proto(fulfilment), "", String::new()),
        Verdict::Fail(Fault::ProductNotFound) => (
            checks::Outcome::Fail,
            pb::Fulfilment::Unspecified,
            "PRODUCT_NOT_FOUND",
            format!("product {product_id} does not exist"),
        ),
        Verdict::Fail(Fault::OutOfStock) => {
            let message = format!("fewer than {quantity} pieces of {product_id} are available");
            (checks::Outcome::Fail, pb::Fulfilment::Unspecified, "OUT_OF_STOCK", message)
        }
        Verdict::Fail(Fault::LineClosed) => (
            checks::Outcome::Fail,
            pb::Fulfilment::Unspecified,
            "LINE_CLOSED",
            "the line was released or shipped before".to_owned(),
        ),
    };
    checks::Verdict {
        order_id: request.order_id.clone(),
        check: checks::Check::Inventory.into(),
        line: request.line,
        product_id: product_id.clone(),
        outcome: outcome.into(),
        code: code.to_owned(),
        message,
        fulfilment: fulfilment.into(),
        time: Some(timestamp(now_ms)),
    }
    .encode_to_vec()
}

/// What a command did to a product, for the topic `products`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// It was created, or its name or fulfilment changed.
    Upserted,
    /// The stock was set.
    StockSet,
    /// The stock was changed by this.
    StockAdded(i64),
}

/// A record of `products`.
pub(crate) fn event(product_id: &str, product: &Product, change: Change, now_ms: i64) -> Vec<u8> {
    let stock = product.stock.stock;
    let event = match change {
        Change::Upserted => {
            Event::Upserted(pb::ProductUpserted { product: Some(product_to_proto(product_id, product.clone())) })
        }
        Change::StockSet => Event::StockSet(pb::StockSet { stock }),
        Change::StockAdded(quantity) => Event::StockAdded(pb::StockAdded { quantity, stock }),
    };
    pb::ProductEvent { product_id: product_id.to_owned(), time: Some(timestamp(now_ms)), event: Some(event) }
        .encode_to_vec()
}

/// A product as clients see it.
pub(crate) fn product_to_proto(product_id: &str, product: Product) -> pb::Product {
    let Product { name, stock } = product;
    pb::Product {
        product_id: product_id.to_owned(),
        name,
        fulfilment: fulfilment_to_proto(stock.fulfilment).into(),
        stock: stock.stock,
        reserved: stock.reserved,
        available: stock.available(),
        etag: stock.version.to_string(),
    }
}

/// The version that an etag names; none when the caller does not care. No product has version 0, for which every etag stands
/// that is not spelled as ours are.
pub(crate) fn version(etag: &str) -> Option<u64> {
    let known = |version: &u64| version.to_string() == etag;
    (!etag.is_empty()).then(|| etag.parse().ok().filter(known).unwrap_or(0))
}

/// How a product is fulfilled; none for a value that is not said or that this version does not know.
pub(crate) fn fulfilment(value: i32) -> Option<Fulfilment> {
    match pb::Fulfilment::try_from(value) {
        Ok(pb::Fulfilment::FromStock) => Some(Fulfilment::FromStock),
        Ok(pb::Fulfilment::MadeToOrder) => Some(Fulfilment::MadeToOrder),
        Ok(pb::Fulfilment::Unspecified) | Err(_) => None,
    }
}

fn fulfilment_to_proto(fulfilment: Fulfilment) -> pb::Fulfilment {
    match fulfilment {
        Fulfilment::FromStock => pb::Fulfilment::FromStock,
        Fulfilment::MadeToOrder => pb::Fulfilment::MadeToOrder,
    }
}

/// What a client is told of a refusal. `etag` is the version that it wanted.
pub(crate) fn problem(refusal: &Refusal, product_id: &str, etag: &str) -> Problem {
    match refusal {
        Refusal::NotFound => Problem::not_found("product", product_id),
        Refusal::VersionConflict { current } => Problem::version_conflict(current, etag),
        Refusal::BelowReserved { wanted, reserved } => {
            let message = format!("the stock cannot be {wanted}, for orders have reserved {reserved}");
            Problem::refused("STOCK_BELOW_RESERVED", message).with("wanted", wanted).with("reserved", reserved)
        }
        Refusal::TooLarge => Problem::refused("STOCK_TOO_LARGE", "the stock would be more than a 64-bit number"),
    }
}

/// Reads a row of the stock.
pub(crate) fn stock(row: &Bytes) -> Result<Stock, InputError> {
    let row: pb::StockRow = decode("StockRow", row)?;
    let fulfilment = fulfilment(row.fulfilment)
        .ok_or(InputError::UnknownValue { field: "StockRow.fulfilment", value: row.fulfilment })?;
    Ok(Stock { fulfilment, stock: row.stock, reserved: row.reserved, version: row.version })
}

/// A row of the stock.
pub(crate) fn stock_row(stock: &Stock) -> Vec<u8> {
    let fulfilment = fulfilment_to_proto(stock.fulfilment).into();
    pb::StockRow { fulfilment, stock: stock.stock, reserved: stock.reserved, version: stock.version }.encode_to_vec()
}

/// Reads the name in a row of the products.
pub(crate) fn name(row: &Bytes) -> Result<String, InputError> {
    Ok(decode::<pb::ProductRow>("ProductRow", row)?.name)
}

/// A row of the products.
pub(crate) fn name_row(name: &str) -> Vec<u8> {
    pb::ProductRow { name: name.to_owned() }.encode_to_vec()
}

/// Reads a row of the lines.
pub(crate) fn line(row: &Bytes) -> Result<Line, InputError> {
    let row: pb::LineRow = decode("LineRow", row)?;
    Ok(match row.state() {
        pb::LineState::Held => Line::Held(row.quantity),
        pb::LineState::Unreserved => Line::Unreserved,
        pb::LineState::OutOfStock => Line::Refused(Fault::OutOfStock),
        pb::LineState::ProductNotFound => Line::Refused(Fault::ProductNotFound),
        pb::LineState::Closed => Line::Closed,
        pb::LineState::Unspecified => {
            return Err(InputError::UnknownValue { field: "LineRow.state", value: row.state });
        }
    })
}

/// A row of the lines.
pub(crate) fn line_row(line: &Line, now_ms: i64) -> Vec<u8> {
    let (state, quantity, closed_ms) = match line {
        Line::Held(quantity) => (pb::LineState::Held, *quantity, 0),
        Line::Unreserved => (pb::LineState::Unreserved, 0, 0),
        Line::Refused(Fault::ProductNotFound) => (pb::LineState::ProductNotFound, 0, 0),
        Line::Refused(Fault::OutOfStock) => (pb::LineState::OutOfStock, 0, 0),
        Line::Refused(Fault::LineClosed) | Line::Closed => (pb::LineState::Closed, 0, now_ms),
    };
    pb::LineRow { state: state.into(), quantity, closed_ms }.encode_to_vec()
}

/// When the line of a row was closed; none while it is open.
pub(crate) fn closed_ms(row: &Bytes) -> Result<Option<i64>, InputError> {
    let row: pb::LineRow = decode("LineRow", row)?;
    Ok((row.state() == pb::LineState::Closed).then_some(row.closed_ms))
}

#[cfg(test)]
mod tests;
