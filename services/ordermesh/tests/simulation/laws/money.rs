//! Money: each payment that was accepted counts once, and none that was not.

use std::collections::BTreeMap;

use proto::payments::v1::{AccountRow, PaymentState};
use testkit::simulation::{Oracle, Verdict, fail};

use crate::rows::{ACCOUNTS, text};
use crate::shop::Shop;

/// I5: the payments of an order are those that were accepted, each once; it is told to be paid exactly if they suffice.
pub(crate) fn i5_money_adds_up(oracle: &Oracle<Shop>) -> Verdict {
    let mut accepted: BTreeMap<(String, String), (i64, String)> = oracle.scenario.history.payments.clone();
    for (key, account) in ACCOUNTS.rows::<AccountRow>(oracle) {
        let order_id = text(key);
        for payment in &account.payments {
            let amount = payment.amount.clone().unwrap_or_default();
            let told = accepted.remove(&(order_id.clone(), payment.payment_id.clone()));
            if told.as_ref() != Some(&(amount.minor_units, amount.currency_code)) {
                let detail = format!("{payment:?} of {order_id} was accepted as {told:?}, or counts twice");
                return fail("I5 money", detail);
            }
        }
        settled_if_paid(&order_id, &account)?;
    }
    if let Some(((order_id, payment_id), amount)) = accepted.into_iter().next() {
        return fail("I5 money", format!("{payment_id} of {order_id} was accepted and is lost: {amount:?}"));
    }
    Ok(())
}

fn settled_if_paid(order_id: &str, account: &AccountRow) -> Verdict {
    let booked = account.payments.iter().filter(|payment| payment.state() == PaymentState::Booked);
    let paid: i64 = booked.filter_map(|payment| payment.amount.as_ref()).map(|amount| amount.minor_units).sum();
    let suffices = account.total.as_ref().is_some_and(|total| total.minor_units >= 0 && paid >= total.minor_units);
    // What is paid for an order that has ended settles nothing any more.
    if account.settled && !suffices || account.known && suffices && !account.ended && !account.settled {
        let total = &account.total;
        return fail("I5 money", format!("{order_id} costs {total:?}, {paid} is paid; settled: {}", account.settled));
    }
    Ok(())
}
