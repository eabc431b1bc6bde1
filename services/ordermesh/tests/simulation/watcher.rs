//! Somebody who watches one order from its creation to its end, leaves and comes back, and must be told every change once
//! and in order, whoever answers (I7, I15).

use std::time::Duration;

use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{WatchOrderRequest, WatchOrderResponse};
use tokio::time::timeout;

use crate::clients::version;
use crate::desk::{Desk, Try};
use crate::laws::is_final;

const LAW: &str = "I7 I15 watches";

/// Where a watch stands.
struct Watch {
    order_id: String,
    token: String,
    /// Version of the order as told; none before the snapshot.
    version: Option<u64>,
    is_over: bool,
}

pub(crate) async fn watch(mut desk: Desk, order_id: String) {
    let mut watch = Watch { order_id, token: String::new(), version: None, is_over: false };
    while !watch.is_over && !desk.world.shared.oracle(|oracle| oracle.has_lost) {
        let request = WatchOrderRequest {
            order_id: watch.order_id.clone(),
            snapshot: watch.token.is_empty(),
            resume_token: watch.token.clone(),
        };
        let key = watch.order_id.clone();
        let opened = desk.ask(orders::SERVICE, &key, async |server| {
            let orders = orders::server(server.owner, &server.watches, &server.config.orders);
            OrderServiceClient::new(orders).watch_order(request).await
        });
        if let Try::Answered(mut messages) = opened.await {
            let leaves_after = desk.dice.range(1, 6);
            for _ in 0..leaves_after {
                let patience = desk.dice.pick(&[Duration::from_millis(300), Duration::from_secs(6)]);
                let message = match timeout(patience, messages.message()).await {
                    Ok(Ok(Some(message))) => message,
                    Ok(end) => {
                        desk.world.shared.note(format_args!("{key} is not watched any more: {end:?}"));
                        break;
                    }
                    Err(_) => break,
                };
                let told: Vec<_> = message.changes.iter().map(|change| (change.state(), &change.etag)).collect();
                desk.world.shared.note(format_args!("{key} is watched: {told:?}, then {}", message.resume_token));
                if let Err(detail) = watch.take(message) {
                    return desk.broken(LAW, detail);
                }
            }
        }
        desk.pause(5, 200).await;
    }
}

impl Watch {
    fn take(&mut self, message: WatchOrderResponse) -> Result<(), String> {
        if let Some(order) = &message.order {
            if self.version.is_some() {
                return Err(format!("{} was told as a snapshot twice", self.order_id));
            }
            self.version = Some(version(order));
            self.is_over = is_final(order.state());
        }
        for change in &message.changes {
            let next: u64 = change.etag.parse().unwrap_or(0);
            let before = self.version.replace(next);
            if before.is_none_or(|before| next != before + 1) {
                return Err(format!("{} was told as of {before:?}, and then as of {next}", self.order_id));
            }
            self.is_over |= is_final(change.state());
        }
        self.token = message.resume_token;
        Ok(())
    }
}
