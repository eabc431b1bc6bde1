//! Watches: what they are told, and what becomes of those that do not open.

use clap::Parser;
use loadtest::report::{Figures, Output, Watch};
use loadtest::{summary, watch};

use crate::fake;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: watch::Settings,
}

/// Watches a server of this process with these flags.
async fn measure(flags: &str) -> anyhow::Result<Watch> {
    let (address, _server) = fake::start(None).await;
    let pid = std::process::id();
    let line = format!("watch --addr {address} --pid {pid} --warmup 0s --idle 50ms {flags}");
    watch::measure(&Line::parse_from(line.split_ascii_whitespace()).settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_watcher_is_told_of_every_order_that_comes_while_it_watches() {
    let found = measure("--watchers 20 --watches-per-connection 7 --of all --rate 50 --duration 400ms").await.unwrap();
    assert_eq!((found.without.validated, found.with.validated), (20, 20));
    assert_eq!((found.changes, found.ended.len()), (20 * 20, 0));
    assert!(found.rss_bytes_before > 0 && found.rss_bytes_open > 0 && found.rss_bytes_loaded > 0);
    let text = summary::tables(&[Output::default().report(Figures::Watch(Box::new(found)))]);
    assert!(text.contains("| 20, all |") && text.contains("| 400 |"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_do_not_open_are_no_figures() {
    let refused = measure("--watchers 3 --of order --rate 50 --duration 100ms").await.unwrap_err();
    assert!(refused.to_string().contains("nobody watch one order"), "{refused}");
}
