//! The scenario: every service of the mesh, a shop with few products so that orders get into each other's way, and the laws
//! that hold for it.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use ordermesh::Config;
use task_runtime::changelog::Body;
use task_runtime::{Handle, Role, Shortcut};
use testkit::simulation::{Dice, Losses, Oracle, Plan, Profile, Reading, Scenario, TaskKey, Topology, Verdict};
use tokio::task::{JoinHandle, spawn_local};

use crate::bugs::{self, Bug};
use crate::clients::Client;
use crate::desk::Desk;
use crate::history::{History, Seen};
use crate::librarian::Librarian;
use crate::{keeper, laws, outside, postman};

/// Callers of the catalog.
const LIBRARIANS: u64 = 2;

pub(crate) type World = testkit::simulation::World<Shop>;

/// What is known of one run.
pub(crate) struct Shop {
    pub(crate) config: Arc<Config>,
    /// What callers asked for and were told.
    pub(crate) history: History,
    /// What counted commits have said so far.
    pub(crate) seen: Seen,
    /// Names of the services by their index.
    pub(crate) services: Vec<&'static str>,
}

impl Shop {
    /// The tasks of a service, as the log says.
    pub(crate) fn tasks<'o>(oracle: &'o Oracle<Self>, service: &str) -> impl Iterator<Item = &'o Reading> {
        let index = oracle.scenario.services.iter().position(|name| *name == service).unwrap();
        oracle.readings().filter(move |(task, _)| task.0 == index).map(|(_, reading)| reading)
    }
}

impl Scenario for Shop {
    type Bug = Bug;

    // Orders asks validation, which answers orders: topics lead in circles.
    const REBUILT_AS: Role = Role::Standby;

    fn bugs() -> Vec<(&'static str, Bug)> {
        bugs::BUGS.to_vec()
    }

    fn draw(dice: &mut Dice, bug: Option<Bug>) -> Plan<Self> {
        let shortcut = match bug {
            Some(Bug::Protocol(shortcut)) => shortcut,
            _ => Shortcut::None,
        };
        let mut profile = Profile::draw(dice, shortcut);
        // An answer is remembered for longer than a run lasts: a caller who insists is answered as the first time.
        profile.forgetful = false;
        let is_forgetful = matches!(bug, Some(Bug::AnswerAnew));
        profile.config.request_memory = Duration::from_secs(if is_forgetful { 1 } else { 24 * 3600 });
        profile.trusts_damaged_disks = matches!(bug, Some(Bug::TrustDamagedStore));
        // Smaller ones could not hold an order.
        profile.config.record_bytes_max = dice.pick(&[4_000, 900_000]);
        // Every record that has no effect is on the record as read, so that it can be seen when all are.
        profile.config.quiet_records_max = 1;
        let config = Arc::new(config(dice));
        let mut definitions = ordermesh::definitions(&config);
        if let Some(Bug::Domain(planted)) = bug {
            definitions = bugs::plant(definitions, planted);
        }
        let services: Vec<_> = definitions.iter().map(task_runtime::Definition::service).collect();
        let asked = services.iter().position(|name| *name == orders::SERVICE).unwrap();
        let topology = Topology::new(definitions, config.mesh.partitions, asked);
        let scenario = Self { config, services, history: History::default(), seen: Seen::default() };
        Plan { profile, topology, scenario }
    }

    fn callers(world: &Rc<World>, dice: &mut Dice) -> Vec<JoinHandle<()>> {
        let clients = 0..world.shared.profile.clients;
        let mut jobs: Vec<_> = clients.map(|id| spawn_local(Client::new(world, id, dice.fork()).run())).collect();
        for id in 0..LIBRARIANS {
            jobs.push(spawn_local(Librarian::new(world, id, dice.fork()).run()));
        }
        jobs.push(spawn_local(keeper::run(Desk::new(world, dice.fork()))));
        jobs.push(spawn_local(outside::run(world.clone(), dice.fork())));
        jobs
    }

    fn beside(
        world: &Rc<World>,
        task: TaskKey,
        process: usize,
        handle: &Handle,
    ) -> Option<LocalBoxFuture<'static, Infallible>> {
        let is_mailing = world.shared.topology.definitions[task.0].service() == notifications::SERVICE;
        is_mailing.then(|| postman::courier(world, task, process, handle))
    }

    fn committed(&mut self, task: TaskKey, _: &Reading, body: &Body, losses: Losses) -> Verdict {
        if losses.any {
            return Ok(());
        }
        let service = self.services[task.0];
        for (key, value) in &body.changes {
            laws::i3_reserved_is_within_stock(service, key, value.as_ref())?;
            laws::i5_credit_grows_within_its_limit(&mut self.seen, service, key, value.as_ref())?;
            let (known, tries_max) = ((&self.history, &mut self.seen), self.config.notifications.tries_max);
            laws::i2_mails_have_one_outcome(known, tries_max, service, key, value.as_ref())?;
        }
        for output in &body.outputs {
            laws::i2_effects_happen_once(&mut self.seen, service, output)?;
            laws::i12_transitions_are_legal(&mut self.seen, output)?;
            laws::i12_numbers_are_given_once(&mut self.seen, output)?;
        }
        Ok(())
    }

    fn losing(&mut self, _: &Reading) {}

    fn unfinished(oracle: &Oracle<Self>, _: i64) -> Option<String> {
        laws::unfinished(oracle).or_else(|| laws::unsent(oracle))
    }

    fn settled(oracle: &Oracle<Self>) -> Verdict {
        laws::i1_acknowledged_orders_are_there(oracle)?;
        laws::i2_decided_orders_had_their_effects(oracle)?;
        laws::i2_mails_were_taken(oracle)?;
        laws::i2_outcomes_are_kept(oracle)?;
        laws::i4_every_order_is_over(oracle)?;
        laws::i5_stock_adds_up(oracle)?;
        laws::i5_money_adds_up(oracle)?;
        laws::i5_credit_adds_up(oracle)?;
        laws::i11_poison_is_with_the_dead_letters(oracle)?;
        laws::i12_told_ends_stay(oracle)?;
        laws::shelves_agree_with_books(oracle)?;
        laws::views_agree(oracle)
    }
}

/// Few partitions, and times that matter within the seconds that a run lasts.
fn config(dice: &mut Dice) -> Config {
    let mut config = Config::default();
    config.mesh.partitions = if dice.permille(500) { 1 } else { 2 };
    config.validation.timeout = Duration::from_secs(dice.pick(&[1, 4, 300]));
    config.manufacturing.items_per_second = dice.pick(&[0, 0, 5, 50]);
    config.notifications.tries_max = dice.pick(&[2, 5, 1_000]);
    config.notifications.retry_pause = dice.millis(20, 200);
    config.notifications.retry_pause_max = dice.millis(200, 1_000);
    config.notifications.sends_at_once_max = dice.pick(&[1, 2, 4]);
    config.validation.fraud_limit_major_units = dice.pick(&[400, 2_000]);
    config
}
