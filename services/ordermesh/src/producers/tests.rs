//! What is read from the command line, and what is printed for people.

use clap::Parser;
use proto::common::v1::Money;

use super::money;
use super::order::line;
use super::output::{facts, table};
use crate::cli::Cli;

fn amount(text: &str, currency: &str) -> Option<i64> {
    money::parse(text, currency).ok().map(|money| money.minor_units)
}

#[test]
fn amounts_are_read_exactly_or_not_at_all() {
    assert_eq!(amount("19.99", "EUR"), Some(19_99));
    assert_eq!(amount("19.9", "EUR"), Some(19_90));
    assert_eq!(amount("19", "EUR"), Some(19_00));
    assert_eq!(amount("0.07", "EUR"), Some(7));
    assert_eq!(amount("-1.5", "EUR"), Some(-1_50));
    assert_eq!(amount("1500", "JPY"), Some(1_500));
    assert_eq!(amount("1.234", "KWD"), Some(1_234));
    assert_eq!(amount("92233720368547758.07", "EUR"), Some(i64::MAX));
    for (text, currency) in [
        ("19.999", "EUR"),
        ("1.5", "JPY"),
        ("", "EUR"),
        (".5", "EUR"),
        ("5.", "EUR"),
        ("1e3", "EUR"),
        ("+1", "EUR"),
        ("--1", "EUR"),
        ("1,50", "EUR"),
        ("92233720368547758.08", "EUR"),
        ("1", "EURO"),
    ] {
        assert_eq!(amount(text, currency), None, "{text} {currency}");
    }
}

#[test]
fn amounts_are_written_as_they_are_read() {
    let text = |minor_units, code: &str| money::text(Some(&Money { currency_code: code.into(), minor_units }));
    assert_eq!(text(19_99, "EUR"), "19.99 EUR");
    assert_eq!(text(7, "EUR"), "0.07 EUR");
    assert_eq!(text(-7, "EUR"), "-0.07 EUR");
    assert_eq!(text(1_500, "JPY"), "1500 JPY");
    assert_eq!(text(i64::MIN, "EUR"), "-92233720368547758.08 EUR");
    assert_eq!(money::text(None), "");
}

#[test]
fn a_line_is_a_product_a_quantity_and_a_price() {
    let found = line("jumper:2:19.99", "EUR").unwrap();
    assert_eq!((found.product_id.as_str(), found.quantity), ("jumper", 2));
    assert_eq!(found.unit_price.unwrap().minor_units, 19_99);
    // The mesh is to say no, with the reason on the record.
    assert_eq!(line("jumper:-1:-5", "EUR").unwrap().quantity, -1);
    for wrong in ["jumper", "jumper:2", "jumper:two:3", "jumper:2:3:4", "jumper:2:x"] {
        assert!(line(wrong, "EUR").is_err(), "{wrong}");
    }
}

#[test]
fn tables_line_up_and_hold_no_foreign_control_characters() {
    let rows = [["a".to_owned(), "x\u{1b}[31m\ny".to_owned()], ["long one".to_owned(), String::new()]];
    assert_eq!(table(["N", "VALUE"], &rows), "N         VALUE\na         x [31m y\nlong one");
    let text = facts("thing 1", &[("name", "Ada".into()), ("gone", String::new()), ("longer", "x".into())]);
    assert_eq!(text, "thing 1\n  name    Ada\n  longer  x");
}

#[test]
fn flags_stand_before_or_behind_what_is_done() {
    for line in [
        ["ordermesh", "stock", "set", "jumper", "10", "--addr", "mesh:1", "--json"],
        ["ordermesh", "stock", "--addr", "mesh:1", "--json", "set", "jumper", "10"],
    ] {
        Cli::try_parse_from(line).unwrap();
    }
    Cli::try_parse_from(["ordermesh", "stock", "add", "jumper", "-3"]).unwrap();
    Cli::try_parse_from(["ordermesh", "generate", "--rate", "0"]).unwrap_err();
    Cli::try_parse_from(["ordermesh", "order", "create", "--customer", "c"]).unwrap_err();
}
