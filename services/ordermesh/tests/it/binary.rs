//! What the binary does at its beginning and its end.

use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use proto::catalog::v1::ListBookCardsRequest;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::customers::v1::ListCustomerOrdersRequest;
use proto::customers::v1::customer_service_client::CustomerServiceClient;
use proto::manufacturing::v1::manufacturing_service_client::ManufacturingServiceClient;
use proto::manufacturing::v1::{GetWorkOrderRequest, WorkOrderState};
use proto::notifications::v1::notification_service_client::NotificationServiceClient;
use proto::notifications::v1::{ListNotificationsRequest, NotificationState};
use proto::orders::v1::{OrderState, WaitFor};
use proto::payments::v1::payment_service_client::PaymentServiceClient;
use proto::payments::v1::{GetPaymentRequest, SettlementState};
use tonic::Code;
use tonic::transport::Channel;

use crate::process::{Process, command};
use crate::scrape::{scraped, total};
use crate::shop::{Shop, eventually, order, reason};

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_drains_and_ends_with_zero() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let shop = Shop::new(process.channel());
    shop.stock("jumpers", 10).await;
    let judged = shop.judged(order("c-1", &[("jumpers", 1)])).await;
    // One that waits for what will not come must not hold the process.
    let mut waiter = std::pin::pin!(shop.wait("nowhere", WaitFor::Validated));
    tokio::select! {
        biased;
        _ = waiter.as_mut() => panic!("nothing comes"),
        // Answered behind the waiter on the same connection: the process has both calls.
        _ = shop.product("jumpers") => {}
    }
    let stop = tokio::task::spawn_blocking(move || process.terminate());
    let (told, stopped) = tokio::join!(waiter, stop);
    let (status, said) = stopped.unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("try next:") && said.contains("stopping"), "{said}");
    assert_eq!(said.lines().filter(|line| line.trim_start().starts_with("grpcurl ")).count(), 3, "{said}");
    let told = told.unwrap_err();
    assert_eq!((told.code(), reason(&told)), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));

    let process = Process::start(data.path(), &[]);
    let shop = Shop::new(process.channel());
    let again = shop.wait(&judged.order_id, WaitFor::Shipped).await.unwrap();
    assert_eq!(again.state(), OrderState::Shipped);
}

#[test]
fn ctrl_c_drains_and_ends_with_zero() {
    let data = tempfile::tempdir().unwrap();
    let (status, said) = Process::start(data.path(), &[]).interrupt();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("stopping"), "{said}");
}

#[test]
fn a_second_signal_ends_it_at_once_with_130() {
    let data = tempfile::tempdir().unwrap();
    let (status, said) = Process::start(data.path(), &[]).insist();
    assert_eq!(status.code(), Some(130), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_sees_calls_commits_and_appends_of_dev() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &["--metrics", "127.0.0.1:0"]);
    let address = process.metrics();
    let shop = Shop::new(process.channel());
    shop.stock("mug", 10).await;
    shop.judged(order("c-1", &[("mug", 1)])).await;
    eventually("calls, commits and appends", async || {
        let seen = scraped(&address).await;
        let calls =
            total(&seen, "ordermesh_rpc_total", &["OrderService/CreateOrder", "code=\"OK\"", "door=\"clients\""]);
        let timed = total(&seen, "ordermesh_rpc_duration_seconds_count", &["OrderService/CreateOrder"]);
        let commits = total(&seen, "ordermesh_commits_total", &["service=\"orders\""]);
        let certified = total(&seen, "ordermesh_commit_duration_seconds_count", &["service=\"orders\""]);
        let appended = total(&seen, "ordermesh_broker_records_total", &[]);
        let appends = total(&seen, "ordermesh_broker_appends_total", &[]);
        let all = [calls, timed, commits, certified, appended, appends];
        all.iter().all(|number| *number >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_whether_calls_are_welcome() {
    let probe = |address: String| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ordermesh"));
        command.args(["health", "--addr", &address]);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let address = process.address.to_string();
    let serving = probe(address.clone()).await.unwrap();
    assert!(serving.status.success() && serving.stdout == b"SERVING\n", "{serving:?}");
    process.kill();
    assert!(refused(&probe(address).await.unwrap()).contains("no mesh answers"));
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let data = tempfile::tempdir().unwrap();
    let usual = command(data.path(), &[]);
    // As a shell has it, with a least that is left to be raised.
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", r#"ulimit -S -n 512; ulimit -H -n 4096; exec "$0" "$@""#]);
    limited.arg(usual.get_program()).args(usual.get_args());
    let process = Process::run(limited);
    assert_eq!(process.open_files_limits(), ("4096".to_owned(), "4096".to_owned()));
}

#[test]
fn a_taken_port_is_said_plainly() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    let output = command.args(["dev", "--listen", &address, "--data"]).arg(data.path().join("d")).output().unwrap();
    let said = refused(&output);
    assert!(said.contains(&format!("another process listens on {address}")) && said.contains("--listen"), "{said}");
    assert!(!data.path().join("d").exists(), "nothing was touched");
}

#[test]
fn data_of_another_partition_count_is_refused_with_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    Process::start(data.path(), &["--partitions", "2"]).kill();
    let said = refused(&command(data.path(), &["--partitions", "3"]).output().unwrap());
    assert!(said.contains("has 2 partitions, not 3: start with --partitions 2"), "{said}");
}

#[test]
fn data_of_a_newer_version_is_refused_with_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("ordermesh.json"), r#"{"format": 99, "partitions": 4}"#).unwrap();
    let said = refused(&command(data.path(), &[]).output().unwrap());
    assert!(said.contains("start the newer version"), "{said}");
}

#[test]
fn a_directory_that_is_in_use_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let _process = Process::start(data.path(), &[]);
    let said = refused(&command(data.path(), &[]).output().unwrap());
    assert!(said.contains("in use by"), "{said}");
}

