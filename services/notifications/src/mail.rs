//! What an e-mail says. It is written when it is decided, from what is known then, so that each try says the same.

use iso_currency::Currency;
use proto::common::v1::Money;
use proto::customers::v1::Customer;
use proto::orders::v1::OrderLine;

/// One e-mail, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The order that it is about.
    pub order_id: String,
    /// The address that it goes to.
    pub recipient: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// Its Message-ID, in angle brackets: the same in every try.
    pub message_id: String,
    /// When it was decided, in milliseconds since the Unix epoch: its date.
    pub created_ms: i64,
}

/// Longest text of an e-mail, in bytes: names can be long, and an e-mail is part of one row.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The Message-ID of the e-mail about an order.
pub(crate) fn message_id(order_id: &str, domain: &str) -> String {
    format!("<order.{order_id}@{domain}>")
}

/// The subject of the e-mail about an order.
pub(crate) fn subject(order_id: &str) -> String {
    format!("Your order {order_id}")
}

/// The text of the e-mail about an order.
pub(crate) fn body(order_id: &str, customer: &Customer, lines: &[OrderLine], total: Option<&Money>) -> String {
    let name = format!("{} {}", customer.first_name.trim(), customer.last_name.trim());
    let name = if name.trim().is_empty() { "customer" } else { name.trim() };
    let mut body = format!("Dear {name},\n\nthank you: your order {order_id} is confirmed and paid in full.\n\n");
    for OrderLine { product_id, quantity, unit_price } in lines {
        let price = unit_price.as_ref().map_or_else(String::new, |price| format!(" at {}", amount(price)));
        body.push_str(&format!("  {quantity} x {product_id}{price}\n"));
    }
    if let Some(total) = total {
        body.push_str(&format!("\nTotal: {}\n", amount(total)));
    }
    body.truncate(body.floor_char_boundary(BODY_BYTES_MAX));
    body
}

/// An amount for people, such as "EUR 19.99" and "JPY 1999".
fn amount(money: &Money) -> String {
    let Money { currency_code, minor_units } = money;
    let exponent = Currency::from_code(currency_code).and_then(Currency::exponent).unwrap_or(0);
    let sign = if *minor_units < 0 { "-" } else { "" };
    let one = 10_u64.checked_pow(exponent.into()).unwrap_or(1);
    let (whole, part) = (minor_units.unsigned_abs() / one, minor_units.unsigned_abs() % one);
    match usize::from(exponent) {
        0 => format!("{currency_code} {sign}{whole}"),
        digits => format!("{currency_code} {sign}{whole}.{part:0digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(currency_code: &str, minor_units: i64) -> Money {
        Money { currency_code: currency_code.into(), minor_units }
    }

    #[test]
    fn amounts_are_written_as_their_currency_is() {
        let cases =
            [("EUR", 1999, "EUR 19.99"), ("JPY", 1999, "JPY 1999"), ("KWD", 5, "KWD 0.005"), ("EUR", -7, "EUR -0.07")];
        for (currency, minor_units, wanted) in cases {
            assert_eq!(amount(&money(currency, minor_units)), wanted);
        }
        assert_eq!(amount(&money("EUR", i64::MIN)), "EUR -92233720368547758.08");
        assert_eq!(amount(&money("???", 12)), "??? 12");
    }

    #[test]
    fn an_e_mail_names_the_customer_the_lines_and_the_total() {
        let customer = Customer { first_name: "Ada".into(), last_name: "Lovelace".into(), ..Default::default() };
        let line = OrderLine { product_id: "jumper".into(), quantity: 2, unit_price: Some(money("EUR", 1999)) };
        let body = body("o-1", &customer, &[line], Some(&money("EUR", 3998)));
        for part in ["Dear Ada Lovelace,", "order o-1", "2 x jumper at EUR 19.99", "Total: EUR 39.98"] {
            assert!(body.contains(part), "{body}");
        }
        assert_eq!(message_id("o-1", "shop.example"), "<order.o-1@shop.example>");
    }

    #[test]
    fn a_customer_without_a_name_is_addressed_all_the_same_and_a_long_one_is_cut() {
        assert!(body("o-1", &Customer::default(), &[], None).starts_with("Dear customer,"));
        let customer = Customer { first_name: "ä".repeat(100_000), ..Default::default() };
        assert!(body("o-1", &customer, &[], None).len() <= BODY_BYTES_MAX);
    }
}
