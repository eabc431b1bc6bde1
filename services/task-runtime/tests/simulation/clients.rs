//! Callers as they are: they give up waiting, ask again with the same request id, perhaps someone else, and remember what
//! they were told.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use event_log::partition_for_key;
use task_runtime::{CallError, Command, Committed, Consistency, Position};
use tokio::time::{Instant, sleep, timeout};

use testkit::simulation::{Dice, Reading, Running, TaskKey, fail};

use crate::chain::{Chain, PARTITIONS, World, count_of, sum_of};
use crate::mesh::{self, ADD, COUNTS, EFFECTS, POISON, SUM};

const KEYS: u64 = 3;
/// Forgetful seeds: no request is sent again so late that its answer may have been forgotten.
const HORIZON: Duration = Duration::from_secs(6);

struct Acknowledged {
    key: Bytes,
    effect: Bytes,
    count: u64,
    position: Position,
    request_id: Option<String>,
}

pub(crate) struct Client {
    world: Rc<World>,
    dice: Dice,
    id: usize,
    done: u64,
    acknowledged: Vec<Acknowledged>,
}

/// What stood in a task's changelog when something began. It never gets less, unless the log loses it.
#[derive(Clone, Copy)]
struct Before {
    at_least: u64,
    losses: u32,
}

/// How one try ended, as far as the caller can tell.
enum Try<T> {
    Answered(T),
    /// It did not happen, for this reason.
    Refused(CallError),
    /// No answer: it may have happened.
    Unknown,
}

impl Client {
    pub(crate) fn new(world: &Rc<World>, id: usize) -> Self {
        let dice = world.dice(Dice::fork);
        Self { world: world.clone(), dice, id, done: 0, acknowledged: Vec::new() }
    }

