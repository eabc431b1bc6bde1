//! Pieces: none appears, none disappears, none is promised twice.
//!
//! In the end, for every product: stock = what was set + what was added - what was shipped, and nothing is held for
//! orders that are over. At any time: 0 <= reserved <= stock, and available is the difference.

use std::collections::{BTreeMap, HashMap};

use super::orders::Stories;
use super::{End, Findings, Law, Ops};
use crate::campaign::history::{Body, Bound, Call, Event, State, What};
use crate::campaign::topics::{Fact, Topics};

/// What the topics say about one product.
#[derive(Debug, Default)]
struct Ledger {
    set: i64,
    added: HashMap<i64, u32>,
    sum_added: i64,
    shipped: i64,
}

pub(super) fn check(history: &[Event], ops: &Ops<'_>, topics: &Topics, stories: &Stories<'_>, findings: &mut Findings) {
    let ledgers = ledgers(topics, stories, findings);
    additions(ops, &ledgers, findings);
    let all_over = stories.values().all(|story| story.state().is_some_and(State::is_final));
    let healed_ns = history.iter().rev().find(|event| event.what == What::Healed).map(|event| event.at_ns);
    // The last strong answer about each product that was asked for after everything ran again.
    let mut last: BTreeMap<&str, &Body> = BTreeMap::new();
    let mut asked_ns: HashMap<u64, u64> = HashMap::new();
    for event in history {
        let Some(op) = ops.get(&event.op) else { continue };
        if matches!(event.what, What::Invoke { .. }) {
            asked_ns.insert(event.op, event.at_ns);
        }
        let What::Ok { answer } = &event.what else { continue };
        pieces(op.call, &answer.body, findings);
        if let Call::GetProduct { product_id, bound: Bound::Strong } = op.call
            && healed_ns.is_some_and(|healed| asked_ns.get(&event.op).is_some_and(|asked| *asked > healed))
        {
            last.insert(product_id, &answer.body);
        }
    }
    for (product_id, body) in last {
        let Body::Product { stock, reserved, .. } = body else { continue };
        let Some(ledger) = ledgers.get(product_id) else { continue };
        let expected = ledger.set + ledger.sum_added - ledger.shipped;
        if all_over && (*stock, *reserved) != (expected, 0) {
            let what = format!(
                "{stock} pieces with {reserved} held; {} set + {} added - {} shipped is {expected}",
                ledger.set, ledger.sum_added, ledger.shipped
            );
            findings.broke(Law::Conservation, product_id, what);
        }
    }
}

fn ledgers<'a>(topics: &'a Topics, stories: &'a Stories<'_>, findings: &mut Findings) -> BTreeMap<&'a str, Ledger> {
    let mut ledgers: BTreeMap<&str, Ledger> = BTreeMap::new();
    for fact in &topics.facts {
        match fact {
            Fact::StockSet(product, stock) => ledgers.entry(product).or_default().set = *stock,
            Fact::StockAdded(product, quantity, _) => {
                let ledger = ledgers.entry(product).or_default();
                ledger.sum_added += quantity;
                let times = ledger.added.entry(*quantity).or_default();
                *times += 1;
                if *times > 1 {
                    findings.broke(Law::DuplicateEffect, product, format!("{quantity} pieces were added again"));
                }
            }
            _ => {}
        }
    }
    for story in stories.values().filter(|story| story.state() == Some(State::Shipped)) {
        for (product, pieces) in &story.lines {
            // Products without a stock of their own are made to order.
            if let Some(ledger) = ledgers.get_mut(product.as_str()) {
                ledger.shipped += pieces;
            }
        }
    }
    ledgers
}

/// Each addition by its quantity, which no two requests for a product share.
fn additions(ops: &Ops<'_>, ledgers: &BTreeMap<&str, Ledger>, findings: &mut Findings) {
    // By product and quantity: whether it may have happened, and whether it must.
    let mut asked: HashMap<(&str, i64), (bool, bool)> = HashMap::new();
    for op in ops.values() {
        let Call::AddStock { product_id, quantity, .. } = op.call else { continue };
        let (may, must) = asked.entry((product_id, *quantity)).or_default();
        *may |= !matches!(op.end, End::Fail);
        *must |= matches!(op.end, End::Ok(..));
    }
    for ((product, quantity), (_, must)) in &asked {
        let there = ledgers.get(product).is_some_and(|ledger| ledger.added.contains_key(quantity));
        if *must && !there {
            findings.broke(Law::Lost, *product, format!("{quantity} pieces were acknowledged, and never added"));
        }
    }
    for (product, ledger) in ledgers {
        for quantity in ledger.added.keys() {
            if !asked.get(&(*product, *quantity)).is_some_and(|(may, _)| *may) {
                findings.broke(Law::AbortedRead, *product, format!("{quantity} pieces that nobody may have added"));
            }
        }
    }
}

fn pieces(call: &Call, body: &Body, findings: &mut Findings) {
    let Body::Product { stock, reserved, available, .. } = body else { return };
    if *reserved < 0 || reserved > stock || *available != stock - reserved {
        let what = format!("{stock} in stock, {reserved} reserved, {available} available");
        findings.broke(Law::Conservation, call.key(), what);
    }
}
