//! `ordermesh state verify` on the data of a process that was killed, and on data that somebody has taken apart.

use std::path::Path;
use std::process::{Command, Output};

use crate::process::Process;
use crate::shop::{Shop, order};

fn verify(data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    command.args(["state", "verify", "--data"]).arg(data).output().unwrap()
}

#[tokio::test]
async fn stores_hold_what_their_changelogs_say() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let shop = Shop::new(process.channel());
    shop.stock("mug", 100).await;
    for number in 0..5 {
        shop.judged(order(&format!("c-{number}"), &[("mug", 1)])).await;
    }
    assert!(!verify(data.path()).status.success(), "the data belongs to a process that runs");
    let (status, _) = process.terminate();
    assert!(status.success());
    let verified = verify(data.path());
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));
    assert!(said.lines().any(|line| line.starts_with("orders/") && line.ends_with(" ok")), "{said}");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Stores that are gone, older than they were, or of other partitions: they are caches, and nothing is lost with them.
#[tokio::test]
async fn stores_that_are_lost_or_older_or_exchanged_are_made_anew() {
    const STOCK: i64 = 100;
    let data = tempfile::tempdir().unwrap();
    let (state, older) = (data.path().join("state"), data.path().join("older"));
    let mut ordered = 0;
    for round in ["at first", "lost", "older", "exchanged", "at last"] {
        match round {
            "lost" => std::fs::remove_dir_all(&state).unwrap(),
            "older" => {
                std::fs::remove_dir_all(&state).unwrap();
                copy(&older, &state);
            }
            "exchanged" => {
                let mut stores: Vec<_> =
                    std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
                stores.retain(|store| store.is_dir());
                stores.sort();
                let aside = state.join("aside");
                for pair in stores.chunks_exact(2) {
                    std::fs::rename(&pair[0], &aside).unwrap();
                    std::fs::rename(&pair[1], &pair[0]).unwrap();
                    std::fs::rename(&aside, &pair[1]).unwrap();
                }
            }
            _ => {}
        }
        let process = Process::start(data.path(), &[]);
        let shop = Shop::new(process.channel());
        shop.stock("mug", STOCK).await;
        // Set once, and remembered whatever became of the stores.
        assert_eq!(shop.pieces("mug").await.0, STOCK - ordered, "{round}");
        for _ in 0..3 {
            let judged = shop.judged(order(&format!("c-{ordered}"), &[("mug", 1)])).await;
            let shipped = shop.wait(&judged.order_id, proto::orders::v1::WaitFor::Shipped).await.unwrap();
            assert_eq!(shipped.state(), proto::orders::v1::OrderState::Shipped);
            ordered += 1;
        }
        assert_eq!(shop.all_orders().await.len(), usize::try_from(ordered).unwrap(), "{round}");
        let left = STOCK - ordered;
        crate::shop::eventually(round, async || (shop.pieces("mug").await == (left, 0, left)).then_some(())).await;
        let (status, _) = process.terminate();
        assert!(status.success());
        if round == "at first" {
            copy(&state, &older);
        }
    }
    let verified = verify(data.path());
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
