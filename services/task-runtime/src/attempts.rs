//! Records that take the process along: where a handler overflows its stack, runs out of memory or aborts there is no panic to
//! catch, and the record would be the first that every next life of the process takes up.
//!
//! A file tells that a life has begun; one that ends in good order removes it. A life that finds it notes each of its first
//! records in it before it is processed, and takes the note back after. A note that a life finds is what the one before died at;
//! after [`DEATHS_MAX`] such deaths, which with the first are three, the record goes to the dead letters unseen. Notes are
//! not synced: they survive the process, and a power loss is no record's fault.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use event_log::{Offset, TopicName};
use serde::{Deserialize, Serialize};

/// So often may the process be seen to die at one record. The first death is seen by nobody.
const DEATHS_MAX: u8 = 2;
/// Records of a life after a bad end that are noted. What a task was at when it died comes again within two commits, unless inputs
/// are read in another order than before; then these are used up by progress that lasts.
const NOTED: u32 = 4_096;
/// Records that are suspected at a time; the oldest is let go for another.
const SUSPECTS_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    topic: String,
    offset: u64,
}

/// What the file says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    in_hand: Option<Place>,
    /// Records that the process has died at, with how often.
    suspects: Vec<(Place, u8)>,
}

/// What one task has tried, in this life and those before.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    path: Option<PathBuf>,
    file: Option<File>,
    notes: Notes,
    /// Records that are still noted in this life.
    left: u32,
}

impl Attempts {
    /// Reads what the lives before this one have left; nothing is noted without a path.
    pub(crate) fn open(path: Option<PathBuf>) -> Self {
        let mut attempts = Self { path, ..Self::default() };
        let Some(left) = attempts.path.as_ref().and_then(|path| fs::read(path).ok()) else { return attempts };
        attempts.left = NOTED;
        if let Ok((notes, _)) = postcard::take_from_bytes::<Notes>(&left) {
            attempts.notes = notes;
        }
        if let Some(place) = attempts.notes.in_hand.take() {
            let deaths = attempts.notes.suspect(&place);
            tracing::warn!(topic = place.topic, offset = place.offset, deaths, "the process died at this record");
            attempts.write();
        }
        attempts
    }

    /// The task begins to process.
    pub(crate) fn begin(&mut self) {
        if self.file.is_none() {
            self.write();
        }
    }

    /// Takes a record in hand, or says why it must not be.
    pub(crate) fn take(&mut self, topic: &TopicName, offset: Offset) -> Result<(), String> {
        let suspects = &mut self.notes.suspects;
        if self.left == 0 && suspects.is_empty() {
            return Ok(());
        }
        // What is behind the position is done with, here or by another instance.
        suspects.retain(|(suspect, _)| suspect.topic != topic.as_str() || suspect.offset >= offset.0);
        let place = Place { topic: topic.to_string(), offset: offset.0 };
        if suspects.iter().any(|(suspect, deaths)| *suspect == place && *deaths >= DEATHS_MAX) {
            return Err("the process died again and again while it processed the record".to_owned());
        }
        self.notes.in_hand = Some(place);
        self.write();
        Ok(())
    }

    /// The record is processed, whatever came of it.
    pub(crate) fn done(&mut self) {
        if let Some(place) = self.notes.in_hand.take() {
            // This life has survived it. Nothing may ever come behind it that would say so.
            self.notes.suspects.retain(|(suspect, _)| *suspect != place);
            self.left = self.left.saturating_sub(1);
            self.write();
        }
    }

    /// The task ends in good order.
    pub(crate) fn close(self) {
        let Some(path) = self.path else { return };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "the notes of attempts cannot be removed");
            }
            _ => {}
        }
    }

    fn write(&mut self) {
        if let Err(error) = self.try_write() {
            // Without notes a record can take the process along without end; that is no reason to stop at good ones.
            let path = self.path.take();
            tracing::warn!(?path, %error, "attempts cannot be noted");
            *self = Self::default();
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().create(true).truncate(false).write(true).open(path)?),
        };
        // One write, and what an earlier one leaves behind it is not read.
        file.write_all_at(&postcard::to_stdvec(&self.notes).map_err(io::Error::other)?, 0)
    }
}

