//! What happened in a run, in order: a hash of it always, the lines themselves on demand. Two runs of one seed must agree in
//! every byte, or a failure could not be looked into.

use std::fmt;

use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

pub(super) struct Trace {
    hash: Xxh3,
    events: u64,
    print: bool,
    begin: Instant,
    line: String,
}

impl Trace {
    pub(super) fn new(print: bool) -> Self {
        Self { hash: Xxh3::new(), events: 0, print, begin: Instant::now(), line: String::new() }
    }

    pub(super) fn note(&mut self, event: fmt::Arguments<'_>) {
        use fmt::Write;
        self.line.clear();
        let _ = writeln!(self.line, "{:>7} {event}", self.begin.elapsed().as_millis());
        self.hash.update(self.line.as_bytes());
        self.events += 1;
        if self.print {
            eprint!("{}", self.line);
        }
    }

    /// Hash of all events so far, and how many there were.
    pub(super) fn digest(&self) -> (u64, u64) {
        (self.hash.digest(), self.events)
    }
}
