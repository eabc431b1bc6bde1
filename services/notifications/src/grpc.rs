//! The methods of NotificationService on the owner's side: convert, ask each task, convert back.

use bytes::Bytes;
use proto::notifications::v1 as pb;
use proto::notifications::v1::notification_service_server::NotificationService;
use service_host::{Owner, Page, Problem, ReadBound, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::Config;
use crate::stores::NOTIFICATIONS;
use crate::wire;

/// The owner's side of NotificationService.
#[derive(Debug, Clone)]
pub struct Notifications {
    owner: Owner,
    config: Config,
}

impl Notifications {
    pub(crate) fn new(owner: Owner, config: Config) -> Self {
        Self { owner, config }
    }
}

#[tonic::async_trait]
impl NotificationService for Notifications {
    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        validate::optional_id(&mut faults, "order_id", &request.order_id);
        let state = wire::state_filter(request.state).unwrap_or_else(|()| {
            faults.add("state", "is no state of a notification");
            None
        });
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let (rows_max, order_id) = (self.config.list_rows_max, request.order_id.clone());
        let read = move |view: &View<'_>, page: &Page| {
            page.fill(view, NOTIFICATIONS, order_id.as_bytes(), rows_max, |key, row| {
                let is_wanted = order_id.is_empty() || key == order_id.as_bytes();
                if is_wanted { listed(key, &row, state) } else { Ok(None) }
            })
        };
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (notifications, next_page_token) = answer.value;
        let unreachable = Vec::new();
        Ok(Response::new(pb::ListNotificationsResponse { notifications, next_page_token, unreachable, served_by }))
    }
}

/// The notification of a row, if it is in the wanted state.
fn listed(order_id: &[u8], row: &Bytes, wanted: Option<i32>) -> Result<Option<pb::Notification>, Problem> {
    let unreadable = |error| owner::unreadable("row of a notification", &error);
    let row = wire::notification_row(row).map_err(unreadable)?;
    if wanted.is_some_and(|wanted| wanted != row.state) {
        return Ok(None);
    }
    wire::notification_to_proto(&String::from_utf8_lossy(order_id), row).map(Some).map_err(unreadable)
}

#[cfg(test)]
mod tests;
