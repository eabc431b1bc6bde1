//! E-mails: each order has one, which every try repeats to the letter, and one outcome, which is what the mail server said.

use bytes::Bytes;
use notifications::sender::Mail;
use proto::notifications::v1::{NotificationRow, NotificationState};
use testkit::simulation::{Oracle, Verdict, fail};
use tokio::time::Instant;

use crate::history::{History, Seen};
use crate::rows::{NOTIFICATIONS, decode, text};
use crate::shop::Shop;

const LAW: &str = "I2 one e-mail for an order";

fn attempts(row: &NotificationRow) -> u32 {
    row.tries + row.tries_before
}

/// I2, I8: what is sent was decided by a commit that counts, is the same in every try, under a Message-ID that no other order
/// has; and who began after it was on the record as sent, or as given up, does not send it.
pub(crate) fn i2_mails_say_the_same(oracle: &mut Oracle<Shop>, mail: &Mail, since: Instant) -> Verdict {
    if oracle.has_lost {
        return Ok(());
    }
    let Mail { order_id, message_id, .. } = mail;
    let Some(row) = NOTIFICATIONS.row::<NotificationRow>(oracle, order_id) else {
        return fail(LAW, format!("the e-mail about {order_id} is sent, and no commit that counts has decided it"));
    };
    let Shop { seen, history, .. } = &mut oracle.scenario;
    if let Some(settled) = seen.settled_mails.get(order_id).filter(|settled| **settled < since) {
        let ago = since.duration_since(*settled);
        return fail(LAW, format!("{order_id} is {:?} since {ago:?} before this process, which sends it", row.state()));
    }
    let first = history.first_mails.entry(order_id.clone()).or_insert_with(|| mail.clone());
    if first != mail || row.message_id != *message_id || row.recipient != mail.recipient {
        return fail(LAW, format!("the e-mail about {order_id} was {first:?}, and is {mail:?}; decided was {row:?}"));
    }
    let owner = seen.message_ids.entry(message_id.clone()).or_insert_with(|| order_id.clone());
    if owner != order_id {
        return fail(LAW, format!("{message_id} is about {owner} and about {order_id}"));
    }
    Ok(())
}

/// I2: an e-mail has one outcome, and it is what the mail server said: after every commit.
pub(crate) fn i2_mails_have_one_outcome(
    (history, seen): (&History, &mut Seen),
    tries_max: u32,
    service: &str,
    key: &[u8],
    value: Option<&Bytes>,
) -> Verdict {
    let Some(order_id) = NOTIFICATIONS.key(service, key).map(text) else { return Ok(()) };
    let Some(value) = value else { return fail(LAW, format!("the e-mail about {order_id} is forgotten")) };
    let row: NotificationRow = decode(value);
    let said = history.mails.get(&order_id).copied().unwrap_or_default();
    let is_settled = row.state() != NotificationState::Pending;
    let failures = attempts(&row) - u32::from(row.state() == NotificationState::Sent);
    let before = seen.mails.insert(order_id.clone(), row.clone());
    let wrong = match row.state() {
        _ if seen.settled_mails.contains_key(&order_id) => "it had its outcome",
        _ if before.as_ref().is_some_and(|before| before.message_id != row.message_id) => "it has another Message-ID",
        _ if attempts(&row) != before.as_ref().map_or(0, |before| attempts(before) + 1) => "tries were left out",
        _ if failures > said.told_failed => "more tries failed than the mail server said",
        NotificationState::Sent if said.told_taken == 0 => "no mail server said that it has taken it",
        NotificationState::Undeliverable if !said.told_hopeless && row.tries < tries_max => "it is given up too early",
        _ => "",
    };
    if is_settled {
        seen.settled_mails.insert(order_id.clone(), Instant::now());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    fail(LAW, format!("{order_id}: {wrong}: {before:?}, then {row:?}; said was {said:?}"))
}

/// An e-mail that has no outcome yet.
pub(crate) fn unsent(oracle: &Oracle<Shop>) -> Option<String> {
    let mut rows = NOTIFICATIONS.rows::<NotificationRow>(oracle);
    let (key, row) = rows.find(|(_, row)| row.state() == NotificationState::Pending)?;
    Some(format!("the e-mail about {} is still to be sent: {} tries, {}", text(key), row.tries, row.last_error))
}

/// I2, the other half: what is on the record as sent was taken, at least once, and nothing was sent that is not on the record.
pub(crate) fn i2_mails_were_taken(oracle: &Oracle<Shop>) -> Verdict {
    for (order_id, said) in &oracle.scenario.history.mails {
        match NOTIFICATIONS.row::<NotificationRow>(oracle, order_id).map(|row| row.state()) {
            Some(NotificationState::Sent) if said.taken > 0 => {}
            Some(NotificationState::Undeliverable) => {}
            state => return fail(LAW, format!("the e-mail about {order_id} is {state:?}; said was {said:?}")),
        }
    }
    Ok(())
}

/// E-mails that were given up: each lies with the dead letters.
pub(crate) fn given_up(oracle: &Oracle<Shop>) -> u64 {
    let rows = NOTIFICATIONS.rows::<NotificationRow>(oracle);
    rows.filter(|(_, row)| row.state() == NotificationState::Undeliverable).count() as u64
}
