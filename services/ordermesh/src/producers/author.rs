//! `ordermesh author`: who writes books.

use clap::Subcommand;
use proto::catalog::v1::{
    Author, CreateAuthorRequest, CreateAuthorResponse, DeleteAuthorRequest, DeleteAuthorResponse, GetAuthorRequest,
    GetAuthorResponse, UpdateAuthorRequest, UpdateAuthorResponse,
};

use super::client::{Client, Failure};
use super::output::{facts, short};
use super::{Read, Write};

const CREATE: &str = "ordermesh.catalog.v1.CatalogService/CreateAuthor";
const UPDATE: &str = "ordermesh.catalog.v1.CatalogService/UpdateAuthor";
const DELETE: &str = "ordermesh.catalog.v1.CatalogService/DeleteAuthor";
const GET: &str = "ordermesh.catalog.v1.CatalogService/GetAuthor";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Creates an author, also one that was deleted.
    Create(Names),
    /// Changes the names of an author.
    Update(Names),
    /// Deletes an author.
    Delete {
        /// Key of the author
        code: String,
        /// Version of the author that must be current
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        write: Write,
    },
    /// Shows an author.
    Get {
        /// Key of the author
        code: String,
        #[command(flatten)]
        read: Read,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Names {
    /// Key of the author: 1-20 of a-z, 0-9, - and _
    #[arg(allow_hyphen_values = true)]
    code: String,
    /// First name
    #[arg(long)]
    first_name: String,
    /// Last name
    #[arg(long)]
    last_name: String,
    /// Version of the author that must be current
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    write: Write,
}

impl Names {
    fn into_parts(self) -> (Option<Author>, String) {
        let request_id = self.write.request_id();
        let Self { code, first_name, last_name, etag, .. } = self;
        (Some(Author { code, first_name, last_name, etag, ..Default::default() }), request_id)
    }
}

pub(super) async fn run(client: &mut Client, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(names) => {
            let (author, request_id) = names.into_parts();
            let request = CreateAuthorRequest { author, request_id: request_id.clone() };
            let answer: CreateAuthorResponse = client.write(CREATE, request_id, request).await?;
            client.print(CREATE, &answer, |answer| sheet(answer.author.as_ref()));
        }
        Command::Update(names) => {
            let (author, request_id) = names.into_parts();
            let request = UpdateAuthorRequest { author, request_id: request_id.clone() };
            let answer: UpdateAuthorResponse = client.write(UPDATE, request_id, request).await?;
            client.print(UPDATE, &answer, |answer| sheet(answer.author.as_ref()));
        }
        Command::Delete { code, etag, write } => {
            let request_id = write.request_id();
            let request = DeleteAuthorRequest { code, etag, request_id: request_id.clone() };
            let answer: DeleteAuthorResponse = client.write(DELETE, request_id, request).await?;
            client.print(DELETE, &answer, |answer| sheet(answer.author.as_ref()));
        }
        Command::Get { code, read } => {
            let request = GetAuthorRequest { code, consistency: read.consistency() };
            let answer: GetAuthorResponse = client.read(GET, request).await?;
            client.print(GET, &answer, |answer| sheet(answer.author.as_ref()));
        }
    }
    Ok(())
}

fn sheet(author: Option<&Author>) -> String {
    let Some(author) = author else { return String::new() };
    facts(
        &format!("author {}", author.code),
        &[
            ("name", format!("{} {}", author.first_name, author.last_name)),
            ("state", short(author.state().as_str_name(), "AUTHOR_STATE_").to_owned()),
            ("etag", author.etag.clone()),
        ],
    )
}
