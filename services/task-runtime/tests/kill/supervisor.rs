//! Starts lives, feeds them, kills them, and judges what is left.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use state_store::MemoryStore;
use task_runtime::{CallError, Consistency, Runtime, Storage};

use crate::life::PATIENCE;
use crate::{life, mesh, policy_by_name, reading};
use testkit::simulation::Dice;

/// Requests that wait for an answer.
const WINDOW: usize = 96;
const KEYS: u64 = 7;
/// What a process does to files: all of it, so that no state between two of them is left out.
const WRITES: &str = "pwrite64,write,writev,fdatasync,fsync,ftruncate,rename,renameat2,unlink,unlinkat,rmdir,mkdir";

/// As strace ends, too, when what it watches was killed.
const SIGKILL: i32 = 9;

/// When lives end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kills {
    /// So many lives, each at a random moment.
    AtRandom(u64),
    /// The first life at the first write of a thread of its, the next at the second, up to this one. By strace.
    AtWrites(u64),
}

/// What a campaign did.
pub(crate) struct Report {
    kills: u64,
    before_first_answer: u64,
    acknowledged: usize,
    sent_again: u64,
    repeated_outputs: u64,
    void_entries: u64,
    took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills ({} before a first answer), {} effects acknowledged, each once; {} requests sent again, {} outputs \
             repeated, {} void entries; {:.1} s",
            self.kills,
            self.before_first_answer,
            self.acknowledged,
            self.sent_again,
            self.repeated_outputs,
            self.void_entries,
            self.took.as_secs_f64(),
        )
    }
}

/// What has been asked and answered so far, over all lives.
#[derive(Default)]
pub(crate) struct Book {
    /// Effects that are not acknowledged yet, with their keys.
    open: BTreeMap<String, String>,
    /// Effects with their keys and what was answered.
    pub(crate) acknowledged: BTreeMap<String, (String, u64)>,
    next: u64,
}

impl Book {
    fn take(&mut self, dice: &mut Dice) -> (String, String) {
        let (key, effect) = (format!("k{}", dice.below(KEYS)), format!("e{}", self.next));
        self.next += 1;
        self.open.insert(effect.clone(), key.clone());
        (key, effect)
    }

    fn answered(&mut self, effect: &str, count: u64) -> Result<(), String> {
        if let Some(key) = self.open.remove(effect) {
            self.acknowledged.insert(effect.to_owned(), (key, count));
        }
        match self.acknowledged.get(effect) {
            Some((_, told)) if *told != count => Err(format!("{effect} was told {told}, then {count}")),
            Some(_) => Ok(()),
            None => Err(format!("an answer for {effect}, which nobody asked")),
        }
    }
}

struct Life {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl Life {
    /// A life that is killed before the write with this number of any of its threads, or by [`Life::kill`].
    fn begin(directory: &Path, policy: &str, write: Option<u64>) -> Result<Self, String> {
        let binary = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(if write.is_some() { Path::new("strace") } else { &binary });
        if let Some(number) = write {
            let inject = format!("inject={WRITES}:signal=KILL:when={number}");
            command
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={WRITES}"), "-e", &inject])
                .arg(&binary);
        }
        command.arg("--child").arg(directory).args(["--sync", policy]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let (requests, out) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (tell, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, requests, answers })
    }

    fn ask(&mut self, key: &str, effect: &str) {
        // A process that is dying takes no more requests: they stay open and go to the next.
        let _ = writeln!(self.requests, "{key} {effect}");
    }

    /// Kills the process; answers that it gave before are still there.
    fn kill(mut self) -> Result<Receiver<String>, String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|error| error.to_string())?;
        Ok(self.answers)
    }
}

