//! Carries e-mails in every process that runs a task of notifications: the real courier, and a mail server that refuses, answers
//! late, takes an e-mail and does not say so, and remembers everything that it has taken.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use notifications::Courier;
use notifications::sender::{Mail, SendError, Sender};
use service_host::Clock;
use task_runtime::{Handle, Tasks};
use testkit::simulation::{Dice, Shared, TaskKey};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::laws;
use crate::shop::{Shop, World};

/// How often the courier looks at its clock.
const TICK: Duration = Duration::from_millis(50);

/// A mail server, as one life of one task reaches it.
struct Postman {
    shared: Arc<Shared<Shop>>,
    dice: Mutex<Dice>,
    since: Instant,
}

/// What becomes of an e-mail.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is taken, and the sender is told after this time, if it still lives.
    Taken(Duration),
    /// It is taken, and the sender is told that it was not.
    TakenInSilence,
    Refused,
    RefusedForGood,
}

/// A courier at work for one task; it ends with the life of the task.
pub(crate) fn courier(
    world: &Rc<World>,
    task: TaskKey,
    process: usize,
    handle: &Handle,
) -> LocalBoxFuture<'static, Infallible> {
    let config = world.shared.oracle(|oracle| oracle.scenario.config.clone());
    let right_time = world.clock(process);
    let tasks = (task.1, config.mesh.partitions);
    let tasks = Tasks::simulated(notifications::SERVICE, tasks, handle.clone(), right_time.clone());
    let clock = Clock::manual(right_time.now_ms());
    let dice = Mutex::new(world.dice(Dice::fork));
    let sender = Arc::new(Postman { shared: world.shared.clone(), dice, since: Instant::now() });
    let courier = Courier::new(tasks, sender, clock.clone(), &config.notifications);
    Box::pin(async move {
        let ticking = async {
            loop {
                sleep(TICK).await;
                let passed = u64::try_from(right_time.now_ms() - clock.now_ms()).unwrap_or(0);
                clock.advance(Duration::from_millis(passed));
            }
        };
        tokio::select! {
            biased;
            never = ticking => never,
            () = courier.run(CancellationToken::new()) => std::future::pending().await,
        }
    })
}

impl Postman {
    fn fate(&self) -> Fate {
        let mut dice = self.dice.lock().unwrap();
        if !self.shared.is_faulty() {
            return Fate::Taken(dice.millis(0, 20));
        }
        match dice.below(100) {
            0..40 => Fate::Taken(dice.millis(0, 20)),
            40..55 => Fate::Taken(dice.millis(100, 3_000)),
            55..72 => Fate::TakenInSilence,
            72..96 => Fate::Refused,
            _ => Fate::RefusedForGood,
        }
    }

    /// The same e-mail in every try, decided by a commit that counts, and none of which the outcome is on the record.
    fn hand_over(&self, mail: &Mail, fate: Fate) {
        self.shared.note(format_args!("e-mail {} about {}: {fate:?}", mail.message_id, mail.order_id));
        self.shared.count("e-mail: a try");
        let taken = matches!(fate, Fate::Taken(_) | Fate::TakenInSilence);
        let verdict = self.shared.oracle(|oracle| {
            let verdict = laws::i2_mails_say_the_same(oracle, mail, self.since);
            oracle.scenario.history.mails.entry(mail.order_id.clone()).or_default().taken += u32::from(taken);
            verdict
        });
        self.shared.check(verdict);
    }
}

impl std::fmt::Debug for Postman {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postman")
    }
}

#[tonic::async_trait]
impl Sender for Postman {
    async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let fate = self.fate();
        self.hand_over(mail, fate);
        // Who dies here has sent, and does not know.
        let pause = if let Fate::Taken(pause) = fate { pause } else { Duration::from_millis(5) };
        sleep(pause).await;
        self.shared.oracle(|oracle| {
            let sent = oracle.scenario.history.mails.entry(mail.order_id.clone()).or_default();
            match fate {
                Fate::Taken(_) => sent.told_taken += 1,
                Fate::TakenInSilence | Fate::Refused => sent.told_failed += 1,
                Fate::RefusedForGood => {
                    sent.told_failed += 1;
                    sent.told_hopeless = true;
                }
            }
        });
        match fate {
            Fate::Taken(_) => Ok(()),
            Fate::TakenInSilence | Fate::Refused => Err(SendError::transient("the simulation says so")),
            Fate::RefusedForGood => Err(SendError::permanent("no such mailbox, the simulation says")),
        }
    }
}