#[test]
fn wrong_settings_stop_the_start_with_their_names() {
    let data = tempfile::tempdir().unwrap();
    let said = refused(&command(data.path(), &[]).env("ORDERMESH__GATEWAY__TRYS_MAX", "3").output().unwrap());
    assert!(said.contains("gateway.trys_max") && said.contains("tries_max"), "{said}");
}

#[test]
fn an_instance_that_is_not_on_its_own_list_and_roles_beside_a_list_are_refused_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mesh.toml");
    std::fs::write(&file, "[peers.instances]\na = \"127.0.0.1:1\"\nb = \"127.0.0.1:2\"\n").unwrap();
    let start = |part: &str, flags: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ordermesh"));
        command.args([part, "--brokers", "127.0.0.1:1", "--data"]).arg(directory.path().join("data"));
        refused(&command.arg("--config").arg(&file).args(flags).output().unwrap())
    };
    let said = start("serve", &["--instance", "c"]);
    assert!(said.contains("called c") && said.contains("a, b") && said.contains("--instance"), "{said}");
    let said = start("gateway", &["--instance", "a"]);
    assert!(said.contains("this gateway is called a"), "{said}");
    let said = start("serve", &["--instance", "a", "--roles", "orders"]);
    assert!(said.contains("mesh.roles") && said.contains("peers.instances"), "{said}");
    assert!(!directory.path().join("data").exists(), "nothing was touched");
}

#[test]
fn the_configuration_can_be_shown() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    let output = command.args(["config", "--partitions", "7"]).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("partitions = 7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_can_be_loaded_again_and_again() {
    let data = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let process = Process::start(data.path(), &["--sample"]);
        let shop = Shop::new(process.channel());
        for order_id in ["sample-1", "sample-4"] {
            shop.wait(order_id, WaitFor::Shipped).await.unwrap();
        }
        let orders = shop.all_orders().await;
        assert_eq!(orders.len(), 4);
        shows_every_service(process.channel()).await;
        seen.push(orders.iter().map(|order| order.order_id.clone()).collect::<Vec<_>>());
        let (status, _) = tokio::task::spawn_blocking(move || process.terminate()).await.unwrap();
        assert!(status.success());
    }
    assert_eq!(seen[0], seen[1]);
}

/// Each service has something to look at.
async fn shows_every_service(channel: Channel) {
    eventually("a payment", async || {
        let request = GetPaymentRequest { order_id: "sample-1".into(), ..Default::default() };
        let payment = PaymentServiceClient::new(channel.clone()).get_payment(request).await.ok()?.into_inner();
        (payment.state() == SettlementState::Paid).then_some(())
    })
    .await;
    eventually("an e-mail", async || {
        let request = ListNotificationsRequest { order_id: "sample-1".into(), ..Default::default() };
        let answer = NotificationServiceClient::new(channel.clone()).list_notifications(request).await.ok()?;
        (answer.into_inner().notifications.first()?.state() == NotificationState::Sent).then_some(())
    })
    .await;
    eventually("a book card", async || {
        let request = ListBookCardsRequest { author_code: "lovelace".into(), ..Default::default() };
        let answer = CatalogServiceClient::new(channel.clone()).list_book_cards(request).await.ok()?;
        (answer.into_inner().book_cards.len() == 1).then_some(())
    })
    .await;
    eventually("a work order", async || {
        let request = GetWorkOrderRequest { order_id: "sample-2".into(), ..Default::default() };
        let answer = ManufacturingServiceClient::new(channel.clone()).get_work_order(request).await.ok()?;
        (answer.into_inner().work_order?.state() == WorkOrderState::Open).then_some(())
    })
    .await;
    let request = ListCustomerOrdersRequest { customer_id: "c-grace".into(), ..Default::default() };
    let orders = CustomerServiceClient::new(channel).list_customer_orders(request).await.unwrap().into_inner();
    assert_eq!(orders.customer_orders.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_does_not_take_calls_that_were_given_up_for_an_attack() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let shop = Shop::new(process.channel());
    shop.stock("jumpers", 10).await;
    process.freeze(true);
    let patient = tokio::spawn({
        let shop = shop.clone();
        async move { shop.product("jumpers").await }
    });
    let mut hasty = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let shop = shop.clone();
        hasty.spawn(async move { tokio::time::timeout(Duration::from_millis(200), shop.product("jumpers")).await });
    }
    let given_up = hasty.join_all().await;
    assert!(given_up.iter().all(Result::is_err), "nobody answers while the process stands still");
    process.freeze(false);
    // On the same connection as those who gave up.
    assert_eq!(patient.await.unwrap().stock, 10);
}
