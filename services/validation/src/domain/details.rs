//! The check DETAILS: what can be said about an order by itself. One verdict, whatever the number of faults.

use super::{Check, Money, Verdict};

/// A line as this check sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The product.
    pub product_id: String,
    /// Pieces.
    pub quantity: i64,
    /// Price of one piece.
    pub unit_price: Money,
}

/// Judges an order. The first fault names the code and the product of a fail; its message names all of them.
#[must_use]
pub fn judge(lines: &[Line]) -> Verdict {
    let currency = lines.first().map_or("", |line| line.unit_price.currency.as_str());
    let mut faults = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.quantity <= 0 {
            faults.push((index, "QUANTITY_NOT_POSITIVE", format!("line {index}: the quantity is {}", line.quantity)));
        }
        if line.unit_price.minor_units < 0 {
            let price = line.unit_price.minor_units;
            faults.push((index, "PRICE_NEGATIVE", format!("line {index}: the price is {price} minor units")));
        }
        if line.product_id.trim().is_empty() {
            faults.push((index, "PRODUCT_BLANK", format!("line {index}: the product id is blank")));
        }
        if line.unit_price.currency != currency {
            let other = &line.unit_price.currency;
            faults.push((index, "CURRENCIES_DIFFER", format!("line {index}: {other} differs from {currency}")));
        }
    }
    let Some((index, code, _)) = faults.first() else { return Verdict::pass(Check::Details) };
    let messages: Vec<_> = faults.iter().map(|(_, _, message)| message.as_str()).collect();
    let product_id = lines[*index].product_id.clone();
    Verdict { product_id, ..Verdict::fail(Check::Details, code, messages.join("; ")) }
}
