//! What clients asked and were told, and what was done to the mesh meanwhile: one JSON object a line, in order of time.
//!
//! Always: an operation's `invoke` stands before its end; times are of one monotonic clock and never fall; an operation
//! without an end had none when the driver stopped, and may have had its effect.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::machine;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since the campaign began.
    pub at_ns: u64,
    /// The operation, from 1; 0 for what is done to the mesh.
    pub op: u64,
    /// The client session that the operation belongs to.
    pub session: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// A client begins a call at an instance.
    Invoke {
        /// The instance that it calls.
        gateway: String,
        /// The call.
        call: Call,
    },
    /// The call was answered.
    Ok {
        /// The answer.
        answer: Answer,
    },
    /// The call had no effect, and will have none.
    Fail {
        /// The gRPC code, with the reason behind a slash where there is one.
        code: String,
    },
    /// The call may have had its effect, or may have it later.
    Info {
        /// The gRPC code, with the reason behind a slash where there is one.
        code: String,
    },
    /// Something was done to the mesh.
    Fault {
        /// What, as in the schedule.
        name: String,
        /// The instance that it was done to, if it was one.
        target: Option<String>,
    },
    /// Everything that a fault had stopped was continued just now. How long the mesh takes from here is measured.
    Returned {
        /// The fault, as in the schedule.
        name: String,
    },
    /// What was done to the mesh is undone: everything that was stopped runs again, and answers.
    Healed,
    /// The time of day, once at the beginning: records of topics have it, and lines of the history do not.
    Clock {
        /// Milliseconds since the Unix epoch.
        unix_ms: u64,
    },
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Call {
    /// Creates a product and sets its stock. Once for each product, before everything else.
    SetUp {
        /// The product.
        product_id: String,
        /// Its stock; none for a product that is made to order.
        stock: Option<i64>,
    },
    /// CreateOrder.
    Create {
        /// Key of the order.
        order_id: String,
        /// Who orders.
        customer_id: String,
        /// Product and pieces.
        lines: Vec<(String, i64)>,
        /// Makes repeats harmless.
        request_id: String,
    },
    /// GetOrder.
    Get {
        /// Key of the order.
        order_id: String,
        /// How fresh.
        bound: Bound,
    },
    /// CancelOrder.
    Cancel {
        /// Key of the order.
        order_id: String,
        /// Makes repeats harmless.
        request_id: String,
    },
    /// AddStock. No two of one product have the same quantity, but for repeats of one request.
    AddStock {
        /// The product.
        product_id: String,
        /// Pieces.
        quantity: i64,
        /// Makes repeats harmless.
        request_id: String,
    },
    /// GetProduct.
    GetProduct {
        /// The product.
        product_id: String,
        /// How fresh.
        bound: Bound,
    },
}

/// How fresh the answer of a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// Every write that was acknowledged before the read began.
    Strong,
    /// Strong, and not before the order is over.
    UntilOver,
    /// At least the write of this operation, by its consistency token.
    AtLeast(u64),
    /// Any state that once was current.
    Eventual,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The content.
    pub body: Body,
    /// Who answered, where the answer says so.
    pub served_by: Option<Served>,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// An order.
    Order {
        /// Its state.
        state: State,
        /// Its etag, a number from 1.
        version: u64,
    },
    /// A product.
    Product {
        /// Pieces in the warehouse.
        stock: i64,
        /// Pieces that orders hold.
        reserved: i64,
        /// Pieces that can be ordered.
        available: i64,
        /// Its etag, a number from 1.
        version: u64,
    },
    /// There is no such thing.
    Absent,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Name of the instance.
    pub instance: String,
    /// The partition of the key.
    pub partition: i32,
    /// What the answer reflects, as an offset of the changelog.
    pub applied_offset: i64,
    /// Whether the instance said that it owns the partition.
    pub active: bool,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Accepted.
    Created,
    /// Every check passed.
    Validated,
    /// Something of it is being made.
    InManufacturing,
    /// Everything is made.
    Ready,
    /// Gone to the customer. Final.
    Shipped,
    /// Refused by a check. Final.
    Rejected,
    /// Cancelled. Final.
    Cancelled,
}

impl State {
    /// Whether nothing may leave this state.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Shipped | Self::Rejected | Self::Cancelled)
    }

    /// Whether an order may go from this state to `next`: never back, out of CREATED only by a verdict or a cancellation,
    /// and out of a final state not at all.
    pub fn allows(self, next: Self) -> bool {
        match (self, next) {
            (from, _) if from.is_final() => false,
            (_, Self::Cancelled) => true,
            (Self::Created, to) => matches!(to, Self::Validated | Self::Rejected),
            (_, Self::Rejected) => false,
            (from, to) => from < to,
        }
    }
}

impl Call {
    /// The key that the call is about, with its kind in front.
    pub fn key(&self) -> String {
        match self {
            Self::Create { order_id, .. } | Self::Get { order_id, .. } | Self::Cancel { order_id, .. } => {
                format!("order {order_id}")
            }
            Self::SetUp { product_id, .. }
            | Self::AddStock { product_id, .. }
            | Self::GetProduct { product_id, .. } => {
                format!("product {product_id}")
            }
        }
    }