impl Notes {
    /// One more death at this record. How many there were.
    fn suspect(&mut self, place: &Place) -> u8 {
        if let Some((_, deaths)) = self.suspects.iter_mut().find(|(suspect, _)| suspect == place) {
            *deaths = deaths.saturating_add(1);
            return *deaths;
        }
        let surplus = (self.suspects.len() + 1).saturating_sub(SUSPECTS_MAX);
        self.suspects.drain(..surplus);
        self.suspects.push((place.clone(), 1));
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lives(tempfile::TempDir, TopicName);

    impl Lives {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap(), TopicName::new("orders"))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("notes")
        }

        fn begin(&self) -> Attempts {
            let mut life = Attempts::open(Some(self.path()));
            life.begin();
            life
        }

        /// A life that processes these records, and dies at the last.
        fn dies(&self, offsets: std::ops::RangeInclusive<u64>) {
            let mut life = self.begin();
            for offset in offsets.clone() {
                life.take(&self.1, Offset(offset)).unwrap();
                if offset != *offsets.end() {
                    life.done();
                }
            }
        }
    }

    #[test]
    fn a_record_that_three_lives_died_at_is_not_taken_again() {
        let lives = Lives::new();
        for first in 5..8 {
            lives.dies(first..=7);
        }
        let mut life = lives.begin();
        assert!(life.take(&lives.1, Offset(7)).unwrap_err().contains("died again and again"));
        life.take(&lives.1, Offset(8)).unwrap();
        assert!(life.notes.suspects.is_empty(), "what is behind is forgotten");
    }

    #[test]
    fn lives_that_die_at_different_records_condemn_none() {
        let lives = Lives::new();
        for offset in (0..40).rev().chain((1..40).rev()) {
            lives.dies(offset..=offset);
        }
        let mut life = lives.begin();
        assert_eq!(life.notes.suspects.len(), SUSPECTS_MAX);
        for offset in 1..=40 {
            life.take(&lives.1, Offset(offset)).unwrap();
            life.done();
        }
        assert!(life.notes.suspects.is_empty());
    }

    #[test]
    fn a_record_that_was_processed_at_last_is_not_held_against_the_next() {
        let lives = Lives::new();
        lives.dies(7..=7);
        lives.dies(7..=7);
        lives.dies(7..=8);
        assert_eq!(lives.begin().notes.suspects, [(Place { topic: "orders".to_owned(), offset: 8 }, 1)]);
    }

    #[test]
    fn a_record_that_was_survived_is_let_go_although_its_topic_is_quiet() {
        let lives = Lives::new();
        lives.dies(7..=7);
        let (mut life, other) = (lives.begin(), TopicName::new("payments"));
        life.take(&lives.1, Offset(7)).unwrap();
        life.done();
        for offset in 1..=u64::from(NOTED) {
            life.take(&other, Offset(offset)).unwrap();
            life.done();
        }
        assert_eq!((life.notes.suspects.len(), life.left), (0, 0));
        life.take(&other, Offset(5_000)).unwrap();
        assert_eq!(life.notes.in_hand, None, "and no more is noted");
    }

    #[test]
    fn a_life_after_a_good_end_notes_nothing_and_one_after_a_bad_end_its_first_records() {
        let lives = Lives::new();
        let mut life = lives.begin();
        life.take(&lives.1, Offset(0)).unwrap();
        assert_eq!(life.notes.in_hand, None);
        life.close();
        assert!(!lives.path().exists());
        drop(lives.begin());
        let mut life = lives.begin();
        for offset in 0..=u64::from(NOTED) {
            life.take(&lives.1, Offset(offset)).unwrap();
            assert_eq!(life.notes.in_hand.is_some(), offset < u64::from(NOTED));
            life.done();
        }
        life.close();
        assert!(!lives.path().exists());
    }

    #[test]
    fn notes_that_cannot_be_read_are_no_notes() {
        let lives = Lives::new();
        fs::write(lives.path(), [0xFF; 40]).unwrap();
        let mut life = lives.begin();
        life.take(&lives.1, Offset(0)).unwrap();
        life.done();
        assert!(life.notes.suspects.is_empty());
    }

    #[test]
    fn a_task_whose_notes_cannot_be_written_works_without() {
        let lives = Lives::new();
        let mut life = Attempts::open(Some(lives.0.path().join("not/there")));
        life.begin();
        life.take(&lives.1, Offset(0)).unwrap();
        life.done();
        life.close();
    }
}
