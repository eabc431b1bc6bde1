//! Rows of services as they stand in changelogs. Which number a store has never changes: it is part of stored keys.

use prost::Message;
use testkit::simulation::{Oracle, Reading};

use crate::shop::Shop;

pub(crate) const ORDERS: Table = Table { service: orders::SERVICE, store: 1 };
pub(crate) const STOCK: Table = Table { service: inventory::SERVICE, store: 2 };
pub(crate) const LINES: Table = Table { service: inventory::SERVICE, store: 3 };
pub(crate) const CREDIT: Table = Table { service: customers::SERVICE, store: 2 };
pub(crate) const PLACED: Table = Table { service: customers::SERVICE, store: 3 };
pub(crate) const PROGRESS: Table = Table { service: customers::SERVICE, store: 4 };
pub(crate) const ACCOUNTS: Table = Table { service: payments::SERVICE, store: 1 };
pub(crate) const SHIPMENTS: Table = Table { service: shipping::SERVICE, store: 1 };
pub(crate) const JOINS: Table = Table { service: notifications::SERVICE, store: 2 };
pub(crate) const NOTIFICATIONS: Table = Table { service: notifications::SERVICE, store: 3 };
pub(crate) const BOOKS: Table = Table { service: catalog::SERVICE, store: 2 };
pub(crate) const SHELVES: Table = Table { service: catalog::SERVICE, store: 4 };
pub(crate) const OUTCOMES: Table = Table { service: catalog::SERVICE, store: 5 };
pub(crate) const LETTERS: Table = Table { service: dead_letters::SERVICE, store: 1 };

/// One kind of rows of one service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) service: &'static str,
    pub(crate) store: u8,
}

impl Table {
    /// The key within the store, if this is a change of this table.
    pub(crate) fn key<'k>(self, service: &str, key: &'k [u8]) -> Option<&'k [u8]> {
        if service == self.service { key.strip_prefix(&[0x80 | self.store][..]) } else { None }
    }

    /// All rows, of all partitions.
    pub(crate) fn rows<M: Message + Default>(self, oracle: &Oracle<Shop>) -> impl Iterator<Item = (&[u8], M)> {
        Shop::tasks(oracle, self.service).flat_map(move |reading| self.rows_of(reading))
    }

    fn rows_of<M: Message + Default>(self, reading: &Reading) -> impl Iterator<Item = (&[u8], M)> {
        reading.rows(0x80 | self.store).map(|(key, row)| (&key[1..], decode(row)))
    }

    /// One row.
    pub(crate) fn row<M: Message + Default>(self, oracle: &Oracle<Shop>, key: &str) -> Option<M> {
        let full = [&[0x80 | self.store], key.as_bytes()].concat();
        Shop::tasks(oracle, self.service).find_map(|reading| reading.row(&full)).map(|row| decode(row))
    }
}

/// What a service wrote, it can be read.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
