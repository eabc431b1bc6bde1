//! Lists over all partitions: one page is made of the partitions' pages, in their order, until it is full. The first is asked
//! alone, for it often is enough; if it is not, the next ones are asked at the same time, so that neither many partitions
//! nor one that hangs make the list slow.
//!
//! The token of the next page names the partition to go on with and carries that partition's own token. Answers are joined
//! as bytes: protobuf says that the parts of a message, put behind one another, are the message with their lists joined.

use http::HeaderValue;
use service_host::{Code, FieldFaults, PageToken, Problem, headers, token, validate};

use bytes::Bytes;

use crate::forward::{Forward, Outgoing};
use crate::message::{frame, read_answer};
use crate::scan::{Fields, Malformed, Value, find, push_bytes, push_varint};
use crate::table::ListShape;

/// Calls for one page beyond one for each partition. With a filter that skips nearly everything, owners answer with short
/// pages; then the caller gets a short one too, and its token.
const EXTRA_CALLS: usize = 16;
/// Partitions that are asked at the same time.
const WIDTH: usize = 8;
/// What one partition may use of the time that is left, so that one that hangs does not take the others along.
const SHARE_OF_TIME: f32 = 0.5;

/// What the request asks for.
struct Wish {
    page_size: usize,
    require_complete: bool,
    fingerprint: u64,
    start: Cursor,
}

/// Where to go on; by default the beginning of the first partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cursor {
    partition: u32,
    /// The partition's own token; empty at its beginning.
    token: Vec<u8>,
}

/// The page as far as it is.
#[derive(Default)]
struct Gathered {
    response: Vec<u8>,
    items: usize,
    unreachable: Vec<String>,
}

/// Answers a list call with a message that has its prefix already. `call` carries the caller's request.
///
/// # Errors
/// INVALID_FIELD for a bad size or token; PARTITION_UNREACHABLE when the list must be complete and is not; what an owner
/// refuses.
pub(crate) async fn list(
    forward: &Forward,
    call: &Outgoing<'_>,
    shape: &ListShape,
    request: &[u8],
    bytes_max: usize,
) -> Result<Bytes, Problem> {
    let partitions = forward.owners().partitions();
    let wish = match wish(request, shape, partitions) {
        Err(problem) if !problem.violations.is_empty() => {
            return Err(with_other_faults(problem, forward, call, shape, request, bytes_max).await);
        }
        wish => wish?,
    };
    let mut page = Gathered::default();
    let mut at = Some(wish.start.clone());
    let mut calls_left = partitions as usize + EXTRA_CALLS;
    let (mut size, mut width) = (wish.page_size, 1);
    while let Some(cursor) = at.take() {
        if page.items >= wish.page_size || calls_left == 0 {
            at = Some(cursor);
            break;
        }
        let wanted = size.min(wish.page_size - page.items);
        let last = cursor.partition.saturating_add(u32::try_from(width).unwrap_or(u32::MAX)).min(partitions);
        let following = (cursor.partition + 1..last).map(|partition| Cursor { partition, token: Vec::new() });
        let asked: Vec<Cursor> = std::iter::once(cursor).chain(following).take(calls_left).collect();
        calls_left -= asked.len();
        let answers = asked.iter().map(|cursor| ask(forward, call, shape, request, cursor, wanted, bytes_max));
        let answers = futures::future::join_all(answers).await;
        size = wish.page_size;
        let mut is_cut = false;
        for (cursor, answer) in asked.into_iter().zip(answers) {
            let partition = cursor.partition;
            match answer {
                Ok(Some(answer)) if page.has_room_for(&answer, shape, wish.page_size, bytes_max) => {
                    at = page.add(&answer, shape, cursor).map_err(|error| unreadable(&error))?;
                }
                // More than is wanted beside what the partitions before had: it is asked for less.
                Ok(Some(answer)) if page.response.len() + answer.len() <= bytes_max => {
                    at = Some(cursor);
                    is_cut = true;
                }
                // Too large beside what is there: it begins the next page.
                Ok(_) if page.items > 0 => {
                    calls_left = 0;
                    at = Some(cursor);
                }
                Ok(_) if wanted == 1 => return Err(item_too_large(bytes_max)),
                // Too large by itself: ask for less of it. This cannot go on for ever, so it costs none of the calls.
                Ok(_) => {
                    size = wanted / 2;
                    calls_left += 1;
                    at = Some(cursor);
                }
                Err(problem) if matches!(problem.code, Code::Unavailable | Code::DeadlineExceeded) => {
                    page.unreachable.push(format!("{}/{partition}", call.method.role));
                    at = Some(cursor.next_partition());
                }
                Err(problem) => return Err(problem),
            }
            // The answers behind a partition that has more to say are not used: lists go in order.
            if at.as_ref().is_none_or(|at| at.partition == partition) {
                break;
            }
        }
        width = if is_cut { 1 } else { WIDTH };
        at = at.filter(|cursor| cursor.partition < partitions);
    }
    if wish.require_complete && !page.unreachable.is_empty() {
        return Err(Problem::partitions_unreachable(&page.unreachable));
    }
    Ok(page.finish(shape, at, wish.fingerprint))
}

