//! The methods of CatalogService on the owner's side: convert, call the task that owns the key, convert back.

mod lists;

use proto::catalog::v1 as pb;
use proto::catalog::v1::catalog_service_server::CatalogService;
use service_host::{Answer, Call, Owner, Page, Problem, ReadBound, owner};
use task_runtime::View;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::Config;
use crate::domain::{author, book};
use crate::stores::{AUTHORS, BOOKS, CHAPTERS, OUTCOMES, chapter_of_key, outcome_key, prefix};
use crate::wire::requests::{self, CREATE_AUTHOR, UPDATE_AUTHOR};
use crate::wire::{self, messages};

/// The owner's side of CatalogService.
#[derive(Debug, Clone)]
pub struct Catalog {
    owner: Owner,
    config: Config,
}

impl Catalog {
    pub(crate) fn new(owner: Owner, config: Config) -> Self {
        Self { owner, config }
    }

    /// Executes a command to an author: the author after it, and a token to see it with.
    async fn change_author(&self, metadata: &MetadataMap, call: Call) -> Result<Changed<pb::Author>, Problem> {
        let answer = self.owner.execute(metadata, call).await?;
        Ok(Changed::of(&self.owner, answer))
    }

    /// Executes a command to a book: the book after it, and a token to see it with.
    async fn change_book(&self, metadata: &MetadataMap, call: Call) -> Result<Changed<pb::Book>, Problem> {
        let answer = self.owner.execute(metadata, call).await?;
        Ok(Changed::of(&self.owner, answer))
    }
}

/// What the answers to all commands say.
struct Changed<T> {
    value: T,
    consistency_token: String,
    served_by: Option<proto::mesh::v1::ServedBy>,
}

