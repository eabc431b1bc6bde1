//! Requests to the registry, each with a limit of time and of bytes.

use base64::Engine;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde_json::Value;
use service_host::is_this_machine;
use tokio::time::timeout;

use super::{RegistryConfig, RegistryError};

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.schemaregistry.v1+json");

/// Another schema that one imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reference {
    /// Name by which it is imported.
    pub(super) name: String,
    /// Where it is registered.
    pub(super) subject: String,
    /// Which of that subject's.
    pub(super) version: i64,
}

/// A connection to one registry.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
    timeout: std::time::Duration,
}

impl Client {
    /// A client of the registry that is configured; none if there is none.
    pub(super) fn new(config: &RegistryConfig) -> Result<Option<Self>, RegistryError> {
        let Some(url) = &config.url else { return Ok(None) };
        let base = base(url).map_err(|reason| RegistryError::Settings(format!("url {reason}")))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(config)?).https_or_http().enable_http1().build();
        let authorization = (!config.username.is_empty()).then(|| {
            let pair = format!("{}:{}", config.username, config.password.expose());
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 is visible ASCII");
            value.set_sensitive(true);
            value
        });
        let http = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Some(Self { http, base, authorization, timeout: config.request_timeout }))
    }

    /// Registers a schema, unless it is there, and returns its number.
    pub(super) async fn register(
        &self,
        subject: &str,
        text: &str,
        references: &[Reference],
    ) -> Result<u32, RegistryError> {
        let answer = self.post(&format!("/subjects/{subject}/versions"), subject, text, references).await?;
        let id = answer.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| self.unavailable("its answer has no id"))
    }

    /// Which of its subject's versions a registered schema is.
    pub(super) async fn version(
        &self,
        subject: &str,
        text: &str,
        references: &[Reference],
    ) -> Result<i64, RegistryError> {
        let answer = self.post(&format!("/subjects/{subject}"), subject, text, references).await?;
        answer.get("version").and_then(Value::as_i64).ok_or_else(|| self.unavailable("its answer has no version"))
    }

    async fn post(
        &self,
        path: &str,
        subject: &str,
        text: &str,
        references: &[Reference],
    ) -> Result<Value, RegistryError> {
        let body = serde_json::json!({ "schemaType": "PROTOBUF", "schema": text, "references": references });
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .header(ACCEPT, MEDIA_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::from(body.to_string()));
        let request = request.map_err(|error| RegistryError::Settings(format!("{path} is no address: {error}")))?;
        let (status, answer) = timeout(self.timeout, self.ask(request))
            .await
            .map_err(|_| self.unavailable(&format!("no answer within {:?}", self.timeout)))??;
        let said: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if status.is_success() {
            return Ok(said);
        }
        let message = said.get("message").and_then(Value::as_str).unwrap_or("it does not say why");
        if status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) {
            return Err(self.unavailable(&format!("{status}: {message}")));
        }
        let code = said.get("error_code").and_then(Value::as_i64).unwrap_or_else(|| status.as_u16().into());
        Err(RegistryError::Refused { subject: subject.to_owned(), code, message: message.to_owned() })
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), RegistryError> {
        let answer = self.http.request(request).await.map_err(|error| self.unavailable(&chain(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.unavailable(&chain(&*error)))?;
        Ok((status, body.to_bytes()))
    }

    fn unavailable(&self, reason: &str) -> RegistryError {
        RegistryError::Unavailable { url: self.base.clone(), reason: reason.to_owned() }
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    service_host::Chain(error).to_string()
}

/// The address without a slash at its end, or what is wrong with it.
pub(super) fn base(url: &str) -> Result<String, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is no address")?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("must begin with http:// or https://"),
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err("has its own place for the login: username and password");
    }
    if uri.query().is_some() {
        return Err("must not have a query");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// Whether what is sent to the address goes in plain text beyond this machine. Asked of the address as it is called, in which
/// the scheme may be written in any case.
pub(super) fn is_readable_by_others(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    uri.is_none_or(|uri| uri.scheme() != Some(&Scheme::HTTPS) && !is_this_machine(&uri))
}

fn tls(config: &RegistryConfig) -> Result<ClientConfig, RegistryError> {
    let roots: RootCertStore = match &config.ca_file {
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        Some(file) => credentials::roots(file).map_err(|error| RegistryError::Settings(chain(&error)))?,
    };
    let builder = ClientConfig::builder_with_provider(credentials::provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| RegistryError::Settings(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
