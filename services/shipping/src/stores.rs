//! The stores of a shipping task: layout of the keys, and what stands under them.
//!
//! ```text
//! shipments   <order_id>    -> ShipmentRow (proto); never removed
//! waiting     <order_id>    -> empty; one for each shipment that waits
//! ```
//! An order with nothing to make has one small row.

use task_runtime::StoreId;

/// Shipments by order.
pub(crate) const SHIPMENTS: StoreId = StoreId::new(1, "shipments");
/// Orders whose shipment waits: few beside the shipments of all time.
pub(crate) const WAITING: StoreId = StoreId::new(2, "waiting-shipments");

/// All of them.
pub(crate) const ALL: [StoreId; 2] = [SHIPMENTS, WAITING];
