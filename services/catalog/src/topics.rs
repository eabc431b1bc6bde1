//! The topics that catalog writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `authors` | code | `catalog.v1.AuthorEvent` |
//! | `books` | book_id | `catalog.v1.BookEvent` |
//! | `book-cards` | author code | `catalog.v1.BookCardEvent` |
//! | `books-by-author` (read by catalog itself) | author code | `catalog.v1.AuthorBook` |

/// Every event and every refusal of an author.
pub const AUTHORS: &str = "authors";
/// Every event and every refusal of a book.
pub const BOOKS: &str = "books";
/// What book cards are now, by author.
pub const BOOK_CARDS: &str = "book-cards";
/// What a book is to its author, told by the owner of the book to the owner of the author.
pub const BOOKS_BY_AUTHOR: &str = "books-by-author";
