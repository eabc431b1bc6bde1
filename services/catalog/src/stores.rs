//! The stores of a catalog task: layout of the keys, and what stands under them.
//!
//! ```text
//! authors    <code>                              -> AuthorRow (proto); from the first creation on, never removed
//! books      <book_id>                           -> BookRow (proto); from the creation on, never removed
//! chapters   <book_id> 00 <chapter_id i64 be>    -> ChapterRow (proto); while the chapter is there
//! shelves    <code> 00 <book_id>                 -> ShelfRow (proto); removed some time after the book went elsewhere
//! outcomes   <code or book_id> 00 <request_id>   -> OutcomeRow (proto); removed when its time is over
//! expiries   <ms> <kind> <key of the other row>  -> empty; one for each row that is to be removed
//! rounds     <code>                              -> book_id up to which cards were told; there while a round is under way
//! next       (empty)                             -> when the timer of the expiries is due, ms i64 be; there while it is set
//! ```
//! Codes, ids and request ids hold no zero byte. A code has 20 characters at most and an id of a book 36, so that both can
//! be keys of one store.

use task_runtime::StoreId;

/// Authors.
pub(crate) const AUTHORS: StoreId = StoreId::new(1, "authors");
/// Books without the content of their chapters.
pub(crate) const BOOKS: StoreId = StoreId::new(2, "books");
/// Content of chapters.
pub(crate) const CHAPTERS: StoreId = StoreId::new(3, "chapters");
/// What books are to the authors of this task.
pub(crate) const SHELVES: StoreId = StoreId::new(4, "shelves");
/// What became of commands.
pub(crate) const OUTCOMES: StoreId = StoreId::new(5, "outcomes");
/// What is to be removed, by time.
pub(crate) const EXPIRIES: StoreId = StoreId::new(6, "expiries");
/// Authors whose cards are being told.
pub(crate) const ROUNDS: StoreId = StoreId::new(7, "rounds");
/// When the next rows are removed.
pub(crate) const NEXT: StoreId = StoreId::new(8, "next");
/// Its one key.
pub(crate) const NEXT_KEY: &[u8] = b"";

/// All of them.
pub(crate) const ALL: [StoreId; 8] = [AUTHORS, BOOKS, CHAPTERS, SHELVES, OUTCOMES, EXPIRIES, ROUNDS, NEXT];

/// A row that is to be removed some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiring {
    /// Of the outcomes.
    Outcome,
    /// Of the shelves.
    Shelf,
}

/// What all keys of one author's shelf, of one book's chapters or of one key's outcomes begin with.
pub(crate) fn prefix(of: &str) -> Vec<u8> {
    [of.as_bytes(), &[0]].concat()
}

/// The key of a book on its author's shelf.
pub(crate) fn shelf_key(code: &str, book_id: &str) -> Vec<u8> {
    [code.as_bytes(), &[0], book_id.as_bytes()].concat()
}

/// The author and the book of a key of the shelves.
pub(crate) fn parse_shelf_key(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.split_once('\0')
}

/// The key of a chapter; ids are above zero, so that they sort as bytes.
pub(crate) fn chapter_key(book_id: &str, chapter_id: i64) -> Vec<u8> {
    [book_id.as_bytes(), &[0], &chapter_id.to_be_bytes()].concat()
}

/// The id in a key of the chapters.
pub(crate) fn chapter_of_key(key: &[u8]) -> Option<i64> {
    key.last_chunk().copied().map(i64::from_be_bytes)
}

/// The key of the outcome of a command.
pub(crate) fn outcome_key(key: &str, request_id: &str) -> Vec<u8> {
    [key.as_bytes(), &[0], request_id.as_bytes()].concat()
}

/// The key that says when another row is to be removed, in milliseconds since the Unix epoch; before that is at once.
pub(crate) fn expiry_key(expires_ms: i64, kind: Expiring, key: &[u8]) -> Vec<u8> {
    let kind = match kind {
        Expiring::Outcome => b'o',
        Expiring::Shelf => b's',
    };
    [&u64::try_from(expires_ms).unwrap_or(0).to_be_bytes()[..], &[kind], key].concat()
}

/// When which other row is to be removed.
pub(crate) fn parse_expiry_key(full: &[u8]) -> Option<(i64, Expiring, &[u8])> {
    let (expires_ms, rest) = full.split_first_chunk()?;
    let (kind, key) = rest.split_first()?;
    let kind = match kind {
        b'o' => Expiring::Outcome,
        b's' => Expiring::Shelf,
        _ => return None,
    };
    Some((i64::try_from(u64::from_be_bytes(*expires_ms)).unwrap_or(i64::MAX), kind, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_back_their_parts() {
        assert_eq!(parse_shelf_key(&shelf_key("ada", "b-1")), Some(("ada", "b-1")));
        assert_eq!(parse_shelf_key(b"no separator"), None);
        assert_eq!(chapter_of_key(&chapter_key("b-1", 12)), Some(12));
        for kind in [Expiring::Outcome, Expiring::Shelf] {
            assert_eq!(parse_expiry_key(&expiry_key(77, kind, b"x\0y")), Some((77, kind, &b"x\0y"[..])));
        }
        assert_eq!(parse_expiry_key(&expiry_key(-5, Expiring::Shelf, b"")), Some((0, Expiring::Shelf, &b""[..])));
        assert_eq!(parse_expiry_key(b"short"), None);
    }

    #[test]
    fn keys_of_one_are_not_those_of_a_longer_name() {
        assert!(shelf_key("ada", "b-1").starts_with(&prefix("ada")));
        assert!(!shelf_key("ada2", "b-1").starts_with(&prefix("ada")));
    }

    #[test]
    fn chapters_and_expiries_sort_by_number() {
        assert!([1, 2, 255, 256, i64::MAX].map(|id| chapter_key("b", id)).is_sorted());
        assert!([0, 1, 255, 256, i64::MAX].map(|ms| expiry_key(ms, Expiring::Outcome, b"z")).is_sorted());
    }
}
