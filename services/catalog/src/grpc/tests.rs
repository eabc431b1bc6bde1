//! The methods over real tasks on a log in memory.

use service_host::headers;
use testkit::Running;

use super::*;

const PARTITIONS: u32 = 2;
const BOOK: &str = "0198c0de-0000-7abc-8def-000000000001";

struct Fixture {
    running: Running,
    service: Catalog,
}

impl Fixture {
    async fn start() -> Self {
        let running = Running::start(crate::definition(&Config::default()), PARTITIONS).await;
        let service = Catalog::new(Owner::new(running.tasks(), "here"), Config::default());
        Self { running, service }
    }

    async fn create_author(&self, author: pb::Author, request_id: &str) -> Result<pb::Author, Problem> {
        let request = pb::CreateAuthorRequest { author: Some(author), request_id: request_id.into() };
        let answer = self.service.create_author(Request::new(request)).await;
        answer.map(|answer| answer.into_inner().author.unwrap()).map_err(|status| Problem::from(&status))
    }

    async fn create_book(&self, book: pb::Book, request_id: &str, made: &str) -> Result<pb::Book, Problem> {
        let mut request = Request::new(pb::CreateBookRequest { book: Some(book), request_id: request_id.into() });
        request.metadata_mut().insert(headers::GENERATED_KEY, made.parse().unwrap());
        let answer = self.service.create_book(request).await;
        answer.map(|answer| answer.into_inner().book.unwrap()).map_err(|status| Problem::from(&status))
    }

    async fn add_chapter(&self, title: &str, request_id: &str) -> pb::AddChapterResponse {
        let request = pb::AddChapterRequest {
            book_id: BOOK.into(),
            title: title.into(),
            content: format!("{title}: content"),
            request_id: request_id.into(),
            ..Default::default()
        };
        self.service.add_chapter(Request::new(request)).await.unwrap().into_inner()
    }

    async fn outcome(&self, request: pb::GetCommandOutcomeRequest) -> Result<pb::GetCommandOutcomeResponse, Problem> {
        let answer = self.service.get_command_outcome(Request::new(request)).await;
        answer.map(Response::into_inner).map_err(|status| Problem::from(&status))
    }

    /// A list call to each partition, merged as the gateway does.
    async fn each<R, T, F>(&self, request: R, list: impl Fn(Request<R>) -> F) -> Vec<T>
    where
        R: Clone,
        F: Future<Output = Vec<T>>,
    {
        let mut found = Vec::new();
        for partition in 0..PARTITIONS {
            let mut request = Request::new(request.clone());
            request.metadata_mut().insert(headers::PARTITION, partition.into());
            found.extend(list(request).await);
        }
        found
    }
}

fn ada() -> pb::Author {
    pb::Author { code: "ada".into(), first_name: "Ada".into(), last_name: "Lovelace".into(), ..Default::default() }
}

fn notes() -> pb::Book {
    pb::Book { book_id: BOOK.into(), title: "Notes".into(), author_code: "ada".into(), ..Default::default() }
}

fn fields(problem: &Problem) -> Vec<&str> {
    problem.violations.iter().map(|violation| violation.field.as_str()).collect()
}

