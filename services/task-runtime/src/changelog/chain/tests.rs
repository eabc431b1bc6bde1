//! The reader rule against a second, naive reading of random logs, and the cases that it is made for by name.

use proptest::prelude::*;

use super::*;
use crate::changelog::{encode_claim, encode_commit};

const LIFE: u128 = 7;

/// One entry of a random log, relative to what a reader knows at that point, so that most of them nearly fit.
#[derive(Debug, Clone)]
enum Piece {
    Claim {
        above: i64,
        life: u64,
        foreign: bool,
    },
    Commit {
        above: i64,
        life: u64,
        next: i64,
        prev: Prev,
        body: u8,
        parts: Vec<u32>,
    },
    /// An entry of before lands again, or late.
    Again(usize),
    Garbage(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
enum Prev {
    Fits,
    Older,
    Other,
}

fn piece() -> impl Strategy<Value = Piece> {
    let claim =
        (prop_oneof![8 => Just(1_i64), 1 => Just(0), 1 => Just(-1), 1 => Just(2)], 0_u64..3, prop::bool::weighted(0.1))
            .prop_map(|(above, life, foreign)| Piece::Claim { above, life, foreign });
    let above = prop_oneof![20 => Just(0_i64), 4 => Just(-1), 1 => Just(1)];
    let next = prop_oneof![20 => Just(1_i64), 4 => Just(0), 1 => Just(2)];
    let prev = prop_oneof![30 => Just(Prev::Fits), 1 => Just(Prev::Older), 1 => Just(Prev::Other)];
    let parts = prop_oneof![
        2 => Just(vec![0]),
        2 => Just(vec![0, 1, 2]),
        2 => prop::collection::vec(0_u32..3, 0..6),
    ];
    let commit = (above, prop_oneof![6 => Just(None), 1 => (0_u64..3).prop_map(Some)], next, prev, 0_u8..3, parts)
        .prop_map(|(above, life, next, prev, body, parts)| Piece::Commit {
            above,
            life: life.unwrap_or(u64::MAX),
            next,
            prev,
            body,
            parts,
        });
    prop_oneof![
        3 => claim,
        12 => commit,
        4 => (0_usize..64).prop_map(Piece::Again),
        1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Piece::Garbage),
    ]
}

fn body(number: u8) -> Bytes {
    let changes = vec![(Bytes::from(vec![number]), Some(Bytes::from(vec![number; 40])))];
    Body { changes, stream_time_ms: i64::from(number), ..Body::default() }.encode()
}

/// Writes the pieces as a log. What fits is decided by a reader that comes along.
fn log_of(pieces: &[Piece]) -> Vec<Bytes> {
    let mut log: Vec<Bytes> = Vec::new();
    let (mut chain, mut older) = (Chain::default(), 0_u128);
    for piece in pieces {
        let from = log.len();
        let incarnation = chain.incarnation.unwrap_or(LIFE);
        match piece {
            Piece::Claim { above, life, foreign } => {
                let incarnation = if *foreign { incarnation + 1 } else { incarnation };
                let owner = OwnerId { instance: "i".to_owned(), life: *life };
                log.push(encode_claim(incarnation, chain.epoch.saturating_add_signed(*above), &owner));
            }
            Piece::Commit { above, life, next, prev, body: content, parts } => {
                let own = chain.owner.as_ref().map_or(0, |owner| owner.life);
                let life = if *life == u64::MAX { own } else { *life };
                let epoch = chain.epoch.saturating_add_signed(*above);
                let number = chain.number.saturating_add_signed(*next);
                let prev = match prev {
                    Prev::Fits => chain.hash,
                    Prev::Older => older,
                    Prev::Other => 1,
                };
                let size = if parts.len() == 1 { usize::MAX } else { 20 };
                let (entries, _) = encode_commit(incarnation, epoch, life, number, prev, &body(*content), size);
                log.extend(parts.iter().filter_map(|part| entries.get(*part as usize).cloned()));
            }
            Piece::Again(index) => log.extend(log.get(*index).cloned()),
            Piece::Garbage(bytes) => log.push(Bytes::copy_from_slice(bytes)),
        }
        older = if chain.hash == 0 { older } else { chain.hash };
        for entry in &log[from..] {
            if chain.read(entry).is_err() {
                return log;
            }
        }
    }
    log
}

/// What counted, by offset.
#[derive(Debug, Clone, PartialEq)]
enum Counted {
    Claim,
    Commit(Box<Body>),
}

type Reading = (Vec<(usize, Counted)>, Option<(usize, ReadError)>);

fn read(chain: &mut Chain, log: &[Bytes], from: usize) -> Reading {
    let mut counted = Vec::new();
    for (offset, entry) in log.iter().enumerate().skip(from) {
        match chain.read(entry) {
            Ok(Read::Claimed) => counted.push((offset, Counted::Claim)),
            Ok(Read::Committed(body)) => counted.push((offset, Counted::Commit(body))),
            Ok(Read::Partial | Read::Void(_)) => {}
            Err(error) => return (counted, Some((offset, error))),
        }
    }
    (counted, None)
}

/// The rule once more, naively: every question is answered by going through everything that stands before the entry.
mod naive {
    use super::*;

