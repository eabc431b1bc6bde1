//! Proof that a store is what its changelog says: its digest at an offset, and the digest of a store that is rebuilt from
//! scratch up to the same offset. Owners and standbys can each be compared with a rebuilt one at their own offset, so that
//! nobody has to stop for it.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use crate::progress::Checkpoint;
use crate::restore::RestoredFrom;
use crate::runtime::Spawn;
use crate::status::Changes;
use crate::task::Task;
use crate::{Assignment, CallError, Definition, Role, Start, TaskError};

/// What a store holds at one offset of its changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDigest {
    /// The life of the changelog.
    pub incarnation: u128,
    /// Everything before this entry is in the store.
    pub offset: u64,
    /// A number that is equal for equal content.
    pub digest: u128,
    /// About how many rows there are.
    pub rows: u64,
    /// Whose store it is.
    pub role: Role,
}

/// What a store holds that was rebuilt up to one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Everything before this entry is in it.
    pub offset: u64,
    /// A number that is equal for equal content.
    pub digest: u128,
    /// The snapshot that it was begun with; none if it was made of the changelog alone.
    pub snapshot_offset: Option<u64>,
}

/// Rebuilds the state of a task in `start.storage`, which must hold nothing for it (and is best in memory, or in a directory
/// of its own), and says what it is at each of these offsets. It reads the log and changes nothing.
///
/// # Errors
/// [`TaskError::Trimmed`] if what is needed for the first offset is gone already: ask the task again and take the newer
/// offset. Otherwise as for a task that is restored.
pub async fn rebuild(
    start: Start,
    definition: Definition,
    partition: u32,
    mut offsets: Vec<u64>,
) -> Result<Vec<Rebuilt>, TaskError> {
    offsets.sort_unstable();
    let (reply, answer) = oneshot::channel();
    // Stores block, and a task stays on one thread.
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("an event loop without I/O needs nothing of the system");
        // Whoever asked may have gone away.
        let _ = reply.send(runtime.block_on(rebuild_here(&start, &definition, partition, &offsets)));
    };
    let spawned = std::thread::Builder::new().name("rebuild".to_owned()).spawn(run);
    spawned.map_err(|error| event_log::Error::Failed(format!("cannot start a thread: {error}")))?;
    answer.await.map_err(|_| event_log::Error::Failed("the rebuild ended in a panic".to_owned()))?
}

async fn rebuild_here(
    start: &Start,
    definition: &Definition,
    partition: u32,
    offsets: &[u64],
) -> Result<Vec<Rebuilt>, TaskError> {
    let Some(&first) = offsets.first() else { return Ok(Vec::new()) };
    let start = Start { assignment: Assignment::Managed(Role::Idle), ..start.clone() };
    let (spawn, _, _) = Spawn::new(&start, definition, partition, &Changes::new());
    let mut plan = spawn.plan(&start, &Arc::new(Semaphore::new(1)), crate::restore::random());
    let mut task = plan.open_before(first).await?;
    let snapshot_offset = task.restored_from.map(RestoredFrom::offset);
    let mut rebuilt = Vec::new();
    for &offset in offsets {
        task.replay(offset).await?;
        let digest = task.store.digest().map_err(TaskError::from_store)?;
        rebuilt.push(Rebuilt { offset, digest, snapshot_offset });
    }
    Ok(rebuilt)
}

impl Task {
    /// What the store holds now.
    pub(crate) fn digest(&self, role: Role) -> Result<StateDigest, CallError> {
        let digest = self.store.digest().map_err(|error| {
            tracing::warn!(task = %self.name, %error, "the store cannot be read");
            CallError::Moving { service: self.setting.definition.service, partition: self.setting.partition }
        })?;
        let (offset, incarnation) = (self.next_offset, self.chain.incarnation.unwrap_or(0));
        Ok(StateDigest { incarnation, offset, digest, rows: self.store.approximate_len(), role })
    }
}

/// What the store of a task holds that does not run, in `start.storage`; none if it holds nothing.
///
/// # Errors
/// The store cannot be opened.
pub async fn stored(start: &Start, definition: &Definition, partition: u32) -> Result<Option<StateDigest>, TaskError> {
    let store = start.storage.open(&format!("{}/{partition}", definition.service())).await?;
    let Some(checkpoint) = store.checkpoint().and_then(Checkpoint::decode) else { return Ok(None) };
    let digest = store.digest().map_err(TaskError::from_store)?;
    let (incarnation, offset) = (checkpoint.chain.incarnation.unwrap_or(0), checkpoint.next_offset);
    Ok(Some(StateDigest { incarnation, offset, digest, rows: store.approximate_len(), role: Role::Idle }))
}
