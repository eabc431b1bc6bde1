//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More are never asked for: the kernel keeps a table of this size.
const OPEN_FILES_MAX: u64 = 1 << 20;

/// Raises the limit of open files as far as the system allows without privileges, and returns what it is now; `None` when
/// there is none. Shells start programs with 1,024, which connections and log segments would use up soon.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES_MAX, |maximum| maximum.min(OPEN_FILES_MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "limit of open files not raised");
        }
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_raised_to_what_is_allowed_and_stays_there() {
        let now = raise_open_files();
        let maximum = getrlimit(Resource::Nofile).maximum;
        assert!(now.is_none_or(|now| now >= maximum.unwrap_or(u64::MAX).min(OPEN_FILES_MAX)), "{now:?} of {maximum:?}");
        assert_eq!(raise_open_files(), now);
    }
}
