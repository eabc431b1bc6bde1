//! Credit: reserved within the limit, and given back exactly once.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proto::customers::v1::{CreditRow, PlacedRow};
use proto::orders::v1::{OrderRow, OrderState};
use proto::payments::v1::AccountRow;
use proto::validation::v1::Outcome;
use testkit::simulation::{Oracle, Verdict, fail};

use crate::history::Seen;
use crate::rows::{ACCOUNTS, CREDIT, ORDERS, PLACED, decode, text};
use crate::shop::Shop;

fn reserved(row: &CreditRow) -> i64 {
    row.reserved.iter().filter(|money| money.currency_code == "EUR").map(|money| money.minor_units).sum()
}

/// I5: credit is never below zero, and what is reserved anew stays within the limit, after every commit.
pub(crate) fn i5_credit_grows_within_its_limit(
    seen: &mut Seen,
    service: &str,
    key: &[u8],
    value: Option<&Bytes>,
) -> Verdict {
    let (Some(customer_id), Some(value)) = (CREDIT.key(service, key), value) else { return Ok(()) };
    let row: CreditRow = decode(value);
    let now = reserved(&row);
    let before = seen.credit.insert(customer_id.to_vec(), row.clone()).map_or(0, |before| reserved(&before));
    let limit = row.limit.as_ref().map_or(i64::MAX, |limit| limit.minor_units);
    if now < 0 || now > before && now > limit {
        let customer_id = text(customer_id);
        return fail("I5 credit", format!("{customer_id} had {before} reserved and has {now} of {limit}"));
    }
    Ok(())
}

/// I5: when all orders are over, what is reserved are the orders that passed CREDIT, were shipped, and are not paid.
pub(crate) fn i5_credit_adds_up(oracle: &Oracle<Shop>) -> Verdict {
    let passed: BTreeSet<String> = passed_credit(oracle);
    let paid: BTreeSet<String> =
        ACCOUNTS.rows::<AccountRow>(oracle).filter(|(_, row)| row.settled).map(|(key, _)| text(key)).collect();
    let mut owed: BTreeMap<String, i64> = BTreeMap::new();
    for (key, placed) in PLACED.rows::<PlacedRow>(oracle) {
        let key = text(key);
        let Some((customer_id, order_id)) = key.split_once('\0') else { continue };
        let shipped = ORDERS.row::<OrderRow>(oracle, order_id).is_some_and(|row| row.state() == OrderState::Shipped);
        if shipped && passed.contains(order_id) && !paid.contains(order_id) {
            let total = placed.total.filter(|total| total.currency_code == "EUR").map_or(0, |total| total.minor_units);
            *owed.entry(customer_id.to_owned()).or_default() += total.max(0);
        }
    }
    for (key, row) in CREDIT.rows::<CreditRow>(oracle) {
        let (customer_id, reserved) = (text(key), reserved(&row));
        let owed = owed.get(&customer_id).copied().unwrap_or(0);
        if reserved != owed {
            return fail(
                "I5 credit",
                format!("{customer_id} owes {owed} for what was shipped, {reserved} is reserved"),
            );
        }
    }
    Ok(())
}

/// Orders whose CREDIT passed, by what was told to validation.
fn passed_credit(oracle: &Oracle<Shop>) -> BTreeSet<String> {
    let outputs = Shop::tasks(oracle, customers::SERVICE).flat_map(|reading| reading.outputs());
    let verdicts = outputs.filter(|(to, _)| to.topic.as_str() == customers::topics::CREDIT_VERDICTS);
    let verdicts = verdicts.flat_map(|(_, sent)| sent);
    let verdicts = verdicts.map(|sent| decode::<proto::validation::v1::Verdict>(sent.value.as_ref().unwrap()));
    verdicts.filter(|verdict| verdict.outcome() == Outcome::Pass).map(|verdict| verdict.order_id).collect()
}
