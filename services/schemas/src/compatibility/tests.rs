//! What may be done to a schema and what may not, one line each.

use super::*;
use crate::catalogue::tests::described;

fn order(body: &str) -> Described {
    described(
        "shop.Order",
        &format!("message Order {{ {body} }} enum State {{ NEW = 0; OLD = 1; }} enum Mood {{ FINE = 0; }}"),
    )
}

/// What is broken, each with its place and what is wrong with it.
fn check(before: &str, after: &str) -> Vec<String> {
    let found = breaks(&order(before), &order(after));
    found.iter().map(|broken| format!("{} {}", broken.place.trim_start_matches("shop."), broken.problem)).collect()
}

#[test]
fn what_is_added_breaks_nothing() {
    let before = "string id = 1;";
    for after in [
        before,
        "string id = 1; int64 total = 2;",
        "string id = 1; repeated State states = 2;",
        "string id = 1; optional bytes note = 2;",
        "string id = 1; oneof event { string a = 2; int64 b = 3; }",
        "string id = 1; map<string, int64> counts = 4;",
        "string id = 1; reserved 2; reserved \"total\";",
    ] {
        assert_eq!(check(before, after), [""; 0], "{after}");
    }
}

#[test]
fn what_goes_away_leaves_its_number_reserved() {
    let before = "string id = 1; int64 total = 2;";
    assert_eq!(check(before, "string id = 1; reserved 2;"), [""; 0]);
    assert_eq!(check(before, "string id = 1; reserved 2 to 5;"), [""; 0]);
    assert_eq!(check(before, "string id = 1;"), ["Order.total = 2 is gone"]);
    assert_eq!(check(before, "string id = 1; reserved 3;"), ["Order.total = 2 is gone"]);
    assert_eq!(check(before, "reserved 2;"), ["Order.id = 1 is gone"]);
}

#[test]
fn what_was_given_up_is_never_used_again() {
    let before = "string id = 1; reserved 2; reserved \"total\";";
    assert_eq!(check(before, "string id = 1; int64 sum = 2;"), ["Order.sum = 2 has a number that was given up"]);
    assert_eq!(
        check(before, "string id = 1; reserved 2; int64 total = 3;"),
        ["Order.total = 3 has a name that was given up"]
    );
}

#[test]
fn what_stays_is_what_it_was() {
    for (before, after, problem) in [
        ("int32 n = 1;", "int64 n = 1;", "Order.n = 1 is int64 now, and was int32"),
        ("string n = 1;", "bytes n = 1;", "Order.n = 1 is bytes now, and was string"),
        ("int64 n = 1;", "sint64 n = 1;", "Order.n = 1 is sint64 now, and was int64"),
        ("State n = 1;", "Mood n = 1;", "Order.n = 1 is shop.Mood now, and was shop.State"),
        ("State n = 1;", "int32 n = 1;", "Order.n = 1 is int32 now, and was shop.State"),
        ("int32 n = 1;", "int32 m = 1;", "Order.n = 1 is m now, and was n"),
        ("int32 n = 1;", "int32 n = 2;", "Order.n = 1 has the number 2 now"),
        ("int32 n = 1;", "int32 n = 2; reserved 1;", "Order.n = 1 has the number 2 now"),
        ("int32 n = 1;", "repeated int32 n = 1;", "Order.n = 1 is repeated now, and was singular"),
        ("int32 n = 1;", "optional int32 n = 1;", "Order.n = 1 is optional now, and was singular"),
        ("int32 n = 1;", "oneof e { int32 n = 1; }", "Order.n = 1 is in the oneof e now, and was in no oneof"),
        (
            "oneof e { int32 n = 1; }",
            "oneof f { int32 n = 1; }",
            "Order.n = 1 is in the oneof f now, and was in the oneof e",
        ),
    ] {
        assert_eq!(check(before, after), [problem]);
        assert!(!check(after, before).is_empty(), "{after} to {before}");
    }
    let maps = check("map<string, int64> n = 1;", "map<string, string> n = 1;");
    assert_eq!(maps, ["Order.NEntry.value = 2 is string now, and was int64"]);
}

#[test]
fn enums_keep_their_values() {
    let of =
        |values: &str| described("shop.Order", &format!("message Order {{ State s = 1; }} enum State {{ {values} }}"));
    let check = |before: &str, after: &str| {
        let found = breaks(&of(before), &of(after));
        found.iter().map(|broken| format!("{} {}", broken.place, broken.problem)).collect::<Vec<_>>()
    };
    let before = "NEW = 0; OLD = 1;";
    for fine in [before, "NEW = 0; OLD = 1; LOST = 2;", "NEW = 0; reserved 1;", "NEW = 0; OLD = 1; reserved 5 to 9;"] {
        assert_eq!(check(before, fine), [""; 0], "{fine}");
    }
    let alias = "option allow_alias = true; NEW = 0; OLD = 1; PAST = 1;";
    assert_eq!(check(before, alias), [""; 0]);
    assert_eq!(check(before, "NEW = 0;"), ["shop.State.OLD = 1 is gone"]);
    assert_eq!(check(before, "NEW = 0; PAST = 1;"), ["shop.State.OLD = 1 is called PAST now"]);
    assert_eq!(check(alias, before), ["shop.State.PAST = 1 is called OLD now"]);
    assert_eq!(check("NEW = 0; reserved 1;", before), ["shop.State.OLD = 1 has a number that was given up"]);
}

#[test]
fn everything_that_a_message_reaches_counts_and_nothing_else() {
    let of = |inner: &str, beside: &str| {
        let text =
            format!("message Order {{ Line line = 1; }} message Line {{ {inner} }} message Beside {{ {beside} }}");
        described("shop.Order", &text)
    };
    let before = of("string product = 1;", "string x = 1;");
    let places = |after: &Described| breaks(&before, after).iter().map(|b| b.place.clone()).collect::<Vec<_>>();
    assert_eq!(places(&of("string product = 1;", "int32 y = 1;")), [""; 0]);
    assert_eq!(places(&of("int32 product = 1;", "string x = 1;")), ["shop.Line.product = 1"]);
    let other = described("shop.Sale", "message Sale {}");
    assert_eq!(breaks(&before, &other)[0].problem, "became shop.Sale");
    let became = described("shop.Order", "message Order { Line line = 1; } enum Line { A = 0; }");
    let found = breaks(&described("shop.Order", "message Order { Line line = 1; } message Line {}"), &became);
    assert!(found.iter().any(|broken| broken.problem == "became an enum"), "{found:?}");
}

#[test]
fn whoever_is_refused_reads_what_to_do() {
    let found = breaks(&order("string id = 1; int64 total = 2;"), &order("string id = 1;"));
    assert_eq!(found[0].to_string(), "shop.Order.total = 2 is gone: give it back, or say `reserved 2;`");
}
