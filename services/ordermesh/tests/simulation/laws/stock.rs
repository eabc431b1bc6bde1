//! Stock: never more reserved than there is, nothing made of nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::inventory::v1::{Fulfilment, StockRow};
use proto::orders::v1::{OrderRow, OrderState};
use testkit::simulation::{Oracle, Verdict, fail};

use crate::rows::{ORDERS, STOCK, decode, text};
use crate::shop::Shop;

/// I3: 0 <= reserved <= stock, after every commit.
pub(crate) fn i3_reserved_is_within_stock(service: &str, key: &[u8], value: Option<&Bytes>) -> Verdict {
    let (Some(product_id), Some(value)) = (STOCK.key(service, key), value) else { return Ok(()) };
    let row: StockRow = decode(value);
    if (0..=row.stock).contains(&row.reserved) {
        return Ok(());
    }
    let StockRow { stock, reserved, .. } = row;
    fail("I3 reserved within stock", format!("{} of {stock} {} are reserved", reserved, text(product_id)))
}

/// I5: what was set and added is there or was shipped, and when all orders are over nothing is reserved.
pub(crate) fn i5_stock_adds_up(oracle: &Oracle<Shop>) -> Verdict {
    let mut shipped: BTreeMap<String, i64> = BTreeMap::new();
    for (_, order) in ORDERS.rows::<OrderRow>(oracle).filter(|(_, order)| order.state() == OrderState::Shipped) {
        for line in order.lines {
            *shipped.entry(line.product_id).or_default() += line.quantity;
        }
    }
    for (key, row) in STOCK.rows::<StockRow>(oracle).filter(|(_, row)| row.fulfilment() == Fulfilment::FromStock) {
        let product_id = text(key);
        let stocked = oracle.scenario.history.stocked.get(&product_id).copied().unwrap_or(0);
        let shipped = shipped.get(&product_id).copied().unwrap_or(0);
        let StockRow { stock, reserved, .. } = row;
        if stocked != stock + shipped || reserved != 0 {
            let detail = format!(
                "{stocked} {product_id} came in, {shipped} were shipped; {stock} are there, {reserved} reserved"
            );
            return fail("I5 stock", detail);
        }
    }
    Ok(())
}