    struct Fact {
        offset: usize,
        entry_hash: u128,
        number: u64,
        claim: Option<(u128, u64, u64)>,
    }

    fn hash_of(facts: &[Fact]) -> u128 {
        facts.iter().fold(0, |hash, fact| extended(hash, fact.number, fact.entry_hash))
    }

    pub(super) fn read(log: &[Bytes]) -> Reading {
        let (mut facts, mut counted): (Vec<Fact>, Vec<(usize, Counted)>) = (Vec::new(), Vec::new());
        for offset in 0..log.len() {
            match judge(log, offset, &facts) {
                Err(error) => return (counted, Some((offset, error))),
                Ok(None) => {}
                Ok(Some((fact, what))) => {
                    facts.push(fact);
                    counted.push((offset, what));
                }
            }
        }
        (counted, None)
    }

    fn judge(log: &[Bytes], offset: usize, facts: &[Fact]) -> Result<Option<(Fact, Counted)>, ReadError> {
        let current = facts.iter().rev().find_map(|fact| fact.claim);
        let chunk = match Entry::decode(&log[offset])? {
            Entry::Claim { incarnation, epoch, owner } => {
                let wins = match current {
                    Some((life, before, _)) => life == incarnation && epoch > before,
                    None => epoch > 0,
                };
                let claim = Some((incarnation, epoch, owner.life));
                let fact = Fact { offset, entry_hash: xxh3_128(&log[offset]), number: 0, claim };
                return Ok(wins.then_some((fact, Counted::Claim)));
            }
            Entry::Commit(chunk) => chunk,
        };
        let Some((incarnation, epoch, life)) = current else { return Ok(None) };
        let last = facts.iter().rev().take_while(|fact| fact.claim.is_none()).count() as u64;
        if chunk.incarnation != incarnation || chunk.epoch < epoch {
            return Ok(None);
        }
        if chunk.epoch > epoch {
            return Err(ReadError::Diverged { found: chunk.epoch, current: epoch });
        }
        if chunk.life != life || chunk.number <= last {
            return Ok(None);
        }
        if chunk.number > last + 1 {
            return Err(ReadError::Missing { found: chunk.number, last });
        }
        if chunk.prev_hash != hash_of(facts) {
            return Err(ReadError::OtherHistory { number: chunk.number });
        }
        let since = facts.last().map_or(0, |fact| fact.offset + 1);
        let Some(whole) = whole(&log[since..=offset], &chunk, |other| {
            (other.incarnation, other.epoch, other.life, other.number) == (incarnation, epoch, life, chunk.number)
        }) else {
            return Ok(None);
        };
        let fact = Fact { offset, entry_hash: chunk.body_hash, number: chunk.number, claim: None };
        Ok(Some((fact, Counted::Commit(Box::new(Body::decode(&whole)?)))))
    }

