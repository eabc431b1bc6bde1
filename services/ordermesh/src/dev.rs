//! `ordermesh dev`: the whole mesh in one process, from its first word to its last.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Config, Instance, Sample, Security, Setup, key_name, load_sample};
use anyhow::{Context, anyhow, bail};
use service_host::server::BindError;
use service_host::{Clock, SpanTracer, Telemetry, metrics, server, shutdown};
use task_runtime::RestoreProgress;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often a start that takes long says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What to try next, as message and method: a product, a customer who may pay for it, and the order of it.
const TRY_NEXT: [(&str, &str); 3] = [
    (
        r#"{"product": {"product_id": "mug", "name": "Mug", "fulfilment": "FULFILMENT_MADE_TO_ORDER"}}"#,
        "ordermesh.inventory.v1.InventoryService/UpsertProduct",
    ),
    (
        concat!(
            r#"{"customer": {"customer_id": "c-1", "first_name": "Ada", "#,
            r#""credit_limit": {"currency_code": "EUR", "minor_units": 100000}}}"#
        ),
        "ordermesh.customers.v1.CustomerService/CreateCustomer",
    ),
    (
        concat!(
            r#"{"order": {"customer_id": "c-1", "lines": [{"product_id": "mug", "quantity": 1, "#,
            r#""unit_price": {"currency_code": "EUR", "minor_units": 1250}}]}, "wait_for": "WAIT_FOR_VALIDATED"}"#
        ),
        "ordermesh.orders.v1.OrderService/CreateOrder",
    ),
];

/// Runs until a signal, in life order: telemetry, listen, build, wait, drain.
pub(crate) async fn run(config: Config, sample: bool) -> anyhow::Result<()> {
    let begin = Instant::now();
    let stop = shutdown::on_signal().context("signals cannot be listened to")?;
    let telemetry = Telemetry::init(&config.log, &config.telemetry, &config.mesh.instance)?;
    service_host::files::raise_open_files();
    let metrics = serve_metrics(&config, &stop).await?;
    let security = Security::open(&config)?;
    // Before the data is opened, which may take long: that a port is taken is said at once.
    let listener = bind(config.listen.address, "--listen").await?;
    say(format_args!("ordermesh {} starts", env!("CARGO_PKG_VERSION")));
    let tracer = Arc::new(SpanTracer::new(&telemetry, key_name));
    let setup = Setup { config: config.clone(), security, listener, clock: Clock::system(), tracer };
    let instance = Instance::start(setup).await?;
    say(format_args!("  log and stores are open after {:.0?}", begin.elapsed()));

    let ended = tokio::select! {
        ended = serve(&instance, &config, metrics, sample, begin) => ended,
        () = stop.cancelled() => Ok(()),
    };
    say("stopping");
    let stopped = instance.stop().await;
    if stopped.connections_cut > 0 {
        say(format_args!("  {} connections were still busy and were cut", stopped.connections_cut));
    }
    if !stopped.tasks_finished {
        say("  tasks did not finish in time: the next start goes over a little more of the log");
    }
    telemetry.shutdown().await;
    ended
}

/// Waits for the tasks, says where everything is, and stays as long as nothing fails.
async fn serve(
    instance: &Instance,
    config: &Config,
    metrics: Option<SocketAddr>,
    sample: bool,
    begin: Instant,
) -> anyhow::Result<()> {
    let mut running = std::pin::pin!(instance.running());
    let ended = loop {
        match tokio::time::timeout(PROGRESS_INTERVAL, running.as_mut()).await {
            Ok(ended) => break ended,
            Err(_) => {
                let (tasks, all) = instance.progress();
                match instance.restoring().filter(|restore| restore.of > 0) {
                    Some(restore) => say(format_args!("  {tasks} of {all} tasks run, {}", bar(restore))),
                    None => say(format_args!("  {tasks} of {all} tasks run")),
                }
            }
        }
    };
    ended.map_err(|reason| anyhow!(reason))?;
    let (tasks, _) = instance.progress();
    say(format_args!("  {tasks} tasks run after {:.0?}", begin.elapsed()));
    let address = reachable(instance.address());
    if sample {
        let loaded = load_sample(instance.gateway()).await;
        let Sample { products, customers, orders, books } =
            loaded.map_err(|status| anyhow!("the sample cannot be loaded: {}", status.message()))?;
        let counts = format!("{products} products, {customers} customers, {orders} orders and {books} books");
        say(format_args!("  {counts} are loaded"));
    }
    welcome(config, address, metrics);
    bail!(instance.failed().await)
}

