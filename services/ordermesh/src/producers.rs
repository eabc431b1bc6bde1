//! The client side of the binary: subcommands that call a mesh through its public API, as any client does.
//!
//! Each prints a table for people, or with `--json` the answer as protobuf JSON, and ends with 1 when the call failed, with
//! the reason and every field fault on the standard error. Writes carry a request_id, made unless it is given, so that a
//! repeat is safe.

mod author;
mod book;
mod client;
mod completions;
mod customer;
mod generate;
mod history;
mod manufactured;
mod money;
mod order;
mod output;
mod pages;
mod payment;
mod product;
mod stock;
#[cfg(test)]
mod tests;
mod watch;

use clap::{Args, Subcommand};
use proto::mesh::v1::ReadConsistency;
use proto::mesh::v1::read_consistency::Bound;
use uuid::Uuid;

use client::{Client, Connection, Failure};

/// What can be asked of a mesh that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Producer {
    /// Creates, shows, cancels, lists and follows orders.
    Order(To<order::Command>),
    /// Sets or changes the stock of a product.
    Stock(To<stock::Command>),
    /// Creates or changes products.
    Product(To<product::Command>),
    /// Reports pieces that were made for an order.
    Manufactured(To<manufactured::Command>),
    /// Records payments.
    Payment(To<payment::Command>),
    /// Creates customers.
    Customer(To<customer::Command>),
    /// Creates, changes, deletes and shows authors.
    Author(To<author::Command>),
    /// Creates, changes, removes and shows books.
    Book(To<book::Command>),
    /// Makes plausible customers, orders and payments, for demonstrations and endurance runs.
    Generate(generate::Generate),
    /// Prints a completion script, such as `ordermesh completions bash > /etc/bash_completion.d/ordermesh`.
    Completions {
        /// The shell that shall complete.
        shell: clap_complete::Shell,
    },
}

/// What to do, and where.
#[derive(Debug, Args)]
pub(crate) struct To<C: Subcommand> {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: C,
}

/// How a write is told from a repeat of it.
#[derive(Debug, Args)]
pub(crate) struct Write {
    /// Name of this request: the same again changes nothing more [default: a new one]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl Write {
    fn request_id(&self) -> String {
        self.request_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string())
    }
}

/// How fresh a read is.
#[derive(Debug, Args)]
pub(crate) struct Read {
    /// consistency_token of a write that the answer must show, from whichever instance [default: from the owner]
    #[arg(long, value_name = "TOKEN")]
    at_least: Option<String>,
}

impl Read {
    fn consistency(&self) -> Option<ReadConsistency> {
        let token = self.at_least.clone()?;
        Some(ReadConsistency { bound: Some(Bound::AtLeast(token)) })
    }
}

/// Carries out a subcommand.
///
/// # Errors
/// The mesh cannot be reached, or refuses.
pub(crate) async fn run(producer: Producer) -> Result<(), Failure> {
    match producer {
        Producer::Order(To { connection, command }) => {
            order::run(&mut Client::connect(connection).await?, command).await
        }
        Producer::Stock(To { connection, command }) => {
            stock::run(&mut Client::connect(connection).await?, command).await
        }
        Producer::Product(To { connection, command }) => {
            product::run(&mut Client::connect(connection).await?, command).await
        }
        Producer::Manufactured(To { connection, command }) => {
            manufactured::run(&mut Client::connect(connection).await?, command).await
        }
        Producer::Payment(To { connection, command }) => {
            payment::run(&mut Client::connect(connection).await?, command).await
        }
        Producer::Customer(To { connection, command }) => {
            customer::run(&mut Client::connect(connection).await?, command).await
        }
        Producer::Author(To { connection, command }) => {
            author::run(&mut Client::connect(connection).await?, command).await
        }
        Producer::Book(To { connection, command }) => book::run(&mut Client::connect(connection).await?, command).await,
        Producer::Generate(generate) => generate.run().await,
        Producer::Completions { shell } => {
            completions::print(shell);
            Ok(())
        }
    }
}
