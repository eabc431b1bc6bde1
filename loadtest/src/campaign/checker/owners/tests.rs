//! The laws about owners against changelogs and histories that were made up.

use super::*;
use crate::campaign::checker::check as judge;
use crate::campaign::topics::Topics;

/// The time of day at which every history begins, in milliseconds.
const BEGIN_MS: i64 = 1_000_000;

/// What was done to a mesh, and what its changelogs say. Times are in milliseconds since the beginning.
#[derive(Default)]
struct Tale {
    history: Vec<Event>,
    changelogs: Vec<Entry>,
}

impl Tale {
    /// `a` owns two tasks, and is stopped after a minute again and again; `b` takes one of them, and `a` gets it back when it has
    /// been well for ten seconds. Later `a` is killed, and the task goes to `b` and back.
    fn sound() -> Self {
        let mut tale = Self::default();
        tale.done(0, What::Clock { unix_ms: 1_000_000 });
        tale.claim("orders/1", 5_000, 1, "a");
        tale.commits("orders/1", 1, 1);
        tale.claim("orders/0", 5_000, 1, "a");
        tale.commits("orders/0", 1, 1);
        tale.fault(60_000, "flicker", "a");
        tale.claim("orders/0", 61_000, 2, "b");
        tale.commits("orders/0", 2, 2);
        tale.done(78_000, What::Healed);
        tale.claim("orders/0", 88_500, 3, "a");
        tale.commits("orders/0", 3, 3);
        tale.fault(100_000, "kill", "a");
        tale.claim("orders/0", 101_000, 4, "b");
        tale.done(104_000, What::Healed);
        tale.claim("orders/0", 105_000, 5, "a");
        tale
    }

    /// Only the stops, and nothing of what followed but the end.
    fn stopped() -> Self {
        let mut tale = Self::sound();
        tale.history.truncate(2);
        tale.done(120_000, What::Healed);
        tale.changelogs.truncate(6);
        tale
    }

    fn done(&mut self, at_ms: u64, what: What) {
        self.history.push(Event { at_ns: at_ms * 1_000_000, op: 0, session: 0, what });
    }

    fn fault(&mut self, at_ms: u64, name: &str, target: &str) {
        self.done(at_ms, What::Fault { name: name.into(), target: Some(target.into()) });
    }

    fn say(&mut self, task: &str, at_ms: i64, what: Said) {
        let offset = self.changelogs.len() as u64;
        self.changelogs.push(Entry { task: task.into(), offset, at_ms, what });
    }

    /// Each claim has the life of its epoch.
    fn claim(&mut self, task: &str, at_ms: i64, epoch: u64, instance: &str) {
        let (incarnation, instance) = ("7".into(), instance.into());
        self.say(task, BEGIN_MS + at_ms, Said::Claimed { incarnation, epoch, instance, life: epoch });
    }

    fn commits(&mut self, task: &str, epoch: u64, life: u64) {
        self.say(task, 0, Said::Committed { incarnation: "7".into(), epoch, life, times: 3 });
    }

    fn breaks(self) -> Vec<Law> {
        let topics = Topics { changelogs: self.changelogs, ..Topics::default() };
        judge(&self.history, &topics, 0).broken.into_keys().collect()
    }
}

#[test]
fn an_instance_that_is_well_again_gets_its_task_back_later() {
    assert_eq!(Tale::sound().breaks(), []);
}

#[test]
fn a_task_that_comes_back_at_once_to_who_was_stopped_flaps() {
    let mut tale = Tale::stopped();
    tale.claim("orders/0", 70_900, 3, "a");
    assert_eq!(tale.breaks(), [Law::Flapping]);
}

#[test]
fn a_task_that_goes_on_to_a_third_instance_at_once_flaps() {
    let mut tale = Tale::stopped();
    tale.claim("orders/0", 65_000, 3, "c");
    assert_eq!(tale.breaks(), [Law::Flapping]);
}

#[test]
fn a_mesh_that_recovers_from_something_else_may_go_on_to_balance_but_not_back() {
    for (to, broken) in [("c", vec![]), ("a", vec![Law::Flapping])] {
        let mut tale = Tale::stopped();
        tale.history.insert(1, Event { at_ns: 45_000_000_000, op: 0, session: 0, what: What::Healed });
        tale.claim("orders/0", 65_000, 3, to);
        assert_eq!(tale.breaks(), broken);
    }
}

#[test]
fn moves_on_both_sides_of_the_next_fault_are_no_flapping() {
    let mut tale = Tale::stopped();
    tale.history.pop();
    tale.fault(64_000, "kill", "b");
    tale.done(120_000, What::Healed);
    tale.claim("orders/0", 65_000, 3, "a");
    assert_eq!(tale.breaks(), []);
}

#[test]
fn moves_when_all_instances_leave_in_the_end_are_no_flapping() {
    let mut tale = Tale::stopped();
    tale.claim("orders/1", 121_000, 2, "b");
    tale.claim("orders/1", 122_000, 3, "c");
    assert_eq!(tale.breaks(), []);
}

#[test]
fn moves_of_different_tasks_and_claims_of_the_same_owner_are_no_flapping() {
    let mut tale = Tale::stopped();
    tale.claim("orders/0", 62_000, 3, "b");
    tale.claim("orders/2", 62_000, 1, "a");
    tale.claim("orders/2", 62_500, 2, "b");
    assert_eq!(tale.breaks(), []);
}

#[test]
fn an_instance_that_starts_anew_may_claim_what_it_had() {
    let mut tale = Tale::sound();
    tale.claim("orders/0", 106_000, 6, "a");
    tale.commits("orders/0", 6, 6);
    assert_eq!(tale.breaks(), []);
}

#[test]
fn commits_of_two_lives_in_one_epoch_are_two_owners() {
    let mut tale = Tale::sound();
    tale.commits("orders/0", 5, 9);
    assert_eq!(tale.breaks(), [Law::TwoOwners]);
}

#[test]
fn commits_behind_the_claim_of_the_next_epoch_are_two_owners() {
    let mut tale = Tale::sound();
    tale.commits("orders/0", 4, 4);
    assert_eq!(tale.breaks(), [Law::TwoOwners]);
}

#[test]
fn an_epoch_that_is_claimed_again_is_two_owners() {
    let mut tale = Tale::sound();
    tale.claim("orders/0", 107_000, 5, "b");
    assert_eq!(tale.breaks(), [Law::TwoOwners]);
}

#[test]
fn who_writes_without_a_claim_is_a_second_owner_although_it_does_not_count() {
    for what in [Said::Foreign { epoch: 5, life: 9 }, Said::Refused { why: "commits are missing".into() }] {
        let mut tale = Tale::sound();
        tale.say("orders/0", 0, what);
        assert_eq!(tale.breaks(), [Law::TwoOwners]);
    }
}
