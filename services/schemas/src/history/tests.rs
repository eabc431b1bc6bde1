//! Who comes first, and who is refused.

use super::*;
use crate::catalogue::tests::described;

fn version(build: &str, fields: &str) -> Version {
    let described = described("shop.Order", &format!("message Order {{ {fields} }}"));
    let (topic, instance) = ("orders".to_owned(), "i-1".to_owned());
    Version { topic, described, build: Build::parse(build), instance, time_ms: 1_700_000_000_123 }
}

fn history(versions: &[(&str, &str)]) -> History {
    let mut history = History::default();
    for (build, fields) in versions {
        // What does not count is left out, as it is by whoever reads the log.
        let _ = history.take(version(build, fields));
    }
    history
}

fn judge(history: &History, build: &str, fields: &str) -> Result<(), String> {
    let version = version(build, fields);
    history.judge(&version.topic, &version.described, version.build).map_err(|refusal| refusal.to_string())
}

const ONE: &str = "string id = 1;";
const TWO: &str = "string id = 1; int64 total = 2;";
const OTHER_TWO: &str = "string id = 1; string note = 2;";

#[test]
fn a_later_version_may_add_and_must_not_take_away() {
    let history = history(&[("1.0.0", TWO)]);
    judge(&history, "1.0.0", TWO).unwrap();
    judge(&history, "1.1.0", "string id = 1; int64 total = 2; bool paid = 3;").unwrap();
    let refused = judge(&history, "1.1.0", ONE).unwrap_err();
    assert!(refused.contains("records of 1.0.0 on the topic orders"), "{refused}");
    assert!(refused.contains("shop.Order.total = 2 is gone"), "{refused}");
    judge(&history, "1.0.0", ONE).unwrap_err();
}

#[test]
fn an_older_version_may_come_after_a_newer_one() {
    let history = history(&[("1.1.0", TWO)]);
    judge(&history, "1.0.0", ONE).unwrap();
    let refused = judge(&history, "1.0.0", OTHER_TWO).unwrap_err();
    assert!(refused.contains("the later version 1.1.0"), "{refused}");
}

#[test]
fn a_version_that_was_written_may_always_come_back() {
    let history = history(&[("1.0.0", ONE), ("1.1.0", TWO)]);
    judge(&history, "1.0.0", ONE).unwrap();
    // Also when it was built with another number.
    judge(&history, "2.0.0", ONE).unwrap();
}

#[test]
fn of_two_that_break_each_other_the_first_wins_and_the_second_leaves_no_trace() {
    let history = history(&[("1.0.0", ONE), ("1.1.0", TWO), ("1.1.0", OTHER_TWO)]);
    assert_eq!(history.of("orders").len(), 2);
    judge(&history, "1.1.0", OTHER_TWO).unwrap_err();
    judge(&history, "1.2.0", "string id = 1; int64 total = 2; bool paid = 3;").unwrap();
}

#[test]
fn every_version_counts_and_not_the_last_alone() {
    // The number 2 is given up, and one that never heard of it uses it again.
    let history = history(&[("1.0.0", TWO), ("1.1.0", "string id = 1; reserved 2;")]);
    assert_eq!(history.of("orders").len(), 2);
    judge(&history, "1.2.0", OTHER_TWO).unwrap_err();
    judge(&history, "1.2.0", "string id = 1; string note = 3; reserved 2;").unwrap();
}

#[test]
fn repeats_count_once_and_topics_stand_apart() {
    let mut history = history(&[("1.0.0", ONE), ("1.0.0", ONE), ("1.0.1", ONE)]);
    assert_eq!(history.all().count(), 1);
    let elsewhere = Version { topic: "sales".to_owned(), ..version("1.0.0", OTHER_TWO) };
    history.take(elsewhere).unwrap();
    assert_eq!(history.all().count(), 2);
}

#[test]
fn a_version_survives_the_log() {
    let version = version("1.2.3", TWO);
    assert_eq!(Version::of(&version.to_bytes()).unwrap(), version);
    assert!(Version::of(b"\xff").is_err());
}

#[test]
fn builds_are_compared_by_their_numbers() {
    assert!(Build::parse("1.10.0") > Build::parse("1.9.3"));
    assert_eq!(Build::parse("1.2.3-rc.1"), Build::parse("1.2.3"));
    assert_eq!(Build::parse("what"), Build::default());
}
