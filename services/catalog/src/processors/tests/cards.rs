//! Cards: the view joined from both sides in any order, and the topic that follows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proto::catalog::v1 as pb;
use proto::catalog::v1::book_card_event::Event;

use task_runtime::{Command, Context, Reply};
use testkit::Driver;

use super::{ADA, Library, book_id};
use crate::domain::shelf;
use crate::stores::{AUTHORS, ROUNDS, SHELVES, parse_shelf_key, shelf_key};
use crate::{Config, topics, wire};

/// Author and book to title-bearing card: title, chapters, last name, versions.
type Cards = BTreeMap<(String, String), (usize, String, String, String)>;

fn brief(card: &pb::BookCard) -> (usize, String, String, String) {
    let (book, author) = (card.book.as_ref().unwrap(), card.author.as_ref().unwrap());
    (book.chapters.len(), author.last_name.clone(), book.etag.clone(), author.etag.clone())
}

/// The cards as a list shows them.
fn view(library: &Library) -> Cards {
    let mut cards = Cards::new();
    for (key, row) in library.driver.view().scan(SHELVES, b"", None, 10_000).unwrap() {
        let (code, book_id) = parse_shelf_key(&key).unwrap();
        let author = library.driver.get(AUTHORS, code.as_bytes()).map(|row| wire::author(&row).unwrap());
        let (placed, _) = wire::placed(&row).unwrap();
        if let Some(book) = shelf::on_card(author.as_ref(), &placed) {
            let author = author.as_ref().map(|author| wire::messages::author(code, author));
            let card = pb::BookCard { book: Some(book.clone()), author };
            cards.insert((code.to_owned(), book_id.to_owned()), brief(&card));
        }
    }
    cards
}

/// The cards as somebody knows them who follows the topic.
fn follow(library: &mut Library, cards: &mut Cards) {
    for (key, event) in library.told::<pb::BookCardEvent>(topics::BOOK_CARDS) {
        assert_eq!(key, event.author_code.as_bytes());
        let at = (event.author_code, event.book_id);
        match event.event.unwrap() {
            Event::Updated(card) => cards.insert(at, brief(&card)),
            Event::Removed(_) => cards.remove(&at),
        };
    }
}

#[test]
fn cards_follow_both_sides() {
    let mut library = Library::new();
    let mut told = Cards::new();
    let mut last_names = |library: &mut Library| {
        library.deliver();
        follow(library, &mut told);
        assert_eq!(view(library), told);
        told.values().map(|card| card.1.clone()).collect::<Vec<_>>()
    };
    library.create_book(&book_id(1), "ada").unwrap();
    assert!(last_names(&mut library).is_empty(), "the author does not exist yet");
    library.create_author("ada", ADA, "").unwrap();
    assert_eq!(last_names(&mut library), ["Lovelace"]);
    library.create_book(&book_id(2), "ada").unwrap();
    library.create_book(&book_id(3), "").unwrap();
    library.set_author(&book_id(3), "ada").unwrap();
    assert_eq!(last_names(&mut library), ["Lovelace"; 3]);
    library.update_author("ada", ["Ada", "King"], "").unwrap();
    assert_eq!(last_names(&mut library), ["King"; 3]);
    library.remove_book(&book_id(1), "").unwrap();
    library.set_author(&book_id(2), "bob").unwrap();
    assert_eq!(last_names(&mut library), ["King"]);
    library.delete_author("ada").unwrap();
    assert!(last_names(&mut library).is_empty());
    library.create_author("ada", ADA, "").unwrap();
    library.create_author("bob", ["Bob", "Babbage"], "").unwrap();
    assert_eq!(last_names(&mut library), ["Lovelace", "Babbage"]);
    library.set_author(&book_id(2), "").unwrap();
    assert_eq!(last_names(&mut library), ["Lovelace"]);
}

#[test]
fn a_book_without_an_author_bothers_no_author() {
    let mut library = Library::new();
    library.create_book(&book_id(1), "").unwrap();
    library.add_chapter(&book_id(1), "One", "").unwrap();
    library.remove_book(&book_id(1), "").unwrap();
    assert_eq!(library.undelivered(), []);
}

#[test]
fn the_cards_of_many_books_are_told_page_by_page() {
    const BOOKS: u32 = 300;
    let mut library = Library::new();
    for number in 0..BOOKS {
        library.create_book(&book_id(number), "ada").unwrap();
        // A neighbour, whose cards are not to be told.
        library.create_book(&book_id(1_000 + number), "adb").unwrap();
    }
    library.deliver();
    library.create_author("ada", ADA, "").unwrap();
    assert_eq!(library.told::<pb::BookCardEvent>(topics::BOOK_CARDS).len(), 128);
    assert_eq!(view(&library).len(), 300, "the view is complete at once");
    // A change in the middle of a round begins it anew.
    library.update_author("ada", ["Ada", "King"], "").unwrap();
    let mut told = Cards::new();
    library.advance_to(10_000);
    follow(&mut library, &mut told);
    assert_eq!(told, view(&library));
    assert_eq!(library.driver.view().scan(ROUNDS, b"", None, 10).unwrap(), []);
    library.delete_author("ada").unwrap();
    library.advance_to(20_000);
    follow(&mut library, &mut told);
    assert!(told.is_empty());
}

