//! What is done to the mesh, and when: drawn from a seed before the campaign, so that it can be read and repeated.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arrivals::Draw;

/// How long all broker nodes are away, in milliseconds.
const AWAY_MS: u64 = 60_000;

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An instance is killed with -9, and started again.
    Kill,
    /// An instance is killed, started, and killed again while it recovers.
    KillTwice,
    /// An instance is killed several times in a row, each time while it restores what it had.
    KillOften,
    /// All instances are killed at once, and started again.
    KillAll,
    /// An instance is stopped for longer than its session, and continued.
    Pause,
    /// An instance is stopped again and again for less than its session, half of the times for 90 % of it.
    Flicker,
    /// An instance is told to leave, and comes back.
    Leave,
    /// A broker node is killed with -9, and started again.
    KillBroker,
    /// The broker node that leads a changelog is killed with -9, and started again.
    KillLeader,
    /// A broker node is stopped, and continued.
    PauseBroker,
    /// All broker nodes are stopped, and continued.
    PauseBrokers,
    /// All broker nodes are stopped for a minute, and continued.
    BrokersAway,
    /// All instances but one leave, all come back, one of them leaves, and comes back.
    Scale,
    /// An instance leaves, and comes back as the other version (--other-binary).
    ChangeVersion,
    /// All instances, one after the other, leave and come back as the other version (--other-binary): there, and next time back.
    Upgrade,
    /// All connections to all brokers are reset, three times.
    Reset,
    /// A broker node accepts connections and never answers.
    Mute,
    /// Requests reach a broker node, and its answers do not come back.
    LoseAnswers,
    /// An instance is cut off from all brokers, and from nobody else.
    CutBrokers,
    /// What other instances say to an instance does not arrive, and the brokers are still there.
    CutPeers,
    /// Whatever passes between instances and brokers is delayed by up to 400 ms, on each connection differently.
    Delay,
    /// Of what comes back over these connections 30 % have to be sent again, and now and then a connection is reset.
    Lossy,
    /// The wall clock of an instance is put a day ahead, and right again (--faketime).
    ClockAhead,
    /// The wall clock of an instance is put back by an hour, and right again (--faketime).
    ClockBack,
}

impl Kind {
    /// Those that need only one process and its own log.
    pub const ALONE: [Self; 5] = [Self::Kill, Self::KillTwice, Self::Pause, Self::Flicker, Self::Leave];
    /// Those that take so long, or change the mesh so much, that they are done only when they are asked for.
    pub const ASKED_FOR: [Self; 9] = [
        Self::KillOften,
        Self::BrokersAway,
        Self::Scale,
        Self::ChangeVersion,
        Self::Upgrade,
        Self::Delay,
        Self::Lossy,
        Self::ClockAhead,
        Self::ClockBack,
    ];
    /// How often each is drawn, of a hundred, when there are several instances and brokers; those that are not here are only
    /// done when they are asked for.
    const WEIGHTS: [(Self, u64); 15] = [
        (Self::Kill, 22),
        (Self::KillTwice, 8),
        (Self::KillAll, 3),
        (Self::Pause, 20),
        (Self::Flicker, 4),
        (Self::Leave, 12),
        (Self::KillBroker, 4),
        (Self::KillLeader, 4),
        (Self::PauseBroker, 3),
        (Self::PauseBrokers, 3),
        (Self::Reset, 5),
        (Self::Mute, 3),
        (Self::LoseAnswers, 3),
        (Self::CutBrokers, 3),
        (Self::CutPeers, 3),
    ];

    /// Whether it takes partitions from an instance.
    pub fn takes_over(self) -> bool {
        let killed = matches!(self, Self::Kill | Self::KillTwice | Self::KillOften);
        killed || matches!(self, Self::Pause | Self::Flicker | Self::Leave | Self::ChangeVersion)
    }

    /// Whether it needs clocks that can be set.
    pub fn needs_clocks(self) -> bool {
        matches!(self, Self::ClockAhead | Self::ClockBack)
    }

    /// Whether it needs another version of the program.
    pub fn needs_other_version(self) -> bool {
        matches!(self, Self::ChangeVersion | Self::Upgrade)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("every kind has a name").get_name())
    }
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Whom: the number of the instance or broker node, from 0.
    pub target: usize,
    /// How long, in milliseconds. Of what is done several times: each time.
    pub for_ms: u64,
    /// How many times in a row, from 1, of what is done as often as the seed says.
    pub times: u64,
    /// Quiet time before it, in milliseconds.
    pub after_ms: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} ms: {} {} for {} ms", self.after_ms, self.kind, self.target, self.for_ms)?;
        if self.times > 1 { write!(f, ", {} times", self.times) } else { Ok(()) }
    }
}

/// What a schedule is drawn from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// How many faults.
    pub faults: u64,
    /// Instances.
    pub instances: usize,
    /// Broker nodes; 0 without brokers.
    pub brokers: usize,
    /// Only these kinds, each as often; all with their weights when empty.
    pub only: Vec<Kind>,
    /// How long an instance must be stopped to lose its session, in milliseconds.
    pub session_ms: u64,
    /// Shortest quiet time between faults, in milliseconds.
    pub quiet_ms: u64,
}

/// Draws the faults. The same plan gives the same faults.
pub fn draw(plan: &Plan) -> Vec<Fault> {
    (0..plan.faults).map(|n| one(plan, &mut Draw::new(plan.seed, 0xfa_0000 + n))).collect()
}

