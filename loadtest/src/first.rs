//! How long clients wait after a start: orders are tried again and again until each of them is validated.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::machine;
use crate::order::{CUSTOMERS, Connections, End, Plan, Wait, follow};
use crate::report::{Figures, First, Output};

/// Pause before an order is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// Settings of `loadtest first`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where the mesh listens, or will.
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    pub addr: String,
    /// When it was started, in milliseconds since the Unix epoch (`date +%s%3N`). Default: now.
    #[arg(long)]
    pub since: Option<u64>,
    /// Orders to try. They spread over the partitions: with 64, none is left out in practice.
    #[arg(long, default_value_t = 64)]
    pub orders: u64,
    /// How long to go on.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10m")]
    pub patience: Duration,
    /// Products that exist, as `loadtest setup` made them.
    #[arg(long, default_value_t = 1000)]
    pub products: u64,
    /// What becomes of the result.
    #[command(flatten)]
    pub output: Output,
}

/// Tries and prints the result.
///
/// # Errors
/// When an order is not validated in time.
pub fn command(settings: &Settings) -> anyhow::Result<()> {
    let figures = Builder::new_current_thread().enable_all().build()?.block_on(measure(settings))?;
    settings.output.publish(Figures::First(figures))
}

/// Tries the orders until all are validated.
///
/// # Errors
/// When one is not validated in time.
pub async fn measure(settings: &Settings) -> anyhow::Result<First> {
    ensure!(settings.orders > 0, "--orders must be above 0");
    let since = settings.since.unwrap_or_else(machine::now_unix_ms);
    let tried = timeout(settings.patience, try_all(settings)).await;
    let (created, validated) = tried.context("an order was not validated in time")??;
    let after_since = |at: Option<&u64>| at.map_or(0, |at| at.saturating_sub(since));
    Ok(First {
        orders: settings.orders,
        created_ms: after_since(created.iter().min()),
        validated_ms: after_since(validated.iter().min()),
        all_validated_ms: after_since(validated.iter().max()),
    })
}

/// When each order was accepted, and when validated, in milliseconds since the Unix epoch.
async fn try_all(settings: &Settings) -> anyhow::Result<(Vec<u64>, Vec<u64>)> {
    let connections = loop {
        match Connections::open(&settings.addr, 1).await {
            Ok(connections) => break connections,
            Err(_) => sleep(RETRY_AFTER).await,
        }
    };
    let plan = Plan {
        wait: Wait::Get,
        // Short: a call that waits for a partition without owner must not hide that its owner is back.
        timeout: Duration::from_secs(2),
        lines: 1,
        products: settings.products,
        customers: CUSTOMERS,
        seed: 1,
        prefix: format!("first-{:x}", machine::now_unix_ms()),
    };
    let mut orders = JoinSet::new();
    for number in 0..settings.orders {
        orders.spawn(until_validated(plan.clone(), connections.clone(), number));
    }
    let mut times = (Vec::new(), Vec::new());
    while let Some(order) = orders.join_next().await {
        let (created, validated) = order??;
        times.0.push(created);
        times.1.push(validated);
    }
    Ok(times)
}

/// The same order again has the same content, so that a repetition finds what an earlier try has created.
async fn until_validated(plan: Plan, connections: Connections, number: u64) -> anyhow::Result<(u64, u64)> {
    let mut created = None;
    loop {
        let ended = follow(&plan, &connections, number).await;
        let now = machine::now_unix_ms();
        if let Some(acknowledged) = ended.acknowledged {
            let since_then = u64::try_from(acknowledged.elapsed().as_millis()).unwrap_or(u64::MAX);
            created.get_or_insert(now.saturating_sub(since_then));
        }
        match (ended.end, created) {
            (End::Validated, Some(created)) => return Ok((created, now)),
            (End::Rejected, _) => anyhow::bail!("an order was rejected: does `loadtest setup` fit --products?"),
            _ => sleep(RETRY_AFTER).await,
        }
    }
}
