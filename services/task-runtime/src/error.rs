//! Errors by boundary: of a handler, of a call into a task, of a task.

use event_log::{Offset, TopicPartition};

/// Why a handler could not finish.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The input cannot be processed, now or later: a record goes to the dead letters, a command is refused, and nothing
    /// of what the handler did so far counts.
    #[error("{0}")]
    Poison(String),
    /// The task's own store failed; the task stops and rebuilds it.
    #[error("the store failed")]
    Store(#[from] state_store::Error),
}

impl ProcessError {
    /// The input cannot be processed for this reason.
    pub fn poison(reason: impl Into<String>) -> Self {
        Self::Poison(reason.into())
    }
}

/// Why a call was not answered. What the caller may do next differs, hence the variants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Too many calls are waiting already. Nothing happened.
    #[error("task {task} has too many calls waiting")]
    Overloaded {
        /// The task.
        task: String,
    },
    /// This process does not own the partition. Nothing happened.
    #[error("{service} partition {partition} is not owned here")]
    NotOwner {
        /// The service.
        service: &'static str,
        /// The partition of the key.
        partition: u32,
        /// The newest epoch that is known here; 0 if none.
        epoch: u64,
        /// The instance that claimed it in that epoch. Ask there.
        owner: Option<String>,
    },
    /// The task is being restored here, or handed over. Nothing happened; ask again in a moment.
    #[error("{service} partition {partition} is moving")]
    Moving {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
    },
    /// The task stopped before it answered. The command may or may not have taken effect.
    #[error("task {task} stopped before it answered")]
    Stopped {
        /// The task.
        task: String,
    },
    /// The request id was used before with other content.
    #[error("the request id was used before with other content")]
    RequestIdReused,
    /// The handler could not process it; nothing changed.
    #[error("the command cannot be processed: {0}")]
    Poison(String),
    /// The state has not reached the position that was asked for.
    #[error("the state has not reached the position asked for")]
    NotUpToBound,
    /// The position belongs to another life of the changelog.
    #[error("the position belongs to another life of the changelog")]
    ForeignPosition,
}

/// Why a task stopped. The variants differ in what the process does next.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Another owner has claimed the task: drop it.
    #[error("another owner holds epoch {epoch}")]
    Fenced {
        /// The rival's epoch.
        epoch: u64,
    },
    /// The local store is unusable: wipe it and restore.
    #[error("the store is unusable")]
    Corrupted(#[source] state_store::Error),
    /// The local store cannot be written at present, as when the disk is full: try again later.
    #[error("the store cannot be used at present")]
    Store(#[source] state_store::Error),
    /// The log lost records that were committed, or holds what no owner of ours wrote. A person must act.
    #[error("{partition} lost records: expected to go on at {expected}, but it ends at {found}")]
    LogRegressed {
        /// The changelog or input.
        partition: TopicPartition,
        /// Where the task wanted to go on.
        expected: Offset,
        /// Where the log ends.
        found: Offset,
    },
    /// An input has lost records that their sender knew to be there. A person must act.
    #[error(
        "{partition} lost records {first} to {last} of {sender}, which stood before offset {offset}: bring them back, or \
         set tasks.accept_input_loss to go on without them"
    )]
    InputLost {
        /// The input.
        partition: TopicPartition,
        /// The first record that is there again.
        offset: Offset,
        /// The task that sent them.
        sender: String,
        /// The numbers of what is lost, of all that the sender has sent to this partition.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// The log was trimmed above what the task has applied. A person must act.
    #[error("{partition} was trimmed to {earliest}, but the task has read only up to {position}")]
    Trimmed {
        /// The changelog or input.
        partition: TopicPartition,
        /// First offset that is left.
        earliest: Offset,
        /// Next offset that the task needs.
        position: Offset,
    },
    /// The changelog was trimmed behind a snapshot while it was being read: the store is restored from there.
    #[error("{partition} was trimmed to {earliest} while it was being read at {position}")]
    Overtaken {
        /// The changelog.
        partition: TopicPartition,
        /// First offset that is left.
        earliest: Offset,
        /// Next offset that the task wanted.
        position: Offset,
    },
    /// An entry of the changelog cannot be read. A person must act.
    #[error("entry {offset} of {partition} cannot be read: {reason}")]
    Unreadable {
        /// The changelog.
        partition: TopicPartition,
        /// The entry.
        offset: Offset,
        /// Why.
        reason: String,
    },
    /// The log refused for good.
    #[error("the log failed")]
    Log(#[from] event_log::Error),
}

impl TaskError {
    pub(crate) fn from_store(error: state_store::Error) -> Self {
        if error.is_damage() { Self::Corrupted(error) } else { Self::Store(error) }
    }
}
