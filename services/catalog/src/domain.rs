//! The rules of authors, books and cards. Pure: state and a command in, events or a refusal out, and what an event makes of
//! the state.
//!
//! A state is the sum of its events and nothing else, its version their number. A refused command changes nothing.

pub mod author;
pub mod book;
pub mod shelf;

/// Why a command changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// These texts must not be blank.
    Blank(Vec<&'static str>),
    /// It is there already.
    Exists,
    /// There is no such author or book.
    NotFound,
    /// It is not in the version that the caller wants to change.
    VersionConflict {
        /// Its version; 0 when there is none.
        current: u64,
    },
    /// The author was deleted, or the book removed.
    Ended,
    /// The book has no such chapter.
    NoSuchChapter(i64),
    /// The book has as many chapters as it may have.
    TooManyChapters {
        /// So many.
        limit: usize,
    },
}

/// What does not exist is in no version, so that nothing that is wanted of it is current.
fn check_version(current: Option<u64>, wanted: Option<u64>) -> Result<(), Refusal> {
    if wanted.is_none() || wanted == current {
        return Ok(());
    }
    Err(Refusal::VersionConflict { current: current.unwrap_or(0) })
}

fn check_texts(texts: &[(&'static str, &str)]) -> Result<(), Refusal> {
    let blank: Vec<_> = texts.iter().filter(|(_, text)| text.trim().is_empty()).map(|(name, _)| *name).collect();
    if blank.is_empty() { Ok(()) } else { Err(Refusal::Blank(blank)) }
}
