//! The protobuf vocabulary of the mesh, as Rust. Generated code only: the `.proto` files beside this crate are the
//! source and the reference documentation. Nothing here knows a rule of the domain.

#![allow(missing_docs, clippy::all, clippy::too_many_lines)]

/// The compiled `.proto` files with imports, custom options and comments: a serialised `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ordermesh.bin"));

/// Authors, books and book cards.
pub mod catalog {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.catalog.v1");
    }
}

/// Types that several areas share.
pub mod common {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.common.v1");
    }
}

/// Customers and their credit.
pub mod customers {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.customers.v1");
    }
}

/// Products and stock.
pub mod inventory {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.inventory.v1");
    }
}

/// Work orders.
pub mod manufacturing {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.manufacturing.v1");
    }
}

/// How fresh a read is, and who answered.
pub mod mesh {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.mesh.v1");
    }
}

/// E-mails and enriched orders.
pub mod notifications {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.notifications.v1");
    }
}

/// The annotations that route calls.
pub mod options {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.options.v1");
    }
}

/// Orders.
pub mod orders {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.orders.v1");
    }
}

/// Payments.
pub mod payments {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.payments.v1");
    }
}

/// Shipments.
pub mod shipping {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.shipping.v1");
    }
}

/// Checks and verdicts.
pub mod validation {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("ordermesh.validation.v1");
    }
}