impl<T> Changed<T> {
    fn of(owner: &Owner, answer: Answer<T>) -> Self {
        let (consistency_token, served_by) = (owner.consistency_token(&answer), Some(owner.served_by(&answer)));
        Self { value: answer.value, consistency_token, served_by }
    }
}

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn create_author(
        &self,
        request: Request<pb::CreateAuthorRequest>,
    ) -> Result<Response<pb::CreateAuthorResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::author(self.owner.faults(), CREATE_AUTHOR, request.author, request.request_id)?;
        let Changed { value, consistency_token, served_by } = self.change_author(&metadata, call).await?;
        Ok(Response::new(pb::CreateAuthorResponse { author: Some(value), consistency_token, served_by }))
    }

    async fn update_author(
        &self,
        request: Request<pb::UpdateAuthorRequest>,
    ) -> Result<Response<pb::UpdateAuthorResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::author(self.owner.faults(), UPDATE_AUTHOR, request.author, request.request_id)?;
        let Changed { value, consistency_token, served_by } = self.change_author(&metadata, call).await?;
        Ok(Response::new(pb::UpdateAuthorResponse { author: Some(value), consistency_token, served_by }))
    }

    async fn delete_author(
        &self,
        request: Request<pb::DeleteAuthorRequest>,
    ) -> Result<Response<pb::DeleteAuthorResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::delete_author(self.owner.faults(), request)?;
        let Changed { value, consistency_token, served_by } = self.change_author(&metadata, call).await?;
        Ok(Response::new(pb::DeleteAuthorResponse { author: Some(value), consistency_token, served_by }))
    }

    async fn get_author(
        &self,
        request: Request<pb::GetAuthorRequest>,
    ) -> Result<Response<pb::GetAuthorResponse>, Status> {
        let request = request.into_inner();
        let mut faults = self.owner.faults();
        requests::author_code(&mut faults, "code", &request.code);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        faults.finish()?;
        let code = request.code.clone();
        let read = move |view: &View<'_>| {
            let author = author_of(view, &code)?.ok_or_else(|| Problem::not_found("author", &code))?;
            Ok(messages::author(&code, &author))
        };
        let answer = self.owner.read(request.code.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(pb::GetAuthorResponse { author: Some(answer.value), served_by }))
    }

    async fn list_authors(
        &self,
        request: Request<pb::ListAuthorsRequest>,
    ) -> Result<Response<pb::ListAuthorsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        let state = lists::author_state(&mut faults, request.state);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let rows_max = self.config.list_rows_max;
        let read = move |view: &View<'_>, page: &Page| lists::authors(view, page, state, rows_max);
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (authors, next_page_token) = answer.value;
        Ok(Response::new(pb::ListAuthorsResponse { authors, next_page_token, unreachable: Vec::new(), served_by }))
    }

    async fn create_book(
        &self,
        request: Request<pb::CreateBookRequest>,
    ) -> Result<Response<pb::CreateBookResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::create_book(self.owner.faults(), request, &metadata)?;
        let Changed { value, consistency_token, served_by } = self.change_book(&metadata, call).await?;
        Ok(Response::new(pb::CreateBookResponse { book: Some(value), consistency_token, served_by }))
    }

    async fn set_book_author(
        &self,
        request: Request<pb::SetBookAuthorRequest>,
    ) -> Result<Response<pb::SetBookAuthorResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::set_book_author(self.owner.faults(), request)?;
        let Changed { value, consistency_token, served_by } = self.change_book(&metadata, call).await?;
        Ok(Response::new(pb::SetBookAuthorResponse { book: Some(value), consistency_token, served_by }))
    }

    async fn add_chapter(
        &self,
        request: Request<pb::AddChapterRequest>,
    ) -> Result<Response<pb::AddChapterResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::add_chapter(self.owner.faults(), request)?;
        let Changed { value, consistency_token, served_by } = self.change_book(&metadata, call).await?;
        // Ids only grow, so that the new chapter is the last one.
        let chapter_id = value.chapters.last().map_or(0, |chapter| chapter.chapter_id);
        Ok(Response::new(pb::AddChapterResponse { book: Some(value), chapter_id, consistency_token, served_by }))
    }

    async fn remove_chapter(
        &self,
        request: Request<pb::RemoveChapterRequest>,
    ) -> Result<Response<pb::RemoveChapterResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::remove_chapter(self.owner.faults(), request)?;
        let Changed { value, consistency_token, served_by } = self.change_book(&metadata, call).await?;
        Ok(Response::new(pb::RemoveChapterResponse { book: Some(value), consistency_token, served_by }))
    }

    async fn remove_book(
        &self,
        request: Request<pb::RemoveBookRequest>,
    ) -> Result<Response<pb::RemoveBookResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = requests::remove_book(self.owner.faults(), request)?;
        let Changed { value, consistency_token, served_by } = self.change_book(&metadata, call).await?;
        Ok(Response::new(pb::RemoveBookResponse { book: Some(value), consistency_token, served_by }))
    }

    async fn get_book(&self, request: Request<pb::GetBookRequest>) -> Result<Response<pb::GetBookResponse>, Status> {
        let request = request.into_inner();
        let mut faults = self.owner.faults();
        requests::book_id(&mut faults, "book_id", &request.book_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        faults.finish()?;
        let book_id = request.book_id.clone();
        let read = move |view: &View<'_>| whole_book(view, &book_id);
        let answer = self.owner.read(request.book_id.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(pb::GetBookResponse { book: Some(answer.value), served_by }))
    }

    async fn list_books(
        &self,
        request: Request<pb::ListBooksRequest>,
    ) -> Result<Response<pb::ListBooksResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        requests::optional_author_code(&mut faults, "author_code", &request.author_code);
        let state = lists::book_state(&mut faults, request.state);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let (author_code, rows_max) = (request.author_code, self.config.list_rows_max);
        let read = move |view: &View<'_>, page: &Page| lists::books(view, page, &author_code, state, rows_max);
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (books, next_page_token) = answer.value;
        Ok(Response::new(pb::ListBooksResponse { books, next_page_token, unreachable: Vec::new(), served_by }))
    }

    async fn list_book_cards(
        &self,
        request: Request<pb::ListBookCardsRequest>,
    ) -> Result<Response<pb::ListBookCardsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        requests::optional_author_code(&mut faults, "author_code", &request.author_code);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let (author_code, rows_max) = (request.author_code, self.config.list_rows_max);
        let read = move |view: &View<'_>, page: &Page| lists::book_cards(view, page, &author_code, rows_max);
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (book_cards, next_page_token) = answer.value;
        let unreachable = Vec::new();
        Ok(Response::new(pb::ListBookCardsResponse { book_cards, next_page_token, unreachable, served_by }))
    }

    async fn get_command_outcome(
        &self,
        request: Request<pb::GetCommandOutcomeRequest>,
    ) -> Result<Response<pb::GetCommandOutcomeResponse>, Status> {
        let request = request.into_inner();
        let (key, bound) = requests::outcome(self.owner.faults(), &request)?;
        let (row_key, request_id) = (outcome_key(&key, &request.request_id), request.request_id);
        let read = move |view: &View<'_>| {
            let row = owner::row(view, OUTCOMES, &row_key)?;
            let row = row.ok_or_else(|| Problem::not_found("command", &request_id))?;
            wire::outcome(&row).map_err(|error| owner::unreadable("row of an outcome", &error))
        };
        let mut answer = self.owner.read(key.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        let pb::OutcomeRow { events, refusal, .. } = std::mem::take(&mut answer.value);
        Ok(Response::new(pb::GetCommandOutcomeResponse { events, refusal, served_by }))
    }
}

/// What is known of an author.
fn author_of(view: &View<'_>, code: &str) -> Result<Option<author::Author>, Problem> {
    let row = owner::row(view, AUTHORS, code.as_bytes())?;
    row.map(|row| wire::author(&row)).transpose().map_err(|error| owner::unreadable("row of an author", &error))
}

fn read_book(row: &bytes::Bytes) -> Result<book::Book, Problem> {
    wire::book(row).map_err(|error| owner::unreadable("row of a book", &error))
}

/// A book with the content of its chapters.
fn whole_book(view: &View<'_>, book_id: &str) -> Result<pb::Book, Problem> {
    let row = owner::row(view, BOOKS, book_id.as_bytes())?.ok_or_else(|| Problem::not_found("book", book_id))?;
    let mut book = messages::book(book_id, &read_book(&row)?);
    for (key, row) in owner::rows(view, CHAPTERS, &prefix(book_id), book.chapters.len())? {
        let content = wire::content(&row).map_err(|error| owner::unreadable("row of a chapter", &error))?;
        let chapter = book.chapters.iter_mut().find(|chapter| Some(chapter.chapter_id) == chapter_of_key(&key));
        if let Some(chapter) = chapter {
            chapter.content = content;
        }
    }
    Ok(book)
}

#[cfg(test)]
mod tests;
