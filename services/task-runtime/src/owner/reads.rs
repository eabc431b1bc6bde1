//! Reads of applied state. A strong read must know that the task still owns its partition: the end of its own changelog is
//! where it expects it. One look answers all reads that wait at that moment.

use event_log::{Error, Offset};
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::config::answered;
use crate::handle::{Position, ReadFn, Sight, WaitFn};
use crate::task::Task;
use crate::view::View;
use crate::{CallError, Consistency, TaskError};

/// A call that may be answered once the task has proven that it still owns its partition.
pub(super) enum Ask {
    Read { bound: Option<Position>, run: ReadFn },
    Wait { store_key: Vec<u8>, check: WaitFn },
}

/// Calls on their way to that proof.
#[derive(Default)]
pub(super) struct Reads {
    /// For the next look.
    waiting: Vec<Ask>,
    /// For the look that is under way.
    checking: Vec<Ask>,
    pub(super) check: Option<BoxFuture<'static, Result<Offset, Error>>>,
    /// What was applied when the look began: the log cannot end before it.
    checked_from: u64,
    /// When that was.
    checking_since: Option<Instant>,
    /// When the last look began that found the task to be the owner of what it had applied.
    proven_at: Option<Instant>,
    /// Looked already, and found entries up to this offset that must be applied first.
    held: Vec<(u64, Vec<Ask>)>,
}

impl Reads {
    pub(super) fn fail_all(&mut self, error: &CallError) {
        let held = std::mem::take(&mut self.held).into_iter().flat_map(|(_, asks)| asks);
        let waiting = std::mem::take(&mut self.waiting).into_iter().chain(std::mem::take(&mut self.checking));
        waiting.chain(held).for_each(|ask| ask.refuse(error.clone()));
        self.check = None;
    }

    /// Up to where the changelog must be read before a held call can be answered.
    pub(super) fn held_upto(&self) -> Option<u64> {
        self.held.iter().map(|(upto, _)| *upto).max()
    }

    pub(super) fn push(&mut self, ask: Ask) {
        self.waiting.push(ask);
    }

    /// Calls that are not answered yet.
    fn len(&self) -> usize {
        self.waiting.len() + self.checking.len() + self.held.iter().map(|(_, asks)| asks.len()).sum::<usize>()
    }
}

impl Ask {
    fn refuse(self, error: CallError) {
        match self {
            Self::Read { run, .. } => run(Err(error)),
            Self::Wait { mut check, .. } => {
                check(Sight::Refused(error));
            }
        }
    }
}

impl Task {
    pub(super) fn read(&mut self, consistency: Consistency, run: ReadFn) {
        let at = self.position();
        match consistency {
            Consistency::AtLeast(bound) if bound.incarnation != at.incarnation => run(Err(CallError::ForeignPosition)),
            Consistency::AtLeast(bound) if bound.offset > at.offset => {
                self.ask(Ask::Read { bound: Some(bound), run });
            }
            Consistency::Eventual | Consistency::AtLeast(_) => run(Ok((&self.view(), at))),
            Consistency::MaxStaleness(most) if self.running.reads.proven_at.is_some_and(|at| at.elapsed() <= most) => {
                run(Ok((&self.view(), at)));
            }
            Consistency::Strong | Consistency::MaxStaleness(_) => {
                // It is to see what was computed before it came: that commit is begun before the look at the changelog's end.
                self.running.overdue |= self.running.held.has_changes();
                self.ask(Ask::Read { bound: None, run });
            }
        }
    }

    /// Lets a call wait for the proof. Those whose callers have gone wait as well: while the log does not answer, nobody else may.
    pub(super) fn ask(&mut self, ask: Ask) {
        if self.running.reads.len() < self.config.waits_max {
            self.running.reads.push(ask);
        } else {
            ask.refuse(CallError::Overloaded { task: self.name.to_string() });
        }
    }

    /// What is there already is told once the task has proven that it still owns it. What is not will come with a commit,
    /// which is proof enough: until then nothing is said.
    pub(super) fn wait(&mut self, store_key: Vec<u8>, mut check: WaitFn) {
        let is_over = check(Sight::Glance(&View::of_owner(&*self.store, &self.met_damage)));
        if is_over {
            self.ask(Ask::Wait { store_key, check });
        } else {
            self.keep_waiting(store_key, check);
        }
    }

    fn keep_waiting(&mut self, store_key: Vec<u8>, check: WaitFn) {
        // What it waits for may be computed already.
        self.running.overdue |= self.running.held.changes(&store_key);
        let (view, at) = (View::of_owner(&*self.store, &self.met_damage), self.position());
        let kept = self.running.waiters.add(store_key, check, self.config.waits_max, &view, at);
        if let Err(mut check) = kept {
            check(Sight::Refused(CallError::Overloaded { task: self.name.to_string() }));
        }
    }

    /// Looks at the end of the changelog, for all calls that have gathered.
    pub(super) fn start_check(&mut self) {
        if !self.running.reads.waiting.is_empty() {
            self.prove();
        }
    }

    /// Looks at the end of the changelog although nobody may wait for it: an idle task would not learn otherwise that
    /// another has claimed it.
    pub(super) fn prove(&mut self) {
        let reads = &mut self.running.reads;
        if reads.check.is_some() {
            return;
        }
        reads.checking = std::mem::take(&mut reads.waiting);
        reads.checked_from = self.next_offset;
        reads.checking_since = Some(Instant::now());
        let (log, partition, config) = (self.log.clone(), self.changelog.partition.clone(), self.config.clone());
        reads.check = Some(Box::pin(async move { answered(&config, || log.latest(&partition)).await }));
    }

    pub(super) fn checked(&mut self, latest: Result<Offset, Error>) -> Result<(), TaskError> {
        let latest = latest?.0;
        let asks = std::mem::take(&mut self.running.reads.checking);
        if latest < self.running.reads.checked_from {
            return Err(self.changelog.regressed(self.running.reads.checked_from, latest));
        }
        if latest <= self.next_offset || self.config.shortcut.skips_the_proof() {
            self.running.reads.proven_at = self.running.reads.checking_since;
            self.serve(asks);
        } else {
            // Our own commit in flight, or something that has to be read: both end by applying up to there.
            self.running.reads.held.push((latest, asks));
        }
        self.start_check();
        Ok(())
    }

    /// Answers calls that were held for what is now applied.
    pub(super) fn serve_held(&mut self) {
        while let Some(at) = self.running.reads.held.iter().position(|(upto, _)| *upto <= self.next_offset) {
            let (_, asks) = self.running.reads.held.swap_remove(at);
            self.serve(asks);
        }
    }

    fn serve(&mut self, asks: Vec<Ask>) {
        let at = self.position();
        for ask in asks {
            let view = View::of_owner(&*self.store, &self.met_damage);
            match ask {
                Ask::Read { bound: Some(bound), run } if bound.offset > at.offset => run(Err(CallError::NotUpToBound)),
                Ask::Read { run, .. } => run(Ok((&view, at))),
                Ask::Wait { store_key, mut check } => {
                    if !check(Sight::State(&view, at)) {
                        self.keep_waiting(store_key, check);
                    }
                }
            }
        }
    }
}
