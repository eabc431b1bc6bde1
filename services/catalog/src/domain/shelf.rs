//! Shelves: the books of one author, as the owner of the author knows them, and which of them show as cards.
//!
//! A book's own owner says what the book is to an author from some version of the book on. The highest version counts,
//! so that a shelf is the same in whatever order such news comes, and however often.

use super::author::{Author, State};

/// What a book is to an author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<B> {
    /// Version of the book.
    pub version: u64,
    /// The book; none when it is no longer one of this author.
    pub book: Option<B>,
}

/// What stands on the shelf after the news; none when they are no news.
#[must_use]
pub fn place<B>(before: Option<&Placed<B>>, news: Placed<B>) -> Option<Placed<B>> {
    before.is_none_or(|before| before.version < news.version).then_some(news)
}

/// The book that a card shows; none when there is no card.
#[must_use]
pub fn on_card<'a, B>(author: Option<&Author>, placed: &'a Placed<B>) -> Option<&'a B> {
    let is_valid = author.is_some_and(|author| author.state == State::Valid);
    placed.book.as_ref().filter(|_| is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::author::Names;

    fn placed(version: u64, book: Option<&'static str>) -> Placed<&'static str> {
        Placed { version, book }
    }

    #[test]
    fn the_highest_version_counts_in_any_order() {
        let news = [placed(1, Some("draft")), placed(2, None), placed(5, Some("print"))];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut shelf = None;
            // Each comes twice.
            for index in order.into_iter().flat_map(|index| [index, index]) {
                shelf = place(shelf.as_ref(), news[index].clone()).or(shelf);
            }
            assert_eq!(shelf, Some(news[2].clone()), "{order:?}");
        }
    }

    #[test]
    fn a_book_that_went_away_stays_away_whatever_comes_late() {
        let gone = placed(3, None);
        assert_eq!(place(Some(&gone), placed(2, Some("old"))), None);
        assert_eq!(place(Some(&gone), placed(3, Some("same"))), None);
        assert_eq!(place(Some(&gone), placed(4, Some("back"))), Some(placed(4, Some("back"))));
    }

    #[test]
    fn a_card_needs_a_book_and_a_valid_author() {
        let author = |state| Author { names: Names::default(), state, version: 1 };
        let (here, gone) = (placed(1, Some("book")), placed(2, None));
        assert_eq!(on_card(Some(&author(State::Valid)), &here), Some(&"book"));
        assert_eq!(on_card(Some(&author(State::Valid)), &gone), None);
        assert_eq!(on_card(Some(&author(State::Deleted)), &here), None);
        assert_eq!(on_card(None, &here), None);
    }
}
