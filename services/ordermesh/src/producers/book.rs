//! `ordermesh book`: books, their chapters and their cards.

use clap::Subcommand;
use proto::catalog::v1::{
    AddChapterRequest, AddChapterResponse, Book, CreateBookRequest, CreateBookResponse, GetBookRequest,
    GetBookResponse, ListBookCardsRequest, ListBookCardsResponse, RemoveBookRequest, RemoveBookResponse,
    RemoveChapterRequest, RemoveChapterResponse, SetBookAuthorRequest, SetBookAuthorResponse,
};

use super::client::{Client, Failure};
use super::output::{facts, short, table};
use super::pages::{self, Pages};
use super::{Read, Write};

const CREATE: &str = "ordermesh.catalog.v1.CatalogService/CreateBook";
const ADD_CHAPTER: &str = "ordermesh.catalog.v1.CatalogService/AddChapter";
const REMOVE_CHAPTER: &str = "ordermesh.catalog.v1.CatalogService/RemoveChapter";
const SET_AUTHOR: &str = "ordermesh.catalog.v1.CatalogService/SetBookAuthor";
const REMOVE: &str = "ordermesh.catalog.v1.CatalogService/RemoveBook";
const GET: &str = "ordermesh.catalog.v1.CatalogService/GetBook";
const CARDS: &str = "ordermesh.catalog.v1.CatalogService/ListBookCards";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Creates a book without chapters.
    Create {
        /// Title
        title: String,
        /// Code of the author, who need not exist yet
        #[arg(long, value_name = "CODE", default_value = "", hide_default_value = true)]
        author: String,
        /// Key of the book, a UUID [default: a new one]
        #[arg(long, default_value = "", hide_default_value = true)]
        id: String,
        #[command(flatten)]
        write: Write,
    },
    /// Adds a chapter behind the others.
    AddChapter {
        /// Key of the book
        book_id: String,
        /// Title of the chapter
        title: String,
        /// Content of the chapter
        #[arg(long, default_value = "", hide_default_value = true)]
        content: String,
        #[command(flatten)]
        change: Change,
    },
    /// Removes a chapter; its number is not used again.
    RemoveChapter {
        /// Key of the book
        book_id: String,
        /// Number of the chapter
        chapter_id: i64,
        #[command(flatten)]
        change: Change,
    },
    /// Sets the author of a book, or takes the author away.
    SetAuthor {
        /// Key of the book
        book_id: String,
        /// Code of the author; nobody without one
        #[arg(default_value = "", hide_default_value = true)]
        author: String,
        #[command(flatten)]
        change: Change,
    },
    /// Removes a book: each of its chapters, and then the book.
    Remove {
        /// Key of the book
        book_id: String,
        #[command(flatten)]
        change: Change,
    },
    /// Shows a book with the content of its chapters.
    Get {
        /// Key of the book
        book_id: String,
        #[command(flatten)]
        read: Read,
    },
    /// Lists book cards: books with their valid authors.
    Cards {
        /// Only books of this author
        #[arg(long, value_name = "CODE", default_value = "", hide_default_value = true)]
        author: String,
        #[command(flatten)]
        pages: Pages,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// Version of the book that must be current
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    write: Write,
}

pub(super) async fn run(client: &mut Client, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { title, author, id, write } => {
            let book = Book { book_id: id, title, author_code: author, ..Default::default() };
            let request_id = write.request_id();
            let request = CreateBookRequest { book: Some(book), request_id: request_id.clone() };
            let answer: CreateBookResponse = client.write(CREATE, request_id, request).await?;
            client.print(CREATE, &answer, |answer| sheet(answer.book.as_ref()));
        }
        Command::AddChapter { book_id, title, content, change: Change { etag, write } } => {
            let request_id = write.request_id();
            let request = AddChapterRequest { book_id, title, content, etag, request_id: request_id.clone() };
            let answer: AddChapterResponse = client.write(ADD_CHAPTER, request_id, request).await?;
            client.print(ADD_CHAPTER, &answer, |answer| sheet(answer.book.as_ref()));
        }
        Command::RemoveChapter { book_id, chapter_id, change: Change { etag, write } } => {
            let request_id = write.request_id();
            let request = RemoveChapterRequest { book_id, chapter_id, etag, request_id: request_id.clone() };
            let answer: RemoveChapterResponse = client.write(REMOVE_CHAPTER, request_id, request).await?;
            client.print(REMOVE_CHAPTER, &answer, |answer| sheet(answer.book.as_ref()));
        }
        Command::SetAuthor { book_id, author, change: Change { etag, write } } => {
            let request_id = write.request_id();
            let request = SetBookAuthorRequest { book_id, author_code: author, etag, request_id: request_id.clone() };
            let answer: SetBookAuthorResponse = client.write(SET_AUTHOR, request_id, request).await?;
            client.print(SET_AUTHOR, &answer, |answer| sheet(answer.book.as_ref()));
        }
        Command::Remove { book_id, change: Change { etag, write } } => {
            let request_id = write.request_id();
            let request = RemoveBookRequest { book_id, etag, request_id: request_id.clone() };
            let answer: RemoveBookResponse = client.write(REMOVE, request_id, request).await?;
            client.print(REMOVE, &answer, |answer| sheet(answer.book.as_ref()));
        }
        Command::Get { book_id, read } => {
            let request = GetBookRequest { book_id, consistency: read.consistency() };
            let answer: GetBookResponse = client.read(GET, request).await?;
            client.print(GET, &answer, |answer| sheet(answer.book.as_ref()));
        }
        Command::Cards { author, pages } => {
            let request = ListBookCardsRequest { author_code: author, ..Default::default() };
            let answer = pages::list(client, CARDS, &request, &pages).await?;
            client.print(CARDS, &answer, cards);
        }
    }
    Ok(())
}

fn sheet(book: Option<&Book>) -> String {
    let Some(book) = book else { return String::new() };
    let mut text = facts(
        &format!("book {}", book.book_id),
        &[
            ("title", book.title.clone()),
            ("author", book.author_code.clone()),
            ("state", short(book.state().as_str_name(), "BOOK_STATE_").to_owned()),
            ("etag", book.etag.clone()),
        ],
    );
    if !book.chapters.is_empty() {
        let row = |chapter: &proto::catalog::v1::Chapter| {
            [chapter.chapter_id.to_string(), chapter.title.clone(), chapter.content.clone()]
        };
        let rows: Vec<_> = book.chapters.iter().map(row).collect();
        text.push('\n');
        text.push_str(&table(["CHAPTER", "TITLE", "CONTENT"], &rows));
    }
    text
}

fn cards(answer: &ListBookCardsResponse) -> String {
    let rows: Vec<_> = answer
        .book_cards
        .iter()
        .map(|card| {
            let (book, author) = (card.book.clone().unwrap_or_default(), card.author.clone().unwrap_or_default());
            let name = format!("{} {}", author.first_name, author.last_name);
            [author.code, name, book.title, book.chapters.len().to_string(), book.book_id]
        })
        .collect();
    table(["AUTHOR", "NAME", "TITLE", "CHAPTERS", "BOOK"], &rows)
}
