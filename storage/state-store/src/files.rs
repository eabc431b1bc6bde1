//! Compares the files of a database with the checksums that fjall wrote and does not read again.
//!
//! fjall checks each block when it reads it, but neither its manifests, which say which tables count and in which order, nor
//! whole tables. A damaged manifest can make it serve old rows, or end the process when it reads a length out of it.
//!
//! ```text
//! tables/keyspaces/<n>/current       number of the manifest (u64 LE), its xxh3-128 (u128 LE), kind of checksum (0)
//! tables/keyspaces/<n>/v<number>     manifest: tables with their xxh3-128
//! tables/keyspaces/<n>/tables/<id>   one table
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

const CURRENT_BYTES: usize = 25;
const READ_BYTES: usize = 256 * 1024;

/// Checks the manifests of all keyspaces of a closed database. What is wrong comes as text.
///
/// # Errors
/// Those of the file system, but for missing files, which are damage.
pub(crate) fn check_manifests(tables: &Path) -> io::Result<Result<(), String>> {
    let keyspaces = match fs::read_dir(tables.join("keyspaces")) {
        Ok(keyspaces) => keyspaces,
        Err(error) => return missing(error, "its keyspaces are missing"),
    };
    for keyspace in keyspaces {
        let keyspace = keyspace?.path();
        let current = match fs::read(keyspace.join("current")) {
            Ok(current) => current,
            Err(error) => return missing(error, "a manifest is missing"),
        };
        let Some((number, checksum)) = decode_current(&current) else {
            return Ok(Err("the name of a manifest cannot be read".to_owned()));
        };
        let manifest = match fs::read(keyspace.join(format!("v{number}"))) {
            Ok(manifest) => manifest,
            Err(error) => return missing(error, "a manifest is missing"),
        };
        if xxh3_128(&manifest) != checksum {
            return Ok(Err("a manifest does not have its checksum".to_owned()));
        }
    }
    Ok(Ok(()))
}

fn decode_current(current: &[u8]) -> Option<(u64, u128)> {
    let current: &[u8; CURRENT_BYTES] = current.try_into().ok()?;
    let (number, rest) = current.split_first_chunk()?;
    let (checksum, kind) = rest.split_first_chunk()?;
    (kind == [0]).then(|| (u64::from_le_bytes(*number), u128::from_le_bytes(*checksum)))
}

/// A path that is missing, or is not what it should be, is damage; the rest is for the caller.
fn missing(error: io::Error, detail: &str) -> io::Result<Result<(), String>> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    if [IsADirectory, NotADirectory, NotFound].contains(&error.kind()) {
        Ok(Err(detail.to_owned()))
    } else {
        Err(error)
    }
}

/// The checksum of a file, read from its begin to its end.
///
/// # Errors
/// Those of the file system.
pub(crate) fn checksum(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut hash = Xxh3Default::new();
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            length => hash.update(&buffer[..length]),
        }
    }
}