    /// The service that owns the key.
    pub fn service(&self) -> &'static str {
        match self {
            Self::Create { .. } | Self::Get { .. } | Self::Cancel { .. } => "orders",
            Self::SetUp { .. } | Self::AddStock { .. } | Self::GetProduct { .. } => "inventory",
        }
    }

    /// The gRPC method, for people.
    pub fn method(&self) -> &'static str {
        match self {
            Self::SetUp { .. } => "SetStock",
            Self::Create { .. } => "CreateOrder",
            Self::Get { .. } => "GetOrder",
            Self::Cancel { .. } => "CancelOrder",
            Self::AddStock { .. } => "AddStock",
            Self::GetProduct { .. } => "GetProduct",
        }
    }

    /// The request id of a call that changes something.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Create { request_id, .. } | Self::Cancel { request_id, .. } | Self::AddStock { request_id, .. } => {
                Some(request_id)
            }
            _ => None,
        }
    }

    /// How fresh a read must be; none for a write.
    pub fn bound(&self) -> Option<Bound> {
        match self {
            Self::Get { bound, .. } | Self::GetProduct { bound, .. } => Some(*bound),
            _ => None,
        }
    }
}

/// Writes a history while it happens. Shared by all clients.
#[derive(Debug)]
pub struct Recorder {
    begin: Instant,
    file: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    file: BufWriter<File>,
    ops: u64,
    failed: Option<io::Error>,
}

impl Recorder {
    /// Begins a history in a new file.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("{} cannot be made", path.display()))?;
        let lines = Lines { file: BufWriter::new(file), ops: 0, failed: None };
        let recorder = Self { begin: Instant::now(), file: Mutex::new(lines) };
        recorder.note(0, 0, What::Clock { unix_ms: machine::now_unix_ms() });
        Ok(recorder)
    }

    /// Notes that a call begins, and returns its number.
    pub fn invoke(&self, session: u64, gateway: &str, call: &Call) -> u64 {
        let mut lines = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        lines.ops += 1;
        let op = lines.ops;
        lines.write(self.begin, op, session, What::Invoke { gateway: gateway.to_owned(), call: call.clone() });
        op
    }

    /// Notes how a call ended, or what was done to the mesh (operation 0).
    pub fn note(&self, op: u64, session: u64, what: What) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(self.begin, op, session, what);
    }

    /// Puts everything into the file.
    ///
    /// # Errors
    /// When it could not be written, now or before: the history is not whole then.
    pub fn finish(&self) -> anyhow::Result<()> {
        let mut lines = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        lines.file.flush().context("the history cannot be written")?;
        lines.failed.take().map_or(Ok(()), |error| Err(error).context("the history has gaps"))
    }
}

impl Lines {
    /// The time is taken under the lock, so that lines stand in the order of their times.
    fn write(&mut self, begin: Instant, op: u64, session: u64, what: What) {
        let at_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let line = serde_json::to_vec(&Event { at_ns, op, session, what }).map_err(io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)
        });
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }
}

/// Reads a history.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn load(path: &Path) -> anyhow::Result<Vec<Event>> {
    read_lines(path)
}

/// Reads a file of JSON objects, one a line.
pub(crate) fn read_lines<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Vec<T>> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut found = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("{} cannot be read", path.display()))?;
        let parsed = serde_json::from_str(&line);
        found.push(parsed.with_context(|| format!("line {} of {}", number + 1, path.display()))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let call = Call::Get { order_id: "o-1".to_owned(), bound: Bound::AtLeast(3) };
        let op = recorder.invoke(7, "a", &call);
        let served = Served { instance: "b".to_owned(), partition: 3, applied_offset: 42, active: true };
        let body = Body::Order { state: State::InManufacturing, version: 3 };
        let answer = Answer { body, served_by: Some(served) };
        recorder.note(op, 7, What::Ok { answer: answer.clone() });
        recorder.note(0, 0, What::Healed);
        recorder.finish().unwrap();
        let events = load(&path).unwrap();
        assert!(matches!(events[0].what, What::Clock { unix_ms } if unix_ms > 0));
        let events = &events[1..];
        assert_eq!(events.len(), 3);
        assert_eq!(events[0].what, What::Invoke { gateway: "a".to_owned(), call });
        assert_eq!(events[1].what, What::Ok { answer });
        assert!(events[0].op == 1 && events[0].at_ns <= events[1].at_ns);
    }

    #[test]
    fn nothing_leaves_a_final_state() {
        let states =
            [State::Created, State::Validated, State::Ready, State::Shipped, State::Rejected, State::Cancelled];
        for from in [State::Shipped, State::Rejected, State::Cancelled] {
            assert!(states.iter().all(|to| !from.allows(*to)));
        }
        assert!(State::Created.allows(State::Rejected) && !State::Created.allows(State::Shipped));
        assert!(!State::Validated.allows(State::Rejected) && !State::Ready.allows(State::Validated));
    }
}
