//! The file of tokens: one a line, as `NAME TOKEN [ROLE]`.
//!
//! ```text
//! # who     token, or its SHA-256                                                      what it may do [write]
//! shop      sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5
//! grafana   8b2c4f0e9d1a7356e0c9                                                       read
//! on-call   sha256:9af15b336e6a9619928537df30b2e6a2376569fcf9d7e773eccede65606529a0    operate
//! ```

use std::path::Path;

use credentials::{FileError, Secret};

use super::{Digest, Holder, Role, Table, sha256};

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Tokens of one file: each of them costs a comparison for each call.
const TOKENS_MAX: usize = 1_000;
/// Shortest token that is not easily guessed, in characters.
const TOKEN_LEN_MIN: usize = 16;
/// Longest token, in characters: it travels with every call.
const TOKEN_LEN_MAX: usize = 512;
/// Longest name of a token's holder, in characters.
const NAME_LEN_MAX: usize = 64;
/// What stands before a digest in place of a token.
const HASHED: &str = "sha256:";

pub(super) fn read(file: &Path) -> Result<Table, FileError> {
    let fault = |reason: String| FileError::new(file, reason);
    let length = std::fs::metadata(file).map_err(|error| fault(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(fault(format!("it has {length} bytes; it may have {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
    parse(&Secret::new(text)).map_err(fault)
}

/// The tokens of a text.
pub(super) fn parse(text: &Secret) -> Result<Table, String> {
    let mut table = Table::default();
    for (number, line) in (1..).zip(text.expose().lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (digest, holder) = entry(line).map_err(|reason| format!("line {number}: {reason}"))?;
        for (other, known) in &table.0 {
            if known.name == holder.name {
                return Err(format!("line {number}: {} has a token already", holder.name));
            }
            if *other == digest {
                return Err(format!("line {number}: {} and {} have the same token", known.name, holder.name));
            }
        }
        table.0.push((digest, holder));
    }
    match table.0.len() {
        0 => Err("it has no token".to_owned()),
        tokens if tokens > TOKENS_MAX => Err(format!("it has {tokens} tokens; it may have {TOKENS_MAX}")),
        _ => Ok(table),
    }
}

/// What is wrong never says what the token is.
fn entry(line: &str) -> Result<(Digest, Holder), String> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(token)) = (words.next(), words.next()) else {
        return Err("it must be: NAME TOKEN [ROLE]".to_owned());
    };
    let role = words.next();
    if words.next().is_some() {
        return Err("there is more than NAME TOKEN [ROLE]".to_owned());
    }
    if name.chars().count() > NAME_LEN_MAX || name.starts_with(HASHED) {
        return Err(format!("the name must have at most {NAME_LEN_MAX} characters, and stand before the token"));
    }
    let role = match role {
        None => Role::Write,
        Some(role) => Role::named(role).ok_or("the role must be read, write or operate")?,
    };
    let digest = match token.strip_prefix(HASHED) {
        Some(digits) => unhex(digits).ok_or("after sha256: there must be 64 hexadecimal digits")?,
        None if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&token.len()) => {
            return Err(format!("the token must have {TOKEN_LEN_MIN} to {TOKEN_LEN_MAX} characters"));
        }
        None if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            return Err("the token must be ASCII text without blanks".to_owned());
        }
        None => sha256(token.as_bytes()),
    };
    Ok((digest, Holder { name: name.into(), role }))
}

fn unhex(digits: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if digits.len() != digest.len() * 2 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip((0..digits.len()).step_by(2)) {
        *byte = u8::from_str_radix(&digits[pair..pair + 2], 16).ok()?;
    }
    Some(digest)
}
