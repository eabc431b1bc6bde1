//! How callers reach the mesh: through the real gRPC services of the process that they ask, without a network in between.
//! They give up waiting, and ask again, perhaps someone else.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use event_log::partition_for_key;
use ordermesh::Config;
use service_host::{Code, Owner, Problem, WatchConfig, Watches};
use task_runtime::Tasks;
use testkit::simulation::{Dice, fail};
use tokio::time::{sleep, timeout};
use tonic::{Response, Status};

use crate::history::History;
use crate::shop::World;

/// What the gRPC services of one process are made of.
pub(crate) struct Server {
    pub(crate) owner: Owner,
    pub(crate) watches: Watches,
    pub(crate) config: Arc<Config>,
}

/// How one try ended, as far as the caller can tell.
pub(crate) enum Try<T> {
    Answered(T),
    /// For a reason that asking again would not change.
    Refused(Problem),
    /// It may have happened, or somebody else is to be asked.
    Unknown,
}

/// One caller's way into the mesh.
pub(crate) struct Desk {
    pub(crate) world: Rc<World>,
    pub(crate) dice: Dice,
    config: Arc<Config>,
}

impl Desk {
    pub(crate) fn new(world: &Rc<World>, dice: Dice) -> Self {
        let config = world.shared.oracle(|oracle| oracle.scenario.config.clone());
        Self { world: world.clone(), dice, config }
    }

    pub(crate) fn fork(&mut self) -> Self {
        Self { world: self.world.clone(), dice: self.dice.fork(), config: self.config.clone() }
    }

    pub(crate) fn history<R>(&self, tell: impl FnOnce(&mut History) -> R) -> R {
        self.world.shared.oracle(|oracle| tell(&mut oracle.scenario.history))
    }

    /// A law is broken, unless the log itself has lost what it had acknowledged.
    pub(crate) fn broken(&self, law: &'static str, detail: String) {
        if !self.world.shared.oracle(|oracle| oracle.has_lost) {
            self.world.shared.check(fail(law, detail));
        }
    }

    pub(crate) async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        let pause = self.dice.millis(from_ms, to_ms);
        sleep(pause).await;
    }

    /// Asks the service for a key, once.
    pub(crate) async fn ask<T>(
        &mut self,
        service: &'static str,
        key: &str,
        call: impl AsyncFnOnce(Server) -> Result<Response<T>, Status>,
    ) -> Try<T> {
        let partitions = self.config.mesh.partitions;
        let index = self.world.shared.topology.service(service).unwrap();
        let task = (index, partition_for_key(key.as_bytes(), partitions));
        let life = self.world.pick(task, &mut self.dice).await;
        let clock = self.world.clock(life.process);
        let tasks = Tasks::simulated(service, (task.1, partitions), life.handle.clone(), clock);
        let owner = Owner::new(tasks, format!("p{}", life.process));
        let watches = Watches::new(WatchConfig::default(), self.world.outside_log(), partitions);
        let server = Server { owner, watches, config: self.config.clone() };
        let patience = self.dice.pick(&[Duration::from_millis(60), Duration::from_millis(400), Duration::from_secs(4)]);
        let at = life.process;
        match timeout(patience, call(server)).await {
            Err(_) => {
                self.world.shared.note(format_args!("{service} at p{at} is silent about {key}"));
                Try::Unknown
            }
            Ok(Ok(response)) => Try::Answered(response.into_inner()),
            Ok(Err(status)) => {
                self.world.shared.note(format_args!("{service} at p{at} says of {key}: {}", status.message()));
                self.judge(service, key, &status)
            }
        }
    }

    /// Asks until there is an answer or a refusal.
    pub(crate) async fn insist<T, R: Clone>(
        &mut self,
        service: &'static str,
        key: &str,
        request: R,
        call: impl AsyncFn(Server, R) -> Result<Response<T>, Status>,
    ) -> Result<T, Problem> {
        loop {
            match self.ask(service, key, async |server| call(server, request.clone()).await).await {
                Try::Answered(answer) => return Ok(answer),
                Try::Refused(problem) => return Err(problem),
                Try::Unknown => self.pause(5, 120).await,
            }
        }
    }

    /// I14: a status says what the caller can do, and never that there is a bug.
    fn judge<T>(&self, service: &str, key: &str, status: &Status) -> Try<T> {
        let problem = Problem::from(status);
        match (problem.code, &*problem.reason) {
            (Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted, _)
            | (_, "NOT_OWNER" | "NOT_UP_TO_BOUND") => Try::Unknown,
            (Code::Aborted, "VERSION_CONFLICT") => Try::Refused(problem),
            (Code::AlreadyExists | Code::FailedPrecondition | Code::NotFound | Code::InvalidArgument, _) => {
                Try::Refused(problem)
            }
            _ => {
                self.broken("I14 right status", format!("{service} answered for {key} with {status:?}"));
                Try::Unknown
            }
        }
    }
}
