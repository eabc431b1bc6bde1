//! Acceptance cases 20 to 23: authors, books, chapters, cards, and what became of commands.

use std::collections::BTreeSet;

use proto::catalog::v1::catalog_event::Event;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::catalog::v1::{
    AddChapterRequest, Author, AuthorState, Book, BookCard, BookState, CreateAuthorRequest, CreateBookRequest,
    DeleteAuthorRequest, GetAuthorRequest, GetBookRequest, GetCommandOutcomeRequest, GetCommandOutcomeResponse,
    ListAuthorsRequest, ListBookCardsRequest, ListBooksRequest, RemoveBookRequest, RemoveChapterRequest,
    SetBookAuthorRequest, UpdateAuthorRequest,
};
use testkit::Mesh;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::process::Process;
use crate::shop::{eventually, reason, timed};

/// A librarian at the public API.
#[derive(Debug, Clone)]
struct Library(CatalogServiceClient<Channel>);

impl Library {
    fn new(channel: Channel) -> Self {
        Self(CatalogServiceClient::new(channel))
    }

    async fn create_author(&self, author: Author) -> Result<Author, Status> {
        let request = CreateAuthorRequest { author: Some(author), request_id: String::new() };
        Ok(self.0.clone().create_author(timed(request)).await?.into_inner().author.unwrap())
    }

    async fn update_author(&self, author: Author) -> Result<Author, Status> {
        let request = UpdateAuthorRequest { author: Some(author), request_id: String::new() };
        Ok(self.0.clone().update_author(timed(request)).await?.into_inner().author.unwrap())
    }

    async fn delete_author(&self, code: &str) -> Result<Author, Status> {
        let request = DeleteAuthorRequest { code: code.to_owned(), ..Default::default() };
        Ok(self.0.clone().delete_author(timed(request)).await?.into_inner().author.unwrap())
    }

    async fn author(&self, code: &str) -> Result<Author, Status> {
        let request = GetAuthorRequest { code: code.to_owned(), consistency: None };
        Ok(self.0.clone().get_author(timed(request)).await?.into_inner().author.unwrap())
    }

    /// Creates a book under an id that the gateway makes.
    async fn create_book(&self, title: &str, author_code: &str) -> Book {
        let book = Book { title: title.to_owned(), author_code: author_code.to_owned(), ..Default::default() };
        let request = CreateBookRequest { book: Some(book), request_id: String::new() };
        self.0.clone().create_book(timed(request)).await.unwrap().into_inner().book.unwrap()
    }

    async fn set_author(&self, book_id: &str, author_code: &str) {
        let (book_id, author_code) = (book_id.to_owned(), author_code.to_owned());
        let request = SetBookAuthorRequest { book_id, author_code, ..Default::default() };
        self.0.clone().set_book_author(timed(request)).await.unwrap();
    }

