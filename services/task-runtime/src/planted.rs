//! Shortcuts of the commit protocol that lose or repeat effects. The simulation plants them to prove that it would find
//! them; without the feature `simulation` there is only [`Shortcut::None`], and every question here is answered by no.

use serde::{Deserialize, Serialize};

/// A wrong way of doing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// The protocol as it is.
    #[default]
    None,
    /// Takes the acknowledgement of an append for the commit.
    #[cfg(feature = "simulation")]
    TrustTheAck,
    /// A receiver takes everything above the largest sequence that it has seen.
    #[cfg(feature = "simulation")]
    LargestSeenWatermark,
    /// Outputs are published while their commit is not certified.
    #[cfg(feature = "simulation")]
    PublishBeforeCertify,
    /// A reader does not compare the hash of the history.
    #[cfg(feature = "simulation")]
    SkipPrevHash,
    /// After an unknown outcome the owner computes anew and sends other content under the same number.
    #[cfg(feature = "simulation")]
    NewContentUnderOldNumber,
    /// A new owner reads the log first and claims afterwards.
    #[cfg(feature = "simulation")]
    ReadBeforeFence,
    /// A strong read does not ask whether the task still owns its partition.
    #[cfg(feature = "simulation")]
    UnprovenStrongRead,
    /// The changelog is trimmed up to what the owner has applied.
    #[cfg(feature = "simulation")]
    TrimTooFar,
    /// A standby takes over without claiming.
    #[cfg(feature = "simulation")]
    PromoteWithoutClaim,
    /// The caller is answered before the commit is certified.
    #[cfg(feature = "simulation")]
    ReplyBeforeCertify,
    /// A snapshot is loaded although rows of it are missing.
    #[cfg(feature = "simulation")]
    TrustDamagedSnapshots,
}

macro_rules! questions {
    ($($name:ident => $variant:ident),+ $(,)?) => {
        impl Shortcut {
            $(
                #[cfg(feature = "simulation")]
                pub(crate) fn $name(self) -> bool {
                    self == Self::$variant
                }
                #[cfg(not(feature = "simulation"))]
                pub(crate) const fn $name(self) -> bool {
                    false
                }
            )+
        }
    };
}

questions! {
    trusts_the_ack => TrustTheAck,
    takes_the_largest_seen => LargestSeenWatermark,
    publishes_early => PublishBeforeCertify,
    skips_prev_hash => SkipPrevHash,
    abandons_unknown_outcomes => NewContentUnderOldNumber,
    reads_before_fence => ReadBeforeFence,
    skips_the_proof => UnprovenStrongRead,
    replies_early => ReplyBeforeCertify,
    trims_too_far => TrimTooFar,
    takes_over_unclaimed => PromoteWithoutClaim,
    trusts_damaged_snapshots => TrustDamagedSnapshots,
}
