//! A bound on the files that are kept open: the one that was not used for longest is closed, about.
//!
//! An open file is passed over once when it was used since the last look (the clock algorithm), so using a file costs no
//! more than setting a flag.

use std::collections::VecDeque;
use std::sync::{Mutex, Weak};

use crate::partition::Partition;
use crate::segment::Sealed;

/// Who keeps a file open.
#[derive(Debug)]
pub(crate) enum Holder {
    Active(Weak<Partition>),
    Sealed(Weak<Sealed>),
}

impl Holder {
    fn release(&self) -> bool {
        match self {
            Self::Active(partition) => partition.upgrade().is_none_or(|partition| partition.release_file()),
            Self::Sealed(sealed) => sealed.upgrade().is_none_or(|sealed| sealed.release()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct OpenFiles {
    max: usize,
    holders: Mutex<VecDeque<Holder>>,
}

impl OpenFiles {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, holders: Mutex::default() }
    }

    /// Notes that a file was opened, and closes others if they are too many. The caller holds no partition's lock.
    pub(crate) fn opened(&self, holder: Holder) {
        let mut holders = self.holders.lock().expect("no holder of this lock panics");
        holders.push_back(holder);
        // Twice around at most: the first round may find every file used since the last look.
        for _ in 0..2 * holders.len() {
            if holders.len() <= self.max {
                break;
            }
            if let Some(oldest) = holders.pop_front()
                && !oldest.release()
            {
                holders.push_back(oldest);
            }
        }
    }
}
