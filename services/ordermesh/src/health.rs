//! `ordermesh health`: asks an instance whether calls are welcome, for probes of containers and scripts that wait for it.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::connect::{TlsFlags, broken};

/// Whom to ask, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// Address of the instance, as in 127.0.0.1:50051
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    addr: String,
    /// Service that must serve, as in `ordermesh.orders.v1.OrderService` [default: all of them]
    #[arg(long, value_name = "NAME", default_value = "")]
    service: String,
    /// How long it may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    timeout_ms: u64,
    #[command(flatten)]
    tls: TlsFlags,
}

/// Fails unless the answer is SERVING.
pub(crate) async fn run(probe: Probe) -> anyhow::Result<()> {
    let timeout = Duration::from_millis(probe.timeout_ms);
    let address = probe.tls.url(&probe.addr)?;
    let channel = probe.tls.connect(&address, timeout).await?;
    let mut request = Request::new(HealthCheckRequest { service: probe.service });
    request.set_timeout(timeout);
    let answer = tokio::time::timeout(timeout, HealthClient::new(channel).check(request)).await;
    let answer = answer.with_context(|| format!("{address} does not answer in time"))?;
    let answer = answer.map_err(|status| match broken(&status) {
        Some(broken) => anyhow!("{address}: {broken}"),
        None => anyhow!("{status}"),
    })?;
    match answer.into_inner().status() {
        ServingStatus::Serving => {
            println!("SERVING");
            Ok(())
        }
        other => bail!("{address} answers {}", other.as_str_name()),
    }
}
