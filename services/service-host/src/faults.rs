//! Collects everything that is wrong with the fields of a request, so that a client learns all of it at once.

use crate::validate::{ID_CHARS_MAX, TEXT_BYTES_MAX};
use crate::{Problem, Violation};

/// Most bytes of the faults that one answer lists. They leave in a trailer, in base64, and some clients take no more than
/// 8 KiB of trailers; those that get more say that the connection broke, and not what is wrong.
const LISTED_BYTES_MAX: usize = 4 << 10;
/// What a fault takes at the most beside its two texts: the tags and lengths of its encoding.
const AROUND_A_FAULT_BYTES: usize = 9;
/// Longest of the two texts of a fault: what a client wrote may stand in it.
const SAID_BYTES_MAX: usize = 256;
/// Ends a text that was cut.
const CUT: &str = "...";
/// Name of a problem's fact: how many faults its list leaves out.
const NOT_LISTED: &str = "faults_not_listed";

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
    /// The first ones, as many as an answer may list.
    listed: Vec<Violation>,
    listed_bytes: usize,
    /// How many came behind them.
    not_listed: usize,
    limits: FieldLimits,
}

impl FieldFaults {
    /// Nothing wrong so far, with the widest limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing wrong so far, with these limits.
    pub fn within(limits: FieldLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The limits of fields.
    pub fn limits(&self) -> FieldLimits {
        self.limits
    }

    /// Notes one fault. `field` is the path, `description` continues "the field ...".
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        let fault = Violation { field: within(field.into()), description: within(description.into()) };
        let bytes = fault.field.len() + fault.description.len() + AROUND_A_FAULT_BYTES;
        // Once one has no room none is listed any more, so that what is listed are the first faults without a gap.
        if self.not_listed > 0 || self.listed_bytes + bytes > LISTED_BYTES_MAX {
            self.not_listed += 1;
        } else {
            self.listed_bytes += bytes;
            self.listed.push(fault);
        }
    }

    /// Notes the faults that a check has found. What it made of the field, otherwise.
    pub fn note<T>(&mut self, checked: Result<T, Problem>) -> Option<T> {
        match checked {
            Ok(found) => Some(found),
            Err(problem) => {
                self.take(problem);
                None
            }
        }
    }

    fn take(&mut self, problem: Problem) {
        problem.violations.into_iter().for_each(|fault| self.add(fault.field, fault.description));
        let not_listed = problem.metadata.get(NOT_LISTED).and_then(|count| count.parse().ok());
        self.not_listed += not_listed.unwrap_or(0);
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Ends the search.
    ///
    /// # Errors
    /// INVALID_FIELD with every fault, if there is any. Of more than an answer holds, it lists the first, and says how many
    /// there are.
    pub fn finish(self) -> Result<(), Problem> {
        if self.listed.is_empty() {
            return Ok(());
        }
        let listed = self.listed.len();
        let problem = Problem::invalid_fields(self.listed);
        if self.not_listed == 0 {
            return Err(problem);
        }
        let Violation { field, description } = &problem.violations[0];
        let message = format!("{field} {description} (and {} more)", listed - 1 + self.not_listed);
        Err(Problem { message, ..problem }.with(NOT_LISTED, self.not_listed))
    }
}

impl Problem {
    /// The faults of both as one INVALID_FIELD, these behind the others.
    #[must_use]
    pub fn behind(self, others: Self) -> Self {
        let mut faults = FieldFaults::new();
        faults.take(others);
        faults.take(self);
        faults.finish().err().unwrap_or_else(|| Self::invalid_fields(Vec::new()))
    }
}

/// The text, cut if it is too long.
fn within(text: String) -> String {
    if text.len() <= SAID_BYTES_MAX {
        return text;
    }
    let end = text.floor_char_boundary(SAID_BYTES_MAX - CUT.len());
    format!("{}{CUT}", &text[..end])
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use tonic::Status;

    use super::*;

    /// Least limit of trailers among the clients that are in use, as HTTP/2 counts: 32 bytes beside each name and value.
    const TRAILERS_BYTES_MAX: usize = 8 << 10;

    /// The problem of these faults, which fits into the trailers of an answer.
    fn problem_of<'a>(faults: impl IntoIterator<Item = (String, &'a str)>) -> Problem {
        let mut found = FieldFaults::new();
        faults.into_iter().for_each(|(field, description)| found.add(field, description));
        let problem = found.finish().unwrap_err();
        let mut trailers = HeaderMap::new();
        Status::from(problem.clone()).add_header(&mut trailers).unwrap();
        let bytes: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes <= TRAILERS_BYTES_MAX, "{bytes} bytes");
        problem
    }

    #[test]
    fn an_answer_to_hundreds_of_faults_fits_into_trailers_and_says_how_many_there_are() {
        let code = |line: usize| format!("order.lines[{line}].unit_price.currency_code");
        let problem = problem_of((0..500).map(|line| (code(line), "must be a currency code of ISO 4217, such as EUR")));
        let listed = problem.violations.len();
        assert!(listed > 30, "{listed}");
        let paths = problem.violations.iter().map(|fault| fault.field.clone());
        assert!(paths.eq((0..listed).map(code)), "the first are listed");
        assert!(problem.message.ends_with("(and 499 more)"), "{}", problem.message);
        assert_eq!(problem.metadata[NOT_LISTED], (500 - listed).to_string());
        // Much around little: what encodes a fault counts too.
        assert!(problem_of((0..2_000).map(|_| ("a".to_owned(), "b"))).violations.len() > 200);
    }

    #[test]
    fn every_fault_of_an_ordinary_request_is_listed() {
        let problem = problem_of((0..40).map(|line| (format!("order.lines[{line}].product_id"), "must not be blank")));
        assert_eq!(problem.violations.len(), 40);
        assert!(problem.message.ends_with("(and 39 more)"), "{}", problem.message);
        assert!(problem.metadata.is_empty());
    }

    #[test]
    fn faults_behind_more_than_an_answer_lists_are_counted() {
        let many = problem_of((0..500).map(|line| (format!("order.lines[{line}].product_id"), "must not be blank")));
        let listed = many.violations.len();
        let both = Problem::invalid_field("page_size", "must not be negative").behind(many);
        assert_eq!(both.violations.len(), listed);
        assert_eq!(both.metadata[NOT_LISTED], (501 - listed).to_string());
        assert!(both.message.ends_with("(and 500 more)"), "{}", both.message);
        let few = Problem::invalid_field("b", "must be set").behind(Problem::invalid_field("a", "must be set"));
        let fields: Vec<_> = few.violations.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!((fields, few.metadata.len()), (vec!["a", "b"], 0));
    }

    #[test]
    fn what_a_client_wrote_is_cut_where_a_fault_repeats_it() {
        let long = "\u{20ac}".repeat(100_000);
        let problem = problem_of([(long.clone(), long.as_str()), ("b".to_owned(), "must be set")]);
        let [cut, whole] = problem.violations.as_slice() else { panic!("{problem:?}") };
        assert!(cut.field.len() <= SAID_BYTES_MAX && cut.field.ends_with("\u{20ac}..."), "{cut:?}");
        assert_eq!(cut.description, cut.field);
        assert_eq!((whole.field.as_str(), whole.description.as_str()), ("b", "must be set"));
    }
}
