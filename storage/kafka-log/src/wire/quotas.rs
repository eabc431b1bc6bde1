//! Quotas that would slow this client down. rskafka sends an append again when a broker says that it delayed the answer,
//! and so appends it many times: such a client is refused at the start, with what to do.

use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::DescribeClientQuotasRequest;
use kafka_protocol::messages::describe_client_quotas_response::EntryData;

use super::Error;
use super::cluster::Cluster;

/// The quotas that delay the answer to an append.
const DELAYING: [&str; 2] = ["producer_byte_rate", "request_percentage"];

/// What delays our appends, in words with the command that removes it. `None` also where brokers have no quotas, or do not
/// let us see them.
pub(crate) async fn delaying(cluster: &Cluster) -> Result<Option<String>, Error> {
    let metadata = cluster.metadata();
    let Some(broker) = metadata.brokers.values().next() else { return Ok(None) };
    let request = DescribeClientQuotasRequest::default().with_components(Vec::new()).with_strict(false);
    let answer = match cluster.ask(broker, &request, 0..=1, cluster.config.request_timeout).await {
        Ok(answer) => answer,
        Err(Error::Version { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(code) = answer.error_code.err() {
        if code != ResponseError::UnsupportedVersion {
            tracing::warn!(?code, "whether quotas delay appends cannot be seen");
        }
        return Ok(None);
    }
    let user = cluster.config.sasl.as_ref().map_or("ANONYMOUS", |sasl| sasl.username.as_str());
    Ok(find(&answer.entries.unwrap_or_default(), user, &cluster.config.client_id, &cluster.config.brokers[0]))
}

fn find(entries: &[EntryData], user: &str, client_id: &str, bootstrap: &str) -> Option<String> {
    for entry in entries {
        let ours = entry.entity.iter().all(|entity| {
            let name = entity.entity_name.as_ref();
            match entity.entity_type.as_str() {
                "user" => name.is_none_or(|name| name.as_str() == user),
                "client-id" => name.is_none_or(|name| name.as_str() == client_id),
                _ => false,
            }
        });
        let delays = |key: &str| DELAYING.contains(&key);
        let Some(value) = entry.values.iter().find(|value| ours && delays(value.key.as_str())) else { continue };
        let (mut who, mut flags) = (Vec::new(), String::new());
        for entity in &entry.entity {
            let kind = if entity.entity_type.as_str() == "user" { "users" } else { "clients" };
            match &entity.entity_name {
                Some(name) => {
                    who.push(format!("{} {}", entity.entity_type, name));
                    flags.push_str(&format!(" --entity-type {kind} --entity-name {name}"));
                }
                None => {
                    who.push(format!("every {}", entity.entity_type));
                    flags.push_str(&format!(" --entity-type {kind} --entity-default"));
                }
            }
        }
        return Some(format!(
            "a quota limits {} of {} to {}, which would repeat appends; remove it: \
             kafka-configs.sh --bootstrap-server {bootstrap} --alter{flags} --delete-config {}",
            value.key,
            who.join(" and "),
            value.value,
            value.key
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_client_quotas_response::{EntityData, ValueData};

    use super::*;

    fn entry(entity: &[(&'static str, Option<&'static str>)], key: &'static str) -> EntryData {
        let entity = entity.iter().map(|(kind, name)| {
            let name = name.map(|name| name.to_owned().into());
            EntityData::default().with_entity_type((*kind).to_owned().into()).with_entity_name(name)
        });
        let value = ValueData::default().with_key(key.to_owned().into()).with_value(1024.0);
        EntryData::default().with_entity(entity.collect()).with_values(vec![value])
    }

    #[test]
    fn only_quotas_on_us_that_delay_appends_count() {
        let find = |entry: EntryData| find(&[entry], "alice", "mesh", "b:1");
        for (entity, key) in [
            (&[("client-id", Some("other"))][..], "producer_byte_rate"),
            (&[("client-id", Some("mesh")), ("user", Some("bob"))], "producer_byte_rate"),
            (&[("ip", None)], "connection_creation_rate"),
            (&[("client-id", Some("mesh"))], "consumer_byte_rate"),
        ] {
            assert_eq!(find(entry(entity, key)), None, "{entity:?} {key}");
        }
        let found = find(entry(&[("client-id", Some("mesh"))], "producer_byte_rate")).unwrap();
        assert!(
            found.contains("--entity-type clients --entity-name mesh --delete-config producer_byte_rate"),
            "{found}"
        );
        let found = find(entry(&[("user", Some("alice")), ("client-id", None)], "request_percentage")).unwrap();
        assert!(
            found.contains("--entity-type users --entity-name alice --entity-type clients --entity-default"),
            "{found}"
        );
    }
}
