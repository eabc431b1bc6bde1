//! Finds the broker that coordinates a group.

use std::time::Duration;

use kafka_log::wire::{Connection, Dial, Error};
use kafka_protocol::messages::FindCoordinatorRequest;
use tokio::time::timeout;

use super::GroupConfig;
use super::wire::text;

/// A connection to the coordinator of the group of this name. Any broker can tell who that is.
pub(super) async fn find(dial: &Dial, config: &GroupConfig, group: &str) -> Result<Connection, Error> {
    let mut last = None;
    for broker in &config.brokers {
        match ask(dial, config, group, broker).await {
            Ok(address) => return dial.connect(&address).await,
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(Error::Timeout { broker: "any broker".to_owned(), after: Duration::ZERO }))
}

async fn ask(dial: &Dial, config: &GroupConfig, group: &str, broker: &str) -> Result<String, Error> {
    let mut connection = dial.connect(broker).await?;
    let key = text(group);
    let request = match connection.version::<FindCoordinatorRequest>(1..=4)? {
        4 => FindCoordinatorRequest::default().with_coordinator_keys(vec![key]),
        _ => FindCoordinatorRequest::default().with_key(key),
    };
    let after = config.request_timeout;
    let answer = timeout(after, connection.call(&request, 1..=4)).await;
    let answer = answer.map_err(|_| Error::Timeout { broker: broker.to_owned(), after })??;
    connection.check(answer.error_code, answer.error_message.as_ref())?;
    let (host, port) = match answer.coordinators.first() {
        Some(coordinator) => {
            connection.check(coordinator.error_code, coordinator.error_message.as_ref())?;
            (coordinator.host.to_string(), coordinator.port)
        }
        None => (answer.host.to_string(), answer.port),
    };
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}
