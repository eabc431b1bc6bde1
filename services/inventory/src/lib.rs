//! Products, their stock and what orders hold of it.

pub mod domain;
