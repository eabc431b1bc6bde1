//! Somebody who keeps the catalog: authors, books and their chapters. Several do, of the same books, so that they get into each
//! other's way. Each command has a request_id; it is sent again now and then, and what became of it is asked of anybody.

use std::rc::Rc;
use std::time::Duration;

use proto::catalog::v1 as pb;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::catalog::v1::catalog_service_server::CatalogServiceServer;
use proto::mesh::v1::ReadConsistency;
use proto::mesh::v1::read_consistency::Bound;
use testkit::simulation::Dice;
use tokio::time::sleep;
use tonic::{Response, Status};

use crate::desk::{Desk, Server, Try};
use crate::history::Told;
use crate::laws::{I2_OUTCOMES, i2_outcome_is_as_told};
use crate::shop::World;

const AUTHORS: [&str; 2] = ["ada", "bob"];
const BOOKS: [&str; 2] = ["0198c0de-0000-7abc-8def-000000000001", "0198c0de-0000-7abc-8def-000000000002"];
/// Chapters that are asked to be removed have a number up to this: some are there, some never were.
const CHAPTERS: u64 = 6;

/// What is wanted of the author or the book of a key.
#[derive(Debug, Clone)]
enum Wish {
    CreateAuthor,
    UpdateAuthor,
    DeleteAuthor,
    CreateBook,
    SetAuthor(&'static str),
    AddChapter,
    RemoveChapter(i64),
    RemoveBook,
}

/// A command, and how it was answered.
#[derive(Debug, Clone)]
struct Command {
    key: &'static str,
    request_id: String,
    wish: Wish,
    etag: String,
}

/// A command that was answered, and the token of the answer.
struct Done {
    command: Command,
    told: Told,
    token: String,
}

pub(crate) struct Librarian {
    desk: Desk,
    id: u64,
    done: Vec<Done>,
}

impl Librarian {
    pub(crate) fn new(world: &Rc<World>, id: u64, dice: Dice) -> Self {
        Self { desk: Desk::new(world, dice), id, done: Vec::new() }
    }

    pub(crate) async fn run(mut self) {
        for number in 0..self.desk.world.shared.profile.operations {
            self.desk.pause(0, 400).await;
            match self.desk.dice.below(100) {
                0..70 => self.command(number).await,
                70..80 => self.repeat().await,
                _ => self.ask().await,
            }
        }
        while self.desk.world.shared.is_faulty() {
            sleep(Duration::from_millis(100)).await;
        }
        // Who answers now may have rebuilt its store since, or forgotten what is not to be forgotten.
        let pause = self.desk.dice.pick(&[0, 15]);
        sleep(Duration::from_secs(pause)).await;
        for _ in 0..self.done.len().min(4) {
            self.repeat().await;
            self.ask().await;
        }
    }

    fn draw(&mut self, number: u64) -> Command {
        let (author, book) = (self.desk.dice.pick(&AUTHORS), self.desk.dice.pick(&BOOKS));
        let chapter = self.draw_chapter(book);
        let dice = &mut self.desk.dice;
        let (key, wish) = match dice.below(100) {
            0..12 => (author, Wish::CreateAuthor),
            12..20 => (author, Wish::UpdateAuthor),
            20..25 => (author, Wish::DeleteAuthor),
            25..42 => (book, Wish::CreateBook),
            42..52 => (book, Wish::SetAuthor(dice.pick(&["", "ada", "bob"]))),
            52..80 => (book, Wish::AddChapter),
            80..97 => (book, Wish::RemoveChapter(chapter)),
            _ => (book, Wish::RemoveBook),
        };
        let etag = if dice.permille(150) { dice.range(1, 9).to_string() } else { String::new() };
        Command { key, request_id: format!("l-{}-{number}", self.id), wish, etag }
    }

    /// Often the one that this librarian knows to be the last.
    fn draw_chapter(&mut self, book: &str) -> i64 {
        let added = self.done.iter().rev().find_map(|done| match done.told {
            Told::Done { chapter_id, .. } if chapter_id > 0 && done.command.key == book => Some(chapter_id),
            _ => None,
        });
        let any = i64::try_from(self.desk.dice.range(1, CHAPTERS)).unwrap();
        added.filter(|_| self.desk.dice.permille(700)).unwrap_or(any)
    }

    async fn command(&mut self, number: u64) {
        let command = self.draw(number);
        let (told, token) = self.send(&command).await;
        self.desk.history(|history| {
            history.catalog.insert((command.key.to_owned(), command.request_id.clone()), told.clone());
        });
        self.done.push(Done { command, told, token });
    }

    /// Sends a command until it is answered.
    async fn send(&mut self, command: &Command) -> (Told, String) {
        match self.desk.insist(catalog::SERVICE, command.key, command.clone(), send).await {
            Ok(answer) => answer,
            Err(problem) => (Told::Refused(problem.reason.to_string()), String::new()),
        }
    }

