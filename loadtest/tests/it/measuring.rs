//! Runs: what is counted, and from when.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Parser;
use loadtest::report::{Figures, Output, Report, Run};
use loadtest::{report, run, summary};

use crate::fake::{self, Fault};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: run::Settings,
}

/// Runs with these flags, without warm-up, against a server with this fault.
async fn measure(fault: Option<Fault>, flags: &str) -> (Run, Vec<proto::orders::v1::Order>) {
    let (address, server) = fake::start(fault).await;
    let line = format!("run --addr {address} --warmup 0s {flags}");
    let settings = Line::parse_from(line.split_ascii_whitespace()).settings;
    let run = run::measure(&settings).await.unwrap();
    let orders = server.orders.lock().unwrap().clone();
    (run, orders)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_seen_by_every_order_that_was_meant_to_start_in_it() {
    // One call stalls for half a second. In it, a hundred more orders are due: who measures from the moment a call is
    // really served, or waits with the next call for the last answer, sees one slow order. The intended starts see all.
    let stall = Fault::Stall { at: 100, pause: Duration::from_millis(500) };
    let (run, orders) = measure(Some(stall), "--rate 200 --duration 2s --wait create").await;
    assert_eq!((run.started, run.missed, run.failed), (400, 0, 0), "the driver keeps its rate: {:?}", run.errors);
    assert_eq!(orders.len(), 400);
    // 80 of 400 orders were due in the first 400 ms of the stall, and so took at least 100 ms.
    assert!(run.validated_ms.p90 >= 90.0, "{:?}", run.validated_ms);
    assert!(run.validated_ms.max >= 490.0, "{:?}", run.validated_ms);
    assert!(run.validated_ms.mean >= 50.0, "{:?}", run.validated_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_stall_is_one_slow_order_in_a_closed_loop() {
    let stall = Fault::Stall { at: 20, pause: Duration::from_millis(500) };
    let flags = "--mode closed --in-flight 1 --orders 400 --duration 60s --wait create";
    let (run, _) = measure(Some(stall), flags).await;
    assert_eq!((run.started, run.validated), (400, 400));
    assert!(run.validated_ms.max >= 490.0, "{:?}", run.validated_ms);
    assert!(run.validated_ms.p99 < 400.0, "this is why latencies are measured open: {:?}", run.validated_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_beyond_the_bound_are_missed_and_counted() {
    let stall = Fault::Stall { at: 0, pause: Duration::from_secs(1) };
    let (run, orders) = measure(Some(stall), "--rate 100 --duration 500ms --in-flight-max 10").await;
    assert_eq!(run.started + run.missed, 50, "every intended start is accounted for");
    assert_eq!(run.started, 10);
    assert_eq!(orders.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_by_what_failed_and_are_no_latencies() {
    let (run, _) = measure(Some(Fault::Fail { below: 7 }), "--rate 500 --duration 100ms").await;
    assert_eq!((run.started, run.failed, run.validated), (50, 7, 43));
    assert_eq!(run.errors, [("CreateOrder Unavailable: not yet".to_owned(), 7)].into());
    assert_eq!((run.validated_ms.count, run.failed_ms.count), (43, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_order_is_no_success() {
    for wait in ["get", "create"] {
        let flags = format!("--rate 500 --duration 100ms --wait {wait}");
        let (run, _) = measure(Some(Fault::RejectHalf), &flags).await;
        assert_eq!((run.validated, run.rejected, run.failed), (25, 25, 0), "{wait}");
        assert_eq!(run.validated_ms.count, 25, "{wait}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_cheap_distinct_and_the_same_for_the_same_seed() {
    let flags = "--mode closed --in-flight 8 --orders 200 --lines 3 --products 50 --customers 1000 --prefix same --connections 3";
    let (_, mut first) = measure(None, flags).await;
    let (_, mut second) = measure(None, flags).await;
    for orders in [&mut first, &mut second] {
        orders.sort_by(|one, other| one.order_id.cmp(&other.order_id));
    }
    assert_eq!(first, second);
    assert_eq!(first.len(), 200);
    assert!(first.iter().map(|order| &order.customer_id).collect::<BTreeSet<_>>().len() > 100);
    for order in &first {
        let products: BTreeSet<_> = order.lines.iter().map(|line| &line.product_id).collect();
        assert_eq!(products.len(), 3, "each line has its own product: {order:?}");
        let price = |line: &proto::orders::v1::OrderLine| line.quantity * line.unit_price.as_ref().unwrap().minor_units;
        assert!(order.lines.iter().map(price).sum::<i64>() <= 9, "far below the limit of any check: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_survives_its_file_and_its_table_names_what_it_stands_for() {
    let pid = std::process::id();
    let (run, _) = measure(None, &format!("--rate 400 --duration 100ms --pid {pid},{pid} --broker-pid {pid}")).await;
    let memory = |of: &Option<report::Server>| of.as_ref().unwrap().rss_bytes.unwrap();
    assert!(memory(&run.server) > memory(&run.broker), "of two processes and of one");
    let folder = tempfile::tempdir().unwrap();
    let (one, both) = (folder.path().join("one.json"), folder.path().join("both.json"));
    let output = Output { label: "cell".to_owned(), json: Some(one.clone()), commit: Some("c0ffee".to_owned()) };
    let report = output.report(Figures::Run(Box::new(run.clone())));
    output.publish(Figures::Run(Box::new(run))).unwrap();
    let saved = report::load(&one).unwrap().remove(0);
    let report = Report { finished_unix_ms: saved.finished_unix_ms, ..report };
    assert_eq!(report::load(&one).unwrap(), std::slice::from_ref(&report));
    summary::command(&[one.clone(), one], Some(&both)).unwrap();
    assert_eq!(report::load(&both).unwrap(), [report.clone(), report.clone()]);

    let table = summary::tables(&[report]);
    assert!(table.contains("| cell | 400.0/s |"), "{table}");
    assert!(table.contains("cores") && table.contains("commit c0ffee"), "{table}");
}
