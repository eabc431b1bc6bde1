//! Counters of the server, read from its Prometheus address before and after a run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes that are read of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Counters by name, summed over their labels.
pub type Counters = BTreeMap<String, f64>;

/// Reads all counters at several addresses, each `HOST:PORT`, and sums them.
///
/// # Errors
/// When nobody answers at one of them, or not with metrics.
pub async fn counters_of(addresses: &[String]) -> anyhow::Result<Counters> {
    let mut sum = Counters::new();
    for address in addresses {
        for (name, value) in counters(address).await? {
            *sum.entry(name).or_default() += value;
        }
    }
    Ok(sum)
}

async fn counters(address: &str) -> anyhow::Result<Counters> {
    let answer = tokio::time::timeout(TIMEOUT, get(address)).await.context("no answer in time");
    let answer = answer.and_then(|answer| answer).with_context(|| format!("metrics at {address} cannot be read"))?;
    Ok(parse(&answer))
}

/// HTTP 1.0, so that the server closes the connection after the answer and sends it in one piece.
async fn get(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    ensure!(answer.split_ascii_whitespace().nth(1) == Some("200"), "the answer is no success");
    Ok(answer)
}

fn parse(text: &str) -> Counters {
    let mut counters = Counters::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series);
        if let (true, Ok(value)) = (name.ends_with("_total"), value.parse::<f64>()) {
            *counters.entry(name.to_owned()).or_default() += value;
        }
    }
    counters
}

/// What was added between two readings; counters that stood still are left out.
pub fn difference(before: &Counters, after: &Counters) -> Counters {
    let added = after.iter().map(|(name, value)| (name.clone(), value - before.get(name).unwrap_or(&0.0)));
    added.filter(|(_, value)| *value != 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "HTTP/1.1 200 OK\r\n\r\n# TYPE a_total counter\na_total{task=\"x y\"} 1\na_total{task=\"z\"} 2\nb_total 5\nc 7\n";

    #[test]
    fn counters_are_summed_over_their_labels() {
        let counters = parse(BEFORE);
        assert_eq!(counters, [("a_total".to_owned(), 3.0), ("b_total".to_owned(), 5.0)].into());
    }

    #[test]
    fn only_what_moved_is_told() {
        let before = parse(BEFORE);
        let after = parse("a_total{task=\"z\"} 10\nb_total 5\nnew_total 1\n");
        assert_eq!(difference(&before, &after), [("a_total".to_owned(), 7.0), ("new_total".to_owned(), 1.0)].into());
    }
}
