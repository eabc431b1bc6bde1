//! Checks of fields that every service makes. Each notes its faults under the path it is given, and never stops at one.

use iso_currency::Currency;
use proto::common::v1::Money;

use crate::FieldFaults;

/// Longest id that a configuration can allow, in characters: stored keys, ids of requests and names of dead letters are made
/// for it.
pub const ID_CHARS_MAX: usize = 64;
/// Longest text that a configuration can allow, in bytes: a row must fit into one record, and some have hundreds of texts.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Items of a page when the client does not say.
pub const PAGE_SIZE_DEFAULT: usize = 50;
/// Most items of a page; more is lowered to this.
pub const PAGE_SIZE_MAX: usize = 1000;

/// An id: `[A-Za-z0-9_.-]`, from one to as many as the limit says, 64 by default.
pub fn id(faults: &mut FieldFaults, field: &str, value: &str) {
    if value.is_empty() {
        faults.add(field, "must not be blank");
    } else {
        optional_id(faults, field, value);
    }
}

/// An id that may be left out.
pub fn optional_id(faults: &mut FieldFaults, field: &str, value: &str) {
    // Ids are ASCII, so that bytes are characters; of others the length does not matter.
    let most = faults.limits().id_chars_max;
    if value.len() > most {
        faults.add(field, format!("must have at most {most} characters"));
    } else if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        faults.add(field, "must consist of letters, digits, '_', '.' and '-'");
    }
}

/// A request id: at most as many printable ASCII characters as an id has; may be left out.
pub fn request_id(faults: &mut FieldFaults, value: &str) {
    let most = faults.limits().id_chars_max;
    if value.len() > most || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        faults.add("request_id", format!("must have at most {most} printable ASCII characters"));
    }
}

/// A text: at most as many bytes as the limit says, 4 KiB by default.
pub fn text(faults: &mut FieldFaults, field: &str, value: &str) {
    let most = faults.limits().text_bytes_max;
    if value.len() > most {
        faults.add(field, format!("must have at most {most} bytes"));
    }
}

/// A text that must say something.
pub fn required_text(faults: &mut FieldFaults, field: &str, value: &str) {
    if value.trim().is_empty() {
        faults.add(field, "must not be blank");
    }
    text(faults, field, value);
}

/// The size of a page that a client asks for. A size is returned in any case, so that the other checks can go on.
pub fn page_size(faults: &mut FieldFaults, wanted: i32) -> usize {
    match usize::try_from(wanted) {
        Ok(0) => PAGE_SIZE_DEFAULT,
        Ok(size) => size.min(PAGE_SIZE_MAX),
        Err(_) => {
            faults.add("page_size", "must not be negative");
            PAGE_SIZE_DEFAULT
        }
    }
}

/// A currency of ISO 4217, in upper case.
pub fn currency(faults: &mut FieldFaults, field: &str, code: &str) {
    if code.is_empty() {
        faults.add(field, "must not be blank");
    } else if Currency::from_code(code).is_none() {
        faults.add(field, "must be a currency code of ISO 4217, such as EUR");
    }
}

/// An amount that must be there, in a known currency. Its sign is the domain's affair.
pub fn money<'a>(faults: &mut FieldFaults, field: &str, value: Option<&'a Money>) -> Option<&'a Money> {
    match value {
        Some(money) => currency(faults, &format!("{field}.currency_code"), &money.currency_code),
        None => faults.add(field, "must be set"),
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldLimits;

    fn check(given: impl FnOnce(&mut FieldFaults), wanted: &[&str]) {
        let mut faults = FieldFaults::new();
        given(&mut faults);
        let found = faults.finish().err().map_or_else(Vec::new, |problem| problem.violations);
        let found: Vec<_> = found.iter().map(|fault| format!("{} {}", fault.field, fault.description)).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn ids_have_a_length_and_an_alphabet() {
        check(|faults| id(faults, "a", "A-z_0.9"), &[]);
        check(|faults| id(faults, "a", &"x".repeat(64)), &[]);
        check(|faults| optional_id(faults, "a", ""), &[]);
        check(|faults| id(faults, "a", ""), &["a must not be blank"]);
        check(|faults| id(faults, "a", &"x".repeat(65)), &["a must have at most 64 characters"]);
        for bad in ["a b", "a/b", "ä", "a\n", "a\0"] {
            check(|faults| id(faults, "a", bad), &["a must consist of letters, digits, '_', '.' and '-'"]);
        }
    }

    #[test]
    fn texts_have_a_length() {
        check(|faults| text(faults, "t", &"x".repeat(4096)), &[]);
        check(|faults| text(faults, "t", &"x".repeat(4097)), &["t must have at most 4096 bytes"]);
        check(|faults| required_text(faults, "t", " \t"), &["t must not be blank"]);
        check(|faults| request_id(faults, ""), &[]);
        check(|faults| request_id(faults, "a b"), &["request_id must have at most 64 printable ASCII characters"]);
    }

    #[test]
    fn limits_can_be_lowered() {
        let limits = FieldLimits { id_chars_max: 36, text_bytes_max: 100 };
        let mut faults = FieldFaults::within(limits);
        id(&mut faults, "a", &"x".repeat(36));
        text(&mut faults, "t", &"x".repeat(100));
        assert!(faults.is_empty());
        id(&mut faults, "a", &"x".repeat(37));
        request_id(&mut faults, &"x".repeat(37));
        required_text(&mut faults, "t", &"x".repeat(101));
        let said: Vec<_> = faults.finish().unwrap_err().violations.into_iter().map(|fault| fault.description).collect();
        assert_eq!(
            said,
            [
                "must have at most 36 characters",
                "must have at most 36 printable ASCII characters",
                "must have at most 100 bytes"
            ]
        );
    }

    #[test]
    fn page_sizes_are_defaulted_lowered_and_refused() {
        for (wanted, size) in [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (i32::MAX, 1000)] {
            check(|faults| assert_eq!(page_size(faults, wanted), size), &[]);
        }
        check(|faults| assert_eq!(page_size(faults, -1), 50), &["page_size must not be negative"]);
    }

    #[test]
    fn amounts_need_a_known_currency() {
        let money_of = |code: &str| Money { currency_code: code.into(), minor_units: -1 };
        check(|faults| assert!(money(faults, "p", Some(&money_of("EUR"))).is_some()), &[]);
        check(|faults| assert!(money(faults, "p", None).is_none()), &["p must be set"]);
        for code in ["EURO", "eur", "XYZ"] {
            let wanted = "p.currency_code must be a currency code of ISO 4217, such as EUR";
            check(|faults| assert!(money(faults, "p", Some(&money_of(code))).is_some()), &[wanted]);
        }
        check(
            |faults| assert!(money(faults, "p", Some(&money_of(""))).is_some()),
            &["p.currency_code must not be blank"],
        );
    }
}
