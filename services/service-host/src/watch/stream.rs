//! One watch: the pieces of its snapshot with the changes between them, then changes as they come.
//!
//! A piece accounts for all records up to its number. Before it is told, the changes up to that number are told of the keys
//! that earlier pieces had; those of other keys are in this piece or a later one. So each change of each key is told once or
//! is in the key's item, a watch can be left and taken up again within its snapshot too, and nothing has to be remembered
//! but a key and a number.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use proto::mesh::v1::ServedBy;
use task_runtime::{Event, Feed, FeedError, FeedPosition, Subscription};
use tokio::time::Instant;

use super::message::Parts;
use super::snapshot::{self, Budget, Piece, Rows};
use super::{Messages, WatchConfig, ended};
use crate::token::ResumeToken;
use crate::{Owner, Problem};

/// A watch under way.
pub(super) struct Watcher {
    pub(super) config: Arc<WatchConfig>,
    pub(super) owner: Owner,
    pub(super) feed: Feed,
    pub(super) subscription: Subscription,
    pub(super) rows: Rows,
    pub(super) partition: u32,
    pub(super) fingerprint: u64,
    /// Everything up to here has been told.
    pub(super) at: FeedPosition,
    /// For the first message.
    pub(super) served_by: Option<ServedBy>,
    /// It goes on behind a snapshot that was told: the first message says so, for whoever joins several watches.
    pub(super) is_behind_snapshot: bool,
}

/// What comes next.
enum Phase {
    /// The snapshot has been told up to this key.
    Snapshot { told: Option<Vec<u8>>, piece: Option<Piece> },
    /// Where the watch begins, and then changes as they come: the last message went out then, and was full.
    Changes { last: Option<Instant>, was_full: bool },
    /// An error was told.
    Over,
}

impl Watcher {
    /// Its messages: with the piece of a snapshot that was read already, or going on behind a key of one, or without one.
    pub(super) fn messages(self, told: Option<Vec<u8>>, piece: Option<Piece>) -> Messages {
        let phase = if told.is_some() || piece.is_some() {
            Phase::Snapshot { told, piece }
        } else {
            Phase::Changes { last: None, was_full: false }
        };
        Box::pin(stream::unfold((self, phase), |(mut watcher, phase)| async move {
            let told = match &phase {
                Phase::Snapshot { told, .. } => told.clone(),
                Phase::Changes { .. } => None,
                Phase::Over => return None,
            };
            let step = match phase {
                Phase::Snapshot { told, piece } => watcher.snapshot(told, piece).await,
                Phase::Changes { last, was_full } => watcher.changes(last, was_full).await,
                Phase::Over => return None,
            };
            Some(match step {
                Ok((message, phase)) => (Ok(message), (watcher, phase)),
                Err(problem) => {
                    // It began, so that the caller can go on.
                    let begun = watcher.served_by.is_none();
                    let problem = if begun { problem.with("resume_token", watcher.token(told)) } else { problem };
                    (Err(problem), (watcher, Phase::Over))
                }
            })
        }))
    }

    async fn snapshot(&mut self, told: Option<Vec<u8>>, piece: Option<Piece>) -> Result<(Bytes, Phase), Problem> {
        let piece = match piece {
            Some(piece) => piece,
            None => {
                let budget = Budget { bytes: self.config.batch_bytes, snapshot: true };
                let read = snapshot::read(&self.owner, &self.feed, self.partition, &self.rows, told.clone(), budget);
                let read = read.await?;
                if read.position.incarnation != self.at.incarnation {
                    return Err(ended(&self.owner, self.partition, &FeedError::AnotherLife));
                }
                read.value
            }
        };
        while self.at.sequence < piece.sent {
            self.subscription.passed(piece.sent).await;
            let events = self.take(piece.sent).await?;
            let earlier = |event: &&Arc<Event>| told.as_deref().is_some_and(|told| self.rows.covers(told, &event.key));
            let earlier: Vec<_> = events.iter().filter(earlier).cloned().collect();
            if !earlier.is_empty() {
                let message = self.message(Vec::new(), &earlier, told.clone(), false);
                return Ok((message, Phase::Snapshot { told, piece: Some(piece) }));
            }
        }
        let Piece { items, next, .. } = piece;
        let message = self.message(items, &[], next.clone(), next.is_none());
        let phase = match next {
            Some(next) => Phase::Snapshot { told: Some(next), piece: None },
            None => Phase::Changes { last: Some(Instant::now()), was_full: false },
        };
        Ok((message, phase))
    }

    async fn changes(&mut self, last: Option<Instant>, was_full: bool) -> Result<(Bytes, Phase), Problem> {
        let now = Instant::now();
        let Some(last) = last else {
            return Ok((
                self.message(Vec::new(), &[], None, self.is_behind_snapshot),
                Phase::Changes { last: Some(now), was_full: false },
            ));
        };
        let silent_until = last + self.config.checkpoint_interval;
        loop {
            tokio::select! {
                biased;
                () = self.subscription.changed() => {
                    if !was_full {
                        tokio::time::sleep_until(last + self.config.batch_interval).await;
                    }
                }
                () = tokio::time::sleep_until(silent_until) => {}
            }
            let events = self.take(u64::MAX).await?;
            let now = Instant::now();
            if events.is_empty() && now < silent_until {
                continue;
            }
            let bytes: usize = events.iter().map(|event| event.content.body.len()).sum();
            let was_full = bytes >= self.config.batch_bytes;
            let message = self.message(Vec::new(), &events, None, false);
            return Ok((message, Phase::Changes { last: Some(now), was_full }));
        }
    }

    async fn take(&mut self, upto: u64) -> Result<Vec<Arc<Event>>, Problem> {
        let taken = self.subscription.take(upto, self.config.batch_bytes).await;
        let taken = taken.map_err(|error| ended(&self.owner, self.partition, &error))?;
        self.at = taken.position;
        Ok(taken.events)
    }

    fn message(
        &mut self,
        rows: Vec<Bytes>,
        events: &[Arc<Event>],
        told: Option<Vec<u8>>,
        snapshot_complete: bool,
    ) -> Bytes {
        let changes = events.iter().map(|event| &event.content.body).collect();
        let resume_token = self.token(told);
        Parts { rows, changes, resume_token, snapshot_complete, served_by: self.served_by.take() }.encode()
    }

    fn token(&self, snapshot_after: Option<Vec<u8>>) -> String {
        let FeedPosition { incarnation, sequence, offset } = self.at;
        let (partition, fingerprint) = (self.partition, self.fingerprint);
        let life = ResumeToken::life_of(incarnation);
        ResumeToken { fingerprint, partition, life, sequence, offset, snapshot_after }.encode()
    }
}