fn wish(request: &[u8], shape: &ListShape, partitions: u32) -> Result<Wish, Problem> {
    let mut faults = FieldFaults::new();
    let malformed = |error: Malformed| Problem::malformed_request(error.to_string());
    let page_size = last_varint(request, shape.page_size).map_err(malformed)?;
    // An int32 is sign-extended on the wire, and a decoder keeps its lower half.
    #[expect(clippy::cast_possible_truncation, reason = "as decoders do")]
    let page_size = validate::page_size(&mut faults, page_size as i32);
    let require_complete = last_varint(request, shape.require_complete).map_err(malformed)? != 0;
    let page_token = find(request, &[shape.page_token]).map_err(malformed)?.unwrap_or_default();
    let fingerprint = token::fingerprint_bytes(request)?;
    let start = faults.note(start(page_token, fingerprint, partitions));
    faults.finish()?;
    Ok(Wish { page_size, require_complete, fingerprint, start: start.unwrap_or_default() })
}

fn start(page_token: &[u8], fingerprint: u64, partitions: u32) -> Result<Cursor, Problem> {
    let refuse = || Problem::invalid_field("page_token", "is not a page token of this mesh");
    let page_token = std::str::from_utf8(page_token).map_err(|_| refuse())?;
    match PageToken::decode(page_token, fingerprint)? {
        None => Ok(Cursor::default()),
        Some(token) if token.partition < partitions => Ok(Cursor { partition: token.partition, token: token.cursor }),
        Some(_) => Err(refuse()),
    }
}

/// Faults of the paging fields, which are the gateway's, behind those of the others, which an owner knows.
async fn with_other_faults(
    paging: Problem,
    forward: &Forward,
    call: &Outgoing<'_>,
    shape: &ListShape,
    request: &[u8],
    bytes_max: usize,
) -> Problem {
    let first = Cursor::default();
    match ask(forward, call, shape, request, &first, 1, bytes_max).await {
        Err(others) if others.code == Code::InvalidArgument => paging.behind(others),
        _ => paging,
    }
}

/// One partition's page; `None` when it is too large.
async fn ask(
    forward: &Forward,
    call: &Outgoing<'_>,
    shape: &ListShape,
    request: &[u8],
    cursor: &Cursor,
    page_size: usize,
    bytes_max: usize,
) -> Result<Option<Bytes>, Problem> {
    let mut message = Vec::with_capacity(request.len() + cursor.token.len() + 16);
    message.extend_from_slice(request);
    // The last occurrence of a field counts.
    push_varint(&mut message, shape.page_size, page_size as u64);
    push_bytes(&mut message, shape.page_token, &cursor.token);
    let mut headers = call.headers.clone();
    headers.insert(headers::PARTITION, HeaderValue::from(cursor.partition));
    let deadline = call.deadline.share(SHARE_OF_TIME);
    let (method, frame, may_be_stale) = (call.method, frame(&message), call.may_be_stale);
    let call = Outgoing { method, headers, frame, deadline, repeatable: true, may_be_stale };
    let answer = async {
        let response = forward.send(&call, cursor.partition).await?;
        read_answer(response, bytes_max).await
    };
    deadline.limit("listing", answer).await?
}

impl Gathered {
    /// Whether a partition's page fits whole.
    fn has_room_for(&self, answer: &[u8], shape: &ListShape, items_max: usize, bytes_max: usize) -> bool {
        let is_item = |field: &Result<(u32, Value<'_>), Malformed>| matches!(field, Ok((n, _)) if *n == shape.items);
        self.response.len() + answer.len() <= bytes_max
            && self.items + Fields::new(answer).filter(is_item).count() <= items_max
    }

    /// Joins a partition's page to this one and tells where to go on.
    fn add(&mut self, answer: &[u8], shape: &ListShape, cursor: Cursor) -> Result<Option<Cursor>, Malformed> {
        let mut next: &[u8] = &[];
        for field in Fields::new(answer) {
            match field? {
                (number, _) if number == shape.items => self.items += 1,
                (number, Value::Bytes(token)) if number == shape.next_page_token => next = token,
                _ => {}
            }
        }
        self.response.extend_from_slice(answer);
        Ok(Some(match next {
            [] => cursor.next_partition(),
            token => Cursor { token: token.to_vec(), ..cursor },
        }))
    }

    fn finish(mut self, shape: &ListShape, next: Option<Cursor>, fingerprint: u64) -> Bytes {
        for name in &self.unreachable {
            push_bytes(&mut self.response, shape.unreachable, name.as_bytes());
        }
        let token = next.map_or_else(String::new, |Cursor { partition, token }| {
            PageToken { partition, cursor: token, fingerprint }.encode()
        });
        // Also when it is empty: it takes the place of the partitions' own tokens.
        push_bytes(&mut self.response, shape.next_page_token, token.as_bytes());
        frame(&self.response)
    }
}

impl Cursor {
    fn next_partition(&self) -> Self {
        Self { partition: self.partition + 1, token: Vec::new() }
    }
}

fn last_varint(message: &[u8], number: u32) -> Result<u64, Malformed> {
    let mut last = 0;
    for field in Fields::new(message) {
        match field? {
            (n, Value::Varint(value)) if n == number => last = value,
            (n, _) if n == number => return Err(Malformed),
            _ => {}
        }
    }
    Ok(last)
}

fn unreadable(error: &Malformed) -> Problem {
    tracing::error!(%error, "page of an owner is unreadable");
    Problem::internal()
}

fn item_too_large(bytes_max: usize) -> Problem {
    let message = "one item of the list is larger than a page may be; read it by its key";
    Problem::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message).with("limit_bytes", bytes_max)
}
