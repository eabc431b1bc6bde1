//! The contract suite of the port, for both sync policies and for segments of several sizes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use embedded_broker::{Config, EmbeddedLog, SyncPolicy};
use event_log::SharedLog;
use event_log::contract::{self, Factory};

struct Directory {
    config: Config,
    opened: Mutex<Option<EmbeddedLog>>,
    /// Whether the log is closed, or only dropped as by a process that dies.
    closing: bool,
    _kept: tempfile::TempDir,
}

impl Directory {
    fn new(sync: SyncPolicy, adjust: impl FnOnce(&mut Config)) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let mut config = Config { sync, ..Config::new(kept.path()) };
        adjust(&mut config);
        Self { config, opened: Mutex::default(), closing: true, _kept: kept }
    }
}

#[async_trait]
impl Factory for Directory {
    async fn open(&self) -> SharedLog {
        let log = EmbeddedLog::open(self.config.clone()).unwrap();
        *self.opened.lock().unwrap() = Some(log.clone());
        Arc::new(log)
    }

    async fn close(&self, log: SharedLog) {
        drop(log);
        let log = self.opened.lock().unwrap().take().unwrap();
        if self.closing {
            log.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_under_os_sync_behaves_as_a_log() {
    contract::run(&Directory::new(SyncPolicy::Os, |_| {})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_under_group_sync_behaves_as_a_log() {
    contract::run(&Directory::new(SyncPolicy::Group, |_| {})).await;
}

#[tokio::test]
async fn log_behaves_as_a_log_on_one_thread() {
    contract::run(&Directory::new(SyncPolicy::Os, |_| {})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_of_tiny_segments_without_memory_behaves_as_a_log() {
    for sync in [SyncPolicy::Os, SyncPolicy::Group] {
        let tiny = |config: &mut Config| {
            config.segment_bytes = 1_000;
            config.tail_cache_bytes = 0;
            config.open_files_max = 1;
        };
        contract::run(&Directory::new(sync, tiny)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_that_is_never_closed_behaves_as_a_log() {
    for sync in [SyncPolicy::Os, SyncPolicy::Group] {
        let directory = Directory { closing: false, ..Directory::new(sync, |config| config.segment_bytes = 4_000) };
        contract::run(&directory).await;
    }
}
