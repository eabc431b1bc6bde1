//! Catching up: brings a store up to where its changelog ends, entry by entry, in few large steps. A standby does nothing else.

use bytes::Bytes;
use state_store::Change;

use super::Teller;
use crate::TaskError;
use crate::changelog::{Body, Chunk, Entry, Read, body_hash};
use crate::config::Backoff;
use crate::progress::{Checkpoint, damaged};
use crate::task::Task;

/// Changes that are gathered before they are applied.
const APPLY_CHANGES: usize = 4_096;

impl Task {
    /// Brings back outputs that were committed but not yet known to be published. Which entries those are is part of the
    /// checkpoint, so they need not be judged again.
    pub(super) async fn reload_outbox(&mut self, unpublished: &[(u64, u64, u128)]) -> Result<(), TaskError> {
        let earliest = if unpublished.is_empty() { 0 } else { self.changelog.earliest().await?.0 };
        // What was trimmed was published: nobody trims more.
        for &(first, last, body_hash) in unpublished.iter().filter(|(first, ..)| *first >= earliest) {
            let mut parts: Vec<Chunk> = Vec::new();
            for (offset, entry) in self.changelog.read(first, last + 1).await? {
                let entry = Entry::decode(&entry).map_err(|error| self.changelog.unreadable(offset, &error))?;
                if let Entry::Commit(chunk) = entry
                    && chunk.body_hash == body_hash
                    && chunk.part as usize == parts.len()
                {
                    parts.push(chunk);
                }
            }
            let whole: Bytes = parts.iter().flat_map(|part| part.bytes.iter().copied()).collect();
            // The list is the store's: if the log does not have what it says, the store is not of this log.
            let mut body = Body::decode(&whole).map_err(|_| {
                TaskError::Corrupted(damaged(&format!("the commit at {first} is not what the store remembers")))
            })?;
            body.published.clear();
            self.outbox.absorb(&mut body, first, last, body_hash, &self.progress);
        }
        self.outbox.know_the_rest(&self.progress);
        Ok(())
    }

    /// Applies everything that stands in the log now. Returns the number of entries read.
    pub(super) async fn catch_up(&mut self) -> Result<u64, TaskError> {
        let from = self.next_offset;
        let latest = self.changelog.latest().await?.0;
        self.board.read(&self.chain);
        self.board.restoring(0, latest.saturating_sub(from));
        self.replay(latest).await?;
        Ok(self.next_offset - from)
    }

    /// Applies the entries up to `upto`, in few large steps.
    pub(crate) async fn replay(&mut self, upto: u64) -> Result<(), TaskError> {
        let (from, mut changes) = (self.next_offset, Vec::new());
        let mut teller = Teller::new(&self.name, &self.board, self.metrics.clone());
        let mut backoff = Backoff::new(&self.config);
        while self.next_offset < upto {
            let entries = match self.changelog.read_some(self.next_offset).await {
                Ok(entries) => entries,
                Err(TaskError::Log(error)) if error.is_retryable() => {
                    backoff.pause().await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if entries.is_empty() {
                self.changelog.still_ends_at(upto).await?;
            }
            for (offset, entry) in entries.into_iter().take_while(|(offset, _)| *offset < upto) {
                self.replay_entry(offset, &entry, &mut changes)?;
            }
            if changes.len() >= APPLY_CHANGES {
                self.apply_replayed(&mut changes)?;
            }
            teller.tell(self.next_offset - from, upto - from);
        }
        self.apply_replayed(&mut changes)
    }

    /// Applies what was replayed. Parts of a commit are kept in memory only: in the midst of one, the store stands before it.
    pub(crate) fn apply_replayed(&mut self, changes: &mut Vec<Change>) -> Result<(), TaskError> {
        if !changes.is_empty() {
            let next_offset = self.partial_from.unwrap_or(self.next_offset);
            let checkpoint = Checkpoint { next_offset, ..self.checkpoint() };
            self.store.apply(changes, &checkpoint.encode()).map_err(TaskError::from_store)?;
            changes.clear();
            self.flush_in_time();
        }
        self.board.applied(self.next_offset);
        Ok(())
    }

    /// Reads one entry by the reader rule; what it changes is added to `changes`.
    pub(crate) fn replay_entry(
        &mut self,
        offset: u64,
        entry: &Bytes,
        changes: &mut Vec<Change>,
    ) -> Result<(), TaskError> {
        let read = match self.chain.read_with(entry, self.config.shortcut) {
            Ok(read) => read,
            Err(error) if self.resumed && error.is_divergence() => {
                let detail = format!("the store does not go on in its changelog at {offset}: {error}");
                return Err(TaskError::Corrupted(damaged(&detail)));
            }
            Err(error) => return Err(self.changelog.unreadable(offset, &error)),
        };
        self.next_offset = offset + 1;
        self.bytes_since += entry.len() as u64;
        match read {
            Read::Committed(mut body) => {
                let hash = body_hash(entry);
                let begins = self.partial_from.take().unwrap_or(offset);
                self.progress.absorb(&body, changes);
                changes.append(&mut body.changes);
                self.outbox.absorb(&mut body, begins, offset, hash, &self.progress);
                self.last_counted = Some(offset);
                body.snapshot.take().into_iter().for_each(|announced| self.note_snapshot(announced, offset));
            }
            Read::Claimed => {
                self.partial_from = None;
                self.last_counted = Some(offset);
                self.board.read(&self.chain);
            }
            Read::Partial => {
                self.partial_from.get_or_insert(offset);
            }
            Read::Void(_) => {}
        }
        Ok(())
    }
}
