//! Pages of one partition: customers, orders beside their customers, greetings.

use bytes::Bytes;
use proto::customers::v1 as pb;
use service_host::{Listed, Page, Problem, owner};
use task_runtime::View;

use super::customer;
use crate::stores::{CUSTOMERS, GREETINGS, ORDERS, PROGRESS, TO_EVERYONE, greeting_of_key, order_of_key, prefix_of};
use crate::wire;
use crate::wire::orders::{known, order_to_proto};

/// Behind every greeting to everyone, and before every greeting to one customer.
const PAST_EVERYONE: &[u8] = &[0, 0xff];

/// A page of customers.
pub(super) fn customers(view: &View<'_>, page: &Page, rows_max: usize) -> Result<Listed<pb::Customer>, Problem> {
    page.fill(view, CUSTOMERS, b"", rows_max, |key, _| customer(view, &String::from_utf8_lossy(key)))
}

/// A page of orders, each beside its customer as it is now.
pub(super) fn orders(
    view: &View<'_>,
    page: &Page,
    customer_id: &str,
    rows_max: usize,
) -> Result<Listed<pb::CustomerOrder>, Problem> {
    let prefix = if customer_id.is_empty() { Vec::new() } else { prefix_of(customer_id) };
    // Orders of one customer stand together, so that it is read once for all of them.
    let mut current: Option<pb::Customer> = None;
    page.fill(view, ORDERS, &prefix, rows_max, |key, placed| {
        let ids = order_of_key(key);
        let customer = match current.take().filter(|customer| customer.customer_id == ids.0) {
            Some(customer) => customer,
            None => customer(view, &ids.0)?.unwrap_or_else(|| blank(&ids.0)),
        };
        current = Some(customer.clone());
        let unreadable = |error| owner::unreadable("row of a customer's order", &error);
        let known = owner::row(view, PROGRESS, key)?.map(|row| known(&row)).transpose().map_err(unreadable)?;
        let order = order_to_proto(ids, &placed, &known.unwrap_or_default()).map_err(unreadable)?;
        Ok(Some(pb::CustomerOrder { customer: Some(customer), order: Some(order) }))
    })
}

/// A page of all greetings, or of those that reached one customer: first those to everyone, then its own.
pub(super) fn greetings(
    view: &View<'_>,
    page: &Page,
    customer_id: &str,
    rows_max: usize,
) -> Result<Listed<pb::Greeting>, Problem> {
    let item = |key: &[u8], row: Bytes| {
        let greeting = wire::greeting(greeting_of_key(key), &row);
        greeting.map(Some).map_err(|error| owner::unreadable("row of a greeting", &error))
    };
    if customer_id.is_empty() {
        return page.fill(view, GREETINGS, b"", rows_max, item);
    }
    let own = prefix_of(customer_id);
    let is_past_everyone = page.after.as_deref().is_some_and(|after| after >= PAST_EVERYONE);
    let mut to_everyone = Listed { items: Vec::new(), next: None };
    if !is_past_everyone {
        to_everyone = page.fill(view, GREETINGS, TO_EVERYONE, rows_max, item)?;
        if to_everyone.next.is_some() {
            return Ok(to_everyone);
        }
        if to_everyone.items.len() >= page.size {
            return Ok(Listed { next: Some(Bytes::from_static(PAST_EVERYONE)), ..to_everyone });
        }
    }
    let mut rest = page.clone();
    rest.size -= to_everyone.items.len();
    rest.after = rest.after.filter(|_| is_past_everyone);
    let mut listed = rest.fill(view, GREETINGS, &own, rows_max, item)?;
    listed.items.splice(..0, to_everyone.items);
    Ok(listed)
}

/// A customer who does not exist (yet).
fn blank(customer_id: &str) -> pb::Customer {
    pb::Customer { customer_id: customer_id.to_owned(), ..Default::default() }
}
