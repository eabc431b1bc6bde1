//! Which schemas a topic was written with, by one pure rule over what stands in the topic `schemas`.
//!
//! A schema counts if it breaks none of those that count before it. Of two that break each other the first in the log wins,
//! for everybody who reads it; the process with the other one does not start. What does not count is as if it were not there.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use prost_types::{FileDescriptorSet, Timestamp};
use proto::mesh::v1::SchemaRegistered;

use crate::Described;
use crate::compatibility::{Break, breaks};

/// The version of a program, by which the earlier of two schemas is known whatever was started first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Build {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Build {
    /// Reads `1.2.3`; what it cannot read counts as 0.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let release = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { major: next(), minor: next(), patch: next() }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A schema that a topic is written with.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The topic.
    pub topic: String,
    /// What its values are.
    pub described: Described,
    /// The program that was the first to write it.
    pub build: Build,
    /// The instance that was the first.
    pub instance: String,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// A schema that cannot be a topic's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The topic.
    pub topic: String,
    /// Version of the program that wrote the schema which would be broken.
    pub build: Build,
    /// Whether that is a later one than the refused.
    pub is_later: bool,
    /// What would be broken.
    pub breaks: Vec<Break>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, build, is_later, breaks } = self;
        match is_later {
            false => write!(f, "the records of {build} on the topic {topic} cannot be read any more")?,
            true => write!(f, "the later version {build}, which writes to the topic {topic}, breaks this one")?,
        }
        breaks.iter().try_for_each(|broken| write!(f, "\n  {broken}"))
    }
}

/// The schemas that count, by topic, in the order of the log.
#[derive(Debug, Clone, Default)]
pub struct History {
    topics: BTreeMap<String, Vec<Version>>,
}

impl History {
    /// Whether the topic is written with this very schema.
    #[must_use]
    pub fn has(&self, topic: &str, fingerprint: u64) -> bool {
        self.of(topic).iter().any(|version| version.described.fingerprint == fingerprint)
    }

    /// The schemas of a topic.
    #[must_use]
    pub fn of(&self, topic: &str) -> &[Version] {
        self.topics.get(topic).map_or(&[], Vec::as_slice)
    }

    /// All schemas by topic.
    pub fn all(&self) -> impl Iterator<Item = &Version> {
        self.topics.values().flatten()
    }

    /// Whether a topic could be written with this schema too.
    ///
    /// # Errors
    /// The first schema that would be broken.
    pub fn judge(&self, topic: &str, described: &Described, build: Build) -> Result<(), Refusal> {
        if self.has(topic, described.fingerprint) {
            return Ok(());
        }
        for known in self.of(topic) {
            // Of two instances in a rolling upgrade the older one may come second: then it is what the newer one must not break.
            let is_later = known.build > build;
            let (earlier, later) = if is_later { (described, &known.described) } else { (&known.described, described) };
            let breaks = breaks(earlier, later);
            if !breaks.is_empty() {
                return Err(Refusal { topic: topic.to_owned(), build: known.build, is_later, breaks });
            }
        }
        Ok(())
    }

    /// Takes what stands next in the log.
    ///
    /// # Errors
    /// It does not count.
    pub fn take(&mut self, version: Version) -> Result<(), Refusal> {
        self.judge(&version.topic, &version.described, version.build)?;
        if !self.has(&version.topic, version.described.fingerprint) {
            self.topics.entry(version.topic.clone()).or_default().push(version);
        }
        Ok(())
    }
}

impl Version {
    /// What stands in the log.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let seconds = self.time_ms.div_euclid(1_000);
        let nanos = i32::try_from(self.time_ms.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
        SchemaRegistered {
            topic: self.topic.clone(),
            message: self.described.message.clone(),
            fingerprint: self.described.fingerprint,
            build: self.build.to_string(),
            instance: self.instance.clone(),
            time: Some(Timestamp { seconds, nanos }),
            descriptors: self.described.files.encode_to_vec().into(),
        }
        .encode_to_vec()
    }

    /// Reads what stands in the log.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn of(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let said = SchemaRegistered::decode(bytes)?;
        let files = FileDescriptorSet::decode(said.descriptors.as_ref())?;
        let time = said.time.unwrap_or_default();
        let time_ms = time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000);
        Ok(Self {
            topic: said.topic,
            described: Described { message: said.message, fingerprint: said.fingerprint, files },
            build: Build::parse(&said.build),
            instance: said.instance,
            time_ms,
        })
    }
}

#[cfg(test)]
mod tests;
