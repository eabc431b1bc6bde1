//! The server with nothing behind it, as a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use loadtest::run;
use rustix::process::{Pid, Signal, kill_process};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: run::Settings,
}

/// A server that ends with its test, whatever becomes of that.
struct Bare {
    process: Child,
    address: String,
}

impl Bare {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let command = command.args(["bare", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect(&line).to_owned();
        Self { process, address }
    }

    /// The exit code after this signal.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended already, as it should.
        let _ = (self.process.kill(), self.process.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_content_with_a_server_that_has_nothing_behind_it() {
    let bare = Bare::start();
    let (address, pid) = (bare.address.as_str(), bare.process.id());
    for wait in ["get", "create", "none"] {
        for mode in ["open --rate 100 --duration 10ms", "closed --in-flight 1 --orders 1 --duration 60s"] {
            let line = format!("run --addr {address} --pid {pid} --wait {wait} --mode {mode} --warmup 0s");
            let run = run::measure(&Line::parse_from(line.split_ascii_whitespace()).settings).await.unwrap();
            assert_eq!((run.started, run.validated), (1, 1), "{line}: {:?}", run.errors);
            assert!(run.server.unwrap().rss_bytes.unwrap() > 0, "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_with_zero_though_a_client_is_connected() {
    for signal in [Signal::INT, Signal::TERM] {
        let bare = Bare::start();
        let connections = loadtest::order::Connections::open(&bare.address, 2).await.unwrap();
        let ended = tokio::task::spawn_blocking(move || bare.end(signal));
        let code = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends").unwrap();
        assert_eq!(code, Some(0), "{signal:?}");
        drop(connections);
    }
}
