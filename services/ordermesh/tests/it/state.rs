//! `ordermesh state verify` on the data of a process that was killed, on data that somebody has taken apart, and on a mesh that
//! runs.

use std::path::Path;
use std::process::{Command, Output};

use testkit::{Instances, Mesh};

use crate::process::Process;
use crate::shop::{Shop, order};

/// Looks at the data of a process that is stopped.
fn verify(data: &Path) -> Output {
    verify_with(&["--data", data.to_str().unwrap()])
}

pub(crate) fn verify_with(flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    command.args(["state", "verify"]).args(flags).output().unwrap()
}

/// Looks at a mesh that runs, while it goes on.
pub(crate) async fn verify_live(flags: &[&str]) -> Output {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let run = move || verify_with(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// What it says when it does not end well.
pub(crate) fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
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

#[test]
fn a_directory_without_a_log_or_without_stores_is_refused_and_nothing_is_made_in_it() {
    let data = tempfile::tempdir().unwrap();
    let missing = data.path().join("nowhere");
    let said = refused(&verify(&missing));
    assert!(said.contains("holds no data of ordermesh") && said.contains("--data") && !missing.exists(), "{said}");

    // What `serve` leaves: its log is elsewhere.
    std::fs::write(data.path().join("ordermesh.json"), r#"{"format": 1, "partitions": 4}"#).unwrap();
    std::fs::create_dir(data.path().join("state")).unwrap();
    let said = refused(&verify(data.path()));
    assert!(said.contains("no log of its own") && said.contains("--brokers"), "{said}");
    assert!(!data.path().join("log").exists(), "a log was made");

    std::fs::create_dir(data.path().join("log")).unwrap();
    let said = refused(&verify(data.path()));
    assert!(said.contains("nothing was compared"), "{said}");
    std::fs::remove_dir_all(data.path().join("state")).unwrap();
    let said = refused(&verify(data.path()));
    assert!(said.contains("has no stores"), "{said}");
    assert!(!data.path().join("state").exists(), "stores were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_mesh_that_runs_are_compared_with_each_other() {
    let config = Mesh::config();
    let mut mesh = Instances::start(config.clone(), &["a", "b", "c"]).await;
    let shop = Shop::new(mesh.channel("a"));
    shop.stock("mug", 100).await;
    for number in 0..5 {
        shop.judged(order(&format!("c-{number}"), &[("mug", 1)])).await;
    }
    mesh.settled().await;
    let verified = verify_live(&["--addr", &mesh.address("b").to_string()]).await;
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));
    let tasks = ordermesh::definitions(&config).len() * config.mesh.partitions as usize;
    let agreeing = said.lines().filter(|line| [" as a", " as b", " as c"].iter().any(|end| line.ends_with(end)));
    assert_eq!(agreeing.count(), 2 * tasks, "each task has an owner and a standby:\n{said}");
    assert!(said.contains(&format!("{} replicas agree", 2 * tasks)), "{said}");

    mesh.kill("c").await;
    let said = refused(&verify_live(&["--addr", &mesh.address("b").to_string()]).await);
    assert!(said.contains("do not answer") && said.contains(": c"), "{said}");
}

#[test]
fn a_mesh_that_does_not_answer_is_said_plainly() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = refused(&verify_with(&["--addr", &free]));
    assert!(said.contains("no mesh answers") && said.contains("--addr"), "{said}");
    let both = verify_with(&["--addr", &free, "--data", "x"]);
    assert!(
        !both.status.success() && String::from_utf8_lossy(&both.stderr).contains("cannot be used with"),
        "{both:?}"
    );
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
