//! The metrics of a process, as a scraper sees them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::Process;

impl Process {
    /// Where its metrics are. It says so once, after it listens.
    pub(crate) fn metrics(&self) -> String {
        self.says("metrics on http://").trim_end_matches("/metrics").to_owned()
    }
}

/// What a scraper reads.
pub(crate) async fn scraped(address: &str) -> String {
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// What all series of a metric add up to whose labels have these parts.
pub(crate) fn total(scraped: &str, metric: &str, labels: &[&str]) -> f64 {
    let of_it = scraped.lines().filter(|line| {
        line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    of_it.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
