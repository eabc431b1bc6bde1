//! Finds the broker that coordinates a group. Any broker can tell which one it is.
//!
//! Always: those of the configuration are only where it begins. They name the others, and one that is down must not keep
//! anybody from a coordinator that has moved to another.

use std::time::Duration;

use kafka_log::wire::{Connection, Dial, Error, ResponseError};
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest};
use tokio::time::timeout;

use super::GroupConfig;
use super::wire::text;

/// Most brokers that are remembered: more are none that anybody runs.
const BROKERS_MAX: usize = 1_000;

/// Looks for coordinators.
#[derive(Debug)]
pub(super) struct Finder {
    dial: Dial,
    configured: Vec<String>,
    request_timeout: Duration,
    /// Brokers to ask, the one that answered last first.
    brokers: Vec<String>,
}

impl Finder {
    pub(super) fn new(dial: Dial, config: &GroupConfig) -> Self {
        let configured = config.brokers.clone();
        Self { dial, brokers: configured.clone(), configured, request_timeout: config.request_timeout }
    }

    /// A connection to the coordinator of the group of this name. One broker that refuses speaks for all.
    pub(super) async fn find(&mut self, group: &str) -> Result<Connection, Error> {
        let mut last = None;
        for broker in self.brokers.clone() {
            match self.ask(&broker, group).await {
                Ok(address) => return self.dial.connect(&address).await,
                Err(error) if refusal(&error).is_some() => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::Timeout { broker: "any broker".to_owned(), after: Duration::ZERO }))
    }

    async fn ask(&mut self, broker: &str, group: &str) -> Result<String, Error> {
        let mut connection = self.dial.connect(broker).await?;
        let after = self.request_timeout;
        let late = || Error::Timeout { broker: broker.to_owned(), after };
        let known = timeout(after, brokers(&mut connection)).await.unwrap_or_else(|_| Err(late()))?;
        self.remember(broker, known);
        timeout(after, coordinator(&mut connection, group)).await.unwrap_or_else(|_| Err(late()))
    }

    /// The one that has answered first, then those that it names, then those of the configuration.
    fn remember(&mut self, answered: &str, named: Vec<String>) {
        self.brokers = vec![answered.to_owned()];
        for broker in named.into_iter().take(BROKERS_MAX).chain(self.configured.iter().cloned()) {
            if !self.brokers.contains(&broker) {
                self.brokers.push(broker);
            }
        }
    }
}

/// Why this client will not be told the coordinator of a group, however often it asks; `None` for what may pass.
pub(super) fn refusal(error: &Error) -> Option<ResponseError> {
    use ResponseError as E;
    match error {
        Error::Refused { code: code @ (E::GroupAuthorizationFailed | E::InvalidGroupId), .. } => Some(*code),
        _ => None,
    }
}

/// All brokers that this one knows.
async fn brokers(connection: &mut Connection) -> Result<Vec<String>, Error> {
    let request = MetadataRequest::default().with_topics(Some(Vec::new())).with_allow_auto_topic_creation(false);
    let answer = connection.call(&request, 1..=8).await?;
    Ok(answer.brokers.iter().map(|broker| address(&broker.host, broker.port)).collect())
}

async fn coordinator(connection: &mut Connection, group: &str) -> Result<String, Error> {
    let key = text(group);
    let request = match connection.version::<FindCoordinatorRequest>(1..=4)? {
        4 => FindCoordinatorRequest::default().with_coordinator_keys(vec![key]),
        _ => FindCoordinatorRequest::default().with_key(key),
    };
    let answer = connection.call(&request, 1..=4).await?;
    connection.check(answer.error_code, answer.error_message.as_ref())?;
    Ok(match answer.coordinators.first() {
        Some(coordinator) => {
            connection.check(coordinator.error_code, coordinator.error_message.as_ref())?;
            address(&coordinator.host, coordinator.port)
        }
        None => address(&answer.host, answer.port),
    })
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use kafka_log::Config;
    use kafka_log::testing::{self, Broker};
    use kafka_protocol::messages::FindCoordinatorResponse;
    use kafka_protocol::messages::find_coordinator_response::Coordinator;

    use super::*;

    /// A broker of these, whose addresses are known when all have started; the last of them coordinates every group.
    async fn broker(all: &Arc<Mutex<Vec<String>>>) -> Broker {
        let known = all.clone();
        let broker = Broker::start(move |asked| {
            let all = known.lock().unwrap().clone();
            async move {
                let addresses: Vec<&str> = all.iter().map(String::as_str).collect();
                asked
                    .answer(|request: MetadataRequest| testing::metadata(&request, &addresses, &[]))
                    .or_else(|| asked.answer(|_: FindCoordinatorRequest| coordinates(addresses[addresses.len() - 1])))
            }
        })
        .await;
        all.lock().unwrap().push(broker.address().to_owned());
        broker
    }

    fn coordinates(address: &str) -> FindCoordinatorResponse {
        let (host, port) = address.rsplit_once(':').unwrap();
        let coordinator = Coordinator::default().with_host(text(host)).with_port(port.parse().unwrap());
        FindCoordinatorResponse::default().with_coordinators(vec![coordinator])
    }

    #[tokio::test]
    async fn a_coordinator_is_found_when_all_brokers_of_the_configuration_are_gone() {
        let all = Arc::default();
        let (first, _second, third) = (broker(&all).await, broker(&all).await, broker(&all).await);
        let configured = vec![first.address().to_owned()];
        let dial = Dial::new(&Config::new(configured.clone())).unwrap();
        let mut finder = Finder::new(dial, &GroupConfig::new("mesh", configured, 1, BTreeMap::new()));
        assert_eq!(finder.find("mesh").await.unwrap().broker(), third.address());
        // The first one goes, and the coordinator with it: another one takes the groups over.
        drop((first, third));
        all.lock().unwrap().pop();
        let second = all.lock().unwrap()[1].clone();
        assert_eq!(finder.find("mesh").await.unwrap().broker(), second);
        assert_eq!(finder.brokers[0], second, "the next search begins where there was an answer");
    }
}
