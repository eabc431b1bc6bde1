//! Where the schema registry is, and how it is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use credentials::Secret;
use serde::{Deserialize, Serialize};

/// Schemas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The schema registry, if there is one.
    pub registry: RegistryConfig,
}

/// A schema registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// Its address, `http://` or `https://`; schemas stay with the mesh when absent.
    pub url: Option<String>,
    /// Who we are to it; nobody in particular when empty.
    pub username: String,
    /// The password of that name.
    pub password: Secret,
    /// Who certifies it, as PEM; the usual authorities when absent.
    pub ca_file: Option<PathBuf>,
    /// Longest time of one request.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a start waits for a registry that does not answer. Then the process goes on, and registers later.
    #[serde(with = "humantime_serde")]
    pub start_wait: Duration,
    /// Longest pause between tries to register what the start could not, and the one behind a refusal.
    #[serde(with = "humantime_serde")]
    pub retry_pause_max: Duration,
    /// Whether values begin with the registry's number of their schema, as its own clients write them.
    pub framed: bool,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            url: None,
            username: String::new(),
            password: Secret::default(),
            ca_file: None,
            request_timeout: Duration::from_secs(5),
            start_wait: Duration::from_secs(15),
            retry_pause_max: Duration::from_secs(30),
            framed: true,
        }
    }
}

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        let RegistryConfig { url, username, password, request_timeout, retry_pause_max, .. } = &self.registry;
        if let Some(url) = url {
            super::client::base(url).map_err(|reason| format!("schemas.registry.url is {url:?}, which {reason}"))?;
            if !password.is_empty() && super::client::is_readable_by_others(url) {
                return Err("schemas.registry.url is http://, over which everybody could read the password".to_owned());
            }
        }
        if username.contains(':') {
            return Err("schemas.registry.username has a colon, which separates it from the password".to_owned());
        }
        if request_timeout.is_zero() {
            return Err("schemas.registry.request_timeout is 0s; it must be longer".to_owned());
        }
        if retry_pause_max.is_zero() {
            return Err("schemas.registry.retry_pause_max is 0s; it must be longer".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut RegistryConfig)) -> Result<(), String> {
        let mut config = Config::default();
        change(&mut config.registry);
        config.check()
    }

    #[test]
    fn a_registry_has_an_address_that_makes_sense() {
        let url = |url: &str| check(|registry| registry.url = Some(url.to_owned()));
        check(|_| {}).unwrap();
        for good in
            ["http://localhost:8081", "https://registry.example.org/", "https://example.org:8443/apis/ccompat/v7"]
        {
            url(good).unwrap();
        }
        for bad in [
            "",
            "localhost:8081",
            "ftp://example.org",
            "http://",
            "https://example.org/?x=1",
            "https://me:pw@example.org",
        ] {
            assert!(url(bad).unwrap_err().starts_with("schemas.registry.url"), "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_sent_where_everybody_could_read_it() {
        let with_password = |url: &str| {
            check(|registry| {
                registry.url = Some(url.to_owned());
                registry.password = Secret::new("secret");
            })
        };
        with_password("https://example.org").unwrap();
        with_password("HTTPS://example.org").unwrap();
        with_password("http://127.0.0.1:8081").unwrap();
        with_password("HTTP://localhost:8081").unwrap();
        for url in ["http://example.org", "HTTP://example.org", "hTtP://localhost.example.org:8081/apis"] {
            assert!(with_password(url).unwrap_err().contains("password"), "{url}");
        }
        assert!(check(|registry| registry.username = "a:b".to_owned()).is_err());
        assert!(check(|registry| registry.request_timeout = Duration::ZERO).is_err());
        assert!(check(|registry| registry.retry_pause_max = Duration::ZERO).is_err());
    }
}
