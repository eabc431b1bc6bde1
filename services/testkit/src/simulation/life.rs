//! One life of a task that can be frozen and killed: a frozen one is not polled at all while the world goes on, a killed one
//! is dropped wherever it waits.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use task_runtime::{Clock, TaskError};
use tokio::time::Instant;

/// Polls in one moment of simulated time after which a life is said to spin.
const POLLS_MAX: u64 = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Frozen,
    Killed,
}

/// The outside's grip on a life.
#[derive(Debug)]
pub(super) struct Grip {
    inner: Mutex<(State, Option<Waker>)>,
}

/// How a life ended.
#[derive(Debug)]
pub(super) enum End {
    Killed,
    Spins,
    Of(Result<(), TaskError>),
}

impl Grip {
    fn set(&self, state: State) {
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        if inner.0 != State::Killed {
            inner.0 = state;
        }
        if let Some(waker) = inner.1.take() {
            waker.wake();
        }
    }

    pub(super) fn freeze(&self) {
        self.set(State::Frozen);
    }

    pub(super) fn thaw(&self) {
        self.set(State::Running);
    }

    pub(super) fn kill(&self) {
        self.set(State::Killed);
    }

    fn enter(&self, context: &Context<'_>) -> State {
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        inner.1 = Some(context.waker().clone());
        inner.0
    }
}

pub(super) struct Life {
    task: Option<LocalBoxFuture<'static, Result<(), TaskError>>>,
    grip: Arc<Grip>,
    polled_at: Instant,
    polls: u64,
}

impl Life {
    pub(super) fn new(task: impl Future<Output = Result<(), TaskError>> + 'static) -> (Self, Arc<Grip>) {
        let grip = Arc::new(Grip { inner: Mutex::new((State::Running, None)) });
        let life = Self { task: Some(Box::pin(task)), grip: grip.clone(), polled_at: Instant::now(), polls: 0 };
        (life, grip)
    }
}

impl Future for Life {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End> {
        let now = Instant::now();
        self.polls = if now == self.polled_at { self.polls + 1 } else { 0 };
        self.polled_at = now;
        match self.grip.enter(context) {
            State::Killed => {
                self.task = None;
                Poll::Ready(End::Killed)
            }
            State::Frozen => Poll::Pending,
            State::Running if self.polls > POLLS_MAX => {
                self.task = None;
                Poll::Ready(End::Spins)
            }
            State::Running => {
                let task = self.task.as_mut().expect("a life is not polled after its end");
                task.as_mut().poll(context).map(End::Of)
            }
        }
    }
}

/// The right time at the beginning: so late that no clock shows a time before 1970.
const RIGHT_MS: i64 = 1_000_000_000;

/// The clock of one process: all run equally fast, none is right.
#[derive(Debug)]
pub(super) struct SkewedClock {
    begin: Instant,
    skew_ms: i64,
}

impl SkewedClock {
    pub(super) fn new(skew_ms: i64) -> Self {
        Self { begin: Instant::now(), skew_ms }
    }
}

#[async_trait]
impl Clock for SkewedClock {
    fn now_ms(&self) -> i64 {
        RIGHT_MS + self.skew_ms + self.monotonic_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.begin.elapsed().as_millis()).expect("runs are short")
    }

    async fn sleep_until(&self, at_ms: i64) {
        let millis = u64::try_from(at_ms - self.monotonic_ms()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}
