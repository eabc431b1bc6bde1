//! The real binary as a child process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::{Channel, Endpoint};

use crate::shop::PATIENCE;

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts `ordermesh dev` on a free port and waits until it listens.
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Self {
        Self::run(command(data, flags))
    }

    /// Starts something that listens, and waits until it does.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().map(BufReader::new);
        let mut process = Self { child, out, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        process.address = process.announced();
        process
    }

    fn announced(&mut self) -> SocketAddr {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.out.as_mut().unwrap().read_line(&mut line).unwrap(), 0, "it ended before it listened");
            if let Some(rest) = line.strip_prefix("listening on ") {
                return rest.split_whitespace().next().unwrap().parse().unwrap();
            }
        }
    }

    /// A connection that is made anew as often as needed.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    /// Memory that it occupies, in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
    }

    /// Stops it in its tracks, and lets it go on.
    pub(crate) fn freeze(&self, freeze: bool) {
        kill_process(Pid::from_child(&self.child), if freeze { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// How it ended by itself, and what it said since it listened.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.out.take().unwrap().read_to_string(&mut said).unwrap();
        (ended(&mut self.child), said)
    }

    /// Kills it as a power cut would: it gets to do nothing more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and returns how it ended and what it said since it listened.
    pub(crate) fn terminate(self) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.end()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ordermesh dev` on a free port, without fsync and without a workshop that makes things by itself.
pub(crate) fn command(data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--sync", "os", "--workshop", "0", "--data"]).arg(data).args(flags);
    command
}

fn ended(child: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}
