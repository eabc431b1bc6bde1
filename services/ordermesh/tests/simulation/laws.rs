//! The invariants of an order system, each as a function that names its law when it is broken.
//!
//! | law | what | where |
//! |---|---|---|
//! | I1 | an acknowledged order is never lost, and no order is there that nobody sent | [`i1_acknowledged_orders_are_there`] |
//! | I2 | one verdict of each check, one reservation, charge, shipment, e-mail for an order at most, and what was decided was done | [`i2_effects_happen_once`] at every commit, [`i2_decided_orders_had_their_effects`] |
//! | I2 | an e-mail is decided before it is sent, each try repeats it to the letter under one Message-ID, and none follows its outcome | [`i2_mails_say_the_same`], at every try |
//! | I2 | an e-mail has one outcome, which the mail server said; what is sent was taken | [`i2_mails_have_one_outcome`] at every commit, [`i2_mails_were_taken`], [`unsent`] |
//! | I2 | a request to the catalog has one outcome: told again, and asked of anybody, now and later | `Librarian::repeat`, [`i2_outcome_is_as_told`], [`i2_outcomes_are_kept`] |
//! | I3 | 0 <= reserved <= stock | [`i3_reserved_is_within_stock`], at every commit |
//! | I4 | every order is over within 30 s after the faults | `Client::finish`, [`i4_every_order_is_over`] |
//! | I5 | stock, money and credit add up | [`i5_stock_adds_up`] and its like |
//! | I6 | a read with the token of a write sees the write | `Client::look` |
//! | I7 | who has seen a state sees no older one | `Client::look`, `watcher` |
//! | I8 | who was deposed has no effect: only what counts is told | [`i8_only_what_counts_is_told`], and the judge of the protocol |
//! | I9 | live = standby = rebuilt | the judge of the protocol |
//! | I10 | a damaged store or snapshot is found, and the state is the rebuilt one | the judge of the protocol at every write, `i10_damage_is_found_and_rebuilt` of `testkit` after every seed |
//! | I11 | poison ends with the dead letters, and nothing else does | [`i11_poison_is_with_the_dead_letters`], `outside` |
//! | I12 | only legal transitions | [`i12_transitions_are_legal`] at every commit, [`i12_told_ends_stay`] |
//! | I12 | versions and chapters have their numbers once, without a gap | [`i12_numbers_are_given_once`], at every commit |
//! | I14 | the right status | `Desk::judge` |
//! | I15 | no offset is skipped or applied twice | the judge of the protocol, `watcher` |
//!
//! In the end all services agree: [`views_agree`], [`shelves_agree_with_books`].
//!
//! I13 (memory) needs a real process. That real files tell damage as simulated disks do is a matter of the tests of
//! `state-store`.

mod catalog;
mod credit;
mod effects;
mod mails;
mod money;
mod orders;
mod stock;
mod views;

pub(crate) use catalog::{
    I2_OUTCOMES, i2_outcome_is_as_told, i2_outcomes_are_kept, i12_numbers_are_given_once, shelves_agree_with_books,
};
pub(crate) use credit::{i5_credit_adds_up, i5_credit_grows_within_its_limit};
pub(crate) use effects::{
    i2_decided_orders_had_their_effects, i2_effects_happen_once, i11_poison_is_with_the_dead_letters,
};
pub(crate) use mails::{i2_mails_have_one_outcome, i2_mails_say_the_same, i2_mails_were_taken, unsent};
pub(crate) use money::i5_money_adds_up;
pub(crate) use orders::{
    i1_acknowledged_orders_are_there, i4_every_order_is_over, i8_only_what_counts_is_told, i12_told_ends_stay,
    i12_transitions_are_legal, is_final, unfinished,
};
pub(crate) use stock::{i3_reserved_is_within_stock, i5_stock_adds_up};
pub(crate) use views::views_agree;
