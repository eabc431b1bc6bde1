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
