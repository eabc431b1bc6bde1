//! Shipments: each order leaves once, when everything of it is there.

pub mod domain;
