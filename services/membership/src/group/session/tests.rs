//! Sessions of somebody who is no member, with brokers that answer what a test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kafka_log::Config;
use kafka_log::testing::{Asked, Broker, metadata};
use kafka_log::wire::Dial;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::field::{Field, Visit};

use super::ResponseError as E;
use super::*;
use crate::group::{GroupConfig, wire};
use crate::{Exchange, ExchangeConfig, Suggestions};

const PATIENCE: Duration = Duration::from_secs(20);

/// Brokers that agree on who coordinates every group: the one of this number. Each names itself as the only member.
#[derive(Default)]
struct Brokers {
    addresses: Mutex<Vec<String>>,
    coordinator: AtomicUsize,
    /// Codes of the next answers about the coordinator and about the group; afterwards all is well.
    found: Mutex<VecDeque<E>>,
    described: Mutex<VecDeque<E>>,
    /// How often the coordinator was asked for.
    asked: AtomicUsize,
}

impl Brokers {
    async fn start(self: &Arc<Self>) -> Broker {
        let (all, number) = (self.clone(), self.addresses.lock().unwrap().len());
        let broker = Broker::start(move |asked| {
            let answer = all.answer(&asked, number);
            async move { answer }
        })
        .await;
        self.addresses.lock().unwrap().push(broker.address().to_owned());
        broker
    }

    fn answer(&self, asked: &Asked, number: usize) -> Option<Bytes> {
        let addresses = self.addresses.lock().unwrap().clone();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let coordinator = self.coordinator.load(Ordering::SeqCst);
        asked
            .answer(|request: MetadataRequest| metadata(&request, &addresses, &[]))
            .or_else(|| {
                asked.answer(|_: FindCoordinatorRequest| {
                    self.asked.fetch_add(1, Ordering::SeqCst);
                    let (host, port) = addresses[coordinator].rsplit_once(':').unwrap();
                    let found = Coordinator::default().with_host(text(host)).with_port(port.parse().unwrap());
                    let found = found.with_error_code(next(&self.found));
                    FindCoordinatorResponse::default().with_coordinators(vec![found])
                })
            })
            .or_else(|| {
                asked.answer(|_: DescribeGroupsRequest| {
                    let code = if number == coordinator { next(&self.described) } else { E::NotCoordinator.code() };
                    let group = DescribedGroup::default().with_error_code(code).with_group_state(text("Stable"));
                    let group = group.with_members(vec![seat(&number.to_string())]);
                    DescribeGroupsResponse::default().with_groups(vec![group])
                })
            })
    }

    /// Somebody who looks who is there, and first asks these.
    fn watcher(&self, brokers: &[&str]) -> Group {
        let brokers: Vec<String> = brokers.iter().map(|&broker| broker.to_owned()).collect();
        let dial = Dial::new(&Config::new(brokers.clone())).unwrap();
        let config = GroupConfig {
            advice_interval: Duration::from_millis(10),
            ..GroupConfig::new("mesh", brokers, 1, BTreeMap::new())
        };
        let exchange = Exchange::new(ExchangeConfig::default(), "gateway".into());
        Group::new(config, dial, "gateway".into(), None, exchange)
    }
}

fn next(codes: &Mutex<VecDeque<E>>) -> i16 {
    codes.lock().unwrap().pop_front().map_or(0, |code| code.code())
}

fn seat(instance: &str) -> DescribedGroupMember {
    let address = format!("{instance}:1");
    let member = Member { address, zone: String::new(), build: String::new(), services: ["a".into()].into() };
    let metadata = wire::subscription(&member, &BTreeMap::new());
    DescribedGroupMember::default().with_group_instance_id(Some(text(instance))).with_member_metadata(metadata)
}

async fn run(group: Group) -> Result<(), GroupError> {
    timeout(PATIENCE, group.run(CancellationToken::new())).await.expect("it ends in time")
}

fn spawn(group: Group) -> (Suggestions, AbortOnDropHandle<Result<(), GroupError>>) {
    (group.suggestions(), AbortOnDropHandle::new(tokio::spawn(group.run(CancellationToken::new()))))
}

async fn sees(suggestions: &mut Suggestions, instance: &str) {
    let seen = suggestions.wait_for(|suggestion| suggestion.members.contains_key(instance));
    timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{instance} is not seen")).unwrap();
}

#[tokio::test]
async fn who_only_looks_follows_the_coordinator_to_another_broker_that_lives() {
    let all = Arc::new(Brokers::default());
    let (first, _second) = (all.start().await, all.start().await);
    let (mut suggestions, _running) = spawn(all.watcher(&[first.address()]));
    sees(&mut suggestions, "0").await;
    all.coordinator.store(1, Ordering::SeqCst);
    sees(&mut suggestions, "1").await;
}

#[tokio::test]
async fn who_only_looks_stays_with_a_coordinator_that_knows_nothing_at_present() {
    let all = Arc::new(Brokers::default());
    all.described.lock().unwrap().extend([E::CoordinatorLoadInProgress, E::RebalanceInProgress]);
    let broker = all.start().await;
    let (mut suggestions, _running) = spawn(all.watcher(&[broker.address()]));
    sees(&mut suggestions, "0").await;
    assert_eq!(all.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_may_not_know_the_group_is_told_so() {
    for code in [E::GroupAuthorizationFailed, E::InvalidGroupId] {
        let all = Arc::new(Brokers::default());
        all.found.lock().unwrap().push_back(code);
        let broker = all.start().await;
        // What the last one of them says is not what counts.
        let ended = run(all.watcher(&[broker.address(), "127.0.0.1:1"])).await;
        let refused = GroupError::Refused { group: "mesh".to_owned(), reason: format!("{code:?}") };
        assert_eq!(ended, Err(refused));
    }
    let all = Arc::new(Brokers::default());
    all.described.lock().unwrap().push_back(E::GroupAuthorizationFailed);
    let broker = all.start().await;
    let ended = run(all.watcher(&[broker.address()])).await;
    assert!(
        matches!(&ended, Err(GroupError::Refused { reason, .. }) if reason == "GroupAuthorizationFailed"),
        "{ended:?}"
    );
}

/// Levels of what was logged about a coordinator that cannot be found.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<tracing::Level>>>);

impl tracing::Subscriber for Logged {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut is_missing = IsMissing(false);
        event.record(&mut is_missing);
        if is_missing.0 {
            self.0.lock().unwrap().push(*event.metadata().level());
        }
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

struct IsMissing(bool);

impl Visit for IsMissing {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}") == "the coordinator cannot be found";
    }
}

#[tokio::test]
async fn a_coordinator_that_cannot_be_found_is_a_warning_once_until_it_is_found() {
    let (all, logged) = (Arc::new(Brokers::default()), Logged::default());
    let _logging = tracing::subscriber::set_default(logged.clone());
    let twice = [E::CoordinatorNotAvailable; 2];
    all.found.lock().unwrap().extend(twice);
    let broker = all.start().await;
    let (mut suggestions, _running) = spawn(all.watcher(&[broker.address()]));
    sees(&mut suggestions, "0").await;
    assert_eq!(*logged.0.lock().unwrap(), [tracing::Level::WARN, tracing::Level::DEBUG]);
    all.found.lock().unwrap().extend(twice);
    all.described.lock().unwrap().push_back(E::NotCoordinator);
    timeout(PATIENCE, async {
        while all.asked.load(Ordering::SeqCst) < 6 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the coordinator is looked for again");
    let levels = [tracing::Level::WARN, tracing::Level::DEBUG].repeat(2);
    assert_eq!(*logged.0.lock().unwrap(), levels);
}
