//! One task, three instances: `a` is its suggested owner, `b` and `c` its standbys in this order.

use std::time::Duration;

use super::*;
use crate::{Member, Placement, Report, TaskReport};

const SILENT_AFTER: Duration = Duration::from_secs(1);

fn task() -> TaskId {
    TaskId::new("orders", 0)
}

struct Scene {
    suggestion: Suggestion,
    peers: Peers,
    mine: Role,
    is_leaving: bool,
    me: InstanceId,
    begin: Instant,
    now: Instant,
}

fn scene(me: &str) -> Scene {
    let member = Member {
        address: String::new(),
        zone: String::new(),
        build: String::new(),
        services: ["orders".into()].into(),
    };
    let members = ["a", "b", "c"].map(|id| (id.into(), member.clone())).into();
    let placement =
        Placement { active: [(task(), "a".into())].into(), standbys: [(task(), vec!["b".into(), "c".into()])].into() };
    let now = Instant::now();
    Scene {
        suggestion: Suggestion { generation: 7, members, placement },
        peers: Peers::new(me.into(), SILENT_AFTER, now),
        mine: Role::Standby,
        is_leaving: false,
        me: me.into(),
        begin: now,
        now,
    }
}

impl Scene {
    fn told(mut self, instance: &str, role: Role, epoch: u64) -> Self {
        self.hear(instance, role, epoch, false);
        self
    }

    fn hear(&mut self, instance: &str, role: Role, epoch: u64, is_leaving: bool) {
        let told = TaskReport { role, epoch, applied: 0, lag: 0, is_warm: true, restore: None };
        let (life, sequence) = (1, self.now.duration_since(self.begin).as_millis() as u64);
        let tasks = [(task(), told)].into();
        let report = Report { instance: instance.into(), address: String::new(), life, sequence, is_leaving, tasks };
        self.peers.hear(report, self.now);
    }

    fn mine(mut self, role: Role) -> Self {
        self.mine = role;
        self
    }

    fn later(mut self, time: Duration) -> Self {
        self.now += time;
        self
    }

    #[track_caller]
    fn does(&self, expected: Role) {
        let duty = Duty {
            me: &self.me,
            is_leaving: self.is_leaving,
            suggestion: &self.suggestion,
            peers: &self.peers,
            now: self.now,
        };
        assert_eq!(duties(&duty, &[(task(), self.mine)].into())[&task()], expected);
    }
}

#[test]
fn a_task_without_owner_is_claimed_by_the_suggested_one_alone() {
    scene("a").told("b", Role::Standby, 0).mine(Role::Idle).does(Role::Active);
    scene("b").told("a", Role::Standby, 0).does(Role::Standby);
    // Not heard yet, it may just be starting.
    scene("b").told("c", Role::Standby, 0).does(Role::Standby);
}

#[test]
fn who_is_suggested_for_a_task_that_runs_elsewhere_follows_until_it_is_free() {
    scene("a").told("c", Role::Active, 3).mine(Role::Idle).does(Role::Standby);
    scene("a").told("c", Role::Standby, 3).does(Role::Active);
}

#[test]
fn an_owner_steps_down_for_the_suggested_one_once_that_is_warm() {
    let owner = || scene("c").told("c", Role::Active, 3).mine(Role::Active);
    owner().does(Role::Active);
    owner().told("a", Role::Idle, 3).does(Role::Active);
    owner().told("a", Role::Standby, 3).does(Role::Standby);
}

#[test]
fn an_owner_that_was_deposed_follows() {
    scene("a").told("a", Role::Active, 3).told("b", Role::Active, 4).mine(Role::Active).does(Role::Standby);
    scene("a").told("b", Role::Active, 4).does(Role::Standby);
}

#[test]
fn the_first_living_standby_takes_over_from_a_silent_owner() {
    let silent = || scene("b").told("a", Role::Active, 3).later(SILENT_AFTER);
    silent().told("c", Role::Standby, 3).does(Role::Active);
    let silent = || scene("c").told("a", Role::Active, 3).later(SILENT_AFTER);
    silent().told("b", Role::Standby, 3).does(Role::Standby);
    // The first standby is gone as well, but somebody else is there to be heard.
    silent().told("x", Role::Idle, 3).does(Role::Active);
}

#[test]
fn an_owner_that_is_heard_and_no_member_any_more_is_taken_over_from() {
    let mut cut_off = scene("b").told("a", Role::Active, 3).told("c", Role::Standby, 3);
    cut_off.does(Role::Standby);
    cut_off.suggestion.members.remove("a");
    cut_off.suggestion.placement.active.insert(task(), "b".into());
    cut_off.does(Role::Active);
    // It steps down when it hears of that.
    scene("a").mine(Role::Active).told("a", Role::Active, 3).told("b", Role::Active, 4).does(Role::Standby);
}

#[test]
fn a_standby_waits_for_a_suggested_owner_that_was_never_heard_but_not_for_ever() {
    let waits = scene("b").told("c", Role::Standby, 0).later(SILENT_AFTER * 5);
    waits.told("c", Role::Standby, 0).does(Role::Active);
}

#[test]
fn who_leaves_steps_down_first_and_then_the_first_standby_takes_over() {
    let mut leaves = scene("a").told("a", Role::Active, 3).mine(Role::Active);
    leaves.is_leaving = true;
    leaves.does(Role::Active);
    leaves.hear("b", Role::Standby, 3, false);
    leaves.does(Role::Idle);

    let mut takes = scene("b").told("c", Role::Standby, 3);
    takes.hear("a", Role::Active, 3, true);
    takes.does(Role::Standby);
    takes.hear("a", Role::Idle, 3, true);
    takes.does(Role::Active);
}

#[test]
fn one_of_three_who_hears_nobody_takes_nothing() {
    scene("b").told("a", Role::Active, 3).told("c", Role::Standby, 3).later(SILENT_AFTER).does(Role::Standby);
    let mut of_two = scene("b").told("a", Role::Active, 3).later(SILENT_AFTER);
    of_two.suggestion.members.remove("c");
    of_two.does(Role::Active);
}

#[test]
fn who_falls_silent_again_and_again_gets_nothing_back_for_a_while() {
    let back = scene("b").told("b", Role::Active, 4).told("a", Role::Standby, 4).mine(Role::Active).later(SILENT_AFTER);
    let back = back.told("a", Role::Standby, 4);
    back.does(Role::Active);
    let mut steady = back;
    for _ in 0..40 {
        steady = steady.later(SILENT_AFTER / 2).told("a", Role::Standby, 4);
    }
    steady.does(Role::Standby);
}
