//! What clients and other services send, and what becomes of it.
