//! The way of a call into the task that owns its key, the same for every service: execute a command, read, wait, list.
//!
//! Handlers convert, call this, and convert again. Whatever goes wrong between them and the task becomes a [`Problem`] here,
//! so that it has the same code and reason everywhere.

mod bound;
mod deadline;
mod outage;
mod page;
mod refusals;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use proto::mesh::v1::{Role, ServedBy};
use task_runtime::{
    Access, Availability, CallError, Command, Consistency, Handle, Position, StoreId, TRACE_HEADER, Tasks, View,
};
use tonic::metadata::MetadataMap;
use tracing::Span;

pub use bound::ReadBound;
pub use deadline::Deadline;
pub use page::{Listed, Page};
pub(crate) use refusals::damaged;
pub use refusals::unreadable;

use crate::{ConsistencyToken, FieldFaults, FieldLimits, Problem, reply};
use outage::LogWait;

/// The owner's side of one service in this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Owner {
    tasks: Tasks,
    instance: Arc<str>,
    log: LogWait,
    key_name: &'static str,
    addresses: Addresses,
    limits: FieldLimits,
}

/// Where instances are, by their names. Cheap to clone.
#[derive(Clone)]
pub struct Addresses(Arc<AddressOf>);

type AddressOf = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Addresses {
    /// Asks `find` for the address of an instance each time that one is needed.
    pub fn new(find: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    /// The address of an instance; empty when nobody has told it.
    fn of(&self, instance: &str) -> String {
        self.0(instance).unwrap_or_default()
    }
}

impl Default for Addresses {
    /// Knows of nobody.
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Addresses")
    }
}

/// A command on its way to its task.
#[derive(Debug)]
pub struct Call {
    /// Name that the service's definition declares.
    pub name: &'static str,
    /// Key that it concerns.
    pub key: Bytes,
    /// The client's id of this request; empty without one.
    pub request_id: String,
    /// The client's content, encoded: what must be equal when a request id is used again. It holds neither the request id
    /// nor anything that only says how to answer.
    pub payload: Bytes,
    /// What may differ when a request id is used again.
    pub attachment: Bytes,
}

/// An answer and the state that it comes from.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// The partition that gave it.
    pub partition: u32,
    /// The partition's position: the answer reflects everything before it.
    pub position: Position,
    /// For how long a standby that answered has known of more than that, in milliseconds; none if the owner answered.
    pub standby_lag_ms: Option<u64>,
}

impl<T> Answer<T> {
    fn of_owner(value: T, partition: u32, position: Position) -> Self {
        Self { value, partition, position, standby_lag_ms: None }
    }
}

/// What a look at a key shows to somebody who waits.
#[derive(Debug)]
pub enum Look<T> {
    /// What was waited for.
    Found(T),
    /// Not yet; this far it has come, such as "CREATED".
    Stage(&'static str),
}

/// Stage of a thing that does not exist.
pub const STAGE_UNKNOWN: &str = "UNKNOWN";

impl Owner {
    /// The owner's side of the service whose tasks these are; `instance` names the process to clients.
    pub fn new(tasks: Tasks, instance: impl Into<Arc<str>>) -> Self {
        Self {
            tasks,
            instance: instance.into(),
            log: LogWait::default(),
            key_name: "key",
            addresses: Addresses::default(),
            limits: FieldLimits::default(),
        }
    }

    /// The same, which takes fields within these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: FieldLimits) -> Self {
        self.limits = limits;
        self
    }

    /// What collects the faults of a request from a client.
    #[must_use]
    pub fn faults(&self) -> FieldFaults {
        FieldFaults::within(self.limits)
    }

    /// The same, which tells callers that have come to the wrong instance where the right one is.
    #[must_use]
    pub fn with_addresses(mut self, addresses: Addresses) -> Self {
        self.addresses = addresses;
        self
    }

    /// The same, with the name that its keys have on the spans of calls: `order_id`, `product_id`.
    #[must_use]
    pub fn keyed_by(mut self, key_name: &'static str) -> Self {
        self.key_name = key_name;
        self
    }

    /// The same, whose calls end with LOG_UNAVAILABLE when the log under the tasks has not answered for `wait_max`: at once if
    /// it has not for so long already. Reads that need no log are answered all the same.
    #[must_use]
    pub fn with_log(mut self, log: Availability, wait_max: Duration) -> Self {
        self.log = LogWait::new(log, wait_max);
        self
    }

