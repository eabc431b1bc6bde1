//! Limits of what may wait in front of a task and behind it: beyond them callers are told so, reading stops, and all goes on when
//! there is room again.

use std::time::Duration;

use task_runtime::{CallError, Config};
use tokio::task::LocalSet;

use crate::disk::Disk;
use crate::fixture::{Life, Log, ROWS, begin_with, notebook};

async fn limited(config: Config, test: impl AsyncFnOnce(Log, Life)) {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin_with(&log, notebook(), config, &Disk::default());
        life.put("first", None).await.unwrap();
        test(log, life).await;
    };
    LocalSet::new().run_until(run).await;
}

fn is_overloaded<T>(answer: Result<T, CallError>) -> bool {
    matches!(answer, Err(CallError::Overloaded { task }) if task == "notebook/0")
}

/// Waits a moment for what will not come. `None` if the wait was taken.
async fn wait_in_vain(life: &Life) -> Option<CallError> {
    let wait = life.handle.wait(ROWS, b"never", |_| None::<()>);
    tokio::time::timeout(Duration::from_millis(1), wait).await.ok()?.err()
}

#[tokio::test(start_paused = true)]
async fn callers_beyond_those_who_may_wait_are_refused_until_some_have_gone() {
    let config = Config { waits_max: 4, ..Config::default() };
    limited(config, async |_, life| {
        let others: Vec<_> = (0..4).map(|_| Box::pin(life.handle.wait(ROWS, b"never", |_| None::<()>))).collect();
        let mut others = futures::future::join_all(others);
        assert!(futures::poll!(&mut others).is_pending());
        for _ in 0..100 {
            let refused = wait_in_vain(&life).await;
            assert!(is_overloaded::<()>(Err(refused.expect("four wait already"))));
        }
        drop(others);
        // Whoever has gone makes room without a change of the key, which may never come.
        let mut tries = 0;
        while wait_in_vain(&life).await.is_some() {
            tries += 1;
            assert!(tries < 10, "those who have gone are still counted");
        }
        life.stop().await;
    })
    .await;
}
