//! A standby: it follows the changelog by the reader rule without processing anything, so that it can take over with little
//! to read. It serves reads that do not need the owner, and says who the owner is to all others.
//!
//! What always holds: its store is a prefix of the changelog, exactly as the owner's is.

use event_log::Offset;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handle::{Position, ReadFn, Request};
use crate::land::Followed;
use crate::task::Task;
use crate::view::View;
use crate::{CallError, Consistency, Role, TaskError, TaskState};

/// What a read waits for.
#[derive(Debug, Clone, Copy)]
enum Need {
    Offset(u64),
    /// That the standby has been at the end of the log since then.
    AtEndSince(Instant),
}

/// A read that waits until the standby has come far enough.
struct Held {
    need: Need,
    until: Instant,
    run: ReadFn,
}

/// What goes on while a task stands by.
#[derive(Default)]
struct Following {
    fetch: Option<BoxFuture<'static, Result<Followed, TaskError>>>,
    look: Option<BoxFuture<'static, Result<Offset, TaskError>>>,
    looking_since: Option<Instant>,
    /// What was applied when the look began: the log cannot end before it.
    looked_from: u64,
    /// A look found this end, and began at this time.
    seen: Option<(u64, Instant)>,
    /// Everything that was in the log at this time is applied.
    fresh_at: Option<Instant>,
    held: Vec<Held>,
}

impl Task {
    /// Follows the changelog until the token is cancelled or something fails that the task cannot heal.
    pub(crate) async fn stand_by(
        &mut self,
        inbox: &mut mpsc::Receiver<Request>,
        stop: &CancellationToken,
    ) -> Result<(), TaskError> {
        self.board.applied(self.next_offset);
        self.board.state(TaskState::Running);
        let mut following = Following::default();
        let result = self.follow_log(&mut following, inbox, stop).await;
        // Whoever does not follow is behind nothing.
        self.metrics.lag(0);
        for held in following.held {
            (held.run)(Err(self.moving()));
        }
        result
    }

    async fn follow_log(
        &mut self,
        following: &mut Following,
        inbox: &mut mpsc::Receiver<Request>,
        stop: &CancellationToken,
    ) -> Result<(), TaskError> {
        loop {
            self.start_following(following);
            let deadline = following.held.iter().map(|held| held.until).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                followed = crate::owner::ready(&mut following.fetch) => {
                    following.fetch = None;
                    self.take(followed?, following)?;
                }
                end = crate::owner::ready(&mut following.look) => {
                    following.look = None;
                    let end = end?.0;
                    // What a fetch has brought since the look began need not have been there then.
                    if end < following.looked_from {
                        return Err(self.changelog.regressed(following.looked_from, end));
                    }
                    following.seen = following.looking_since.map(|since| (end, since));
                }
                request = inbox.recv() => match request {
                    Some(request) => self.receive_standing_by(request, following),
                    None => return Ok(()),
                },
                () = at(deadline) => {}
            }
            if let Some((end, since)) = following.seen
                && end <= self.next_offset
            {
                following.fresh_at = following.fresh_at.max(Some(since));
                following.seen = None;
            }
            self.serve_what_is_due(following);
            self.trust_store()?;
        }
    }

    fn start_following(&self, following: &mut Following) {
        if following.fetch.is_none() {
            let (changelog, from) = (self.changelog.clone(), self.next_offset);
            following.fetch = Some(Box::pin(async move { changelog.follow(from).await }));
        }
        let wants_look = following.held.iter().any(|held| matches!(held.need, Need::AtEndSince(_)));
        if wants_look && following.look.is_none() && following.seen.is_none() {
            let changelog = self.changelog.clone();
            following.looking_since = Some(Instant::now());
            following.looked_from = self.next_offset;
            following.look = Some(Box::pin(async move { changelog.latest().await }));
        }
    }

    /// Applies what a fetch brought.
    fn take(&mut self, followed: Followed, following: &mut Following) -> Result<(), TaskError> {
        let mut changes = Vec::new();
        for (offset, entry) in followed.entries {
            self.replay_entry(offset, &entry, &mut changes)?;
        }
        self.apply_replayed(&mut changes)?;
        let behind = followed.end > self.next_offset;
        self.board.saw_end(followed.end.max(self.next_offset), behind, self.clock.monotonic_ms());
        self.metrics.lag(self.board.lag(self.clock.monotonic_ms()).0);
        if !behind {
            following.fresh_at = following.fresh_at.max(Some(followed.as_of));
        }
        Ok(())
    }

    fn receive_standing_by(&mut self, request: Request, following: &mut Following) {
        let (consistency, run) = match request {
            Request::Read { consistency, run } => (consistency, run),
            Request::Digest { reply } => return drop(reply.send(self.digest(Role::Standby))),
            other => return other.refuse(self.not_owner()),
        };
        let at = self.position();
        let need = match consistency {
            Consistency::Strong => return run(Err(self.not_owner())),
            Consistency::Eventual => Need::Offset(0),
            // Before the first claim has been read, no position is foreign yet.
            Consistency::AtLeast(bound) if at.incarnation != 0 && bound.incarnation != at.incarnation => {
                return run(Err(CallError::ForeignPosition));
            }
            Consistency::AtLeast(bound) => Need::Offset(bound.offset),
            Consistency::MaxStaleness(most) => {
                let now = Instant::now();
                Need::AtEndSince(now.checked_sub(most).unwrap_or(now))
            }
        };
        if following.held.len() >= self.config.waits_max {
            return run(Err(CallError::Overloaded { task: self.name.to_string() }));
        }
        following.held.push(Held { need, until: Instant::now() + self.config.standby_wait, run });
    }

    /// Answers the reads that have what they need, and those that have waited too long for it.
    fn serve_what_is_due(&self, following: &mut Following) {
        if following.held.is_empty() {
            return;
        }
        let now = Instant::now();
        let at = self.position();
        let view = View::of_standby(&*self.store, &self.met_damage, self.board.lag(self.clock.monotonic_ms()).1);
        for held in std::mem::take(&mut following.held) {
            let is_met = match held.need {
                Need::Offset(offset) => at.offset >= offset,
                Need::AtEndSince(since) => following.fresh_at.is_some_and(|fresh| fresh >= since),
            };
            if is_met {
                answer(held.run, &view, at);
            } else if held.until <= now {
                (held.run)(Err(CallError::NotUpToBound));
            } else {
                following.held.push(held);
            }
        }
    }

    fn moving(&self) -> CallError {
        CallError::Moving { service: self.setting.definition.service, partition: self.setting.partition }
    }
}

fn answer(run: ReadFn, view: &View<'_>, at: Position) {
    run(Ok((view, at)));
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending::<()>().await,
    }
}