fn one(plan: &Plan, draw: &mut Draw) -> Fault {
    let kind = kind(plan, draw);
    let count = match kind {
        Kind::KillBroker | Kind::KillLeader | Kind::PauseBroker | Kind::Mute | Kind::LoseAnswers => plan.brokers,
        _ => plan.instances,
    };
    let target = usize::try_from(draw.below(count.max(1) as u64)).unwrap_or(0);
    let for_ms = match kind {
        // Down for less and for longer than a session: it comes back as itself, or to a mesh that has gone on.
        Kind::Kill | Kind::KillAll | Kind::Leave => 200 + draw.below(plan.session_ms * 3 / 2),
        Kind::KillTwice => 100 + draw.below(1_500),
        Kind::Pause | Kind::CutBrokers | Kind::CutPeers => {
            plan.session_ms + plan.session_ms / 4 + draw.below(plan.session_ms / 2)
        }
        Kind::KillOften => 100 + draw.below(400),
        Kind::Flicker => match draw.below(2) {
            0 => plan.session_ms * 9 / 10,
            _ => plan.session_ms / 5 + draw.below(plan.session_ms * 7 / 10),
        },
        Kind::BrokersAway => AWAY_MS,
        Kind::Scale => 3_000 + draw.below(3_000),
        Kind::ChangeVersion | Kind::Upgrade => 200 + draw.below(2_000),
        Kind::KillBroker | Kind::KillLeader => 500 + draw.below(4_000),
        Kind::PauseBroker | Kind::PauseBrokers | Kind::Mute => 2_000 + draw.below(6_000),
        Kind::Reset => 300,
        Kind::Delay | Kind::Lossy | Kind::ClockAhead | Kind::ClockBack => 10_000 + draw.below(5_000),
        Kind::LoseAnswers => 1_000 + draw.below(2_000),
    };
    let after_ms = plan.quiet_ms + draw.below(plan.quiet_ms / 2 + 1);
    let times = match kind {
        Kind::KillOften => 3 + draw.below(3),
        // Long enough for a second and a third move, if there are any.
        Kind::Flicker => (plan.session_ms * 5 / 2).div_ceil(for_ms.max(1)).max(3),
        _ => 1,
    };
    Fault { kind, target, for_ms, times, after_ms }
}

fn kind(plan: &Plan, draw: &mut Draw) -> Kind {
    let pick = |kinds: &[Kind], draw: &mut Draw| {
        let at = usize::try_from(draw.below(kinds.len() as u64)).unwrap_or(0);
        kinds[at]
    };
    if !plan.only.is_empty() {
        return pick(&plan.only, draw);
    }
    if plan.brokers == 0 {
        return pick(&Kind::ALONE, draw);
    }
    let mut left = draw.below(Kind::WEIGHTS.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in Kind::WEIGHTS {
        match left.checked_sub(weight) {
            Some(rest) => left = rest,
            None => return kind,
        }
    }
    Kind::Kill
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, brokers: usize) -> Plan {
        Plan { seed, faults: 400, instances: 3, brokers, only: Vec::new(), session_ms: 6_000, quiet_ms: 8_000 }
    }

    #[test]
    fn the_same_seed_draws_the_same_faults_and_another_draws_others() {
        assert_eq!(draw(&plan(7, 3)), draw(&plan(7, 3)));
        assert_ne!(draw(&plan(7, 3)), draw(&plan(8, 3)));
    }

    #[test]
    fn every_kind_is_drawn_and_none_that_needs_brokers_without_them() {
        let kinds =
            |brokers| draw(&plan(1, brokers)).iter().map(|fault| fault.kind).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(kinds(3).len(), Kind::WEIGHTS.len());
        assert!(kinds(0).iter().all(|kind| Kind::ALONE.contains(kind)));
        assert!(draw(&plan(1, 3)).iter().all(|fault| fault.target < 3));
    }

    #[test]
    fn what_takes_long_is_done_only_when_it_is_asked_for() {
        assert!(draw(&plan(1, 3)).iter().all(|fault| !Kind::ASKED_FOR.contains(&fault.kind)));
        assert_eq!(Kind::ASKED_FOR.len() + Kind::WEIGHTS.len(), Kind::value_variants().len());
        for kind in Kind::ASKED_FOR {
            let plan = Plan { only: vec![kind], ..plan(1, 3) };
            assert!(draw(&plan).iter().all(|fault| fault.kind == kind));
        }
    }

    #[test]
    fn an_instance_is_killed_three_to_five_times_in_a_row() {
        let plan = Plan { only: vec![Kind::KillOften], ..plan(1, 3) };
        let times: std::collections::BTreeSet<_> = draw(&plan).iter().map(|fault| fault.times).collect();
        assert_eq!(times.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn a_pause_outlasts_the_session() {
        let faults = draw(&plan(3, 3));
        assert!(faults.iter().filter(|fault| fault.kind == Kind::Pause).all(|fault| fault.for_ms > 6_000));
        let flickers = || faults.iter().filter(|fault| fault.kind == Kind::Flicker);
        assert!(flickers().all(|fault| fault.for_ms <= 5_400 && fault.for_ms * fault.times >= 15_000));
        assert!(flickers().any(|fault| fault.for_ms == 5_400), "90 % of the session");
    }
}
