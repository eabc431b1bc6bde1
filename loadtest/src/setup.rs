//! The products that runs order, with so much stock that none runs out, and the customers who order them, without a credit
//! limit. Doing it again changes nothing but the stock.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use proto::customers::v1::customer_service_client::CustomerServiceClient;
use proto::customers::v1::{CreateCustomerRequest, Customer};
use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::inventory::v1::{Fulfilment, Product, SetStockRequest, UpsertProductRequest};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::machine;
use crate::order::{CUSTOMERS, channels, customer_id, product_id};

/// Products or customers that are set up at a time.
const IN_FLIGHT: usize = 64;
/// Pause before a call is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Deadline of each call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of `loadtest setup`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where the mesh listens.
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    pub addr: String,
    /// How many products: `p-0`, `p-1`, ...
    #[arg(long, default_value_t = 1000)]
    pub products: u64,
    /// Pieces of each in the warehouse.
    #[arg(long, default_value_t = 1_000_000_000_000)]
    pub stock: i64,
    /// How they get to the customer.
    #[arg(long, value_enum, default_value_t = Kind::Stock)]
    pub fulfilment: Kind,
    /// How many customers: `c-0`, `c-1`, ... 0 for a mesh that does not require CREDIT.
    #[arg(long, default_value_t = CUSTOMERS)]
    pub customers: u64,
    /// How long a mesh that is still starting is waited for.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "60s")]
    pub patience: Duration,
}

/// How products get to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// From stock, which orders reserve.
    Stock,
    /// Made for each order.
    Made,
}

/// Sets up and says so.
///
/// # Errors
/// When the mesh does not answer in time, or refuses a product.
pub fn command(settings: &Settings) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(set_up(settings))?;
    println!("{} products with {} pieces each, {} customers", settings.products, settings.stock, settings.customers);
    Ok(())
}

/// Creates the products, sets their stock, and creates the customers.
///
/// # Errors
/// When the mesh does not answer in time, or refuses a product or a customer.
pub async fn set_up(settings: &Settings) -> anyhow::Result<()> {
    let deadline = Instant::now() + settings.patience;
    let channel = connect(&settings.addr, deadline).await?;
    let client = InventoryServiceClient::new(channel.clone());
    let prefix = format!("setup-{:x}", machine::now_unix_ms());
    let mut running = JoinSet::new();
    for number in 0..settings.products {
        if running.len() >= IN_FLIGHT {
            finished(running.join_next().await)?;
        }
        let request_id = format!("{prefix}-{number}");
        running.spawn(one(client.clone(), number, request_id, settings.clone(), deadline));
    }
    let client = CustomerServiceClient::new(channel);
    for number in 0..settings.customers {
        if running.len() >= IN_FLIGHT {
            finished(running.join_next().await)?;
        }
        running.spawn(customer(client.clone(), number, deadline));
    }
    while let Some(result) = running.join_next().await {
        finished(Some(result))?;
    }
    Ok(())
}

fn finished(result: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Result<()> {
    result.transpose()?.unwrap_or(Ok(()))
}

/// Tries to connect until the deadline, for scripts that have just started the server.
async fn connect(address: &str, deadline: Instant) -> anyhow::Result<Channel> {
    loop {
        match channels(address, 1).await {
            Ok(mut channels) => return Ok(channels.remove(0)),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

async fn one(
    client: InventoryServiceClient<Channel>,
    number: u64,
    request_id: String,
    settings: Settings,
    deadline: Instant,
) -> anyhow::Result<()> {
    let fulfilment = match settings.fulfilment {
        Kind::Stock => Fulfilment::FromStock,
        Kind::Made => Fulfilment::MadeToOrder,
    };
    let product = Product {
        product_id: product_id(number),
        name: format!("Product {number}"),
        fulfilment: fulfilment.into(),
        ..Product::default()
    };
    let upsert = UpsertProductRequest { product: Some(product), request_id: format!("{request_id}-product") };
    let stock = SetStockRequest {
        product_id: product_id(number),
        quantity: settings.stock,
        etag: String::new(),
        request_id: format!("{request_id}-stock"),
    };
    let calls = &client;
    retried(deadline, || {
        let (mut client, upsert) = (calls.clone(), timed(upsert.clone()));
        async move { client.upsert_product(upsert).await.map(drop) }
    })
    .await?;
    retried(deadline, || {
        let (mut client, stock) = (calls.clone(), timed(stock.clone()));
        async move { client.set_stock(stock).await.map(drop) }
    })
    .await?;
    Ok(())
}

async fn customer(client: CustomerServiceClient<Channel>, number: u64, deadline: Instant) -> anyhow::Result<()> {
    let customer = Customer { customer_id: customer_id(number), ..Customer::default() };
    // The same customer again is the one that is there, so that this needs no request id.
    let request = CreateCustomerRequest { customer: Some(customer), request_id: String::new() };
    retried(deadline, || {
        let (mut client, request) = (client.clone(), timed(request.clone()));
        async move { client.create_customer(request).await.map(drop) }
    })
    .await?;
    Ok(())
}

fn timed<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// Repeats a call that the mesh could not take yet. Each call here can be made twice.
async fn retried<F>(deadline: Instant, mut call: impl FnMut() -> F) -> Result<(), Status>
where
    F: Future<Output = Result<(), Status>>,
{
    loop {
        match call().await {
            Err(status) if status.code() == Code::Unavailable && Instant::now() < deadline => {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            result => return result,
        }
    }
}
