//! The rules of dead letters: what they are called, and which may be replayed. Pure.
//!
//! ```text
//! WAITING --replayed--> REPLAYED
//! ```
//! Letters of one key leave WAITING in the order in which they came, so that a replay never turns their order round.

/// What a letter is called: unique, and of such bytes that it belongs to the letter's own partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterId {
    /// The service that could not process it.
    pub service: String,
    /// Partition of its dead-letter topic.
    pub partition: u32,
    /// Offset in that partition.
    pub offset: u64,
    /// Chosen so that the id belongs to the partition.
    pub salt: u32,
}

/// Salts that are tried. With as many partitions as there can be, that none fits is as good as impossible; such a letter
/// could be listed, and not be replayed.
const SALTS: u32 = 1_000_000;

impl LetterId {
    /// The id of a letter, given what tells the partition of an id.
    pub fn new(service: &str, partition: u32, offset: u64, partition_of: impl Fn(&[u8]) -> u32) -> Self {
        let mut id = Self { service: service.to_owned(), partition, offset, salt: 0 };
        while id.salt < SALTS && partition_of(id.to_string().as_bytes()) != partition {
            id.salt += 1;
        }
        id
    }

    /// Reads an id; none if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(4, '.');
        let salt = parts.next()?.parse().ok()?;
        let offset = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let id = Self { service: parts.next()?.to_owned(), partition, offset, salt };
        // Numbers can be written in several ways, ids in one.
        (id.to_string() == text && !id.service.is_empty()).then_some(id)
    }
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, partition, offset, salt } = self;
        write!(f, "{service}.{partition}.{offset}.{salt}")
    }
}

/// What is known of a letter that is to be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter<'a> {
    /// It was replayed before.
    pub is_replayed: bool,
    /// It holds only a part of its record.
    pub is_cut: bool,
    /// Topic whose handler takes it; empty when the letter does not say where it came from.
    pub handled_as: &'a str,
    /// An earlier letter of the same key waits, with this offset.
    pub earlier: Option<u64>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send it back.
    Replay,
    /// Nothing: it went back before.
    Nothing,
}

/// Why a letter is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It holds only a part of its record.
    Cut,
    /// It does not say where it came from.
    NoSource,
    /// An earlier letter of the same key waits, with this offset.
    EarlierWaiting(u64),
}

/// Decides about a replay.
///
/// # Errors
/// See [`Refusal`].
pub fn replay(letter: &Letter<'_>) -> Result<Decision, Refusal> {
    match letter {
        Letter { is_replayed: true, .. } => Ok(Decision::Nothing),
        Letter { is_cut: true, .. } => Err(Refusal::Cut),
        Letter { handled_as: "", .. } => Err(Refusal::NoSource),
        Letter { earlier: Some(offset), .. } => Err(Refusal::EarlierWaiting(*offset)),
        Letter { earlier: None, .. } => Ok(Decision::Replay),
    }
}

#[cfg(test)]
mod tests;
