//! What the process says of itself in its log: nothing alarming of what clients do wrong, and each step of a shipment to
//! whoever asks for it.

use std::path::Path;
use std::process::Command;

use proto::orders::v1::{OrderState, WaitFor};
use serde_json::Value;
use tempfile::TempDir;

use crate::inputs;
use crate::process::{Process, command};
use crate::shop::{Shop, named, order};

/// A process whose log goes to a file.
struct Logged {
    directory: TempDir,
    process: Process,
}

impl Logged {
    fn start(change: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = command(&directory.path().join("data"), &["--log-format", "json"]);
        command.stderr(std::fs::File::create(file(directory.path())).unwrap());
        change(&mut command);
        Self { process: Process::run(command), directory }
    }

    /// Stops it and gives everything that it has logged.
    async fn stop(self) -> Vec<Value> {
        let Self { directory, process } = self;
        let (status, said) = tokio::task::spawn_blocking(|| process.terminate()).await.unwrap();
        assert!(status.success(), "{said}");
        let log = std::fs::read_to_string(file(directory.path())).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

fn file(directory: &Path) -> std::path::PathBuf {
    directory.join("log.json")
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_nothing_to_be_alarmed_about_and_nothing_is_lost_by_it() {
    let logged = Logged::start(|_| {});
    let channel = logged.process.channel();
    let shop = Shop::new(channel.clone());
    shop.stock("jumpers", 10).await;
    shop.made_to_order("atlas").await;
    let before = shop.judged(order("c-1", &[("jumpers", 1)])).await;

    inputs::missing_keys(&channel).await;
    inputs::garbage(&channel).await;
    inputs::faulty_order(&channel).await;
    // Also what is only wrong for what the mesh knows: pieces that nobody needs, before the order and behind it.
    shop.report("o-2", "atlas", 7, "r-1").await.unwrap();
    shop.report("o-2", "globe", 1, "r-2").await.unwrap();
    shop.create(named("o-2", order("c-1", &[("atlas", 1)]))).await.unwrap();
    assert_eq!(shop.wait("o-2", WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);
    shop.report("o-2", "atlas", 1, "r-3").await.unwrap_err();
    shop.judged(order("c-1", &[("nothing", -1)])).await;

    let shipped = shop.wait(&before.order_id, WaitFor::Shipped).await.unwrap();
    assert_eq!((shipped.state(), shipped.lines), (OrderState::Shipped, before.lines));
    drop((shop, channel));
    let log = logged.stop().await;
    assert!(log.iter().any(|line| line["level"] == "INFO"), "{log:?}");
    let alarming: Vec<_> = log.iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR").collect();
    assert!(alarming.is_empty(), "{alarming:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_shipment_is_logged_for_whoever_asks_for_it() {
    let logged = Logged::start(|command| {
        command.env("ORDERMESH__LOG__LEVEL", "info,shipping=debug");
    });
    let shop = Shop::new(logged.process.channel());
    for product in ["atlas", "globe"] {
        shop.made_to_order(product).await;
    }
    shop.create(named("o-1", order("c-1", &[("atlas", 1), ("globe", 1)]))).await.unwrap();
    shop.wait("o-1", WaitFor::Validated).await.unwrap();
    shop.shipment_at("o-1", proto::shipping::v1::ShipmentState::Waiting, "0/2").await;
    for product in ["atlas", "globe"] {
        shop.report("o-1", product, 1, product).await.unwrap();
    }
    shop.wait("o-1", WaitFor::Shipped).await.unwrap();
    drop(shop);
    let log = logged.stop().await;
    let steps: Vec<_> = log
        .iter()
        .filter(|line| line["order_id"] == "o-1" && line["progress"].is_string())
        .map(|line| (line["level"].as_str(), line["message"].as_str(), line["progress"].as_str()))
        .collect();
    let debug = |message, progress| (Some("DEBUG"), Some(message), Some(progress));
    let expected = [
        debug("items manufactured, waiting", "0/2"),
        debug("items manufactured, waiting", "1/2"),
        debug("shipped", "2/2"),
    ];
    assert_eq!(steps, expected);
}
