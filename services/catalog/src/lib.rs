//! Catalog: authors, books with their chapters, and cards that show books with their authors. Authors are keyed by their
//! code, books by their id.
//!
//! Both are the sum of their events: see [`domain`]. A book's owner tells the owner of its author through a topic of our own,
//! so that cards are joined where the author is. It reads and owns `books-by-author`, and owns `authors`, `books` and
//! `book-cards`: see [`topics`].

mod config;
pub mod domain;
mod grpc;
mod processors;
mod stores;
pub mod topics;
mod wire;

use proto::catalog::v1::catalog_service_server::CatalogServiceServer;
use service_host::Owner;
use task_runtime::Definition;

pub use config::Config;
pub use grpc::Catalog;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "catalog";
/// Topics that it writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 4] = [
    (topics::AUTHORS, "ordermesh.catalog.v1.AuthorEvent"),
    (topics::BOOKS, "ordermesh.catalog.v1.BookEvent"),
    (topics::BOOK_CARDS, "ordermesh.catalog.v1.BookCardEvent"),
    (topics::BOOKS_BY_AUTHOR, "ordermesh.catalog.v1.AuthorBook"),
];

/// What a catalog task does.
#[must_use]
pub fn definition(config: &Config) -> Definition {
    let definition = TOPICS
        .iter()
        .fold(Definition::new(SERVICE), |definition, (topic, message)| definition.output_of(topic, message));
    let definition = stores::ALL.iter().fold(definition, |definition, store| definition.store(*store));
    let definition = processors::authors::register(definition, config);
    let definition = processors::books::register(definition, config);
    let definition = processors::shelves::register(definition, config);
    let definition = processors::cards::register(definition);
    processors::expiry::register(definition)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, config: &Config) -> CatalogServiceServer<Catalog> {
    CatalogServiceServer::new(Catalog::new(owner, config.clone()))
}