fn welcome(config: &Config, address: SocketAddr, metrics: Option<SocketAddr>) {
    let data = std::path::absolute(&config.mesh.data).unwrap_or_else(|_| config.mesh.data.clone());
    say("");
    say(format_args!("listening on {address} ({})", offered(config)));
    say(format_args!("data in {}, {} partitions", data.display(), config.mesh.partitions));
    if let Some(metrics) = metrics {
        say(format_args!("metrics on http://{metrics}/metrics"));
    }
    if let Some(otlp) = &config.telemetry.otlp {
        say(format_args!("traces to {otlp}"));
    }
    say("");
    say("try next:");
    let flags = match (config.listen.tls.cert_file.is_some(), config.gateway.tokens_file.is_some()) {
        (false, false) => "-plaintext",
        (false, true) => "-plaintext -H 'authorization: Bearer TOKEN'",
        (true, false) => "-cacert CA_FILE",
        (true, true) => "-cacert CA_FILE -H 'authorization: Bearer TOKEN'",
    };
    for (message, method) in TRY_NEXT {
        say(format_args!("  grpcurl {flags} -d '{message}' {address} {method}"));
    }
    say("");
}

/// What there is at the address, and what it asks for.
pub(crate) fn offered(config: &Config) -> String {
    let mut offered = "gRPC, with reflection and health".to_owned();
    let tls = &config.listen.tls;
    for (is_on, what) in [
        (tls.cert_file.is_some(), "over TLS"),
        (tls.client_ca_file.is_some(), "for clients with certificates"),
        (config.gateway.tokens_file.is_some(), "with tokens"),
    ] {
        if is_on {
            offered.push_str(", ");
            offered.push_str(what);
        }
    }
    offered
}

/// Returns where metrics are served, if they are: port 0 has become a free one.
pub(crate) async fn serve_metrics(config: &Config, stop: &CancellationToken) -> anyhow::Result<Option<SocketAddr>> {
    let Some(address) = config.telemetry.metrics else { return Ok(None) };
    let listener = bind(address, "--metrics").await?;
    let address = listener.local_addr().context("the listener for metrics has no address")?;
    // Before anything is measured: earlier samples are lost.
    let recorder = metrics::install().context("metrics cannot be recorded")?;
    tokio::spawn(metrics::serve(listener, recorder, stop.clone()));
    Ok(Some(address))
}

pub(crate) async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    server::bind(address).await.map_err(|error: BindError| match error.source.kind() {
        ErrorKind::AddrInUse => {
            anyhow!("another process listens on {address}: stop it, or choose another address with {flag}")
        }
        _ => anyhow!(error),
    })
}

/// How far a restore is, for the eye: `[######    ] 60 % of 1000000 restored`.
pub(crate) fn bar(RestoreProgress { done, of }: RestoreProgress) -> String {
    let tenths = usize::try_from(done.saturating_mul(10) / of.max(1)).unwrap_or(10).min(10);
    format!("[{:<10}] {} % of {of} rows and commits restored", "#".repeat(tenths), done.saturating_mul(100) / of.max(1))
}

/// The address as a client on this machine would use it.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Tells the user. Nobody may be listening, which is no reason to stop.
pub(crate) fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use prost_reflect::{DescriptorPool, DynamicMessage};

    use super::*;

    #[test]
    fn what_is_to_be_tried_next_are_calls_of_methods_that_there_are() {
        let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
        for (message, path) in TRY_NEXT {
            let (service, method) = path.split_once('/').unwrap();
            let service = pool.get_service_by_name(service).unwrap_or_else(|| panic!("{path}"));
            let method = service.methods().find(|of| of.name() == method).unwrap_or_else(|| panic!("{path}"));
            let mut text = serde_json::Deserializer::from_str(message);
            DynamicMessage::deserialize(method.input(), &mut text).unwrap_or_else(|error| panic!("{message}: {error}"));
            text.end().unwrap();
            assert!(!message.contains('\''), "it stands between quotes of the shell: {message}");
        }
    }
}