    async fn add_chapter(&self, book_id: &str, title: &str, request_id: &str) -> Result<i64, Status> {
        let request = AddChapterRequest {
            book_id: book_id.to_owned(),
            title: title.to_owned(),
            content: format!("{title} begins"),
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        Ok(self.0.clone().add_chapter(timed(request)).await?.into_inner().chapter_id)
    }

    async fn remove_chapter(&self, book_id: &str, chapter_id: i64) -> Result<(), Status> {
        let request = RemoveChapterRequest { book_id: book_id.to_owned(), chapter_id, ..Default::default() };
        self.0.clone().remove_chapter(timed(request)).await.map(|_| ())
    }

    async fn remove_book(&self, book_id: &str, request_id: &str) -> Result<(), Status> {
        let (book_id, request_id) = (book_id.to_owned(), request_id.to_owned());
        let request = RemoveBookRequest { book_id, request_id, ..Default::default() };
        self.0.clone().remove_book(timed(request)).await.map(|_| ())
    }

    async fn book(&self, book_id: &str) -> Book {
        let request = GetBookRequest { book_id: book_id.to_owned(), consistency: None };
        self.0.clone().get_book(timed(request)).await.unwrap().into_inner().book.unwrap()
    }

    async fn outcome_for_book(&self, book_id: &str, request_id: &str) -> Result<GetCommandOutcomeResponse, Status> {
        let (book_id, request_id) = (book_id.to_owned(), request_id.to_owned());
        let request = GetCommandOutcomeRequest { book_id, request_id, ..Default::default() };
        Ok(self.0.clone().get_command_outcome(timed(request)).await?.into_inner())
    }

    async fn cards(&self, author_code: &str) -> Vec<BookCard> {
        let request = ListBookCardsRequest {
            author_code: author_code.to_owned(),
            page_size: 1_000,
            require_complete: true,
            ..Default::default()
        };
        self.0.clone().list_book_cards(timed(request)).await.unwrap().into_inner().book_cards
    }

    /// The cards of an author once there are so many, as title and last name.
    async fn cards_of(&self, author_code: &str, count: usize) -> Vec<(String, String)> {
        let what = format!("{count} cards of {author_code}");
        let cards =
            eventually(&what, async || Some(self.cards(author_code).await).filter(|cards| cards.len() == count)).await;
        let brief = |card: BookCard| (card.book.unwrap().title, card.author.unwrap().last_name);
        let mut cards: Vec<_> = cards.into_iter().map(brief).collect();
        cards.sort();
        cards
    }
}

fn ada() -> Author {
    Author {
        code: "ada".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        ..Default::default()
    }
}

fn chapters(book: &Book) -> Vec<(i64, &str)> {
    book.chapters.iter().map(|chapter| (chapter.chapter_id, chapter.content.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_comes_goes_and_comes_again() {
    let mesh = Mesh::start().await;
    let library = Library::new(mesh.channel());
    let refused = |status: Status| (status.code(), reason(&status));
    let then = |code, reason: &str| (code, reason.to_owned());

    let created = library.create_author(ada()).await.unwrap();
    assert_eq!((created.state(), created.etag.as_str()), (AuthorState::Valid, "1"));
    let again = library.create_author(ada()).await.unwrap_err();
    assert_eq!(refused(again), then(Code::AlreadyExists, "AUTHOR_EXISTS"));

    let king = Author { last_name: "King".to_owned(), etag: created.etag, ..ada() };
    let updated = library.update_author(king.clone()).await.unwrap();
    assert_eq!(updated.last_name, "King");
    // Somebody else has the old version still.
    let late = library.update_author(king).await.unwrap_err();
    assert_eq!(refused(late), then(Code::Aborted, "VERSION_CONFLICT"));

    let deleted = library.delete_author("ada").await.unwrap();
    assert_eq!((deleted.state(), deleted.last_name.as_str()), (AuthorState::Deleted, "King"));
    assert_eq!(library.author("ada").await.unwrap(), deleted);
    let illegal = library.update_author(ada()).await.unwrap_err();
    assert_eq!(refused(illegal), then(Code::FailedPrecondition, "ILLEGAL_TRANSITION"));
    let illegal = library.delete_author("ada").await.unwrap_err();
    assert_eq!(refused(illegal), then(Code::FailedPrecondition, "ILLEGAL_TRANSITION"));
    assert_eq!(library.create_author(ada()).await.unwrap().state(), AuthorState::Valid);

    let blank = library.create_author(Author { code: "bob".to_owned(), first_name: " ".to_owned(), ..ada() }).await;
    let problem = service_host::Problem::from(&blank.unwrap_err());
    assert_eq!((problem.reason.as_ref(), problem.violations[0].field.as_str()), ("INVALID_FIELD", "author.first_name"));
    let nobody = library.author("bob").await.unwrap_err();
    assert_eq!(refused(nobody), then(Code::NotFound, "AUTHOR_NOT_FOUND"));
    let request = ListAuthorsRequest { require_complete: true, ..Default::default() };
    let listed = library.0.clone().list_authors(timed(request)).await.unwrap().into_inner().authors;
    assert_eq!(listed.iter().map(|author| author.code.as_str()).collect::<Vec<_>>(), ["ada"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chapters_keep_their_numbers_and_go_before_their_book() {
    let mesh = Mesh::start().await;
    let library = Library::new(mesh.channel());
    let id = library.create_book("Notes", "").await.book_id;
    for (title, wanted) in [("One", 1), ("Two", 2), ("Three", 3)] {
        assert_eq!(library.add_chapter(&id, title, "").await.unwrap(), wanted);
    }
    library.remove_chapter(&id, 2).await.unwrap();
    let before = library.book(&id).await;
    assert_eq!(chapters(&before), [(1, "One begins"), (3, "Three begins")]);
    let refused = library.remove_chapter(&id, 555).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "CHAPTER_NOT_FOUND".to_owned()));
    assert_eq!(library.book(&id).await, before);
    assert_eq!(library.add_chapter(&id, "Four", "").await.unwrap(), 4);
    library.remove_chapter(&id, 4).await.unwrap();

    library.remove_book(&id, "bye").await.unwrap();
    let outcome = library.outcome_for_book(&id, "bye").await.unwrap();
    let events: Vec<_> = outcome.events.into_iter().map(|event| event.event.unwrap()).collect();
    let [Event::ChapterRemoved(first), Event::ChapterRemoved(second), Event::BookRemoved(_)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((first.chapter_id, second.chapter_id), (1, 3));
    assert_eq!(library.book(&id).await.state(), BookState::Removed);
    let refused = library.add_chapter(&id, "Five", "").await.unwrap_err();
    assert_eq!(reason(&refused), "ILLEGAL_TRANSITION");
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_follow_authors_and_books() {
    let mesh = Mesh::start().await;
    let library = Library::new(mesh.channel());
    let first = library.create_book("First", "ada").await.book_id;
    let second = library.create_book("Second", "").await.book_id;
    library.create_book("Third", "ada").await;
    assert!(library.cards("").await.is_empty(), "the author does not exist yet");
    library.create_author(ada()).await.unwrap();
    library.set_author(&second, "ada").await;
    let names = |last: &str, titles: &[&str]| {
        titles.iter().map(|title| ((*title).to_owned(), last.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(library.cards_of("ada", 3).await, names("Lovelace", &["First", "Second", "Third"]));
    assert_eq!(library.cards_of("", 3).await.len(), 3);

    library.update_author(Author { last_name: "King".to_owned(), ..ada() }).await.unwrap();
    assert_eq!(library.cards_of("ada", 3).await, names("King", &["First", "Second", "Third"]));
    library.remove_book(&first, "").await.unwrap();
    assert_eq!(library.cards_of("ada", 2).await, names("King", &["Second", "Third"]));
    library.set_author(&second, "bob").await;
    assert_eq!(library.cards_of("ada", 1).await, names("King", &["Third"]));
    library.delete_author("ada").await.unwrap();
    assert!(library.cards("").await.is_empty());
    let request = ListBooksRequest { author_code: "bob".to_owned(), require_complete: true, ..Default::default() };
    let books = library.0.clone().list_books(timed(request)).await.unwrap().into_inner().books;
    assert_eq!(books.iter().map(|book| book.title.as_str()).collect::<Vec<_>>(), ["Second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_of_a_burst_sees_its_predecessors_and_its_outcome_survives_a_kill() {
    const BURST: i64 = 100;
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let library = Library::new(process.channel());
    let id = library.create_book("Notes", "").await.book_id;
    let mut burst = JoinSet::new();
    for number in 1..=BURST {
        let (library, id) = (library.clone(), id.clone());
        burst
            .spawn(async move { library.add_chapter(&id, &format!("Chapter {number}"), &format!("r-{number}")).await });
    }
    let given = burst.join_all().await.into_iter().collect::<Result<BTreeSet<_>, _>>().unwrap();
    assert_eq!(given, (1..=BURST).collect(), "no number twice, none left out");
    // The book is full: also this is known for ever after.
    assert_eq!(reason(&library.add_chapter(&id, "More", "r-more").await.unwrap_err()), "TOO_MANY_CHAPTERS");

    process.kill();
    let process = Process::start(data.path(), &[]);
    let library = Library::new(process.channel());
    let mut found = BTreeSet::new();
    for number in 1..=BURST {
        let outcome = library.outcome_for_book(&id, &format!("r-{number}")).await.unwrap();
        let [event] = &outcome.events[..] else { panic!("{outcome:?}") };
        let Some(Event::ChapterAdded(added)) = &event.event else { panic!("{event:?}") };
        let chapter = added.chapter.as_ref().unwrap();
        assert_eq!((chapter.title.as_str(), outcome.refusal), (format!("Chapter {number}").as_str(), None));
        found.insert(chapter.chapter_id);
    }
    assert_eq!(found, given);
    let refused = library.outcome_for_book(&id, "r-more").await.unwrap().refusal.unwrap();
    assert_eq!((refused.command.as_str(), refused.reason.as_str()), ("AddChapter", "TOO_MANY_CHAPTERS"));
    assert_eq!(reason(&library.outcome_for_book(&id, "r-0").await.unwrap_err()), "COMMAND_NOT_FOUND");
    assert_eq!(library.book(&id).await.chapters.len(), 100);
}
