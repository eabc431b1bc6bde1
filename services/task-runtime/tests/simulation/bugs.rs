//! Planted bugs: ways of doing it that look right and are not. Each must be found, or the faults are too tame to trust a
//! clean run. What each one does, and why it loses data:
//!
//! - `TrustTheAck`: the acknowledgement of an append is taken for the commit. An owner that was deposed meanwhile appends
//!   behind the new owner's claim; its entry is void for every reader, but it has answered and published.
//! - `LargestSeenWatermark`: a receiver takes every record above the largest sequence that it has seen. When one is missing
//!   (here: the topic lost it), its successor closes the door behind it, and sending it again does not help.
//! - `PublishBeforeCertify`: outputs leave while the commit is in flight. If it turns out void, receivers hold what never
//!   happened, and the same number will come again with other content, which they drop.
//! - `SkipPrevHash`: neither the last entry of a store nor the hash of the history is compared. A store of another history
//!   (here: of a log that lost a tail and went on) is taken for the state; what is computed on it is void for all others.
//! - `NewContentUnderOldNumber`: after an unknown outcome the next try carries what has arrived since. If the first try
//!   landed after all, it counts, and the owner believes the second.
//! - `ReadBeforeFence`: read, then claim, and go on from the claim. What the old owner committed in between is missing.
//! - `UnprovenStrongRead`: a strong read is answered from what is applied. A deposed owner answers as of long ago.
//! - `TrimTooFar`: the changelog is trimmed up to what the owner has applied, since its store has it. What stands behind the
//!   snapshots is gone for everybody else, and so are outputs that wait to be published.
//! - `PromoteWithoutClaim`: a standby that has read everything begins to commit without a claim of its own. Its commits are
//!   void for every reader, and the old owner goes on beside it.
//! - `ReplyBeforeCertify`: the caller is told as soon as the commit is sent. If it never counts, the caller was told a lie.
//! - `TrustDamagedSnapshots`: a snapshot is loaded as far as its parts can be read, and its rows are not added up.

use task_runtime::Shortcut;

pub(crate) const BUGS: [(&str, Shortcut); 11] = [
    ("TrustTheAck", Shortcut::TrustTheAck),
    ("LargestSeenWatermark", Shortcut::LargestSeenWatermark),
    ("PublishBeforeCertify", Shortcut::PublishBeforeCertify),
    ("SkipPrevHash", Shortcut::SkipPrevHash),
    ("NewContentUnderOldNumber", Shortcut::NewContentUnderOldNumber),
    ("ReadBeforeFence", Shortcut::ReadBeforeFence),
    ("UnprovenStrongRead", Shortcut::UnprovenStrongRead),
    ("ReplyBeforeCertify", Shortcut::ReplyBeforeCertify),
    ("TrimTooFar", Shortcut::TrimTooFar),
    ("PromoteWithoutClaim", Shortcut::PromoteWithoutClaim),
    ("TrustDamagedSnapshots", Shortcut::TrustDamagedSnapshots),
];
