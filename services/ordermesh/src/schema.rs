//! `ordermesh schema list` and `ordermesh schema show`: what the values on topics are.

use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use proto::mesh::v1::schema_service_client::SchemaServiceClient;
use proto::mesh::v1::{GetSchemasRequest, RegistrationState, TopicSchema};
use tonic::Status;

use crate::connect::{Bearer, TlsFlags, TokenFlags};
use crate::dev::say;
use crate::topology::{aligned, row};

/// How long the connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is to be shown.
#[derive(Debug, Subcommand)]
pub(crate) enum Schema {
    /// Shows which message each topic has, in all versions that were ever written.
    List {
        #[command(flatten)]
        at: At,
    },
    /// Shows the schemas of a topic as text.
    Show {
        /// The topic, such as orders
        topic: String,
        /// Only the schema with this fingerprint: what stands behind the semicolon in the header of a record
        #[arg(long, value_name = "HEX")]
        fingerprint: Option<String>,
        #[command(flatten)]
        at: At,
    },
}

/// Who is asked.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// Address of any gateway of the mesh
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    addr: String,
    #[command(flatten)]
    tls: TlsFlags,
    #[command(flatten)]
    token: TokenFlags,
}

/// Asks a gateway and prints what it knows.
pub(crate) async fn run(wanted: Schema) -> anyhow::Result<()> {
    match wanted {
        Schema::List { at } => say(table(&ask(&at, String::new(), false).await?)),
        Schema::Show { topic, fingerprint, at } => {
            let mut schemas = ask(&at, topic.clone(), true).await?;
            schemas.retain(|schema| fingerprint.as_ref().is_none_or(|wanted| *wanted == schema.fingerprint));
            if schemas.is_empty() {
                bail!(
                    "nobody has written such records to a topic {topic}; `ordermesh schema list` shows what there is"
                );
            }
            for schema in &schemas {
                say(text(schema));
            }
        }
    }
    Ok(())
}

async fn ask(at: &At, topic: String, with_source: bool) -> anyhow::Result<Vec<TopicSchema>> {
    let url = at.tls.url(&at.addr)?;
    let authorization = at.token.authorization(&url)?;
    let channel = at.tls.connect(&url, CONNECT_TIMEOUT).await?;
    let mut client = SchemaServiceClient::with_interceptor(channel, Bearer(authorization));
    let refused = |status: Status| anyhow!("{} does not show the schemas: {}", at.addr, status.message());
    Ok(client.get_schemas(GetSchemasRequest { topic, with_source }).await.map_err(refused)?.into_inner().schemas)
}

fn table(schemas: &[TopicSchema]) -> String {
    let with_registry = schemas.iter().any(|schema| schema.registration() != RegistrationState::Unspecified);
    let registry = if with_registry { "REGISTRY" } else { "" };
    let mut rows = vec![row(["TOPIC", "MESSAGE", "FINGERPRINT", "BUILD", "FIRST BY", "", registry])];
    rows.extend(schemas.iter().map(|schema| {
        let current = if schema.current { "current" } else { "" };
        let TopicSchema { topic, message, fingerprint, build, instance, .. } = schema;
        row([topic, message, fingerprint, build, instance, current, &registration(schema)])
    }));
    aligned(&rows)
}

/// How a schema stands with the registry.
fn registration(schema: &TopicSchema) -> String {
    match schema.registration() {
        RegistrationState::Unspecified => String::new(),
        RegistrationState::Pending => "pending".to_owned(),
        RegistrationState::Registered => format!("id {}", schema.registry_id),
        RegistrationState::Refused => format!("refused: {}", schema.refusal),
    }
}

fn text(schema: &TopicSchema) -> String {
    let TopicSchema { topic, message, fingerprint, build, .. } = schema;
    let mut text = format!("// topic {topic}: {message}, {fingerprint}, since {build}\n");
    for file in &schema.files {
        text.push_str(&format!("\n// {}\n{}", file.name, file.source));
    }
    text
}

#[cfg(test)]
mod tests {
    use proto::mesh::v1::SchemaFile;

    use super::*;

    fn schema() -> TopicSchema {
        TopicSchema {
            topic: "orders".to_owned(),
            message: "shop.Order".to_owned(),
            fingerprint: "ab".to_owned(),
            build: "1.0.0".to_owned(),
            instance: "i-1".to_owned(),
            current: true,
            files: vec![SchemaFile { name: "shop.proto".to_owned(), source: "message Order {}\n".to_owned() }],
            ..TopicSchema::default()
        }
    }

    #[test]
    fn schemas_are_a_table_and_a_text() {
        let old = TopicSchema { fingerprint: "cd".to_owned(), current: false, ..schema() };
        let expected = "\
TOPIC   MESSAGE     FINGERPRINT  BUILD  FIRST BY
orders  shop.Order  cd           1.0.0  i-1
orders  shop.Order  ab           1.0.0  i-1       current";
        assert_eq!(table(&[old, schema()]), expected);
        let with = |registration: RegistrationState| TopicSchema {
            registration: registration.into(),
            registry_id: 7,
            refusal: "409".to_owned(),
            ..schema()
        };
        let states = [RegistrationState::Registered, RegistrationState::Pending, RegistrationState::Refused].map(with);
        let expected = "\
TOPIC   MESSAGE     FINGERPRINT  BUILD  FIRST BY           REGISTRY
orders  shop.Order  ab           1.0.0  i-1       current  id 7
orders  shop.Order  ab           1.0.0  i-1       current  pending
orders  shop.Order  ab           1.0.0  i-1       current  refused: 409";
        assert_eq!(table(&states), expected);
        let expected = "// topic orders: shop.Order, ab, since 1.0.0\n\n// shop.proto\nmessage Order {}\n";
        assert_eq!(text(&schema()), expected);
    }
}
