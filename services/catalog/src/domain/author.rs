//! Authors.
//!
//! ```text
//! (draft) --create--> VALID --delete--> DELETED --create--> VALID
//!                     update
//! ```

use super::{Refusal, check_texts, check_version};

/// What a person is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// First name.
    pub first: String,
    /// Last name.
    pub last: String,
}

/// An author who was created once. One of whom nothing but refusals is known is no author: a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The names, kept when the author is deleted.
    pub names: Names,
    /// Where the author's life stands.
    pub state: State,
    /// Number of events, 1 or more.
    pub version: u64,
}

/// Where the life of an author stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Created.
    Valid,
    /// Deleted; can be created again.
    Deleted,
}

/// What a client can ask of an author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Create the author, perhaps again.
    Create(Names),
    /// Change the names.
    Update(Names),
    /// Delete the author.
    Delete,
}

/// What happened to an author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Created with these names.
    Created(Names),
    /// Has these names now.
    Updated(Names),
    /// Deleted.
    Deleted,
}

/// Decides what a command does. `wanted` is the version that must be current, if the caller cares. Names that are so already
/// are no event.
///
/// # Errors
/// Why it is refused.
pub fn decide(author: Option<&Author>, command: &Command, wanted: Option<u64>) -> Result<Option<Event>, Refusal> {
    if let Command::Create(names) | Command::Update(names) = command {
        check_texts(&[("first_name", &names.first), ("last_name", &names.last)])?;
    }
    match (command, author) {
        (Command::Create(_), Some(Author { state: State::Valid, .. })) => return Err(Refusal::Exists),
        (Command::Update(_) | Command::Delete, None) => return Err(Refusal::NotFound),
        _ => check_version(author.map(|author| author.version), wanted)?,
    }
    match (command, author) {
        (Command::Update(_) | Command::Delete, Some(Author { state: State::Deleted, .. })) => Err(Refusal::Ended),
        (Command::Update(names), Some(author)) if author.names == *names => Ok(None),
        (Command::Create(names), _) => Ok(Some(Event::Created(names.clone()))),
        (Command::Update(names), _) => Ok(Some(Event::Updated(names.clone()))),
        (Command::Delete, _) => Ok(Some(Event::Deleted)),
    }
}

/// What an event makes of an author.
#[must_use]
pub fn apply(author: Option<Author>, event: &Event) -> Author {
    let version = author.as_ref().map_or(0, |author| author.version) + 1;
    match event {
        Event::Created(names) | Event::Updated(names) => Author { names: names.clone(), state: State::Valid, version },
        Event::Deleted => {
            let names = author.map_or_else(Names::default, |author| author.names);
            Author { names, state: State::Deleted, version }
        }
    }
}

#[cfg(test)]
mod tests;
