//! Amounts as people write them, in units and with a point, and as the mesh keeps them: in minor units, never as a float.

use iso_currency::Currency;
use proto::common::v1::Money;

use super::client::Failure;

/// Reads an amount such as `19.99` of a currency. More decimals than the currency has are refused, not rounded.
///
/// # Errors
/// [`Failure::Input`].
pub(super) fn parse(amount: &str, currency_code: &str) -> Result<Money, Failure> {
    let refuse = |why: &str| Failure::Input(format!("{amount:?} is no amount in {currency_code}: {why}"));
    let decimals = decimals(currency_code).ok_or_else(|| refuse("the currency is unknown"))?;
    let (sign, digits) = amount.strip_prefix('-').map_or((1, amount), |digits| (-1, digits));
    let (units, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !units.is_empty() && units.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_number || digits.ends_with('.') {
        return Err(refuse("it must look like 19.99"));
    }
    if fraction.len() > decimals {
        return Err(refuse(&format!("it has more than {decimals} decimals")));
    }
    let minor_units = format!("{units}{fraction:0<decimals$}").parse::<i64>().map_err(|_| refuse("it is too large"))?;
    Ok(Money { currency_code: currency_code.to_owned(), minor_units: sign * minor_units })
}

/// An amount such as `19.99 EUR`; nothing without one.
pub(super) fn text(money: Option<&Money>) -> String {
    let Some(Money { currency_code, minor_units }) = money else { return String::new() };
    let decimals = decimals(currency_code).unwrap_or(0);
    let sign = if *minor_units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", minor_units.unsigned_abs(), width = decimals + 1);
    let (units, fraction) = digits.split_at(digits.len() - decimals);
    let point = if decimals > 0 { "." } else { "" };
    format!("{sign}{units}{point}{fraction} {currency_code}")
}

fn decimals(currency_code: &str) -> Option<usize> {
    Some(usize::from(Currency::from_code(currency_code)?.exponent().unwrap_or(0)))
}
