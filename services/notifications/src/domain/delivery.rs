//! The rules of sending one e-mail: tries with growing pauses, up to a limit. Pure.
//!
//! ```text
//! PENDING --taken by a server--> SENT
//!    |  ^---failed, tried again later
//!    +------refused for good, or tried too often--> UNDELIVERABLE --replayed--> PENDING
//! ```
//! Nothing leaves SENT, so that an e-mail that is on the record as sent is never sent again.

/// How often and when to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries before it is given up, 1 or more.
    pub tries_max: u32,
    /// Pause behind the first try, in milliseconds; doubles with each.
    pub pause_ms: i64,
    /// Longest pause, in milliseconds.
    pub pause_max_ms: i64,
}

/// Where an e-mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// To be sent.
    Pending,
    /// Taken by a server. Final.
    Sent,
    /// Given up.
    Undeliverable,
}

/// How far the sending of one e-mail has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where it stands.
    pub state: State,
    /// Tries since it became pending.
    pub tries: u32,
    /// Tries before it last became pending.
    pub tries_before: u32,
    /// Why the last try failed; empty when none did.
    pub last_error: String,
    /// When it is due, in milliseconds since the Unix epoch.
    pub due_ms: i64,
}

/// What happens to an e-mail, for those who follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is to be sent.
    Decided,
    /// A server has taken it.
    Sent,
    /// It is not tried any more.
    GivenUp,
    /// It is tried anew.
    Renewed,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A server has taken it.
    Sent,
    /// It was not taken.
    Failed {
        /// Why, for people.
        error: String,
        /// Another try makes no sense.
        is_final: bool,
    },
}

/// A new one is due at once, whatever the clock says of those who caused it.
impl Default for Delivery {
    fn default() -> Self {
        Self { state: State::Pending, tries: 0, tries_before: 0, last_error: String::new(), due_ms: 0 }
    }
}

impl Delivery {
    /// Tries that have ended, all together: the number of the try that is next.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.tries.saturating_add(self.tries_before)
    }
}

/// Takes the outcome of a try that began when `attempts_before` had ended. None if that is not the try that is awaited:
/// its outcome is known already.
#[must_use]
pub fn report(
    delivery: &Delivery,
    attempts_before: u32,
    outcome: Outcome,
    policy: &Policy,
    now_ms: i64,
) -> Option<Delivery> {
    if delivery.state != State::Pending || delivery.attempts() != attempts_before {
        return None;
    }
    let mut delivery = Delivery { tries: delivery.tries.saturating_add(1), ..delivery.clone() };
    match outcome {
        Outcome::Sent => {
            delivery.state = State::Sent;
            delivery.last_error.clear();
        }
        Outcome::Failed { error, is_final } => {
            delivery.last_error = error;
            if is_final || delivery.tries >= policy.tries_max {
                delivery.state = State::Undeliverable;
            } else {
                delivery.due_ms = now_ms.saturating_add(policy.pause_after(delivery.tries));
            }
        }
    }
    Some(delivery)
}

/// Tries an e-mail anew, at once, that was given up. None if it was not.
#[must_use]
pub fn renew(delivery: &Delivery) -> Option<Delivery> {
    (delivery.state == State::Undeliverable).then(|| Delivery {
        state: State::Pending,
        tries: 0,
        tries_before: delivery.attempts(),
        last_error: delivery.last_error.clone(),
        due_ms: 0,
    })
}

/// What the change from one state to another means to those who follow the e-mail; nothing when it is only tried again.
#[must_use]
pub fn step(before: Option<State>, after: State) -> Option<Step> {
    match (before, after) {
        (None, State::Pending) => Some(Step::Decided),
        (Some(State::Pending), State::Sent) => Some(Step::Sent),
        (Some(State::Pending), State::Undeliverable) => Some(Step::GivenUp),
        (Some(State::Undeliverable), State::Pending) => Some(Step::Renewed),
        _ => None,
    }
}

impl Policy {
    /// The pause behind the n-th failed try, from 1, in milliseconds.
    fn pause_after(&self, tries: u32) -> i64 {
        let doublings = tries.saturating_sub(1).min(62);
        self.pause_ms.saturating_mul(1 << doublings).min(self.pause_max_ms)
    }
}
