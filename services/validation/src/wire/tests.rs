//! What other services send, and what becomes of it.