#[test]
fn a_card_that_cannot_be_read_holds_up_neither_its_author_nor_the_other_cards() {
    let plant = |ctx: &mut Context<'_>, command: &Command| {
        ctx.put(SHELVES, &command.key, command.payload.clone());
        Ok(Reply(Bytes::new()))
    };
    let mut library = Library::new();
    library.driver = Driver::new(crate::definition(&Config::default()).command("plant", plant));
    for number in 1..=3 {
        library.create_book(&book_id(number), "ada").unwrap();
    }
    library.deliver();
    library.driver.command("plant", &shelf_key("ada", &book_id(2)), None, &b"\xff\xff"[..], "").unwrap();
    library.create_author("ada", ADA, "").unwrap();
    let mut told = Cards::new();
    follow(&mut library, &mut told);
    assert_eq!(told.into_keys().map(|(_, book)| book).collect::<Vec<_>>(), [book_id(1), book_id(3)]);
}

#[test]
fn news_that_cannot_be_read_go_to_the_dead_letters() {
    let mut library = Library::new();
    library.driver.record(topics::BOOKS_BY_AUTHOR, b"ada", b"\xff".as_slice());
    let emitted = library.driver.emitted();
    assert_eq!(emitted[0].topic, "catalog-dead-letters");
}

/// What somebody does to one of two authors or three books.
#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Rename(usize, u8),
    Delete(usize),
    CreateBook(u32, usize),
    SetAuthor(u32, usize),
    AddChapter(u32),
    RemoveBook(u32),
}

/// The third is nobody.
const CODES: [&str; 3] = ["ada", "bob", ""];

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2_usize).prop_map(Step::Create),
        2 => (0..2_usize, any::<u8>()).prop_map(|(author, name)| Step::Rename(author, name)),
        1 => (0..2_usize).prop_map(Step::Delete),
        3 => (0..3_u32, 0..3_usize).prop_map(|(book, author)| Step::CreateBook(book, author)),
        3 => (0..3_u32, 0..3_usize).prop_map(|(book, author)| Step::SetAuthor(book, author)),
        2 => (0..3_u32).prop_map(Step::AddChapter),
        1 => (0..3_u32).prop_map(Step::RemoveBook),
    ]
}

/// Takes a step; refusals are fine.
fn take(library: &mut Library, step: &Step) {
    match step {
        Step::Create(author) => drop(library.create_author(CODES[*author], ["A", "Author"], "")),
        Step::Rename(author, name) => drop(library.update_author(CODES[*author], ["A", &format!("N{name}")], "")),
        Step::Delete(author) => drop(library.delete_author(CODES[*author])),
        Step::CreateBook(book, author) => drop(library.create_book(&book_id(*book), CODES[*author])),
        Step::SetAuthor(book, author) => drop(library.set_author(&book_id(*book), CODES[*author])),
        Step::AddChapter(book) => drop(library.add_chapter(&book_id(*book), "More", "")),
        Step::RemoveBook(book) => drop(library.remove_book(&book_id(*book), "")),
    }
}

fn is_about_a_book(step: &Step) -> bool {
    !matches!(step, Step::Create(_) | Step::Rename(..) | Step::Delete(_))
}

proptest! {
    /// The owners of the books send their news, which come in any order, repeated, before, between and after the commands
    /// to the authors: the cards are the same as when everything comes at once, and the topic says the same.
    #[test]
    fn any_order_of_arrival_gives_the_same_cards(
        steps in proptest::collection::vec(any_step(), 1..40),
        order in any::<u64>(),
    ) {
        let mut at_once = Library::new();
        for step in &steps {
            take(&mut at_once, step);
            at_once.deliver();
        }
        let expected = view(&at_once);

        let mut books = Library::new();
        steps.iter().filter(|step| is_about_a_book(step)).for_each(|step| take(&mut books, step));
        let mut news: Vec<_> = books.undelivered().into_iter().flat_map(|record| [record.clone(), record]).collect();
        let mut commands = steps.iter().filter(|step| !is_about_a_book(step)).peekable();
        let mut authors = Library::new();
        let mut told = Cards::new();
        let mut dice = order;
        while !news.is_empty() || commands.peek().is_some() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = usize::try_from(dice >> 33).unwrap();
            if news.is_empty() || pick % 3 == 0 && commands.peek().is_some() {
                take(&mut authors, commands.next().unwrap());
            } else {
                authors.news(news.swap_remove(pick % news.len()));
            }
            follow(&mut authors, &mut told);
        }
        prop_assert_eq!(view(&authors), expected.clone());
        prop_assert_eq!(told, expected);
    }
}
