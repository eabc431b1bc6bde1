//! Quotas that would slow this client down. rskafka sends an append again when a broker says that it delayed the answer,
//! and so appends it many times: such a client is refused at the start, with what to do.

use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::DescribeClientQuotasRequest;
use kafka_protocol::messages::describe_client_quotas_response::EntryData;

use super::Error;
use super::cluster::Cluster;
use crate::Config;

/// The quotas that delay the answer to an append.
const DELAYING: [&str; 2] = ["producer_byte_rate", "request_percentage"];

/// What delays our appends, in words with the command that removes it. `None` also where brokers have no quotas, or do not
/// let us see them.
pub(crate) async fn delaying(cluster: &Cluster) -> Result<Option<String>, Error> {
    let metadata = cluster.metadata();
    let broker = metadata.brokers.values().next().expect("a cluster that is connected knows a broker");
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
    let user = User::of(&cluster.config);
    Ok(find(&answer.entries.unwrap_or_default(), user, &cluster.config.client_id, &cluster.config.brokers[0]))
}

/// Who we are to the brokers.
#[derive(Debug, Clone, Copy)]
enum User<'a> {
    Named(&'a str),
    /// Whatever the brokers make of our certificate: rules of theirs, which they tell nobody.
    OfCertificate,
}

impl<'a> User<'a> {
    fn of(config: &'a Config) -> Self {
        let has_certificate = config.tls.as_ref().is_some_and(|tls| tls.cert_file.is_some());
        match &config.sasl {
            Some(sasl) => Self::Named(&sasl.username),
            None if has_certificate => Self::OfCertificate,
            None => Self::Named("ANONYMOUS"),
        }
    }

    fn may_be(self, name: &str) -> bool {
        match self {
            Self::Named(own) => own == name,
            Self::OfCertificate => true,
        }
    }
}

fn find(entries: &[EntryData], user: User<'_>, client_id: &str, bootstrap: &str) -> Option<String> {
    for entry in entries {
        let mut doubt = "";
        let ours = entry.entity.iter().all(|entity| {
            let name = entity.entity_name.as_ref();
            match entity.entity_type.as_str() {
                "user" => {
                    if name.is_some() && matches!(user, User::OfCertificate) {
                        doubt =
                            " (brokers do not tell whose a certificate is: with kafka.sasl the user would be known)";
                    }
                    name.is_none_or(|name| user.may_be(name))
                }
                "client-id" => name.is_none_or(|name| name.as_str() == client_id),
                // A kind that came after this was written may well mean us.
                _ => {
                    doubt = " (it may be of this process: that kind of quota is not known here)";
                    true
                }
            }
        });
        let delays = |key: &str| DELAYING.contains(&key);
        let Some(value) = entry.values.iter().find(|value| ours && delays(value.key.as_str())) else { continue };
        let (mut who, mut flags) = (Vec::new(), String::new());
        for entity in &entry.entity {
            let kind = match entity.entity_type.as_str() {
                "client-id" => "clients".to_owned(),
                other => format!("{other}s"),
            };
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
            "a quota limits {} of {} to {}, which would repeat appends{doubt}; remove it: \
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
    use crate::{Mechanism, Sasl, Secret, Tls};

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
        let find = |entry: EntryData| find(&[entry], User::Named("alice"), "mesh", "b:1");
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

    #[test]
    fn a_quota_that_may_be_ours_counts() {
        let of_somebody = entry(&[("user", Some("CN=mesh,O=Shop"))], "producer_byte_rate");
        let tls = |cert_file: Option<&str>| {
            let (cert_file, key_file) = (cert_file.map(Into::into), cert_file.map(Into::into));
            Config { tls: Some(Tls { ca_file: "ca.pem".into(), cert_file, key_file }), ..Config::new(["b:1"]) }
        };
        let find = |entry: &EntryData, config: &Config| {
            super::find(std::slice::from_ref(entry), User::of(config), "mesh", "b:1")
        };
        assert_eq!(find(&of_somebody, &tls(None)), None, "without a certificate we are anonymous");
        let found = find(&of_somebody, &tls(Some("own.pem"))).unwrap();
        assert!(
            found.contains("--entity-type users --entity-name CN=mesh,O=Shop") && found.contains("sasl"),
            "{found}"
        );
        let sasl = Sasl { mechanism: Mechanism::ScramSha512, username: "u".into(), password: Secret::new("p") };
        let logged_in = Config { sasl: Some(sasl), ..tls(Some("own.pem")) };
        assert_eq!(find(&of_somebody, &logged_in), None, "who logs in is known");

        let of_new_kind = |client: &'static str| {
            entry(&[("tenant", Some("shop")), ("client-id", Some(client))], "producer_byte_rate")
        };
        assert_eq!(find(&of_new_kind("other"), &tls(None)), None);
        let found = find(&of_new_kind("mesh"), &tls(None)).unwrap();
        assert!(found.contains("--entity-type tenants --entity-name shop") && found.contains("may be"), "{found}");
    }
}