/// Kills the mesh so many times, lets it come to rest, and judges.
pub(crate) fn campaign(policy: &str, kills: Kills, seed: u64) -> Result<Report, String> {
    let begin = Instant::now();
    let mut dice = Dice::new(seed);
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (mut book, mut before_first_answer, mut sent_again) = (Book::default(), 0, 0);
    let (lives, is_random) = match kills {
        Kills::AtRandom(lives) => (lives, true),
        Kills::AtWrites(last) => (last, false),
    };
    for number in 1..=lives {
        let mut life = Life::begin(directory.path(), policy, (!is_random).then_some(number))?;
        sent_again += book.open.len() as u64;
        for (effect, key) in &book.open {
            life.ask(key, effect);
        }
        let answers = if is_random {
            load(&mut life, &mut book, &mut dice)?
        } else {
            load_to_death(&mut life, &mut book, &mut dice)?
        };
        before_first_answer += u64::from(answers == 0);
        for line in life.kill()?.iter() {
            note(&mut book, &line)?;
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let found = runtime.map_err(|error| error.to_string())?.block_on(judge(directory.path(), policy, &mut book))?;
    Ok(Report {
        kills: lives,
        before_first_answer,
        acknowledged: book.acknowledged.len(),
        sent_again,
        repeated_outputs: found.repeated_outputs,
        void_entries: found.void_entries,
        took: begin.elapsed(),
    })
}

/// Keeps a window of requests open until the process is killed by what it does. Returns how many were answered.
fn load_to_death(life: &mut Life, book: &mut Book, dice: &mut Dice) -> Result<u64, String> {
    let mut answers = 0;
    loop {
        fill(life, book, dice);
        match life.answers.recv_timeout(PATIENCE) {
            Ok(line) => {
                note(book, &line)?;
                answers += 1;
            }
            Err(RecvTimeoutError::Timeout) => return Err("a life neither answers nor dies".to_owned()),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = life.child.wait().map_err(|error| error.to_string())?;
    if status.signal() == Some(SIGKILL) { Ok(answers) } else { Err(format!("a life ended by itself: {status}")) }
}

fn fill(life: &mut Life, book: &mut Book, dice: &mut Dice) {
    while book.open.len() < WINDOW {
        let (key, effect) = book.take(dice);
        life.ask(&key, &effect);
    }
}

/// Keeps a window of requests open until the moment of the kill. Returns how many were answered.
fn load(life: &mut Life, book: &mut Book, dice: &mut Dice) -> Result<u64, String> {
    let mut answers = 0;
    // Some die while they open and restore, most under load.
    let while_opening = dice.permille(250);
    let mut until = Instant::now() + if while_opening { dice.millis(0, 120) } else { PATIENCE };
    loop {
        fill(life, book, dice);
        match life.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                note(book, &line)?;
                answers += 1;
                if answers == 1 && !while_opening {
                    until = Instant::now() + dice.millis(0, 500);
                }
            }
            Err(RecvTimeoutError::Timeout) if answers == 0 && !while_opening => {
                return Err("a life does not answer".to_owned());
            }
            Err(RecvTimeoutError::Timeout) => return Ok(answers),
            Err(RecvTimeoutError::Disconnected) => return Err("a life ended by itself".to_owned()),
        }
    }
}

fn note(book: &mut Book, line: &str) -> Result<(), String> {
    match line.split_once(' ') {
        Some(("failed", why)) => Err(format!("a task failed: {why}")),
        Some((effect, count)) => book.answered(effect, count.parse().map_err(|_| format!("not an answer: {line}"))?),
        None => Err(format!("not an answer: {line}")),
    }
}

/// Lets everything arrive, then compares what was told, what the topics say, what the stores say, and what stores say that
/// are rebuilt from the changelogs alone.
async fn judge(directory: &Path, policy: &str, book: &mut Book) -> Result<reading::Found, String> {
    let log = life::log(directory, policy_by_name(policy));
    let mesh = life::start(directory, &log).await;
    mesh.running().await?;
    let settled = settle(&mesh, book);
    tokio::time::timeout(PATIENCE, settled).await.map_err(|_| "it does not come to rest".to_owned())??;
    let stored = all_rows(&mesh).await?;
    if !mesh.stop(PATIENCE).await {
        return Err("the last life does not stop".to_owned());
    }
    let found = reading::read(&log).await?;
    found.check(book)?;
    let storage = Storage::Memory(Arc::new(|_| MemoryStore::default()));
    let rebuilt = life::start_on(storage, &log).await;
    rebuilt.running().await?;
    let fresh = all_rows(&rebuilt).await?;
    if !rebuilt.stop(PATIENCE).await {
        return Err("the rebuilt mesh does not stop".to_owned());
    }
    log.close().await;
    if stored != fresh {
        return Err("the stores on disk are not what their changelogs say".to_owned());
    }
    if stored != found.rows() {
        return Err("the stores are not what a pure reading of the changelogs says".to_owned());
    }
    Ok(found)
}

/// Sends what is still open and waits until every effect has come through the chain.
async fn settle(mesh: &Runtime, book: &mut Book) -> Result<(), String> {
    let [first, third] = [0, 2].map(|service| mesh.tasks(mesh::SERVICES[service]).expect("it was started"));
    for (effect, key) in book.open.clone() {
        let count = life::add(&first, &key, &effect).await.map_err(|error| error.to_string())?;
        book.answered(&effect, count)?;
    }
    let mut arrivals = FuturesUnordered::new();
    for effect in book.acknowledged.keys() {
        for effect in mesh::effects_of(effect.as_bytes()) {
            let third = third.clone();
            arrivals.push(async move {
                let key: Vec<u8> = effect.iter().rev().copied().collect();
                let wanted = effect.clone();
                let wait = third
                    .for_key(&key)?
                    .wait(mesh::EFFECTS, &effect, move |view| view.get(mesh::EFFECTS, &wanted).ok().flatten());
                wait.await.map(|_| ())
            });
        }
        // As many waits as a task takes, and no more.
        while arrivals.len() > 500 {
            arrivals.next().await.transpose().map_err(|error: CallError| error.to_string())?;
        }
    }
    while let Some(arrived) = arrivals.next().await {
        arrived.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Everything that the services of a mesh hold, by service, store and key.
async fn all_rows(mesh: &Runtime) -> Result<reading::Rows, String> {
    let mut rows = reading::Rows::new();
    for (service, name) in mesh::SERVICES.iter().enumerate() {
        let tasks = mesh.tasks(name).expect("it was started");
        for partition in 0..life::PARTITIONS {
            let handle = tasks.for_partition(partition).map_err(|error| error.to_string())?;
            for (number, store) in [(1, mesh::COUNTS), (2, mesh::EFFECTS)] {
                let scan = handle.read(Consistency::Strong, move |view| view.scan(store, b"", None, usize::MAX));
                let (found, _) = scan.await.map_err(|error| error.to_string())?;
                for (key, value) in found.map_err(|error| error.to_string())? {
                    rows.insert((service, partition, number, key), value);
                }
            }
        }
    }
    Ok(rows)
}
