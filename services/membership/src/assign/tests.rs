//! Placements that must always be so, whatever came before, and a few that must be exactly so.

use proptest::prelude::*;

use super::*;

fn id(number: usize) -> InstanceId {
    Arc::from(format!("i{number}"))
}

fn member(zone: &str, services: &[&str]) -> Member {
    Member {
        address: String::new(),
        zone: zone.to_owned(),
        build: String::new(),
        services: services.iter().map(|service| Arc::from(*service)).collect(),
    }
}

const SERVICES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn members(numbers: impl IntoIterator<Item = usize>, services: usize) -> Members {
    numbers.into_iter().map(|number| (id(number), member("", &SERVICES[..services]))).collect()
}

/// A mesh that follows its assignor: whoever is a standby or owner is warm one step later.
#[derive(Clone)]
struct World {
    assignor: Assignor,
    partitions: u32,
    current: Placement,
    warm: BTreeSet<(TaskId, InstanceId)>,
}

impl World {
    fn new(partitions: u32, standbys: usize, warmups_max: usize) -> Self {
        let assignor = Assignor { standbys, warmups_max };
        Self { assignor, partitions, current: Placement::default(), warm: BTreeSet::new() }
    }

    fn step(&mut self, members: &Members) -> Placement {
        let nobody = BTreeSet::new();
        let now = Situation {
            partitions: self.partitions,
            members,
            current: &self.current,
            leaving: &nobody,
            warm: &self.warm,
        };
        let next = self.assignor.step(&now);
        self.warm = next.active.iter().map(|(task, id)| (task.clone(), id.clone())).collect();
        for (task, standbys) in &next.standbys {
            self.warm.extend(standbys.iter().map(|id| (task.clone(), id.clone())));
        }
        std::mem::replace(&mut self.current, next)
    }

    /// Steps until nothing changes any more; returns how many that took.
    fn settle(&mut self, members: &Members) -> usize {
        for steps in 0..200 {
            if self.step(members) == self.current {
                return steps;
            }
        }
        panic!("the placement never settles");
    }
}

fn check_balance(placement: &Placement, members: &Members, services: usize, partitions: u32) {
    assert_eq!(placement.active.len(), services * partitions as usize, "every task has an owner");
    let spread = |counts: Vec<usize>| counts.iter().max().unwrap() - counts.iter().min().unwrap();
    for service in &SERVICES[..services] {
        let of = |id: &InstanceId| {
            placement.active.iter().filter(|(task, owner)| &*task.service == *service && *owner == id).count()
        };
        assert!(spread(members.keys().map(of).collect()) <= 1, "{service} is balanced");
    }
    assert!(spread(members.keys().map(|id| placement.active_count(id)).collect()) <= 1, "the sum is balanced");
    for (task, standbys) in &placement.standbys {
        assert!(!standbys.contains(&placement.active[task]), "{task}: a standby is somewhere else");
    }
}

proptest! {
    // Each case settles several placements; the rest of their number is better spent elsewhere.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_comes_and_goes_the_placement_settles_balanced(
        partitions in 1_u32..9,
        services in 1_usize..=5,
        standbys in 0_usize..3,
        warmups_max in 1_usize..9,
        lives in prop::collection::vec(prop::collection::btree_set(0_usize..5, 1..5), 1..6),
    ) {
        let mut world = World::new(partitions, standbys, warmups_max);
        for life in lives {
            let members = members(life, services);
            world.settle(&members);
            check_balance(&world.current, &members, services, partitions);
            let wanted = standbys.min(members.len() - 1);
            prop_assert!(world.current.standbys.values().all(|of| of.len() == wanted));
        }
    }

    #[test]
    fn a_running_task_moves_only_to_who_is_warm(
        partitions in 1_u32..9,
        services in 1_usize..=5,
        lives in prop::collection::vec(prop::collection::btree_set(0_usize..5, 1..5), 2..6),
    ) {
        let mut world = World::new(partitions, 1, 4);
        for life in lives {
            let members = members(life, services);
            for _ in 0..20 {
                let warm = world.warm.clone();
                let before = world.step(&members);
                for (task, owner) in &world.current.active {
                    let old = before.active.get(task);
                    let stays_there = old.is_none_or(|old| !members.contains_key(old));
                    prop_assert!(
                        stays_there || old == Some(owner) || warm.contains(&(task.clone(), owner.clone())),
                        "{task} moved from {old:?} to {owner}, which is cold"
                    );
                }
            }
        }
    }

    #[test]
    fn who_joins_takes_its_share_and_the_others_exchange_next_to_nothing(
        partitions in 1_u32..9,
        services in 1_usize..=5,
        count in 1_usize..5,
    ) {
        let mut world = World::new(partitions, 1, 100);
        world.settle(&members(0..count, services));
        let before = world.current.clone();
        world.settle(&members(0..=count, services));
        let moved = before.active.iter().filter(|(task, owner)| world.current.active[*task] != **owner).count();
        let share = world.current.active_count(&id(count));
        prop_assert!(moved <= share + services, "{moved} moved for a share of {share}");
    }
}

#[test]
fn the_tasks_of_a_dead_owner_go_to_their_warm_standbys_at_once() {
    let mut world = World::new(8, 1, 8);
    world.settle(&members(0..3, 2));
    let before = world.current.clone();
    world.step(&members(1..3, 2));
    for (task, owner) in &before.active {
        if **owner == *"i0" {
            assert_eq!(world.current.active[task], before.standbys[task][0], "{task}");
        } else {
            assert_eq!(&world.current.active[task], owner, "{task} had nothing to do with it");
        }
    }
}

#[test]
fn who_leaves_keeps_a_task_until_somebody_else_is_warm() {
    let mut world = World::new(4, 0, 8);
    world.settle(&members(0..1, 1));
    let (members, leaving) = (members(1..2, 1), BTreeSet::from([id(0)]));
    let cold = world.warm.clone();
    let situation = |current, warm| Situation { partitions: 4, members: &members, current, leaving: &leaving, warm };
    let first = world.assignor.step(&situation(&world.current, &cold));
    assert_eq!(first.active_count("i0"), 4);
    assert!(first.standbys.values().all(|standbys| standbys == &[id(1)]), "the new owner warms up: {first:?}");
    let warm = first.active.keys().map(|task| (task.clone(), id(1))).collect();
    let second = world.assignor.step(&situation(&first, &warm));
    assert_eq!(second.active_count("i1"), 4);
}

#[test]
fn standbys_are_in_another_zone_where_there_is_one() {
    let zones = ["x", "x", "y"];
    let members: Members = (0..3).map(|n| (id(n), member(zones[n], &["a"]))).collect();
    let mut world = World::new(8, 1, 8);
    world.settle(&members);
    for (task, owner) in &world.current.active {
        let standby = &world.current.standbys[task][0];
        assert_ne!(members[owner].zone, members[standby].zone, "{task}");
    }
}

#[test]
fn tasks_go_only_to_members_that_can_run_them() {
    let members: Members = [(id(0), member("", &["a"])), (id(1), member("", &["b"]))].into();
    let mut world = World::new(4, 1, 8);
    world.settle(&members);
    assert!(world.current.active.iter().all(|(task, owner)| members[owner].services.contains(&task.service)));
    assert!(world.current.standbys.is_empty(), "nobody else can follow");
}

#[test]
fn every_instance_computes_the_same() {
    let (mut one, mut other) = (World::new(8, 1, 8), World::new(8, 1, 8));
    one.settle(&members(0..3, 5));
    other.settle(&members([2, 0, 1], 5));
    assert_eq!(one.current, other.current);
}