    pub(crate) async fn run(mut self) {
        for _ in 0..self.world.shared.profile.operations {
            let pause = self.dice.millis(0, 250);
            sleep(pause).await;
            self.done += 1;
            match self.dice.below(100) {
                0..45 => self.add().await,
                45..65 => self.read().await,
                65..72 => self.scan().await,
                72..79 => self.sum().await,
                79..84 => self.poison().await,
                84..90 => self.read_own_write().await,
                90..94 => self.reuse_request_id().await,
                _ => self.wait_for_arrival().await,
            }
        }
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("k{}", self.dice.below(KEYS)))
    }

    fn task_of(service: usize, key: &[u8]) -> TaskKey {
        (service, partition_for_key(key, PARTITIONS))
    }

    async fn pick(&mut self, task: TaskKey) -> Rc<Running> {
        self.world.pick(task, &mut self.dice).await
    }

    fn patience(&mut self) -> Duration {
        self.dice.pick(&[Duration::from_millis(60), Duration::from_millis(400), Duration::from_secs(4)])
    }

    fn command(
        &self,
        name: &'static str,
        key: &Bytes,
        request_id: Option<&String>,
        payload: &Bytes,
        at: usize,
    ) -> Command {
        Command {
            name,
            key: key.clone(),
            request_id: request_id.cloned(),
            payload: payload.clone(),
            attachment: Bytes::new(),
            time_ms: self.world.clock_of(at),
            traceparent: None,
        }
    }

    async fn attempt(
        &mut self,
        name: &'static str,
        key: &Bytes,
        request_id: Option<&String>,
        payload: &Bytes,
    ) -> Try<Committed> {
        let life = self.pick(Self::task_of(0, key)).await;
        let command = self.command(name, key, request_id, payload, life.process);
        let patience = self.patience();
        match timeout(patience, life.handle.execute(command)).await {
            Err(_) | Ok(Err(CallError::Stopped { .. })) => Try::Unknown,
            // Nothing happened, and somebody else is to be asked.
            Ok(Err(CallError::NotOwner { .. } | CallError::Moving { .. })) => {
                Try::Refused(CallError::Overloaded { task: String::new() })
            }
            Ok(Err(error)) => Try::Refused(error),
            Ok(Ok(committed)) => Try::Answered(committed),
        }
    }

    async fn add(&mut self) {
        let (key, effect) = (self.key(), Bytes::from(format!("c{}-{}", self.id, self.done)));
        let task = Self::task_of(0, &key);
        let request_id = self.dice.permille(750).then(|| format!("r{}-{}", self.id, self.done));
        let (begin, forgetful) = (Instant::now(), self.world.shared.profile.forgetful);
        let floor = self.world.shared.oracle(|oracle| oracle.scenario.calls.begin_add(&key));
        loop {
            match self.attempt(ADD, &key, request_id.as_ref(), &effect).await {
                Try::Answered(committed) => {
                    let count = mesh::number(&committed.reply);
                    self.note(format_args!("adds {key:?} = {count} at {}", committed.position.offset));
                    self.world.shared.oracle(|oracle| {
                        oracle.check(Chain::replied(oracle, task, &effect, count));
                        if !oracle.has_lost {
                            let verdict = oracle.scenario.calls.added(&key, &effect, floor, count);
                            oracle.check(verdict);
                        }
                    });
                    let position = committed.position;
                    return self.acknowledged.push(Acknowledged { key, effect, count, position, request_id });
                }
                Try::Refused(CallError::Overloaded { .. }) => {}
                Try::Refused(error) => return self.unexpected("add", &error),
                // Without a request id a second try could be a second effect.
                Try::Unknown if request_id.is_none() => return,
                Try::Unknown => {}
            }
            if forgetful && begin.elapsed() > HORIZON {
                return;
            }
            let pause = self.dice.millis(5, 120);
            sleep(pause).await;
        }
    }

    /// A strong read of one counter.
    async fn read(&mut self) {
        let key = self.key();
        let task = Self::task_of(0, &key);
        for _ in 0..3 {
            let life = self.pick(task).await;
            let (wanted, patience) = (key.clone(), self.patience());
            let floor = self.world.shared.oracle(|oracle| oracle.scenario.calls.begin(&key));
            let before = self.before(task, |reading| count_of(reading, &key));
            let read = life.handle.read(Consistency::Strong, move |view| view.get(COUNTS, &wanted));
            let Ok(Ok((found, _))) = timeout(patience, read).await else { continue };
            // A damaged store says so, and is rebuilt.
            let Ok(found) = found else { continue };
            let count = found.map_or(0, |value| mesh::number(&value));
            self.note(format_args!("reads {key:?} = {count} at p{}", life.process));
            self.world.shared.oracle(|oracle| {
                let at_most = count_of(oracle.reading(task), &key);
                if !oracle.has_lost {
                    let verdict = oracle.scenario.calls.read(&key, floor, count);
                    oracle.check(verdict);
                }
                let Before { at_least, losses } = before;
                let is_judged = oracle.judges(task) && oracle.losses(task) == losses;
                if is_judged && !(at_least..=at_most).contains(&count) {
                    let detail = format!("{key:?} was {at_least} to {at_most} meanwhile, {count} was read");
                    oracle.check(fail("strong-read", detail));
                }
            });
            return;
        }
    }

    /// A strong read of all counters of a task.
    async fn scan(&mut self) {
        let task = (0, u32::try_from(self.dice.below(u64::from(PARTITIONS))).expect("small"));
        let life = self.pick(task).await;
        let patience = self.patience();
        let before = self.before(task, sum_of);
        let read = life.handle.read(Consistency::Strong, |view| view.scan(COUNTS, b"k", None, 1_000));
        let Ok(Ok((rows, _))) = timeout(patience, read).await else { return };
        let Ok(rows) = rows else { return };
        self.check_sum("scan", task, before, rows.iter().map(|(_, value)| mesh::number(value)).sum());
    }

    /// A command that changes nothing: it is answered from state, with or without memory.
    async fn sum(&mut self) {
        let key = self.key();
        let task = Self::task_of(0, &key);
        let request_id = self.dice.permille(300).then(|| format!("s{}-{}", self.id, self.done));
        self.note(format_args!("asks for the sum of {task:?}"));
        let before = self.before(task, sum_of);
        if let Try::Answered(committed) = self.attempt(SUM, &key, request_id.as_ref(), &key).await {
            self.check_sum("sum", task, before, mesh::number(&committed.reply));
        }
    }

    fn before(&self, task: TaskKey, count: impl Fn(&Reading) -> u64) -> Before {
        self.world.shared.oracle(|oracle| Before { at_least: count(oracle.reading(task)), losses: oracle.losses(task) })
    }

    fn check_sum(&self, what: &'static str, task: TaskKey, before: Before, sum: u64) {
        self.note(format_args!("{what} of {task:?} = {sum}"));
        self.world.shared.oracle(|oracle| {
            let at_most = sum_of(oracle.reading(task));
            let Before { at_least, losses } = before;
            let is_judged = oracle.judges(task) && oracle.losses(task) == losses;
            if is_judged && !(at_least..=at_most).contains(&sum) {
                let detail = format!("the {what} of {task:?} was {at_least} to {at_most} meanwhile, {sum} was told");
                oracle.check(fail("strong-read", detail));
            }
        });
    }

    /// A command that fails half-way must leave nothing behind: its effect would have a name that begins with `p`.
    async fn poison(&mut self) {
        let (key, effect) = (self.key(), Bytes::from(format!("p{}-{}", self.id, self.done)));
        match self.attempt(POISON, &key, None, &effect).await {
            Try::Answered(_) => self.unexpected("poison", &CallError::NotUpToBound),
            Try::Refused(CallError::Poison(_) | CallError::Overloaded { .. }) | Try::Unknown => {}
            Try::Refused(error) => self.unexpected("poison", &error),
        }
    }

    /// A read at least as fresh as an answer of before, wherever it is asked.
    async fn read_own_write(&mut self) {
        if self.acknowledged.is_empty() || self.has_lost() {
            return;
        }
        let own = &self.acknowledged[self.dice.index(self.acknowledged.len())];
        let (key, count, position) = (own.key.clone(), own.count, own.position);
        let life = self.pick(Self::task_of(0, &key)).await;
        let (wanted, patience) = (key.clone(), self.patience());
        let read = life.handle.read(Consistency::AtLeast(position), move |view| view.get(COUNTS, &wanted));
        match timeout(patience, read).await {
            Ok(Ok((Ok(found), at))) => {
                let found = found.map_or(0, |value| mesh::number(&value));
                // A log that lost the write meanwhile has another entry there.
                if !self.has_lost() && (found < count || at.offset < position.offset) {
                    let detail = format!("{key:?} was {count} at {position:?}, {found} was read at {at:?}");
                    self.world.shared.check(fail("read-at-least", detail));
                }
            }
            Ok(Err(CallError::ForeignPosition)) => self.unexpected("read at least", &CallError::ForeignPosition),
            Ok(Ok((Err(_), _)) | Err(_)) | Err(_) => {}
        }
    }

    /// A request id with other content is told so, whoever is asked, and changes nothing: its effect would have a name that
    /// begins with `q`.
    async fn reuse_request_id(&mut self) {
        let oracle_is_strict = !self.has_lost() && !self.world.shared.profile.forgetful;
        let own = self.acknowledged.iter().rev().find(|own| own.request_id.is_some());
        let Some((key, request_id)) = own.map(|own| (own.key.clone(), own.request_id.clone())) else { return };
        if !oracle_is_strict {
            return;
        }
        let other = Bytes::from(format!("q{}-{}", self.id, self.done));
        match self.attempt(ADD, &key, request_id.as_ref(), &other).await {
            Try::Answered(_) => self.unexpected("reuse", &CallError::NotUpToBound),
            Try::Refused(CallError::RequestIdReused | CallError::Overloaded { .. }) | Try::Unknown => {}
            Try::Refused(error) => self.unexpected("reuse", &error),
        }
    }

    /// Waits until an effect of its own has come through the whole chain.
    async fn wait_for_arrival(&mut self) {
        if self.acknowledged.is_empty() {
            return;
        }
        let effect = self.acknowledged[self.dice.index(self.acknowledged.len())].effect.clone();
        let key: Vec<u8> = effect.iter().rev().copied().collect();
        let task = Self::task_of(2, &key);
        loop {
            if self.has_lost() {
                return;
            }
            let life = self.pick(task).await;
            let wanted = effect.clone();
            let wait = life.handle.wait(EFFECTS, &effect, move |view| view.get(EFFECTS, &wanted).ok().flatten());
            let patience = self.dice.millis(500, 20_000);
            self.note(format_args!("waits at {task:?} p{} for {effect:?}", life.process));
            let healed = !self.world.shared.is_faulty();
            match timeout(patience, wait).await {
                Ok(Ok(_)) => {
                    let there = self.world.shared.oracle(|o| o.reading(task).row(&mesh::row(2, &effect)).is_some());
                    if !there && !self.has_lost() {
                        self.world.shared.check(fail("waiter", format!("{effect:?} was announced and is not there")));
                    }
                    self.note(format_args!("sees {effect:?} arrive"));
                    return;
                }
                Ok(Err(
                    CallError::Stopped { .. }
                    | CallError::Overloaded { .. }
                    | CallError::NotOwner { .. }
                    | CallError::Moving { .. },
                )) => {}
                Ok(Err(error)) => return self.unexpected("wait", &error),
                Err(_) if healed => self.check_not_overlooked(task, &life, &effect),
                Err(_) => {}
            }
            let pause = self.dice.millis(5, 120);
            sleep(pause).await;
        }
    }

    /// A wait was given up. If the effect is there and the life that was asked owns the task, it should have been answered.
    fn check_not_overlooked(&self, task: TaskKey, life: &Running, effect: &Bytes) {
        let (there, owner) = self.world.shared.oracle(|oracle| {
            let reading = oracle.reading(task);
            (reading.row(&mesh::row(2, effect)).is_some(), reading.owner().to_owned())
        });
        if there && owner == format!("p{}", life.process) {
            self.world.shared.check(fail("waiter", format!("{effect:?} is there, who waits for it was not told")));
        }
    }

    fn note(&self, event: std::fmt::Arguments<'_>) {
        self.world.shared.note(format_args!("c{} {event}", self.id));
    }

    fn has_lost(&self) -> bool {
        self.world.shared.oracle(|oracle| oracle.has_lost)
    }

    fn unexpected(&self, what: &str, error: &CallError) {
        if !self.has_lost() {
            self.world.shared.check(fail("answer", format!("{what} was answered with {error:?}")));
        }
    }
}

/// A producer that knows nothing of sources: what it sends is taken once for each time that it stands in the log.
pub(crate) async fn outside(world: Rc<World>, mut dice: Dice) {
    let log = world.outside_log();
    for _ in 0..world.shared.profile.outside_records {
        let pause = dice.millis(0, 500);
        sleep(pause).await;
        let partition = u32::try_from(dice.below(u64::from(PARTITIONS))).expect("small");
        let value: &[u8] = if dice.permille(300) { mesh::BAD } else { b"good" };
        let partition = event_log::TopicPartition::new(mesh::OUTSIDE, partition);
        let record = mesh::outside_record(value, world.clock_of(0));
        while log.append(&partition, vec![record.clone()]).await.is_err() {
            sleep(Duration::from_millis(30)).await;
        }
    }
}
