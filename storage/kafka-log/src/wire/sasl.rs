//! Logging in: SASL inside of Kafka's own requests.

use std::io::Cursor;

use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use rsasl::config::SASLConfig;
use rsasl::prelude::{Mechname, SASLClient};

use super::{Connection, Error};
use crate::config::Sasl;

/// More than any mechanism needs: a broker that goes on asking is not believed.
const STEPS_MAX: usize = 8;

pub(super) async fn log_in(connection: &mut Connection, settings: &Sasl) -> Result<(), Error> {
    let broker = connection.broker().to_owned();
    let refuse = |reason: String| Error::Login { broker: broker.clone(), reason };
    let name = settings.mechanism.name();
    let offer = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name));
    let answer = connection.call(&offer, 1..=1).await?;
    if let Err(error) = connection.check(answer.error_code, None) {
        let known: Vec<_> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
        return Err(refuse(format!("{error}; it takes {} instead of {name}", known.join(", "))));
    }
    let (username, password) = (settings.username.clone(), settings.password.expose().to_owned());
    let config = SASLConfig::with_credentials(None, username, password);
    let client = SASLClient::new(config.map_err(|error| refuse(error.to_string()))?);
    let mechanism = Mechname::parse(name.as_bytes()).map_err(|error| refuse(error.to_string()))?;
    let mut session = client.start_suggested(&[mechanism]).map_err(|error| refuse(error.to_string()))?;
    let mut received: Option<bytes::Bytes> = None;
    for _ in 0..STEPS_MAX {
        let mut output = Cursor::new(Vec::new());
        // A server that does not know the password either fails here.
        let state = session.step(received.as_deref(), &mut output).map_err(|error| refuse(error.to_string()))?;
        if state.has_sent_message() {
            let step = SaslAuthenticateRequest::default().with_auth_bytes(output.into_inner().into());
            let answer = connection.call(&step, 0..=2).await?;
            connection
                .check(answer.error_code, answer.error_message.as_ref())
                .map_err(|error| refuse(error.to_string()))?;
            received = Some(answer.auth_bytes);
        }
        if state.is_finished() {
            return Ok(());
        }
    }
    Err(refuse("it does not come to an end".to_owned()))
}