    /// Executes a command and returns its answer when its effects are certified. A repeated request id gets the first answer.
    ///
    /// # Errors
    /// The problem that the handler answered with, or why there is no answer.
    pub async fn execute<R: Message + Default>(
        &self,
        metadata: &MetadataMap,
        call: Call,
    ) -> Result<Answer<R>, Problem> {
        let partition = self.partition_of(&call.key);
        let handle = self.tasks.for_partition(partition)?;
        if let Some(outage) = self.log.outage(&self.tasks, partition, Access::Append) {
            return Err(refusals::log_away(&outage));
        }
        let request_id = (!call.request_id.is_empty()).then_some(call.request_id);
        // Kept for the answer to a misuse; requests without an id cannot be misused.
        let repeatable = request_id.clone();
        let command = Command {
            name: call.name,
            key: call.key,
            request_id,
            payload: call.payload,
            attachment: call.attachment,
            time_ms: self.tasks.now_ms(),
            traceparent: metadata.get(TRACE_HEADER).map(|value| Bytes::copy_from_slice(value.as_bytes())),
        };
        let committed = self.log.unless_out(&self.tasks, partition, handle.execute(command)).await;
        let committed = match committed {
            Ok(committed) => committed.map_err(|error| match (error, repeatable) {
                (CallError::RequestIdReused, Some(id)) => Problem::request_id_reused(&id),
                (CallError::Stopped { .. }, None) => refusals::outcome_unknown_for_ever("the owner stopped"),
                (error, _) => self.refusal(error, partition),
            })?,
            Err(_) if repeatable.is_none() => {
                return Err(refusals::outcome_unknown_for_ever("the log does not answer"));
            }
            Err(outage) => return Err(refusals::log_went_away(&outage)),
        };
        Ok(Answer::of_owner(reply::decode(committed.reply)?, partition, committed.position))
    }

    /// Reads from the task that owns `key`, as fresh as the client asks for; strong when it does not say.
    ///
    /// # Errors
    /// What `read` finds, or why there is no answer.
    pub async fn read<R, F>(&self, key: &[u8], bound: ReadBound, read: F) -> Result<Answer<R>, Problem>
    where
        R: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<R, Problem> + Send + 'static,
    {
        self.read_partition(self.partition_of(key), bound, read).await
    }

