//! Shortcuts of the commit protocol that lose or repeat effects. The simulation plants them to prove that it would find
//! them; outside of the feature `simulation` there is only [`Shortcut::None`].

/// A wrong way of doing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// The caller is answered before the commit is certified.
    #[cfg(feature = "simulation")]
    ReplyBeforeCertify,
}
