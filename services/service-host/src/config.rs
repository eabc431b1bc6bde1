//! The one place where configuration is read: defaults < TOML file < environment < flags.
//!
//! A key that nobody knows stops the start, with its name and where it came from: a misspelt limit would else be no limit.

mod host;
mod limits;

use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Metadata};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use credentials::Secret;
pub use host::{HostConfig, ListenConfig, LogConfig, LogFormat, TelemetryConfig};
pub use limits::LimitsConfig;

/// Variables of the environment that are read: `ORDERMESH__SECTION__KEY`.
pub const ENV_PREFIX: &str = "ORDERMESH__";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was asked for is not there.
    #[error("configuration file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A value is wrong, or its key unknown. Says the key and where it came from; one line for each fault.
    #[error("{0}")]
    Invalid(String),
    /// The configuration cannot be shown as TOML.
    #[error("the configuration cannot be shown")]
    Render(#[source] toml::ser::Error),
}

/// Settings from the command line, each under its path, such as `telemetry.otlp`.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    values: Vec<(String, Value)>,
}

impl Overrides {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one value, unless the flag was not given.
    ///
    /// # Panics
    /// If the value cannot be serialised, which no plain value does.
    #[must_use]
    pub fn set(mut self, path: &str, value: Option<impl Serialize>) -> Self {
        if let Some(value) = value {
            let value = Value::serialize(value).expect("a plain value can be serialised");
            self.values.push((path.to_owned(), value));
        }
        self
    }
}

/// Reads a configuration: the defaults of `T`, then the file, then the environment, then the flags.
/// `T` must refuse unknown fields in all of its sections.
///
/// # Errors
/// [`ConfigError`] with every wrong key.
pub fn load<T>(file: Option<&Path>, overrides: &Overrides) -> Result<T, ConfigError>
where
    T: DeserializeOwned + Serialize + Default,
{
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(path) = file {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        check_form(path, &text)?;
        figment = figment.merge(Named { name: format!("file {}", path.display()), inner: Toml::string(&text) });
    }
    let environment = || Env::prefixed(ENV_PREFIX).split("__");
    figment = figment.merge(Named { name: "environment".to_owned(), inner: environment() });
    // Everything else is read as a number or a truth value where it looks like one, and then is not what was written.
    let secrets = environment();
    for (path, text) in secrets.iter().map(|(key, text)| (key.as_str().to_ascii_lowercase(), text)) {
        if !is_secret(&path) {
            continue;
        }
        // What mounts and shells add at the end is no part of it.
        let secret = Serialized::default(&path, text.trim_end_matches(['\r', '\n']));
        figment = figment.merge(Named { name: "environment".to_owned(), inner: secret });
    }
    for (path, value) in &overrides.values {
        let flag = Serialized::default(path, value);
        figment = figment.merge(Named { name: "command line".to_owned(), inner: flag });
    }
    figment.extract().map_err(|error| ConfigError::Invalid(describe(&figment, error)))
}

/// Sees that a file is TOML. What is wrong is told without the line that it is in: a secret may stand there.
fn check_form(path: &Path, text: &str) -> Result<(), ConfigError> {
    let Err(error) = toml::from_str::<toml::Table>(text) else { return Ok(()) };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    Err(ConfigError::Invalid(format!("line {line}: {} (from file {})", error.message(), path.display())))
}

/// Whether a setting is a [`Secret`], by its name.
fn is_secret(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(|name| ["password", "secret"].contains(&name))
}

/// Shows a configuration as TOML. Secrets are masked.
///
/// # Errors
/// [`ConfigError::Render`] when a value has no form in TOML.
pub fn render(config: &impl Serialize) -> Result<String, ConfigError> {
    toml::to_string_pretty(config).map_err(ConfigError::Render)
}

/// A provider whose values say plainly where they came from.
struct Named<P> {
    name: String,
    inner: P,
}

impl<P: figment::Provider> figment::Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<figment::value::Map<figment::Profile, Dict>, figment::Error> {
        self.inner.data()
    }
}

fn describe(figment: &Figment, errors: figment::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for error in errors {
        let (key, what) = match &error.kind {
            Kind::UnknownField(field, known) => {
                let section = error.path.iter().filter(|part| *part != field).cloned().collect::<Vec<_>>();
                let key = section.into_iter().chain([field.clone()]).collect::<Vec<_>>().join(".");
                (key, format!("is no setting; known here: {}", known.join(", ")))
            }
            kind => (error.path.join("."), kind.to_string()),
        };
        let origin =
            error.metadata.as_ref().or_else(|| figment.find_metadata(&key)).map(|metadata| metadata.name.clone());
        let origin = origin.map_or_else(String::new, |origin| format!(" (from {origin})"));
        // A file that is no TOML has no key.
        lines.push(if key.is_empty() { format!("{what}{origin}") } else { format!("{key}: {what}{origin}") });
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
