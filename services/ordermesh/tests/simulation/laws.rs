//! The invariants of an order system, each as a function that names its law when it is broken.
//!
//! | law | what | where |
//! |---|---|---|
//! | I1 | an acknowledged order is never lost, and no order is there that nobody sent | [`i1_acknowledged_orders_are_there`] |
//! | I2 | one verdict of each check, one reservation, charge, shipment, e-mail for an order at most | [`i2_effects_happen_once`] |
//! | I3 | 0 <= reserved <= stock | [`i3_reserved_is_within_stock`], at every commit |
//! | I4 | every order is over within 30 s after the faults | `Client::finish`, [`i4_every_order_is_over`] |
//! | I5 | stock, money and credit add up | [`i5_stock_adds_up`] and its like |
//! | I6 | a read with the token of a write sees the write | `Client::look` |
//! | I7 | who has seen a state sees no older one | `Client::look`, `watcher` |
//! | I8 | who was deposed has no effect: only what counts is told | [`i8_only_what_counts_is_told`], and the judge of the protocol |
//! | I9 | live = standby = rebuilt | the judge of the protocol |
//! | I11 | poison ends with the dead letters, and nothing else does | [`i11_poison_is_with_the_dead_letters`], `outside` |
//! | I12 | only legal transitions | [`i12_transitions_are_legal`], at every commit |
//! | I14 | the right status | `Desk::judge` |
//! | I15 | no offset is skipped or applied twice | the judge of the protocol, `watcher` |
//!
//! I10 (damage on a disk is noticed) needs real files, and is a matter of the tests of `state-store`; I13 (memory) needs a
//! real process.

mod credit;
mod effects;
mod money;
mod orders;
mod stock;
mod views;

pub(crate) use credit::{i5_credit_adds_up, i5_credit_grows_within_its_limit};
pub(crate) use effects::{
    i2_decided_orders_had_their_effects, i2_effects_happen_once, i11_poison_is_with_the_dead_letters,
};
pub(crate) use money::i5_money_adds_up;
pub(crate) use orders::{
    i1_acknowledged_orders_are_there, i4_every_order_is_over, i8_only_what_counts_is_told, i12_told_ends_stay,
    i12_transitions_are_legal, is_final, unfinished,
};
pub(crate) use stock::{i3_reserved_is_within_stock, i5_stock_adds_up};
pub(crate) use views::views_agree;