    /// The same request once more: nothing happens, and the answer is the first one.
    async fn repeat(&mut self) {
        if self.done.is_empty() {
            return;
        }
        let index = self.desk.dice.index(self.done.len());
        let (command, told) = (self.done[index].command.clone(), self.done[index].told.clone());
        let (again, _) = self.send(&command).await;
        if again != told {
            self.desk.broken(I2_OUTCOMES, format!("{command:?} was answered with {told:?}, and then with {again:?}"));
        }
    }

    /// Asks anybody what became of a command.
    async fn ask(&mut self) {
        if self.done.is_empty() {
            return;
        }
        let index = self.desk.dice.index(self.done.len());
        let Done { command, told, token } = &self.done[index];
        let (command, told) = (command.clone(), told.clone());
        let by_token = !token.is_empty() && self.desk.dice.permille(500);
        let bound = by_token.then(|| Bound::AtLeast(token.clone()));
        let (code, book_id) = if AUTHORS.contains(&command.key) { (command.key, "") } else { ("", command.key) };
        let request = pb::GetCommandOutcomeRequest {
            request_id: command.request_id.clone(),
            code: code.to_owned(),
            book_id: book_id.to_owned(),
            consistency: Some(ReadConsistency { bound }),
        };
        let asked = self
            .desk
            .ask(catalog::SERVICE, command.key, async |server| client(server).get_command_outcome(request).await);
        match asked.await {
            Try::Unknown => {}
            Try::Refused(problem) => {
                self.desk.broken(I2_OUTCOMES, format!("{command:?} was answered, and is not known: {problem:?}"));
            }
            Try::Answered(pb::GetCommandOutcomeResponse { events, refusal, .. }) => {
                if let Err(failure) = i2_outcome_is_as_told(&command.request_id, &told, &events, refusal.as_ref()) {
                    self.desk.broken(failure.oracle, failure.detail);
                }
            }
        }
    }
}

fn client(server: Server) -> CatalogServiceClient<CatalogServiceServer<catalog::Catalog>> {
    CatalogServiceClient::new(catalog::server(server.owner, &server.config.catalog))
}

async fn send(server: Server, command: Command) -> Result<Response<(Told, String)>, Status> {
    let Command { key, request_id, wish, etag } = command;
    let key = key.to_owned();
    let author = pb::Author {
        code: key.clone(),
        first_name: "Ada".to_owned(),
        last_name: request_id.clone(),
        etag: etag.clone(),
        ..pb::Author::default()
    };
    let mut catalog = client(server);
    macro_rules! answer {
        ($what:ident, $response:expr) => {{
            let response = $response.into_inner();
            let etag = response.$what.unwrap_or_default().etag;
            (Told::Done { etag, chapter_id: 0 }, response.consistency_token)
        }};
    }
    let answer = match wish {
        Wish::CreateAuthor => {
            let request = pb::CreateAuthorRequest { author: Some(author), request_id };
            answer!(author, catalog.create_author(request).await?)
        }
        Wish::UpdateAuthor => {
            let request = pb::UpdateAuthorRequest { author: Some(author), request_id };
            answer!(author, catalog.update_author(request).await?)
        }
        Wish::DeleteAuthor => {
            let request = pb::DeleteAuthorRequest { code: key, etag, request_id };
            answer!(author, catalog.delete_author(request).await?)
        }
        Wish::CreateBook => {
            let book = pb::Book { book_id: key, title: "Notes".to_owned(), ..pb::Book::default() };
            let request = pb::CreateBookRequest { book: Some(book), request_id };
            answer!(book, catalog.create_book(request).await?)
        }
        Wish::SetAuthor(author_code) => {
            let author_code = author_code.to_owned();
            let request = pb::SetBookAuthorRequest { book_id: key, author_code, etag, request_id };
            answer!(book, catalog.set_book_author(request).await?)
        }
        Wish::AddChapter => {
            let (title, content) = (format!("Of {request_id}"), "Once upon a time".to_owned());
            let request = pb::AddChapterRequest { book_id: key, title, content, etag, request_id };
            let response = catalog.add_chapter(request).await?.into_inner();
            let (etag, chapter_id) = (response.book.unwrap_or_default().etag, response.chapter_id);
            (Told::Done { etag, chapter_id }, response.consistency_token)
        }
        Wish::RemoveChapter(chapter_id) => {
            let request = pb::RemoveChapterRequest { book_id: key, chapter_id, etag, request_id };
            answer!(book, catalog.remove_chapter(request).await?)
        }
        Wish::RemoveBook => {
            let request = pb::RemoveBookRequest { book_id: key, etag, request_id };
            answer!(book, catalog.remove_book(request).await?)
        }
    };
    Ok(Response::new(answer))
}