#[tokio::test]
async fn a_book_is_read_with_the_content_of_its_chapters() {
    let fixture = Fixture::start().await;
    fixture.create_book(notes(), "", "").await.unwrap();
    for title in ["One", "Two"] {
        fixture.add_chapter(title, "").await;
    }
    let added = fixture.add_chapter("Three", "").await;
    assert_eq!((added.chapter_id, added.book.unwrap().chapters[2].content.as_str()), (3, ""));
    let remove = pb::RemoveChapterRequest { book_id: BOOK.into(), chapter_id: 2, ..Default::default() };
    fixture.service.remove_chapter(Request::new(remove)).await.unwrap();
    let get = pb::GetBookRequest { book_id: BOOK.into(), consistency: None };
    let book = fixture.service.get_book(Request::new(get)).await.unwrap().into_inner().book.unwrap();
    let chapters: Vec<_> = book.chapters.iter().map(|found| (found.chapter_id, found.content.as_str())).collect();
    assert_eq!(chapters, [(1, "One: content"), (3, "Three: content")]);
    assert_eq!((book.author_code.as_str(), book.etag.as_str()), ("ada", "5"));
    fixture.running.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_once() {
    let fixture = Fixture::start().await;
    fixture.create_book(notes(), "", "").await.unwrap();
    let first = fixture.add_chapter("One", "r-1").await;
    assert_eq!(fixture.add_chapter("One", "r-1").await.book, first.book);
    let created = fixture.create_author(ada(), "r-2").await.unwrap();
    // What only the mesh decides does not make it another request.
    let again = pb::Author { state: pb::AuthorState::Deleted.into(), ..ada() };
    assert_eq!(fixture.create_author(again, "r-2").await.unwrap(), created);
    let other = pb::Author { last_name: "King".into(), ..ada() };
    assert_eq!(fixture.create_author(other, "r-2").await.unwrap_err().reason, "REQUEST_ID_REUSED");
    // A refusal is repeated too, although it would be granted now.
    let refused = fixture.create_author(ada(), "r-3").await.unwrap_err();
    let delete = pb::DeleteAuthorRequest { code: "ada".into(), ..Default::default() };
    fixture.service.delete_author(Request::new(delete)).await.unwrap();
    assert_eq!(fixture.create_author(ada(), "r-3").await.unwrap_err(), refused);
    fixture.running.stop().await;
}

#[tokio::test]
async fn a_book_without_an_id_gets_the_one_that_was_made_first() {
    let fixture = Fixture::start().await;
    let nameless = || pb::Book { book_id: String::new(), ..notes() };
    let made = |number: u32| format!("0198c0de-0000-7abc-8def-{number:012x}");
    let first = fixture.create_book(nameless(), "r-1", &made(7)).await.unwrap();
    assert_eq!(first.book_id, made(7));
    // The gateway makes another one, in the same partition.
    let tasks = fixture.running.tasks();
    let home = tasks.partition_of(made(7).as_bytes());
    let other = (8..).map(made).find(|key| tasks.partition_of(key.as_bytes()) == home).unwrap();
    assert_eq!(fixture.create_book(nameless(), "r-1", &other).await.unwrap(), first);
    fixture.running.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_once() {
    let fixture = Fixture::start().await;
    let author = pb::Author { code: "A b".into(), last_name: "x".repeat(5_000), ..Default::default() };
    let problem = fixture.create_author(author, " ").await.unwrap_err();
    assert_eq!(fields(&problem), ["request_id", "author.code", "author.last_name", "author.first_name"]);
    let blank = pb::Author { first_name: " ".into(), ..ada() };
    assert_eq!(fields(&fixture.create_author(blank, "").await.unwrap_err()), ["author.first_name"]);
    let book = pb::Book {
        book_id: "b-1".into(),
        author_code: "A".into(),
        chapters: vec![pb::Chapter::default()],
        ..Default::default()
    };
    let problem = fixture.create_book(book, "", "").await.unwrap_err();
    assert_eq!(fields(&problem), ["book.book_id", "book.author_code", "book.chapters", "book.title"]);
    let remove = pb::RemoveChapterRequest { book_id: BOOK.into(), ..Default::default() };
    let problem = Problem::from(&fixture.service.remove_chapter(Request::new(remove)).await.unwrap_err());
    assert_eq!(fields(&problem), ["chapter_id"]);
    let none = pb::CreateAuthorRequest::default();
    let problem = Problem::from(&fixture.service.create_author(Request::new(none)).await.unwrap_err());
    assert_eq!(fields(&problem), ["author"]);
    let mut list = Request::new(pb::ListAuthorsRequest { state: 99, page_size: -1, ..Default::default() });
    list.metadata_mut().insert(headers::PARTITION, 0.into());
    let problem = Problem::from(&fixture.service.list_authors(list).await.unwrap_err());
    assert_eq!(fields(&problem), ["state", "page_size"]);
    fixture.running.stop().await;
}

#[tokio::test]
async fn an_outcome_is_found_by_request_and_key() {
    let fixture = Fixture::start().await;
    fixture.create_author(ada(), "r-1").await.unwrap();
    fixture.create_author(ada(), "r-2").await.unwrap_err();
    let of = |request_id: &str, code: &str, book_id: &str| pb::GetCommandOutcomeRequest {
        request_id: request_id.into(),
        code: code.into(),
        book_id: book_id.into(),
        consistency: None,
    };
    let done = fixture.outcome(of("r-1", "ada", "")).await.unwrap();
    assert_eq!((done.events.len(), done.refusal), (1, None));
    let refusal = fixture.outcome(of("r-2", "ada", "")).await.unwrap().refusal.unwrap();
    assert_eq!((refusal.command.as_str(), refusal.reason.as_str()), ("CreateAuthor", "AUTHOR_EXISTS"));
    assert_eq!(fixture.outcome(of("r-3", "ada", "")).await.unwrap_err().reason, "COMMAND_NOT_FOUND");
    assert_eq!(fixture.outcome(of("r-1", "", BOOK)).await.unwrap_err().reason, "COMMAND_NOT_FOUND");
    assert_eq!(fields(&fixture.outcome(of("", "", "")).await.unwrap_err()), ["request_id", "code"]);
    assert_eq!(fields(&fixture.outcome(of("r-1", "ada", BOOK)).await.unwrap_err()), ["book_id"]);
    fixture.running.stop().await;
}

#[tokio::test]
async fn lists_show_what_is_valid_or_what_is_asked_for() {
    let fixture = Fixture::start().await;
    for number in 0..6 {
        let code = format!("a-{number}");
        fixture.create_author(pb::Author { code: code.clone(), ..ada() }, "").await.unwrap();
        if number % 3 == 0 {
            let delete = pb::DeleteAuthorRequest { code, ..Default::default() };
            fixture.service.delete_author(Request::new(delete)).await.unwrap();
        }
        let book_id = format!("0198c0de-0000-7abc-8def-{number:012x}");
        let author_code = format!("a-{}", number % 2);
        fixture.create_book(pb::Book { book_id, author_code, ..notes() }, "", "").await.unwrap();
    }
    let authors = async |state: pb::AuthorState| {
        let request = pb::ListAuthorsRequest { state: state.into(), ..Default::default() };
        let list = async |request| fixture.service.list_authors(request).await.unwrap().into_inner().authors;
        let mut codes: Vec<_> = fixture.each(request, list).await.into_iter().map(|author| author.code).collect();
        codes.sort();
        codes
    };
    assert_eq!(authors(pb::AuthorState::Unspecified).await, ["a-1", "a-2", "a-4", "a-5"]);
    assert_eq!(authors(pb::AuthorState::Deleted).await, ["a-0", "a-3"]);
    assert!(authors(pb::AuthorState::Draft).await.is_empty());
    let books = async |author_code: &str, state: pb::BookState| {
        let (author_code, state) = (author_code.to_owned(), state.into());
        let request = pb::ListBooksRequest { author_code, state, ..Default::default() };
        let list = async |request| fixture.service.list_books(request).await.unwrap().into_inner().books;
        fixture.each(request, list).await.len()
    };
    assert_eq!((books("", pb::BookState::Valid).await, books("a-1", pb::BookState::Unspecified).await), (6, 3));
    assert_eq!((books("a-2", pb::BookState::Valid).await, books("", pb::BookState::Removed).await), (0, 0));
    fixture.running.stop().await;
}
