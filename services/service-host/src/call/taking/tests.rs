//! When a stream is reset, by a clock that stands still between the steps.

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, advance};

use super::*;

const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// What the body of a stream does next.
enum Step {
    /// It gives a piece of an answer that ends then.
    Gives(Option<Instant>),
    /// It has nothing more at present.
    IsTaken,
}

/// A stream that does as it is told.
struct Stream {
    steps: mpsc::Sender<Step>,
    done: mpsc::Receiver<()>,
    ended: oneshot::Receiver<()>,
}

impl Stream {
    fn begin() -> Self {
        let (steps, mut next) = mpsc::channel(1);
        let (did, done) = mpsc::channel(1);
        // Dropped with the stream.
        let (alive, ended) = oneshot::channel();
        Streams { send_timeout: SEND_TIMEOUT }.execute(async move {
            let _alive: oneshot::Sender<()> = alive;
            while let Some(step) = next.recv().await {
                match step {
                    Step::Gives(deadline) => given(deadline),
                    Step::IsTaken => taken(),
                }
                did.send(()).await.unwrap();
            }
        });
        Self { steps, done, ended }
    }

    async fn does(&mut self, step: Step) {
        self.steps.send(step).await.unwrap();
        self.done.recv().await.expect("the stream goes on");
        // Its timer is set behind the step.
        tokio::task::yield_now().await;
    }

    fn goes_on(&mut self) -> bool {
        self.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }
}

async fn passes(time: Duration) {
    advance(time).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_which_nothing_is_taken_is_reset_after_the_send_timeout() {
    let mut stream = Stream::begin();
    stream.does(Step::Gives(None)).await;
    passes(SEND_TIMEOUT / 2).await;
    assert!(stream.goes_on());
    passes(SEND_TIMEOUT / 2 + Duration::from_millis(2)).await;
    assert!(!stream.goes_on());
}

#[tokio::test(start_paused = true)]
async fn each_piece_has_its_own_time() {
    let mut stream = Stream::begin();
    for _ in 0..10 {
        stream.does(Step::Gives(None)).await;
        passes(SEND_TIMEOUT - Duration::from_secs(1)).await;
        assert!(stream.goes_on());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_nothing_to_give_may_wait_for_ever() {
    let mut stream = Stream::begin();
    passes(100 * SEND_TIMEOUT).await;
    stream.does(Step::Gives(None)).await;
    stream.does(Step::IsTaken).await;
    passes(100 * SEND_TIMEOUT).await;
    assert!(stream.goes_on());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_beyond_his_deadline() {
    let mut stream = Stream::begin();
    stream.does(Step::Gives(Some(Instant::now() + Duration::from_secs(1)))).await;
    passes(Duration::from_millis(900)).await;
    assert!(stream.goes_on());
    passes(Duration::from_millis(102)).await;
    assert!(!stream.goes_on());
}
