//! Who may call: the bearer tokens of a file, each with a name and a role.
//!
//! Always: only digests of tokens are kept, a token that is shown is compared with all of them in constant time, and neither
//! tokens nor digests are ever logged. What stands in no line may do nothing.

mod file;
mod standing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use credentials::{FileError, Secret};
use http::{HeaderMap, HeaderValue, header};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::Problem;
use crate::headers::PEER_SECRET;
use crate::live::{Live, Renew};
pub use standing::Standing;

/// What a caller may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Call what changes nothing.
    Read,
    /// Change orders, products, customers and all that is traded.
    Write,
    /// Change how the mesh itself works: bring back dead letters.
    Operate,
}

/// A caller who has shown a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name that its token has in the file.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
}

impl Holder {
    /// Whether it may call what needs this role.
    ///
    /// # Errors
    /// PERMISSION_DENIED: it may do less.
    pub fn may(&self, needed: Role) -> Result<(), Problem> {
        if self.role >= needed { Ok(()) } else { Err(Problem::role_missing(self.role, needed)) }
    }
}

/// The tokens of a file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessTokens(Arc<Live<Table>>);

impl AccessTokens {
    /// Reads a file of tokens.
    ///
    /// # Errors
    /// The file and the line that cannot be used.
    pub fn open(file: &Path) -> Result<Self, FileError> {
        let file = file.to_owned();
        Ok(Self(Arc::new(Live::open(vec![file.clone()], move || file::read(&file))?)))
    }

    /// What reads the file again: tokens that are taken out of it count no more.
    #[must_use]
    pub fn renewal(&self) -> Arc<dyn Renew> {
        self.0.clone()
    }
}

/// The digest of the token among the headers of a call.
fn shown(headers: &HeaderMap) -> Result<Digest, Problem> {
    let value = headers.get(header::AUTHORIZATION).ok_or_else(Problem::token_missing)?;
    bearer(value).map(sha256).ok_or_else(Problem::token_missing)
}

/// The token of `Bearer <token>`.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

impl Role {
    /// Its name in files of tokens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Operate => "operate",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Operate].into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A SHA-256.
type Digest = [u8; SHA256_OUTPUT_LEN];

/// Tokens by their digests.
#[derive(Default)]
struct Table(Vec<(Digest, Holder)>);

impl Table {
    fn find(&self, shown: &Digest) -> Option<Holder> {
        // All of them are looked at, whichever it is.
        let mut found = NONE;
        for (index, (digest, _)) in (0_u32..).zip(&self.0) {
            found.conditional_assign(&index, digest.ct_eq(shown));
        }
        let (_, holder) = self.0.get(usize::try_from(found).ok()?)?;
        Some(holder.clone())
    }
}

/// No index of a table: those are far shorter.
const NONE: u32 = u32::MAX;

fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Whether a call shows the secret that all instances share. An empty secret need not be shown.
#[must_use]
pub fn shows(headers: &HeaderMap, secret: &Secret) -> bool {
    let shown = headers.get(PEER_SECRET).map_or(b"".as_slice(), HeaderValue::as_bytes);
    secret.is_empty() || bool::from(shown.ct_eq(secret.expose().as_bytes()))
}
