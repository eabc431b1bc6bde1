//! One changelog as any reader reads it, entry by entry, with everything that follows from it.

use std::collections::BTreeMap;

use bytes::Bytes;
use event_log::{TopicName, TopicPartition};
use task_runtime::changelog::{Body, Chain, Output, Read};

use super::{Verdict, fail};
use crate::simulation::stores::row_digest;

/// A changelog by the reader rule, and the state that it says.
#[derive(Default)]
pub struct Reading {
    entries: Vec<Bytes>,
    chain: Chain,
    rows: BTreeMap<Bytes, Bytes>,
    digest: u128,
    /// Digests of the state after each counted commit.
    prefixes: BTreeMap<u128, u64>,
    positions: BTreeMap<String, u64>,
    watermarks: BTreeMap<(String, String, u128), u64>,
    outputs: BTreeMap<(TopicName, u32), Vec<Output>>,
    published: BTreeMap<(TopicName, u32), u64>,
    unreadable: bool,
    /// First part of the last commit that counted, or of the one that is coming.
    last_commit: u64,
    in_parts: bool,
    pub(crate) void: u64,
    pub(crate) claims: u64,
    pub(crate) split: u64,
}

/// Inputs whose position a commit moved: topic, from, to.
pub(super) type Moved = Vec<(String, u64, u64)>;

impl Reading {
    /// Reads the next entry; the body if it completes a commit that counts.
    pub(super) fn read(&mut self, offset: u64, entry: Bytes) -> Result<Option<Body>, String> {
        if self.entries.len() as u64 != offset {
            return Err(format!("the entry stands at {offset}, {} were read", self.entries.len()));
        }
        self.entries.push(entry.clone());
        if self.unreadable {
            return Ok(None);
        }
        match self.chain.read(&entry) {
            Err(error) => {
                self.unreadable = true;
                Err(error.to_string())
            }
            Ok(Read::Committed(body)) => {
                if !std::mem::take(&mut self.in_parts) {
                    self.last_commit = offset;
                }
                Ok(Some(*body))
            }
            Ok(Read::Claimed) => {
                self.in_parts = false;
                self.claims += 1;
                Ok(None)
            }
            Ok(Read::Partial) => {
                self.split += 1;
                if !std::mem::replace(&mut self.in_parts, true) {
                    self.last_commit = offset;
                }
                Ok(None)
            }
            Ok(Read::Void(_)) => {
                self.void += 1;
                Ok(None)
            }
        }
    }

    /// Makes a commit that counts the state.
    pub(super) fn absorb(&mut self, body: &Body, offset: u64) -> (Moved, Verdict) {
        for (key, value) in &body.changes {
            let before = match value {
                Some(value) => {
                    self.digest = self.digest.wrapping_add(row_digest(key, value));
                    self.rows.insert(key.clone(), value.clone())
                }
                None => self.rows.remove(key),
            };
            if let Some(before) = before {
                self.digest = self.digest.wrapping_sub(row_digest(key, &before));
            }
        }
        self.prefixes.insert(self.digest, offset);
        let mut moved = Moved::new();
        let verdict = self.absorb_progress(body, &mut moved);
        (moved, verdict)
    }

    fn absorb_progress(&mut self, body: &Body, moved: &mut Moved) -> Verdict {
        for (topic, to) in &body.positions {
            let from = self.positions.insert(topic.as_str().to_owned(), *to).unwrap_or(0);
            if from >= *to {
                return fail("I15 positions", format!("{topic} goes from {from} to {to}"));
            }
            moved.push((topic.as_str().to_owned(), from, *to));
        }
        for update in &body.watermarks {
            let key = (update.topic.as_str().to_owned(), update.task.to_string(), update.incarnation);
            let before = self.watermarks.insert(key, update.sequence).unwrap_or(0);
            if before >= update.sequence {
                return fail("I15 watermark", format!("{} goes from {before} to {}", update.task, update.sequence));
            }
        }
        for output in &body.outputs {
            let sent = self.outputs.entry((output.topic.clone(), output.partition)).or_default();
            if output.sequence != sent.len() as u64 + 1 {
                return fail("I15 sequence", format!("{} follows {} to {}", output.sequence, sent.len(), output.topic));
            }
            sent.push(output.clone());
        }
        for upto in &body.published {
            let before = self.published.insert((upto.topic.clone(), upto.partition), upto.sequence).unwrap_or(0);
            if before > upto.sequence {
                return fail("I15 published", format!("{} goes from {before} to {}", upto.topic, upto.sequence));
            }
        }
        Ok(())
    }

    /// Forgets what the log has lost.
    pub(super) fn truncate(&mut self, from: u64) {
        let mut entries = std::mem::take(self).entries;
        entries.truncate(usize::try_from(from).unwrap_or(usize::MAX));
        for (entry, offset) in entries.into_iter().zip(0..) {
            if let Ok(Some(body)) = self.read(offset, entry) {
                // Checked when it was first read.
                let _ = self.absorb(&body, offset);
            }
        }
    }

    /// Name of the process whose claim counts.
    pub fn owner(&self) -> &str {
        self.chain.owner.as_ref().map_or("", |owner| &owner.instance)
    }

    pub(super) fn is_readable(&self) -> bool {
        !self.unreadable
    }

    pub(crate) fn last_commit(&self) -> u64 {
        self.last_commit
    }

    /// Whether the last entry completed a commit that counts.
    pub(crate) fn ends_with_commit(&self) -> bool {
        self.prefixes.values().max().is_some_and(|last| last + 1 == self.end())
    }

    /// Behind its last entry.
    pub(crate) fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Value of a key as it stands in the changelog.
    pub fn row(&self, key: &[u8]) -> Option<&Bytes> {
        self.rows.get(key)
    }

    /// Rows whose first byte is `kind`.
    pub fn rows(&self, kind: u8) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.rows.iter().filter(move |(key, _)| key.first() == Some(&kind))
    }

    pub(super) fn is_prefix(&self, digest: u128) -> bool {
        digest == 0 || self.prefixes.contains_key(&digest)
    }

    pub(super) fn output(&self, partition: &TopicPartition, sequence: u64) -> Option<&Output> {
        let sent = self.outputs.get(&(partition.topic.clone(), partition.partition))?;
        sent.get(usize::try_from(sequence).ok()?.checked_sub(1)?)
    }

    /// Everything that it has sent, by destination, in order.
    pub fn outputs(&self) -> impl Iterator<Item = (TopicPartition, &[Output])> {
        let named = |(topic, partition): &(TopicName, u32)| TopicPartition::new(topic.clone(), *partition);
        self.outputs.iter().map(move |(to, sent)| (named(to), &sent[..]))
    }

    /// Next offset that it reads of an input.
    pub fn position(&self, topic: &str) -> u64 {
        self.positions.get(topic).copied().unwrap_or(0)
    }
}
