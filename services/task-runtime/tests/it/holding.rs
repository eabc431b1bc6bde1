//! Changes that are neither sent nor answered nor waited for are held until there is a commit to go with, and never longer than
//! patience lasts.

use std::time::Duration;

use event_log::MemoryLog;
use task_runtime::{Config, Consistency, Definition, Reply, StoreId};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::disk::Disk;
use crate::fixture::{Life, Log, begin, begin_with, put, put_command, reading};

const SEEN: StoreId = StoreId::new(1, "seen");
const TOTAL: StoreId = StoreId::new(2, "total");
const MOMENT: Duration = Duration::from_millis(1);

/// Keeps what comes, with a running number; tells of `tell`, is reminded of `remind` 20 ms after the begin, and says by command how much has come.
fn keeper() -> Definition {
    Definition::new("keeper")
        .store(SEEN)
        .store(TOTAL)
        .output("told")
        .input("inbox", |context, input| {
            let value = input.value()?.clone();
            let number = context.get(TOTAL, b"")?.map_or(0, |number| number[0]) + 1;
            context.put(TOTAL, b"", vec![number]);
            context.put(SEEN, &value, vec![number]);
            if value == "remind" {
                context.schedule("again", b"it", 1_020);
            }
            if value == "forget" {
                context.cancel("again", b"it");
            }
            if value == "tell" { context.emit("told", &value, value.clone()) } else { Ok(()) }
        })
        .timer("again", |context, _| context.emit("told", b"again", "again"))
        .command("Put", |context, _| Ok(Reply(context.get(TOTAL, b"")?.unwrap_or_default())))
}

/// How many rows of what has come each commit has changed.
fn commits(log: &MemoryLog) -> Vec<usize> {
    let (bodies, _) = reading(log, "keeper-changelog");
    let seen = |key: &[u8]| key.first() == Some(&0x81);
    let rows = bodies.iter().map(|body| body.changes.iter().filter(|(key, _)| seen(key)).count());
    rows.filter(|rows| *rows > 0).collect()
}

async fn bring(log: &Log, values: &[&'static str]) {
    for value in values {
        put(&log.memory, "inbox", *value);
        sleep(MOMENT).await;
    }
}

async fn wait(life: &Life, key: &'static str) {
    life.handle.wait(SEEN, key.as_bytes(), |view| view.get(SEEN, key.as_bytes()).unwrap()).await.unwrap();
}

async fn alone<T>(test: impl AsyncFnOnce(Log) -> T) -> T {
    LocalSet::new().run_until(async { test(Log::with(&keeper()).await).await }).await
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_committed_together_when_patience_ends() {
    alone(async |log| {
        let life = begin(&log, keeper());
        bring(&log, &["a", "b", "c"]).await;
        assert_eq!(commits(&log.memory), [0; 0]);
        sleep(Config::default().patience).await;
        assert_eq!(commits(&log.memory), [3]);
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_takes_along_what_is_held() {
    alone(async |log| {
        let life = begin(&log, keeper());
        bring(&log, &["a", "b", "tell"]).await;
        assert_eq!(commits(&log.memory), [3]);
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_waits_for_is_committed_at_once_whoever_comes_first() {
    alone(async |log| {
        let life = begin(&log, keeper());
        let begun = Instant::now();
        let first = async {
            wait(&life, "a").await;
            begun.elapsed()
        };
        let (heard, ()) = tokio::join!(first, async {
            sleep(MOMENT).await;
            bring(&log, &["a", "b"]).await;
        });
        assert_eq!(heard, MOMENT, "somebody waited for a before it came");
        wait(&life, "b").await;
        assert_eq!(begun.elapsed(), 3 * MOMENT, "b was there before somebody waited for it");
        assert_eq!(commits(&log.memory), [1, 1]);
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_strong_read_sees_what_is_held_before_it() {
    alone(async |log| {
        let life = begin(&log, keeper());
        bring(&log, &["a", "b"]).await;
        let read = life.handle.read(Consistency::Strong, |view| view.get(TOTAL, b"").unwrap());
        assert_eq!(read.await.unwrap().0.as_deref(), Some(&[2][..]));
        assert_eq!(commits(&log.memory), [2]);
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_rests_on_what_is_held_leaves_with_its_commit() {
    alone(async |log| {
        let life = begin(&log, keeper());
        bring(&log, &["a", "b"]).await;
        let answer = life.handle.execute(put_command("anything", None)).await.unwrap();
        assert_eq!((&answer.reply[..], commits(&log.memory)), (&[2][..], vec![2]));
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_was_taken_back_meanwhile_does_not_fire() {
    alone(async |log| {
        let life = begin(&log, keeper());
        bring(&log, &["remind", "tell"]).await;
        bring(&log, &["forget"]).await;
        sleep(Config::default().patience).await;
        let (bodies, _) = reading(&log.memory, "keeper-changelog");
        let told = bodies.iter().flat_map(|body| &body.outputs).map(|output| output.value.clone().unwrap());
        assert_eq!(told.collect::<Vec<_>>(), ["tell"]);
        assert_eq!(commits(&log.memory), [2, 1]);
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_at_the_end_of_a_life_is_committed_and_at_a_crash_computed_again() {
    alone(async |log| {
        let disk = Disk::default();
        let life = begin_with(&log, keeper(), Config::default(), &disk);
        bring(&log, &["a", "b"]).await;
        life.job.abort();
        assert_eq!(commits(&log.memory), [0; 0]);
        let life = begin_with(&log, keeper(), Config::default(), &disk);
        sleep(MOMENT).await;
        life.stop().await;
        assert_eq!(commits(&log.memory), [2]);
        let life = begin_with(&log, keeper(), Config::default(), &disk);
        assert_eq!(life.handle.execute(put_command("anything", None)).await.unwrap().reply[..], [2]);
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_more_is_held_than_may_be() {
    alone(async |log| {
        let config = Config { batch_items_max: 2, ..Config::default() };
        let life = begin_with(&log, keeper(), config, &Disk::default());
        bring(&log, &["a", "b", "c"]).await;
        assert_eq!(commits(&log.memory), [2]);
        life.stop().await;
        assert_eq!(commits(&log.memory), [2, 1]);
    })
    .await;
}
