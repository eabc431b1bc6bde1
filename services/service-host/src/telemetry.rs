//! Logs and traces of the process.
//!
//! Spans of calls and records all have the target [`TRACE_TARGET`]. Nothing but the exporter listens to it: when traces are
//! off these spans are disabled at their call sites, and cost one atomic load.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat, TelemetryConfig};

/// Target of every span that belongs to a trace.
pub const TRACE_TARGET: &str = "ordermesh::trace";

/// Spans that wait for the collector; more are dropped, never waited for.
const SPAN_QUEUE_MAX: usize = 16_384;
/// Spans of one export.
const SPAN_BATCH_MAX: usize = 1_024;
/// Longest time that a finished span waits for its export.
const SPAN_DELAY: Duration = Duration::from_secs(1);
/// How long one export may take, the last one at the end of the process included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why logs or traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log level is no filter.
    #[error("log level {level:?} is no filter such as \"info\" or \"info,orders=debug\"")]
    Level {
        /// As configured.
        level: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The OTLP URL cannot be used.
    #[error("traces cannot be sent to {url}")]
    Otlp {
        /// As configured.
        url: String,
        /// Why.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Another subscriber is installed.
    #[error("logs are set up already")]
    Installed(#[source] TryInitError),
}

/// Logs and traces of this process, once set up. Keep it to the end, then call [`Telemetry::shutdown`].
#[derive(Debug)]
#[must_use = "traces end when this is dropped"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets up logs and traces. Call it once, inside the runtime that will run until the end. `instance` names this
    /// process among its like.
    ///
    /// # Errors
    /// [`TelemetryError`]. A collector that is not there is none: that is logged when an export fails.
    pub fn init(log: &LogConfig, telemetry: &TelemetryConfig, instance: &str) -> Result<Self, TelemetryError> {
        let provider = match &telemetry.otlp {
            Some(url) => Some(provider(url, telemetry.trace_sample_ratio, instance)?),
            None => None,
        };
        let traces = provider.as_ref().map(|provider| {
            let tracer = provider.tracer("ordermesh");
            let only_traces = Targets::new().with_target(TRACE_TARGET, LevelFilter::TRACE);
            tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_filter(only_traces)
        });
        tracing_subscriber::registry()
            .with(log_layer(log)?)
            .with(traces)
            .try_init()
            .map_err(TelemetryError::Installed)?;
        Ok(Self { provider })
    }

    /// Whether traces are recorded.
    pub fn traces(&self) -> bool {
        self.provider.is_some()
    }

    /// Sends what is left, for at most 5 seconds.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        let stop = move || provider.shutdown_with_timeout(EXPORT_TIMEOUT);
        match tokio::task::spawn_blocking(stop).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "last traces were not sent"),
            Err(error) => tracing::warn!(%error, "last traces were not sent"),
        }
    }
}

fn log_layer<S>(config: &LogConfig) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|source| TelemetryError::Level { level: config.level.clone(), source })?
        // The most specific directive wins, so that no level turns on spans that nobody exports.
        .add_directive(format!("{TRACE_TARGET}=off").parse().expect("a constant directive is well-formed"));
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    Ok(match config.format {
        LogFormat::Human => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

fn provider(url: &str, sample_ratio: f64, instance: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(url)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| TelemetryError::Otlp { url: url.to_owned(), source })?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(SPAN_QUEUE_MAX)
        .with_max_export_batch_size(SPAN_BATCH_MAX)
        .with_scheduled_delay(SPAN_DELAY)
        .build();
    let resource = Resource::builder()
        .with_service_name("ordermesh")
        .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio.clamp(0.0, 1.0)))))
        .with_resource(resource)
        .build())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use tokio_util::sync::CancellationToken;
    use tonic::Status;
    use tonic::body::Body;

    use super::*;
    use crate::config::{LimitsConfig, ListenConfig};
    use crate::server::{self, Server};

    #[test]
    fn log_levels_that_are_none_are_refused_by_name() {
        let config = LogConfig { level: "orders=loud".to_owned(), ..Default::default() };
        let error = log_layer::<tracing_subscriber::Registry>(&config).err().unwrap();
        assert!(error.to_string().contains("orders=loud"), "{error}");
    }

    #[test]
    fn no_log_level_turns_on_the_spans_of_traces() {
        for level in ["trace", "info", "ordermesh=trace", "ordermesh::trace=trace"] {
            let config = LogConfig { level: level.to_owned(), ..Default::default() };
            let subscriber = tracing_subscriber::registry().with(log_layer(&config).unwrap());
            tracing::subscriber::with_default(subscriber, || {
                assert!(tracing::info_span!(target: TRACE_TARGET, "work").is_disabled(), "{level}");
                assert!(!tracing::enabled!(target: TRACE_TARGET, tracing::Level::INFO), "{level}");
            });
        }
    }

    #[tokio::test]
    async fn collector_that_is_not_there_stops_nothing() {
        let provider = provider("http://127.0.0.1:1", 1.0, "test").unwrap();
        let tracer = provider.tracer("test");
        opentelemetry::trace::Tracer::start(&tracer, "span");
        let started = tokio::time::Instant::now();
        Telemetry { provider: Some(provider) }.shutdown().await;
        assert!(started.elapsed() < EXPORT_TIMEOUT * 2);
    }

    #[tokio::test]
    async fn last_spans_reach_the_collector_before_the_end() {
        let (sender, mut received) = tokio::sync::mpsc::channel(8);
        let collector = tower::service_fn(move |request: http::Request<Body>| {
            let sender = sender.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                sender.send((path, body)).await.unwrap();
                let trailers =
                    async { Some(Ok(http::HeaderMap::from_iter([(Status::GRPC_STATUS, "0".parse().unwrap())]))) };
                let answer = Full::new(Bytes::from_static(&[0; 5])).with_trailers(trailers);
                let response = http::Response::builder().header("content-type", "application/grpc");
                Ok::<_, Infallible>(response.body(Body::new(answer)).unwrap())
            }
        });
        let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let server = Server::new(&ListenConfig::default(), &LimitsConfig::default());
        let server = tokio::spawn(server.serve(listener, collector, shutdown.clone()));

        let provider = provider(&url, 1.0, "instance-7").unwrap();
        opentelemetry::trace::Tracer::start(&provider.tracer("test"), "span-of-the-test");
        Telemetry { provider: Some(provider) }.shutdown().await;
        let (path, body) = received.try_recv().expect("the span was sent before the end");
        assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        let text = String::from_utf8_lossy(&body);
        for wanted in ["span-of-the-test", "instance-7", "ordermesh"] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        shutdown.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn url_that_is_none_is_refused_by_name() {
        let error = provider("not a url", 1.0, "test").unwrap_err();
        assert_eq!(error.to_string(), "traces cannot be sent to not a url");
    }
}
