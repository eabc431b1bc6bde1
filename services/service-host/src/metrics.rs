//! Metrics for Prometheus: a recorder for the whole process, and an HTTP address that shows it.
//!
//! Without an address no recorder is installed, and every metric of the process costs next to nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod process;

/// Upper bounds of every histogram of times, in seconds: 50 µs to 10 s.
const SECONDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];
/// Histograms of numbers of things, and their upper bounds.
const COUNTED: [&str; 2] = ["ordermesh_commit_items", "ordermesh_broker_sync_round_partitions"];
const COUNTS: [f64; 14] =
    [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];
/// How often samples are folded into their buckets when nobody asks.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long a scraper may take to ask.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Scrapers at a time.
const SCRAPERS_MAX: usize = 16;

/// Installs the recorder. Do so before anything is measured: earlier samples are lost.
///
/// # Errors
/// When the process has a recorder already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new().set_buckets(&SECONDS)?;
    for name in COUNTED {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &COUNTS)?;
    }
    let handle = builder.install_recorder()?;
    process::describe();
    Ok(handle)
}

/// Shows the metrics under `/metrics` until `shutdown`.
pub async fn serve(listener: TcpListener, handle: PrometheusHandle, shutdown: CancellationToken) {
    let scrapers = std::sync::Arc::new(tokio::sync::Semaphore::new(SCRAPERS_MAX));
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = upkeep.tick() => {
                handle.run_upkeep();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: they come back, but not at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = scrapers.clone().try_acquire_owned() else { continue };
        let handle = handle.clone();
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&request, &handle))));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
            tokio::select! {
                // A scraper that hangs up early is its own affair.
                _ = http.serve_connection(TokioIo::new(stream), answer) => {}
                () = shutdown.cancelled() => {}
            }
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, handle: &PrometheusHandle) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        let mut response = Response::new(Full::from("metrics are at /metrics\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    process::sample();
    let mut response = Response::new(Full::from(handle.render()));
    let text = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}

/// Binds the address of the metrics.
///
/// # Errors
/// When the address cannot be bound: says which one.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, crate::server::BindError> {
    crate::server::bind(address).await
}

#[cfg(test)]
mod tests;
