//! The talk with one other instance.

use proto::mesh::v1::HeartbeatRequest;
use proto::mesh::v1::peer_service_client::PeerServiceClient;
use service_host::{Chain, Dialer, tls};
use tonic::{Code, Request, Status};

use super::{Exchange, wire};
use crate::InstanceId;

/// Tells one instance of this one and hears its answers, for ever. A call that fails is not repeated: the next one is due
/// in a moment, and says more.
pub(super) async fn talk(exchange: Exchange, (instance, address): (InstanceId, String), dialer: Dialer) {
    let channel = match dialer.channel(&address) {
        Ok(channel) => channel,
        Err(error) => {
            tracing::error!(%instance, %address, %error, "address of an instance cannot be used");
            return std::future::pending().await;
        }
    };
    let mut client = PeerServiceClient::new(channel);
    let mut own = exchange.0.own.subscribe();
    let config = exchange.0.config.clone();
    let mut was_refused = false;
    loop {
        let report = own.borrow_and_update().as_ref().map(wire::peer_report);
        let mut request = Request::new(HeartbeatRequest { report });
        request.set_timeout(config.silent_after);
        match tokio::time::timeout(config.silent_after, client.heartbeat(request)).await {
            Ok(Ok(answer)) => {
                was_refused = false;
                if let Some(report) = answer.into_inner().report {
                    exchange.hear(wire::report(report));
                }
            }
            Ok(Err(error)) if is_refusal(&error) => {
                // Once: it stays so until somebody changes certificates or secrets.
                if !std::mem::replace(&mut was_refused, true) {
                    tracing::error!(%instance, %address, error = %Chain(&error), "instances do not trust each other");
                }
            }
            Ok(Err(error)) => tracing::debug!(%instance, %error, "heartbeat failed"),
            Err(_) => tracing::debug!(%instance, "heartbeat was not answered"),
        }
        // Its sender lives in `exchange`, so that this ends by time or by news.
        let _ = tokio::time::timeout(config.interval, own.changed()).await;
    }
}

/// Whether one of the two instances is not what the other asks for.
fn is_refusal(error: &Status) -> bool {
    matches!(error.code(), Code::Unauthenticated | Code::PermissionDenied) || tls::is_at_fault(error)
}