    /// Reads a page of the partition that `page` names. Returns its items and the token of the next page.
    ///
    /// # Errors
    /// As [`Owner::read`].
    pub async fn list<T, F>(&self, page: Page, bound: ReadBound, read: F) -> Result<Answer<(Vec<T>, String)>, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>, &Page) -> Result<Listed<T>, Problem> + Send + 'static,
    {
        let partition = page.partition;
        let read = move |view: &View<'_>| {
            let Listed { items, next } = read(view, &page)?;
            Ok((items, page.next_token(next)))
        };
        self.read_partition(partition, bound, read).await
    }

    /// Waits until `look` finds something: it looks now, and again after every commit that changes `key` of `store`.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED with the stage that was reached, shortly before the deadline so that the caller still hears it;
    /// what `look` finds, or why there is no answer.
    pub async fn wait<R, F>(
        &self,
        deadline: Deadline,
        store: StoreId,
        key: &[u8],
        mut look: F,
    ) -> Result<Answer<R>, Problem>
    where
        R: Send + 'static,
        F: FnMut(&View<'_>) -> Result<Look<R>, Problem> + Send + 'static,
    {
        let partition = self.partition_of(key);
        let handle = self.tasks.for_partition(partition)?;
        let reached = Arc::new(Mutex::new(STAGE_UNKNOWN));
        let stage = Arc::clone(&reached);
        let found = handle.wait(store, key, move |view| match look(view) {
            Ok(Look::Found(found)) => Some(Ok(found)),
            Ok(Look::Stage(now)) => {
                *stage.lock().unwrap_or_else(PoisonError::into_inner) = now;
                None
            }
            Err(problem) => Some(Err(problem)),
        });
        let found = self.log.unless_out(&self.tasks, partition, found);
        match tokio::time::timeout_at(deadline.answer_by(), found).await {
            Ok(found) => {
                let found = found.map_err(|outage| refusals::log_away_while_waiting(&outage))?;
                let (value, position) = found.map_err(|error| self.unanswered(error, partition))?;
                Ok(Answer::of_owner(value?, partition, position))
            }
            Err(_) => Err(Problem::deadline_exceeded(*reached.lock().unwrap_or_else(PoisonError::into_inner))),
        }
    }

    /// The token that lets a later read see this answer's state.
    pub fn consistency_token<T>(&self, answer: &Answer<T>) -> String {
        let Position { incarnation, offset } = answer.position;
        let role = self.tasks.service().to_owned();
        ConsistencyToken { role, partition: answer.partition, incarnation, offset }.encode()
    }

    /// Who gave the answer.
    pub fn served_by<T>(&self, answer: &Answer<T>) -> ServedBy {
        ServedBy {
            instance: self.instance.as_ref().to_owned(),
            role: if answer.standby_lag_ms.is_none() { Role::Active } else { Role::Standby }.into(),
            applied_offset: i64::try_from(answer.position.offset).unwrap_or(i64::MAX),
            lag_ms: answer.standby_lag_ms.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            partition: i32::try_from(answer.partition).unwrap_or(i32::MAX),
        }
    }

    /// The role whose tasks these are.
    pub fn role(&self) -> &'static str {
        self.tasks.service()
    }

    /// The partition of a key, which is noted on the span of the call.
    pub fn partition_of(&self, key: &[u8]) -> u32 {
        let span = Span::current();
        if !span.is_disabled() {
            span.record(self.key_name, String::from_utf8_lossy(key).as_ref());
        }
        self.tasks.partition_of(key)
    }

    /// Reads from the task of a partition, as [`Owner::read`] does.
    pub(crate) async fn read_partition<R, F>(
        &self,
        partition: u32,
        bound: ReadBound,
        read: F,
    ) -> Result<Answer<R>, Problem>
    where
        R: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<R, Problem> + Send + 'static,
    {
        let consistency = bound.of_partition(self.tasks.service(), partition);
        let handle: &Handle = self.tasks.for_partition(partition)?;
        let read = move |view: &View<'_>| {
            let standby_lag_ms = (view.role() == task_runtime::Role::Standby).then(|| view.lag_ms());
            (read(view), standby_lag_ms)
        };
        let strong = consistency != Consistency::Eventual;
        let answered = self.log.unless_unreadable(&self.tasks, partition, strong, handle.read(consistency, read));
        let answered = answered.await.map_err(|outage| refusals::log_away(&outage))?;
        let ((value, standby_lag_ms), position) = answered.map_err(|error| self.unanswered(error, partition))?;
        Ok(Answer { value: value?, partition, position, standby_lag_ms })
    }

    /// Why a read was not answered. A stopped task took nothing with it, so that trying again is always right.
    fn unanswered(&self, error: CallError, partition: u32) -> Problem {
        match error {
            CallError::Stopped { .. } => Problem::rebalancing(self.tasks.service(), partition),
            error => self.refusal(error, partition),
        }
    }

    /// What a caller is told, with the way to the owner if that is what it lacks. A task that moves and cannot claim, since
    /// the log takes nothing, will not have moved in a moment.
    fn refusal(&self, error: CallError, partition: u32) -> Problem {
        if matches!(error, CallError::Moving { .. })
            && let Some(outage) = self.log.outage(&self.tasks, partition, Access::Append)
        {
            return refusals::log_away(&outage);
        }
        let owner = match &error {
            CallError::NotOwner { owner: Some(owner), .. } => self.addresses.of(owner),
            _ => String::new(),
        };
        refusals::refusal(error, &owner)
    }
}

/// Reads one row of a store.
///
/// # Errors
/// PARTITION_REBALANCING when the store is damaged: its task rebuilds it.
pub fn row(view: &View<'_>, store: StoreId, key: &[u8]) -> Result<Option<Bytes>, Problem> {
    view.get(store, key).map_err(|error| refusals::damaged(store, &error))
}

/// Reads up to `limit` rows of a store whose keys begin with `prefix`, in key order, with their keys.
///
/// # Errors
/// As [`row`].
pub fn rows(view: &View<'_>, store: StoreId, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, Problem> {
    view.scan(store, prefix, None, limit).map_err(|error| refusals::damaged(store, &error))
}
