//! The methods of DeadLetterService on the owner's side: convert, ask the task that holds the letter, convert back.

use bytes::Bytes;
use prost::Message;
use proto::mesh::v1 as pb;
use proto::mesh::v1::dead_letter_service_server::DeadLetterService;
use service_host::{Call, FieldFaults, Owner, Page, Problem, ReadBound, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::Config;
use crate::domain::LetterId;
use crate::processors::commands::REPLAY;
use crate::stores::{LETTERS, letter_key};
use crate::wire;

/// The owner's side of DeadLetterService.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    owner: Owner,
    config: Config,
}

impl DeadLetters {
    pub(crate) fn new(owner: Owner, config: Config) -> Self {
        Self { owner, config }
    }
}

#[tonic::async_trait]
impl DeadLetterService for DeadLetters {
    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        // These ids are made by the mesh, which no limit for those of clients may keep from being asked for.
        let mut faults = FieldFaults::new();
        validate::optional_id(&mut faults, "service", &request.service);
        validate::optional_id(&mut faults, "dead_letter_id", &request.dead_letter_id);
        let state = wire::state_filter(request.state).unwrap_or_else(|()| {
            faults.add("state", "is no state of a dead letter");
            None
        });
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let rows_max = self.config.list_rows_max;
        let (wanted, service) = (request.dead_letter_id.clone(), request.service.clone());
        let read = move |view: &View<'_>, page: &Page| {
            let prefix = match LetterId::parse(&wanted) {
                Some(id) => letter_key(&id),
                None if service.is_empty() => Vec::new(),
                None => [service.as_bytes(), &[0]].concat(),
            };
            page.fill(view, LETTERS, &prefix, rows_max, |key, row| {
                let letter = letter(key, &row, !wanted.is_empty())?;
                let is_wanted = (wanted.is_empty() || letter.dead_letter_id == wanted)
                    && (service.is_empty() || letter.service == service)
                    && state.is_none_or(|state| letter.state == state);
                Ok(is_wanted.then_some(letter))
            })
        };
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (dead_letters, next_page_token) = answer.value;
        let unreachable = Vec::new();
        Ok(Response::new(pb::ListDeadLettersResponse { dead_letters, next_page_token, unreachable, served_by }))
    }

    async fn replay_dead_letter(
        &self,
        request: Request<pb::ReplayDeadLetterRequest>,
    ) -> Result<Response<pb::ReplayDeadLetterResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        // As in a list.
        let mut faults = FieldFaults::new();
        validate::request_id(&mut faults, &request.request_id);
        validate::id(&mut faults, "dead_letter_id", &request.dead_letter_id);
        faults.finish()?;
        let request_id = std::mem::take(&mut request.request_id);
        let key = Bytes::copy_from_slice(request.dead_letter_id.as_bytes());
        let payload = request.encode_to_vec().into();
        let call = Call { name: REPLAY, key, request_id, payload, attachment: Bytes::new() };
        let answer = self.owner.execute::<pb::ReplayDeadLetterResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::ReplayDeadLetterResponse { consistency_token, served_by, ..answer.value }))
    }
}

/// The letter of a row, whose key begins with the service.
fn letter(key: &[u8], row: &Bytes, whole: bool) -> Result<pb::DeadLetter, Problem> {
    let row = wire::letter(row).map_err(|error| owner::unreadable("row of a dead letter", &error))?;
    let service = key.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(wire::letter_to_proto(&String::from_utf8_lossy(service), row, whole))
}

#[cfg(test)]
mod tests;
