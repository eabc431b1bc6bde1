//! Two or three exchanges in this process, over real connections.

use service_host::Server;
use service_host::config::{LimitsConfig, ListenConfig};
use tokio::net::TcpListener;

use super::*;
use crate::{Assignor, Member, Members, Role, Static};

const PATIENCE: Duration = Duration::from_secs(20);

struct Instance {
    exchange: Exchange,
    address: String,
    stop: CancellationToken,
}

fn config() -> ExchangeConfig {
    ExchangeConfig { interval: Duration::from_millis(20), silent_after: Duration::from_millis(400) }
}

async fn instance(name: &str) -> Instance {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let exchange = Exchange::new(config(), name.into());
    let stop = CancellationToken::new();
    let server = Server::new(&ListenConfig::default(), &LimitsConfig::default());
    let routes = tonic::service::Routes::new(exchange.server());
    tokio::spawn(server.serve(listener, routes, stop.clone()));
    Instance { exchange, address, stop }
}

fn members(instances: &[(&str, &Instance)]) -> Members {
    let member = |address: &str| Member {
        address: address.to_owned(),
        zone: String::new(),
        build: String::new(),
        services: ["a".into()].into(),
    };
    instances.iter().map(|(name, instance)| ((*name).into(), member(&instance.address))).collect()
}

fn run(instance: &Instance, membership: &Static) {
    let exchange = instance.exchange.clone();
    tokio::spawn(exchange.run(membership.suggestions(), Dialer::plain(), instance.stop.clone()));
}

fn told(role: Role, epoch: u64) -> BTreeMap<TaskId, TaskReport> {
    [(TaskId::new("a", 0), TaskReport { role, epoch, applied: 3, lag: 0, is_warm: true, restore: None })].into()
}

async fn until(exchange: &Exchange, what: &str, mut holds: impl FnMut(&Peers, Instant) -> bool) {
    let mut changes = exchange.changes();
    let waiting = async {
        while !exchange.look(&mut holds) {
            let _ = tokio::time::timeout(config().interval, changes.changed()).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it never came about that {what}"));
}

#[tokio::test]
async fn instances_hear_of_each_other_and_of_silence() {
    let (one, two) = (instance("one").await, instance("two").await);
    let membership = Static::new(Assignor::default(), 1, members(&[("one", &one), ("two", &two)]));
    run(&one, &membership);
    run(&two, &membership);
    one.exchange.tell(&one.address, told(Role::Active, 1), false);
    two.exchange.tell(&two.address, told(Role::Standby, 1), false);
    let task = TaskId::new("a", 0);
    until(&two.exchange, "one owns", |peers, _| peers.owner(&task).is_some_and(|(of, _)| &*of.instance == "one")).await;
    until(&one.exchange, "two is warm", |peers, now| peers.can_take(&task, "two", now)).await;

    one.exchange.tell(&one.address, told(Role::Active, 1), true);
    until(&two.exchange, "one leaves", |peers, now| peers.life("one", now) == Life::Leaving).await;
    one.stop.cancel();
    until(&two.exchange, "one is silent", |peers, now| peers.life("one", now) == Life::Silent).await;
    assert_eq!(two.exchange.look(|peers, now| peers.life("two", now)), Life::Alive);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_does_not_take_the_silent_for_alive() {
    let exchange = Exchange::new(config(), "me".into());
    let life = |instance: &str| exchange.look(|peers, now| peers.life(instance, now));
    let report = |instance: &str| Report {
        instance: instance.into(),
        address: String::new(),
        life: 1,
        sequence: 1,
        is_leaving: false,
        tasks: told(Role::Active, 1),
    };
    exchange.hear(report("silent"));
    for _ in 0..4 {
        tokio::time::advance(config().silent_after / 4).await;
        exchange.look(|_, _| ());
    }
    exchange.hear(report("steady"));
    tokio::time::advance(config().silent_after * 10).await;
    assert_eq!((life("silent"), life("steady")), (Life::Silent, Life::Alive));
    tokio::time::advance(config().silent_after / 4).await;
    assert_eq!((life("silent"), life("steady")), (Life::Silent, Life::Alive));
}

#[tokio::test]
async fn who_runs_nothing_listens_without_being_listed() {
    let (one, listener) = (instance("one").await, instance("listener").await);
    let membership = Static::new(Assignor::default(), 1, members(&[("one", &one)]));
    run(&listener, &membership);
    one.exchange.tell(&one.address, told(Role::Active, 7), false);
    until(&listener.exchange, "one is heard", |peers, now| peers.life("one", now) == Life::Alive).await;
    assert_eq!(one.exchange.look(|peers, now| peers.reports(now).count()), 1, "nobody told it anything");
    one.stop.cancel();
    listener.stop.cancel();
}
