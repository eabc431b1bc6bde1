//! The way into a task from outside: cheap handles with bounded queues behind them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use event_log::{TopicName, TopicPartition, partition_for_key};
use tokio::sync::{mpsc, oneshot};

use crate::view::View;
use crate::{CallError, Clock, Command, Committed, StateDigest, StoreId, topics};

/// A position in a task's history: state at or behind it contains everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The life of the changelog that the offset belongs to.
    pub incarnation: u128,
    /// Next offset of the changelog.
    pub offset: u64,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// As of now: the task proves that it still owns its partition before it answers.
    Strong,
    /// At least as fresh as this position. A standby that has not reached it waits a moment for it.
    AtLeast(Position),
    /// Not older than this. The owner answers at once if it has proven lately that it still is one; a standby if it has been
    /// at the end of the changelog lately. Otherwise both look first.
    MaxStaleness(Duration),
    /// Whatever has been applied, by the owner or a standby.
    Eventual,
}

/// What a read hands to the task: it runs on the task's thread against applied state.
pub(crate) type ReadFn = Box<dyn FnOnce(Result<(&View<'_>, Position), CallError>) + Send>;
/// Whether a wait is over: it has been answered, or nobody listens any more. Of a glance: whether it would be.
pub(crate) type WaitFn = Box<dyn FnMut(Sight<'_>) -> bool + Send>;

/// What a wait is shown.
pub(crate) enum Sight<'a> {
    /// Applied state of a task that may not own its partition any more: nobody is told of it.
    Glance(&'a View<'a>),
    /// Applied state that may be told.
    State(&'a View<'a>, Position),
    /// There will be none.
    Refused(CallError),
}

pub(crate) enum Request {
    Execute { command: Command, reply: oneshot::Sender<Result<Committed, CallError>> },
    Read { consistency: Consistency, run: ReadFn },
    Wait { store_key: Vec<u8>, check: WaitFn },
    Digest { reply: oneshot::Sender<Result<StateDigest, CallError>> },
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Execute { command, .. } => f.debug_tuple("Execute").field(&command.name).finish(),
            Self::Read { consistency, .. } => f.debug_tuple("Read").field(consistency).finish(),
            Self::Wait { .. } => f.write_str("Wait"),
            Self::Digest { .. } => f.write_str("Digest"),
        }
    }
}

impl Request {
    /// Ends a call without having done anything.
    pub(crate) fn refuse(self, error: CallError) {
        match self {
            // The caller may have gone away: then nobody needs the answer.
            Self::Execute { reply, .. } => drop(reply.send(Err(error))),
            Self::Read { run, .. } => run(Err(error)),
            Self::Wait { mut check, .. } => drop(check(Sight::Refused(error))),
            Self::Digest { reply } => drop(reply.send(Err(error))),
        }
    }
}

/// A handle of one task. Dropping a call's future abandons the answer, not the effect.
#[derive(Debug, Clone)]
pub struct Handle {
    task: Arc<str>,
    requests: mpsc::Sender<Request>,
}

impl Handle {
    pub(crate) fn new(task: &str, requests: mpsc::Sender<Request>) -> Self {
        Self { task: Arc::from(task), requests }
    }

    /// Executes a command and returns its answer when its effects are certified.
    ///
    /// # Errors
    /// After [`CallError::Stopped`] the outcome is unknown; after every other error nothing has happened.
    pub async fn execute(&self, command: Command) -> Result<Committed, CallError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Execute { command, reply })?;
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Runs `read` against applied state that is as fresh as asked for.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn read<R, F>(&self, consistency: Consistency, read: F) -> Result<(R, Position), CallError>
    where
        R: Send + 'static,
        F: FnOnce(&View<'_>) -> R + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run: ReadFn = Box::new(move |state| {
            // The caller may have gone away: then nobody needs the answer, which may be a page of a long list.
            if reply.is_closed() {
                return;
            }
            let _ = reply.send(state.map(|(view, position)| (read(view), position)));
        });
        self.send(Request::Read { consistency, run })?;
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Returns the first `Some` that `check` gives, looking now (as a strong read does) and after every commit that changes
    /// `key` of `store`. `check` has no effects of its own: it may be asked again about the same state. Any number of callers
    /// may wait; drop the future to stop waiting.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn wait<R, F>(&self, store: StoreId, key: &[u8], mut check: F) -> Result<(R, Position), CallError>
    where
        R: Send + 'static,
        F: FnMut(&View<'_>) -> Option<R> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let mut reply = Some(reply);
        let check: WaitFn = Box::new(move |sight| {
            if reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
                return true;
            }
            let result = match sight {
                Sight::Glance(view) => return check(view).is_some(),
                Sight::State(view, position) => match check(view) {
                    Some(found) => Ok((found, position)),
                    None => return false,
                },
                Sight::Refused(error) => Err(error),
            };
            if let Some(reply) = reply.take() {
                let _ = reply.send(result);
            }
            true
        });
        self.send(Request::Wait { store_key: crate::keys::state_key(store, key), check })?;
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// What the task's store holds now, to be compared with [`crate::rebuild`]. Owners and standbys answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn digest(&self) -> Result<StateDigest, CallError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Digest { reply })?;
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    fn send(&self, request: Request) -> Result<(), CallError> {
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CallError::Overloaded { task: self.task.to_string() },
            mpsc::error::TrySendError::Closed(_) => self.stopped(),
        })
    }

    fn stopped(&self) -> CallError {
        CallError::Stopped { task: self.task.to_string() }
    }
}

/// The tasks of one service that this process runs, by partition.
#[derive(Debug, Clone)]
pub struct Tasks {
    service: &'static str,
    changelog: TopicName,
    handles: Arc<[Option<Handle>]>,
    clock: Arc<dyn Clock>,
}

impl Tasks {
    pub(crate) fn new(service: &'static str, handles: Vec<Option<Handle>>, clock: Arc<dyn Clock>) -> Self {
        Self { service, changelog: topics::changelog(service), handles: handles.into(), clock }
    }

    /// The tasks of a service of which only this one is here, for a simulation.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn simulated(service: &'static str, (partition, of): (u32, u32), task: Handle, clock: Arc<dyn Clock>) -> Self {
        let handles = (0..of).map(|other| (other == partition).then(|| task.clone()));
        Self::new(service, handles.collect(), clock)
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The changelog of a partition's task.
    #[must_use]
    pub fn changelog(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(self.changelog.clone(), partition)
    }

    /// Number of partitions of the whole mesh, owned here or not.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.handles.len()).expect("partition counts are far below 2^32")
    }

    /// The partition that a key belongs to.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> u32 {
        partition_for_key(key, self.partitions())
    }

    /// The task of the key.
    ///
    /// # Errors
    /// As [`Tasks::for_partition`].
    pub fn for_key(&self, key: &[u8]) -> Result<&Handle, CallError> {
        self.for_partition(self.partition_of(key))
    }

    /// The task of a partition.
    ///
    /// # Errors
    /// [`CallError::NotOwner`] if there is no such partition. A task that has no role here is found; it refuses calls itself.
    pub fn for_partition(&self, partition: u32) -> Result<&Handle, CallError> {
        let handle = self.handles.get(partition as usize).and_then(Option::as_ref);
        handle.ok_or(CallError::NotOwner { service: self.service, partition, epoch: 0, owner: None })
    }

    /// The time to stamp on a command that arrives now.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}
