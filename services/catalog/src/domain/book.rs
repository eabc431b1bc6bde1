//! Books and their chapters.
//!
//! Ids of chapters grow by one from 1 in the order in which chapters are added, and are never used again. A removed book
//! has no chapters, and nothing leads back from there.

use super::{Refusal, check_texts, check_version};

/// A book that was created once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// Title, kept when the book is removed.
    pub title: String,
    /// Code of the author, who need not exist; none when nobody is named.
    pub author_code: Option<String>,
    /// The chapters by growing id.
    pub chapters: Vec<Heading>,
    /// The highest id that a chapter ever had; 0 before the first.
    pub last_chapter_id: i64,
    /// Where the book's life stands.
    pub state: State,
    /// Number of events, 1 or more.
    pub version: u64,
}

/// A chapter as its book remembers it: without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Number within the book, from 1.
    pub id: i64,
    /// Title.
    pub title: String,
}

/// Where the life of a book stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Created.
    Valid,
    /// Removed, for ever.
    Removed,
}

/// What a client can ask of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Create the book.
    Create {
        /// Title.
        title: String,
        /// The author, if one is named.
        author_code: Option<String>,
    },
    /// Set the author, or take the author away.
    SetAuthor(Option<String>),
    /// Add a chapter behind the others.
    AddChapter {
        /// Title.
        title: String,
        /// Content.
        content: String,
    },
    /// Remove the chapter with this id.
    RemoveChapter(i64),
    /// Remove the book with all its chapters.
    Remove,
}

/// What happened to a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Created without chapters.
    Created {
        /// Title.
        title: String,
        /// The author, if one is named.
        author_code: Option<String>,
    },
    /// Has this author now, or none.
    AuthorSet(Option<String>),
    /// Has one more chapter.
    ChapterAdded {
        /// Id and title.
        heading: Heading,
        /// Content.
        content: String,
    },
    /// Has lost the chapter with this id.
    ChapterRemoved(i64),
    /// Removed, after its chapters.
    Removed,
}

/// Decides what a command does: its events in order. `wanted` is the version that must be current, if the caller cares. An
/// author that is so already is no event.
///
/// # Errors
/// Why it is refused.
pub fn decide(
    book: Option<&Book>,
    command: &Command,
    wanted: Option<u64>,
    chapters_max: usize,
) -> Result<Vec<Event>, Refusal> {
    if let Command::Create { title, author_code } = command {
        check_texts(&[("title", title)])?;
        if book.is_none() {
            check_version(None, wanted)?;
            return Ok(vec![Event::Created { title: title.clone(), author_code: author_code.clone() }]);
        }
        // Also when it was removed: its id stays taken.
        return Err(Refusal::Exists);
    }
    let book = book.ok_or(Refusal::NotFound)?;
    check_version(Some(book.version), wanted)?;
    if book.state == State::Removed {
        return Err(Refusal::Ended);
    }
    match command {
        Command::Create { .. } => Err(Refusal::Exists),
        Command::SetAuthor(author_code) if *author_code == book.author_code => Ok(Vec::new()),
        Command::SetAuthor(author_code) => Ok(vec![Event::AuthorSet(author_code.clone())]),
        Command::AddChapter { .. } if book.chapters.len() >= chapters_max => {
            Err(Refusal::TooManyChapters { limit: chapters_max })
        }
        Command::AddChapter { title, content } => {
            // An id is taken with each event, and nobody lives to see 2^63 of them.
            let heading = Heading { id: book.last_chapter_id + 1, title: title.clone() };
            Ok(vec![Event::ChapterAdded { heading, content: content.clone() }])
        }
        Command::RemoveChapter(id) if book.chapters.iter().any(|chapter| chapter.id == *id) => {
            Ok(vec![Event::ChapterRemoved(*id)])
        }
        Command::RemoveChapter(id) => Err(Refusal::NoSuchChapter(*id)),
        Command::Remove => {
            let chapters = book.chapters.iter().map(|chapter| Event::ChapterRemoved(chapter.id));
            Ok(chapters.chain([Event::Removed]).collect())
        }
    }
}

/// What an event makes of a book.
#[must_use]
pub fn apply(book: Option<Book>, event: &Event) -> Book {
    let mut book = book.unwrap_or(Book {
        title: String::new(),
        author_code: None,
        chapters: Vec::new(),
        last_chapter_id: 0,
        state: State::Valid,
        version: 0,
    });
    book.version += 1;
    match event {
        Event::Created { title, author_code } => {
            title.clone_into(&mut book.title);
            author_code.clone_into(&mut book.author_code);
        }
        Event::AuthorSet(author_code) => author_code.clone_into(&mut book.author_code),
        Event::ChapterAdded { heading, .. } => {
            book.last_chapter_id = heading.id;
            book.chapters.push(heading.clone());
        }
        Event::ChapterRemoved(id) => book.chapters.retain(|chapter| chapter.id != *id),
        Event::Removed => {
            book.chapters.clear();
            book.state = State::Removed;
        }
    }
    book
}

#[cfg(test)]
mod tests;
