//! The topics of dead letters, two for each service.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `<service>-replays` | as the record | the record as it was, for the task of its partition |
//! | `<service>-dead-letters` (the service's) | as the record | the record as it was, with the reason and its place in headers |

/// The service that writes a dead-letter topic.
pub(crate) fn service_of(dead_letters: &str) -> &str {
    dead_letters.strip_suffix("-dead-letters").unwrap_or(dead_letters)
}

/// The topic over which records go back to a service.
pub(crate) fn replays(service: &str) -> String {
    format!("{service}-replays")
}
