//! The token of a call that goes on: it may be taken back meanwhile.

use std::fmt;

use http::HeaderMap;

use super::{AccessTokens, Digest, Holder, Role, shown};
use crate::Problem;

/// A token that was shown for a call, and what the call needs of it.
#[derive(Clone)]
pub struct Standing {
    tokens: AccessTokens,
    shown: Digest,
    needed: Role,
}

impl AccessTokens {
    /// The standing of a call with these headers.
    ///
    /// # Errors
    /// UNAUTHENTICATED: there is no token.
    pub fn standing(&self, headers: &HeaderMap, needed: Role) -> Result<Standing, Problem> {
        Ok(Standing { tokens: self.clone(), shown: shown(headers)?, needed })
    }
}

impl Standing {
    /// Who has the token.
    ///
    /// # Errors
    /// UNAUTHENTICATED: nobody has, or no longer.
    pub fn holder(&self) -> Result<Holder, Problem> {
        self.tokens.0.current().find(&self.shown).ok_or_else(Problem::token_unknown)
    }

    /// Returns when the token allows the call no longer.
    pub async fn lost(&self) -> Problem {
        // Before the first look, so that nothing is missed in between.
        let mut changes = self.tokens.0.changes();
        loop {
            if let Err(problem) = self.holder().and_then(|holder| holder.may(self.needed)) {
                return problem;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("needed", &self.needed).finish_non_exhaustive()
    }
}
