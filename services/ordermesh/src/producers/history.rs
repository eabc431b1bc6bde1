//! `ordermesh order history`: what became of an order, step by step, and where each step is recorded.

use proto::orders::v1::{GetOrderHistoryRequest, GetOrderHistoryResponse, HistoryEntry};
use proto::validation::v1::{Check, Outcome};

use super::client::{Client, Failure};
use super::output::{short, table, time};
use super::{Read, money};

const HISTORY: &str = "ordermesh.orders.v1.OrderService/GetOrderHistory";

pub(super) async fn run(client: &mut Client, order_id: String, read: &Read) -> Result<(), Failure> {
    let request = GetOrderHistoryRequest { order_id, consistency: read.consistency() };
    let answer: GetOrderHistoryResponse = client.read(HISTORY, request).await?;
    client.print(HISTORY, &answer, rows);
    Ok(())
}

fn rows(answer: &GetOrderHistoryResponse) -> String {
    let row = |entry: &HistoryEntry| {
        let place = format!("{}/{}@{}", entry.topic, entry.partition, entry.offset);
        [time(entry.time.as_ref()), entry.event.clone(), details(entry), place]
    };
    let entries: Vec<_> = answer.entries.iter().map(row).collect();
    table(["TIME", "EVENT", "DETAILS", "RECORD"], &entries)
}

/// What a step is about, in one line.
fn details(entry: &HistoryEntry) -> String {
    let mut parts = Vec::new();
    if entry.check() != Check::Unspecified {
        parts.push(short(entry.check().as_str_name(), "CHECK_").to_owned());
    }
    if entry.outcome() != Outcome::Unspecified {
        parts.push(short(entry.outcome().as_str_name(), "OUTCOME_").to_owned());
    }
    let amount = entry.amount.as_ref().map(|amount| money::text(Some(amount))).unwrap_or_default();
    let named = [&entry.product_id, &entry.payment_id, &amount, &entry.recipient];
    parts.extend(named.into_iter().filter(|part| !part.is_empty()).cloned());
    parts.extend(entry.reasons.iter().map(|reason| reason.code.clone()));
    parts.join(" ")
}
