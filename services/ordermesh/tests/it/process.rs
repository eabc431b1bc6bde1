//! The real binary as a child process.
//!
//! Nothing here waits without an end: a process that hangs fails its test with what it said, and is killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::{Channel, Endpoint};

use crate::shop::PATIENCE;

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
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
        let lines = lines(child.stdout.take().unwrap());
        let mut process = Self { child, lines, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        process.address = process.announced();
        process
    }

    fn announced(&self) -> SocketAddr {
        self.says("listening on ").split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The rest of the next line that begins like this. What it says before is skipped.
    pub(crate) fn says(&self, beginning: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = String::new();
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("it never says {beginning:?} ({error}), but:\n{said}"));
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
            said += &line;
            said.push('\n');
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

    /// How many files it may have open: as it is, and at most.
    pub(crate) fn open_files_limits(&self) -> (String, String) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    }

    /// Stops it in its tracks, and lets it go on.
    pub(crate) fn freeze(&self, freeze: bool) {
        self.send(if freeze { Signal::STOP } else { Signal::CONT });
    }

    /// How it ended by itself, and what it said since it listened.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => said = said + &line + "\n",
                // It has closed its output, which is the last thing that a process does.
                Err(mpsc::RecvTimeoutError::Disconnected) => return (self.child.wait().unwrap(), said),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end, it says:\n{said}"),
            }
        }
    }

    /// Kills it as a power cut would: it gets to do nothing more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and returns how it ended and what it said since it listened.
    pub(crate) fn terminate(self) -> (ExitStatus, String) {
        self.send(Signal::TERM);
        self.end()
    }

    /// The same as Ctrl-C does.
    pub(crate) fn interrupt(self) -> (ExitStatus, String) {
        self.send(Signal::INT);
        self.end()
    }

    /// Asks it to stop and, before it can have done anything about it, once more.
    pub(crate) fn insist(self) -> (ExitStatus, String) {
        self.freeze(true);
        // Of two signals of one kind that wait, a process would see one.
        self.send(Signal::INT);
        self.send(Signal::TERM);
        self.freeze(false);
        self.end()
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process says, as it says it. The pipe is read on for as long as the process lives, whether anybody listens or not: one
/// that cannot say anything more would stand still.
fn lines(out: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            // Without a receiver it is read to nobody.
            let _ = sender.send(line);
        }
    });
    lines
}

/// `ordermesh dev` on a free port, without fsync and without a workshop that makes things by itself.
pub(crate) fn command(data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--sync", "os", "--workshop", "0", "--data"]).arg(data).args(flags);
    command
}
