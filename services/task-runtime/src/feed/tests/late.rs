//! A follower whose turn is over may still be at work on what it has read. What it brings then concerns nobody.

use std::sync::Condvar;

use super::*;

/// A decoder that stops in the midst of its work until the test lets it go on.
struct Gate {
    /// 0 at first, 1 when the decoder has come here, 2 when it may go on.
    step: Mutex<u8>,
    changed: Condvar,
}

impl Gate {
    const fn new() -> Self {
        Self { step: Mutex::new(0), changed: Condvar::new() }
    }

    fn reach(&self, step: u8) {
        *self.step.lock().unwrap() = step;
        self.changed.notify_all();
    }

    fn wait(&self, wanted: u8) {
        let step = self.step.lock().unwrap();
        let waited = self.changed.wait_timeout_while(step, Duration::from_secs(10), |step| *step < wanted).unwrap();
        assert!(!waited.1.timed_out(), "step {wanted} is never reached");
    }

    /// Decodes; in the midst of the first record it waits.
    fn decode(&self, record: &Record, place: Place) -> Option<Content> {
        if place.sequence == 1 {
            self.reach(1);
            self.wait(2);
        }
        decode(record, place)
    }
}

/// Takes a reader along to where its follower is at work on the first record. Returns it with that job.
async fn reading(topic: &Topic, gate: &Gate, sequences: &[u64]) -> (Subscription, tokio::task::AbortHandle) {
    topic.send(sequences.iter().copied()).await;
    let mut reader = topic.read(0, 0, Interest::default()).await;
    assert!(reader.take(u64::MAX, 1).await.unwrap().events.is_empty());
    let job = topic.feed.channel(0).unwrap().ring().follower.clone().unwrap();
    gate.wait(1);
    (reader, job)
}

async fn ended(job: &tokio::task::AbortHandle) {
    let ended = async {
        while !job.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_all_have_gone_is_read_for_although_the_last_follower_was_still_at_work() {
    static GATE: Gate = Gate::new();
    let topic = Topic::decoded(FeedConfig::default(), |record, place| GATE.decode(record, place)).await;
    let (last, job) = reading(&topic, &GATE, &[1]).await;
    drop(last);
    GATE.reach(2);
    ended(&job).await;
    let mut next = topic.read(1, 1, Interest::default()).await;
    assert!(next.take(u64::MAX, 1).await.unwrap().events.is_empty());
    topic.send([2]).await;
    assert_eq!(take(&mut next, 1).await.0, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_fails_late_ends_nobody_who_is_read_for_by_another() {
    static GATE: Gate = Gate::new();
    let topic = Topic::decoded(FeedConfig::default(), |record, place| GATE.decode(record, place)).await;
    // The second record misses its predecessor: whoever reads both fails there.
    let (last, job) = reading(&topic, &GATE, &[1, 3]).await;
    drop(last);
    let mut next = topic.read(3, 2, Interest::default()).await;
    assert!(next.take(u64::MAX, 1).await.unwrap().events.is_empty());
    GATE.reach(2);
    ended(&job).await;
    assert!(topic.feed.channel(0).unwrap().ring().follower.is_some(), "the other can still be told to stop");
    topic.send([4]).await;
    assert_eq!(take(&mut next, 1).await.0, [4]);
}
