//! Planted bugs of e-mails.

use prost::Message;
use proto::notifications::v1::{DeliveryReport, NotificationRow, NotificationState};
use task_runtime::{Command, Definition, StoreId};

use super::row;
use crate::rows::decode;

const NOTIFICATIONS: StoreId = StoreId::new(3, "notifications");
const OUTBOX: StoreId = StoreId::new(4, "outbox");
const REPORT: &str = "report-delivery";

pub(super) fn new_message_id(definition: Definition) -> Definition {
    definition.around_command(REPORT, |ctx, command, inner| {
        let reply = inner(ctx, command)?;
        if let Some(mut mail) = row::<NotificationRow>(ctx, NOTIFICATIONS, &command.key)?
            && mail.state() == NotificationState::Pending
        {
            mail.message_id = mail.message_id.replace("<order.", "<again.order.");
            ctx.put(NOTIFICATIONS, &command.key, mail.encode_to_vec());
        }
        Ok(reply)
    })
}

pub(super) fn forget_sent(definition: Definition) -> Definition {
    definition.around_command(REPORT, |ctx, command, inner| {
        let mut report: DeliveryReport = decode(&command.payload);
        if report.error.is_empty() {
            "no answer".clone_into(&mut report.error);
        }
        inner(ctx, &Command { payload: report.encode_to_vec().into(), ..command.clone() })
    })
}

pub(super) fn mail_again(definition: Definition) -> Definition {
    definition.around_command(REPORT, |ctx, command, inner| {
        let reply = inner(ctx, command)?;
        if let Some(mut mail) = row::<NotificationRow>(ctx, NOTIFICATIONS, &command.key)?
            && mail.state() == NotificationState::Sent
        {
            mail.set_state(NotificationState::Pending);
            ctx.put(NOTIFICATIONS, &command.key, mail.encode_to_vec());
            ctx.put(OUTBOX, &[&mail.due_ms.to_be_bytes()[..], &command.key].concat(), Vec::new());
        }
        Ok(reply)
    })
}
