//! Collects everything that is wrong with the fields of a request, so that a client learns all of it at once.

use crate::validate::{ID_CHARS_MAX, TEXT_BYTES_MAX};
use crate::{Problem, Violation};

/// Most faults that one answer lists; a request with more is hopeless anyway.
const FAULTS_MAX: usize = 200;

/// How long what clients write may be. What these say at the most, stored keys and rows are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldLimits {
    /// Longest id, in characters: up to 64.
    pub id_chars_max: usize,
    /// Longest text, in bytes: up to 4 KiB.
    pub text_bytes_max: usize,
}

impl Default for FieldLimits {
    fn default() -> Self {
        Self { id_chars_max: ID_CHARS_MAX, text_bytes_max: TEXT_BYTES_MAX }
    }
}

/// The faults found so far.
///
/// ```
/// let mut faults = service_host::FieldFaults::new();
/// faults.add("order.lines[2].product_id", "must not be blank");
/// let problem = faults.finish().unwrap_err();
/// assert_eq!(problem.violations[0].field, "order.lines[2].product_id");
/// ```
#[derive(Debug, Default)]
pub struct FieldFaults {
    found: Vec<Violation>,
    limits: FieldLimits,
}

impl FieldFaults {
    /// Nothing wrong so far, with the widest limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing wrong so far, with these limits.
    pub fn within(limits: FieldLimits) -> Self {
        Self { found: Vec::new(), limits }
    }

    /// The limits of fields.
    pub fn limits(&self) -> FieldLimits {
        self.limits
    }

    /// Notes one fault. `field` is the path, `description` continues "the field ...".
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        if self.found.len() < FAULTS_MAX {
            self.found.push(Violation { field: field.into(), description: description.into() });
        }
    }

    /// Notes the faults that a check has found. What it made of the field, otherwise.
    pub fn note<T>(&mut self, checked: Result<T, Problem>) -> Option<T> {
        match checked {
            Ok(found) => Some(found),
            Err(problem) => {
                problem.violations.into_iter().for_each(|fault| self.add(fault.field, fault.description));
                None
            }
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Ends the search.
    ///
    /// # Errors
    /// INVALID_FIELD with every fault, if there is any.
    pub fn finish(self) -> Result<(), Problem> {
        if self.found.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(self.found)) }
    }
}