    /// All parts of the commit, in order, if the last entry completes it. The parts begin at the last first part of a body
    /// that is not the one that had been begun already.
    fn whole(entries: &[Bytes], last: &Chunk, fits: impl Fn(&Chunk) -> bool) -> Option<Vec<u8>> {
        if last.parts == 1 {
            return Some(last.bytes.to_vec());
        }
        let chunks: Vec<Chunk> = entries
            .iter()
            .filter_map(|entry| match Entry::decode(entry) {
                Ok(Entry::Commit(chunk)) if fits(&chunk) && chunk.parts > 1 => Some(chunk),
                _ => None,
            })
            .collect();
        let mut begun = None;
        for (index, chunk) in chunks.iter().enumerate() {
            if chunk.part == 0 && begun.is_none_or(|(_, body)| body != chunk.body_hash) {
                begun = Some((index, chunk.body_hash));
            }
        }
        let (start, body) = begun?;
        let mut parts: Vec<&Chunk> = Vec::new();
        for (index, chunk) in chunks.iter().enumerate().skip(start) {
            if chunk.body_hash == body && chunk.part as usize == parts.len() {
                parts.push(chunk);
                if parts.len() == chunk.parts as usize {
                    let completes = index + 1 == chunks.len();
                    return completes.then(|| parts.iter().flat_map(|part| part.bytes.to_vec()).collect());
                }
            }
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_naive_reading_agrees(pieces in prop::collection::vec(piece(), 0..40)) {
        let log = log_of(&pieces);
        prop_assert_eq!(read(&mut Chain::default(), &log, 0), naive::read(&log));
    }

    #[test]
    fn a_reader_that_begins_with_a_checkpoint_agrees(
        pieces in prop::collection::vec(piece(), 0..40),
        at in any::<prop::sample::Index>(),
    ) {
        let log = log_of(&pieces);
        let (all, error) = read(&mut Chain::default(), &log, 0);
        let upto = at.index(log.len() + 1).min(error.as_ref().map_or(log.len(), |(offset, _)| *offset));
        let mut chain = Chain::default();
        let mut resume = upto;
        for (offset, entry) in log[..upto].iter().enumerate() {
            match chain.read(entry) {
                // As a restore does it: parts are not kept, so reading goes on at the first of them.
                Ok(Read::Partial) => resume = if resume == upto { offset } else { resume },
                Ok(Read::Claimed | Read::Committed(_)) => resume = upto,
                _ => {}
            }
        }
        let mut again: Chain = postcard::from_bytes(&postcard::to_stdvec(&chain).unwrap()).unwrap();
        let behind: Vec<_> = all.into_iter().filter(|(offset, _)| *offset >= upto).collect();
        prop_assert_eq!(read(&mut again, &log, resume), (behind, error));
        let _ = read(&mut chain, &log, upto);
        prop_assert_eq!((chain.epoch, chain.owner, chain.number, chain.hash), (again.epoch, again.owner, again.number, again.hash));
    }

    #[test]
    fn what_has_been_judged_does_not_count_when_it_lands_again(pieces in prop::collection::vec(piece(), 0..40)) {
        let log = log_of(&pieces);
        let mut chain = Chain::default();
        let mut judged = Vec::new();
        for entry in &log {
            match chain.read(entry) {
                Ok(Read::Claimed | Read::Committed(_)) => judged.push(entry),
                Ok(Read::Void(reason)) if reason != VoidReason::StrayPart => judged.push(entry),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // A commit of before the first claim of all is void only until its epoch is claimed; this log has no such claim.
        let before = (chain.epoch, chain.number, chain.hash);
        for entry in judged {
            if before.0 > 0 {
                prop_assert!(matches!(chain.read(entry), Ok(Read::Void(_) | Read::Partial) | Err(_)), "{entry:?}");
            }
        }
        prop_assert_eq!((chain.epoch, chain.number, chain.hash), before);
    }
}

fn owner(life: u64) -> OwnerId {
    OwnerId { instance: format!("instance-{life}"), life }
}

fn claimed(life: u64) -> Chain {
    let mut chain = Chain::default();
    assert_eq!(chain.read(&encode_claim(LIFE, 1, &owner(life))), Ok(Read::Claimed));
    chain
}

fn commit(chain: &Chain, content: u8, record_bytes_max: usize) -> Vec<Bytes> {
    let life = chain.owner.as_ref().map_or(0, |owner| owner.life);
    encode_commit(LIFE, chain.epoch, life, chain.number + 1, chain.hash, &body(content), record_bytes_max).0
}

#[test]
fn of_two_equal_claims_the_first_wins() {
    let mut chain = claimed(1);
    assert_eq!(chain.read(&encode_claim(LIFE, 1, &owner(2))), Ok(Read::Void(VoidReason::StaleClaim)));
    assert_eq!(chain.owner, Some(owner(1)));
}

#[test]
fn an_owner_that_was_deposed_commits_nothing() {
    let mut chain = claimed(1);
    let late = commit(&chain, 1, 1_000);
    assert_eq!(chain.read(&encode_claim(LIFE, 2, &owner(2))), Ok(Read::Claimed));
    assert_eq!(chain.read(&late[0]), Ok(Read::Void(VoidReason::NotTheOwner)));
    assert!(matches!(chain.clone().read(&commit(&chain, 2, 1_000)[0]), Ok(Read::Committed(_))));
}

#[test]
fn the_parts_of_a_commit_count_when_all_are_there_and_in_order() {
    let mut chain = claimed(1);
    let parts = commit(&chain, 1, 20);
    assert!(parts.len() >= 3, "{} parts", parts.len());
    assert_eq!(chain.read(&parts[1]), Ok(Read::Void(VoidReason::StrayPart)));
    assert_eq!(chain.read(&parts[0]), Ok(Read::Partial));
    assert_eq!(chain.read(&parts[0]), Ok(Read::Partial));
    for part in &parts[1..parts.len() - 1] {
        assert_eq!(chain.read(part), Ok(Read::Partial));
    }
    assert!(matches!(chain.read(&parts[parts.len() - 1]), Ok(Read::Committed(_))));
    assert_eq!(chain.read(&parts[0]), Ok(Read::Void(VoidReason::CountedAlready)));
}

#[test]
fn a_claim_between_the_parts_of_a_commit_voids_it() {
    let mut chain = claimed(1);
    let parts = commit(&chain, 1, 20);
    for part in &parts[..parts.len() - 1] {
        assert_eq!(chain.read(part), Ok(Read::Partial));
    }
    assert_eq!(chain.read(&encode_claim(LIFE, 2, &owner(2))), Ok(Read::Claimed));
    assert_eq!(chain.read(&parts[parts.len() - 1]), Ok(Read::Void(VoidReason::NotTheOwner)));
    assert_eq!(chain.number, 0);
}

#[test]
fn a_recreated_changelog_is_another_life() {
    let mut chain = claimed(1);
    assert_eq!(chain.read(&encode_claim(LIFE + 1, 9, &owner(2))), Ok(Read::Void(VoidReason::StaleClaim)));
    let (foreign, _) = encode_commit(LIFE + 1, 1, 1, 1, chain.hash, &body(1), 1_000);
    assert_eq!(chain.read(&foreign[0]), Ok(Read::Void(VoidReason::OtherOwner)));
}

#[test]
fn commits_that_only_a_log_with_losses_can_hold_stop_the_reader() {
    let chain = claimed(1);
    let entry = |epoch, number, hash| encode_commit(LIFE, epoch, 1, number, hash, &body(1), 1_000).0.remove(0);
    assert_eq!(chain.clone().read(&entry(2, 1, chain.hash)), Err(ReadError::Diverged { found: 2, current: 1 }));
    assert_eq!(chain.clone().read(&entry(1, 2, chain.hash)), Err(ReadError::Missing { found: 2, last: 0 }));
    assert_eq!(chain.clone().read(&entry(1, 1, 3)), Err(ReadError::OtherHistory { number: 1 }));
}

#[test]
fn an_entry_of_a_newer_version_stops_the_reader() {
    let newer = [&[crate::changelog::FORMAT + 1][..], b"anything"].concat();
    let error = claimed(1).read(&newer).unwrap_err();
    assert_eq!(error, ReadError::Decode(DecodeError::Newer { found: crate::changelog::FORMAT + 1 }));
    assert!(!error.is_divergence());
    assert!(claimed(1).read(b"").is_err());
}
