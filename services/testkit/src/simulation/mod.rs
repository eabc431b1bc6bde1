//! A mesh in simulated time under seeded faults: thousands of lives in seconds, every step judged.
//!
//! Everything that a simulation needs whatever its services do: a log that is slow, refuses, loses, repeats and lands late; disks
//! that lose unsynced tails; processes that crash, freeze, are cut off and rivalled; a judge of the commit protocol; and the
//! campaign over many seeds. What runs in it and what is demanded of it besides is a [`Scenario`].
//!
//! What always holds: the same seed gives the same run to the byte, on any machine.

mod campaign;
mod dice;
mod life;
mod nemesis;
mod network;
mod oracle;
mod panics;
mod profile;
mod seed;
mod shared;
mod stores;
mod topology;
mod trace;
mod world;

use std::convert::Infallible;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use task_runtime::changelog::Body;
use task_runtime::{Handle, Role};
use tokio::task::JoinHandle;

pub use campaign::campaign;
pub use dice::Dice;
pub use oracle::{Failure, Losses, Oracle, Reading, Received, Stats, Verdict, fail};
pub use profile::{Loss, Nemesis, Network, Profile};
pub use shared::Shared;
pub use topology::{TaskKey, Topology};
pub use world::{Running, World};

/// What runs in a simulation, and what is demanded of it besides the commit protocol.
pub trait Scenario: Sized + Send + 'static {
    /// A wrong way of doing it that can be planted.
    type Bug: Copy + Send + Sync;

    /// What the process that rebuilds every store at the end is to it: an owner where topics lead one way, so that nobody
    /// reads again what a rebuilt owner sends again; a standby where they lead in circles.
    const REBUILT_AS: Role;

    /// The wrong ways by name. Each must be found, or the faults are too tame to trust a clean run.
    fn bugs() -> Vec<(&'static str, Self::Bug)>;

    /// What one seed is like.
    fn draw(dice: &mut Dice, bug: Option<Self::Bug>) -> Plan<Self>;

    /// Starts everybody who calls the mesh. The seed is over when all of them have ended.
    fn callers(world: &Rc<World<Self>>, dice: &mut Dice) -> Vec<JoinHandle<()>>;

    /// What else a process runs for a task as long as it runs the task: it is frozen and killed with it.
    fn beside(
        _world: &Rc<World<Self>>,
        _task: TaskKey,
        _process: usize,
        _handle: &Handle,
    ) -> Option<LocalBoxFuture<'static, Infallible>> {
        None
    }

    /// A commit counts; `reading` is the state of its task behind it.
    ///
    /// # Errors
    /// What is wrong with it.
    fn committed(&mut self, task: TaskKey, reading: &Reading, body: &Body, losses: Losses) -> Verdict;

    /// The log is about to lose entries of this changelog.
    fn losing(&mut self, reading: &Reading);

    /// What the services have still to do, if anything, once nobody calls any more.
    fn unfinished(oracle: &Oracle<Self>, now_ms: i64) -> Option<String>;

    /// Whether everything that holds in the end holds.
    ///
    /// # Errors
    /// What does not.
    fn settled(oracle: &Oracle<Self>) -> Verdict;
}

/// One run, as drawn.
#[derive(Debug)]
pub struct Plan<S> {
    /// How large it is, and what goes wrong.
    pub profile: Profile,
    /// The services and their topics.
    pub topology: Topology,
    /// What is demanded of it.
    pub scenario: S,
}
