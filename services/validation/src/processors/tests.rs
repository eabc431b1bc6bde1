//! A task as a whole: what it stores, emits and sets timers for.
