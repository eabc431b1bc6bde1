//! Panics of simulated tasks are findings, not noise: kept for the report instead of printed.

use std::cell::RefCell;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on panics are kept.
pub(super) fn keep() {
    std::panic::set_hook(Box::new(|info| LAST.with(|last| *last.borrow_mut() = info.to_string())));
}

/// The last panic of this thread.
pub(super) fn last() -> String {
    LAST.with(|last| last.borrow().clone())
}
