//! Work orders: what has to be made for each order.

pub mod domain;
