//! A schema registry that speaks Confluent's API (Confluent's own, Redpanda's, Karapace): what is registered there, and how
//! a value says under which number.
//!
//! Each topic has the subject `<topic>-value`. Its schema is the file of the message as text; files that it imports are
//! subjects of their own, called like the file with dots (`ordermesh.common.v1.money`), and are registered first. A value then
//! begins with the number that the registry gave to the schema, so that a console finds it: see [`task_runtime::Frame`].

mod client;
mod config;
mod standing;

use std::collections::BTreeMap;
use std::time::Duration;

use prost_types::{FileDescriptorProto, FileDescriptorSet};
use task_runtime::Frame;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::types::{is_well_known, join};
use crate::{Catalogue, UnknownMessage, source};
use client::{Client, Reference};
pub use config::{Config, RegistryConfig};
pub use standing::{Registration, Standing};

/// First pause after a registry did not answer; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// Why schemas are not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The settings cannot be used.
    #[error("schemas.registry: {0}")]
    Settings(String),
    /// The registry has another schema there, which this one breaks, or does not accept it or us at all.
    #[error("the schema registry refuses {subject} with {code}: {message}")]
    Refused {
        /// The subject.
        subject: String,
        /// Its code: an HTTP status, or one of its own that begins with it.
        code: i64,
        /// What it said.
        message: String,
    },
    /// It cannot be reached, or is in trouble itself. Trying again helps.
    #[error("the schema registry at {url} does not answer: {reason}")]
    Unavailable {
        /// Where it should be.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A message is not compiled in.
    #[error(transparent)]
    Unknown(#[from] UnknownMessage),
}

impl RegistryError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// A registration that is done, or goes on until the registry has everything.
#[derive(Debug)]
pub struct Registering {
    job: Option<JoinHandle<()>>,
    standing: Standing,
}

impl Registering {
    /// Nothing is to be registered.
    #[must_use]
    pub fn none() -> Self {
        Self { job: None, standing: Standing::default() }
    }

    /// Registers the schemas of all topics, each with its message and its frame. Returns when that is done, or when the
    /// registry has not answered for `start_wait`: it is tried further on then, until `stop`.
    ///
    /// # Errors
    /// The settings are wrong, or the registry refuses a schema.
    pub async fn begin(
        config: &Config,
        catalogue: &Catalogue,
        topics: Vec<(String, String, Frame)>,
        stop: &CancellationToken,
    ) -> Result<Self, RegistryError> {
        let RegistryConfig { start_wait, retry_pause_max, framed, .. } = config.registry;
        let Some(client) = Client::new(&config.registry)? else { return Ok(Self::none()) };
        let files = catalogue.cut(topics.iter().map(|(_, message, _)| message.as_str()))?;
        let standing = Standing::pending(topics.iter().map(|(topic, ..)| topic.as_str()));
        let wanted = Wanted { client, files, topics, framed, standing: standing.clone() };
        let deadline = Instant::now() + start_wait;
        let mut pause = PAUSE;
        loop {
            match wanted.register(Refusals::End).await {
                Ok(()) => return Ok(Self { job: None, standing }),
                Err(error) if error.is_retryable() && Instant::now() + pause < deadline => {
                    tracing::debug!(%error, "the schema registry is tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(retry_pause_max);
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "schemas are not registered yet; values go out without a registry's number");
                    let job = tokio::spawn(go_on(wanted, retry_pause_max, stop.clone()));
                    return Ok(Self { job: Some(job), standing });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How each topic stands, now and later.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Returns when nothing is left to do.
    pub async fn ended(self) {
        if let Some(job) = self.job {
            // One that panicked has said so itself.
            let _ = job.await;
        }
    }
}

/// Registers what the start could not. A refusal comes too late to refuse the start: it is told once, shows in the standing of its
/// topic, and is tried further on, since people may change what the registry takes.
async fn go_on(wanted: Wanted, pause_max: Duration, stop: CancellationToken) {
    let mut pause = PAUSE.min(pause_max);
    let mut told = String::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(pause_max);
        match wanted.register(Refusals::PassOver).await {
            Ok(()) => return,
            Err(error) if error.is_retryable() => tracing::debug!(%error, "the schema registry is tried again"),
            Err(error) => {
                pause = pause_max;
                let refusal = error.to_string();
                if refusal != told {
                    tracing::error!(%error, "schemas are not registered; their values go out without a registry's number");
                    told = refusal;
                }
            }
        }
    }
}

/// What a refusal of one topic means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusals {
    /// They are not registered either: the process is not to start.
    End,
    /// They are registered all the same.
    PassOver,
}

/// What is to be registered, and where.
#[derive(Debug)]
struct Wanted {
    client: Client,
    files: FileDescriptorSet,
    /// Topic, message, and the frame that gets its bytes.
    topics: Vec<(String, String, Frame)>,
    framed: bool,
    standing: Standing,
}

impl Wanted {
    /// Registers everything, or what is missing of it: a schema that is there keeps its number.
    ///
    /// # Errors
    /// The registry does not answer, or refuses something: the first refusal, if others are passed over.
    async fn register(&self, refusals: Refusals) -> Result<(), RegistryError> {
        let files: Vec<&FileDescriptorProto> = self.files.file.iter().filter(|file| !is_well_known(file)).collect();
        let versions = self.imports(&files).await.inspect_err(|error| {
            if !error.is_retryable() {
                self.standing.refuse_rest(&error.to_string());
            }
        })?;
        let mut refused = None;
        for (topic, message, frame) in &self.topics {
            if matches!(self.standing.of(topic), Some(Registration::Registered { .. })) {
                continue;
            }
            let (file, index) = find(&files, message).ok_or_else(|| UnknownMessage(message.clone()))?;
            let subject = format!("{topic}-value");
            match self.client.register(&subject, &source(file), &references(file, &versions)).await {
                Ok(id) => {
                    if self.framed {
                        frame.set(frame_bytes(id, index));
                    }
                    self.standing.set(topic, Registration::Registered { id });
                }
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    self.standing.set(topic, Registration::Refused { reason: error.to_string() });
                    if refusals == Refusals::End {
                        return Err(error);
                    }
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) => Err(error),
            None => {
                tracing::info!(topics = self.topics.len(), framed = self.framed, "schemas are registered");
                Ok(())
            }
        }
    }

    /// Registers the files that others import; each stands behind those that it imports.
    async fn imports<'a>(
        &self,
        files: &[&'a FileDescriptorProto],
    ) -> Result<BTreeMap<&'a str, Reference>, RegistryError> {
        let mut versions: BTreeMap<&str, Reference> = BTreeMap::new();
        for file in files {
            if files.iter().any(|other| other.dependency.iter().any(|import| import == file.name())) {
                let subject = file.name().trim_end_matches(".proto").replace('/', ".");
                let text = source(file);
                self.client.register(&subject, &text, &references(file, &versions)).await?;
                let version = self.client.version(&subject, &text, &references(file, &versions)).await?;
                versions.insert(file.name(), Reference { name: file.name().to_owned(), subject, version });
            }
        }
        Ok(versions)
    }
}

fn references(file: &FileDescriptorProto, versions: &BTreeMap<&str, Reference>) -> Vec<Reference> {
    file.dependency.iter().filter_map(|import| versions.get(import.as_str()).cloned()).collect()
}

/// The file of a message, and the place of the message in it.
fn find<'a>(files: &[&'a FileDescriptorProto], message: &str) -> Option<(&'a FileDescriptorProto, usize)> {
    files.iter().find_map(|file| {
        let is_it = |found: &prost_types::DescriptorProto| join(file.package(), found.name()) == message;
        file.message_type.iter().position(is_it).map(|index| (*file, index))
    })
}

/// What stands before a value: a zero byte, the number of the schema, and the place of the message in its file.
fn frame_bytes(id: u32, index: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&id.to_be_bytes());
    if index == 0 {
        // Short for a list of one that is zero.
        bytes.push(0);
        return bytes;
    }
    for number in [1, index as u64] {
        // As protobuf's sint32 has it; none is negative here.
        let mut left = number << 1;
        while left >= 0x80 {
            bytes.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_others_write_it() {
        assert_eq!(frame_bytes(7, 0), [0, 0, 0, 0, 7, 0]);
        assert_eq!(frame_bytes(0x0102_0304, 1), [0, 1, 2, 3, 4, 2, 2]);
        assert_eq!(frame_bytes(1, 64), [0, 0, 0, 0, 1, 2, 0x80, 1]);
    }
}
