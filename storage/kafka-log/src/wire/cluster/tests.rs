//! How many connections there may be, and who has to give one up. Whose word is taken for who there is.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::testing::{self, Broker};

async fn broker() -> Broker {
    Broker::start(|asked| async move { asked.answer(|request| testing::metadata(&request, &["127.0.0.1:1"], &[])) })
        .await
}

async fn cluster(broker: &Broker, connections_max: usize) -> Cluster {
    let config = Config { connections_max, ..Config::new([broker.address()]) };
    Cluster::connect(Dial::new(&config).unwrap(), Arc::new(config)).await.unwrap()
}

async fn ask(cluster: &Cluster, broker: &Broker) -> Result<MetadataResponse, Error> {
    cluster.ask(broker.address(), &MetadataRequest::default(), 1..=8, Duration::from_secs(20)).await
}

#[tokio::test]
async fn connections_that_lie_idle_make_room_for_those_that_are_needed() {
    const MAX: usize = 16;
    let (one, other) = (broker().await, broker().await);
    let cluster = cluster(&one, MAX).await;
    let mut lent = Vec::new();
    while lent.len() < MAX {
        lent.push(cluster.lend(one.address()).await.unwrap());
    }
    let refused = ask(&cluster, &other).await;
    assert!(matches!(refused, Err(Error::Exhausted(MAX))), "{refused:?}");
    let first = lent.remove(0);
    cluster.give_back(first);
    ask(&cluster, &other).await.unwrap();
    assert!(cluster.take_idle(one.address()).is_none(), "it had to go");
    lent.into_iter().for_each(|lent| cluster.give_back(lent));
    // Readers that keep theirs get one as well.
    let mut kept = Vec::new();
    while kept.len() < MAX {
        kept.push(cluster.lend(other.address()).await.unwrap());
    }
    assert!(matches!(cluster.lend(one.address()).await, Err(Error::Exhausted(MAX))));
}

/// A broker that names nobody as long as it is fenced.
async fn fenced() -> (Broker, Arc<AtomicBool>) {
    let fenced = Arc::new(AtomicBool::new(true));
    let is_fenced = fenced.clone();
    let broker = Broker::start(move |asked| {
        let brokers = if is_fenced.load(Ordering::SeqCst) { &[][..] } else { &["127.0.0.1:1"] };
        let answer = asked.answer(|request| testing::metadata(&request, brokers, &[("t", 1)]));
        async move { answer }
    })
    .await;
    (broker, fenced)
}

#[tokio::test]
async fn a_broker_that_names_nobody_is_not_believed() {
    let (broker, is_fenced) = fenced().await;
    let config = Config::new([broker.address()]);
    let connect = async || Cluster::connect(Dial::new(&config).unwrap(), Arc::new(config.clone())).await;
    let refused = connect().await.unwrap_err();
    assert!(matches!(&refused, Error::Malformed { reason, .. } if reason == "it names no brokers"), "{refused:?}");
    is_fenced.store(false, Ordering::SeqCst);
    let cluster = connect().await.unwrap();
    // Then it starts again: who leads is known as before.
    is_fenced.store(true, Ordering::SeqCst);
    cluster.refresh(Instant::now()).await.unwrap_err();
    assert_eq!(cluster.metadata().leader(&TopicPartition::new("t", 0)), Led::At("127.0.0.1:1".to_owned()));
}

#[tokio::test]
async fn the_next_broker_is_asked_when_one_names_nobody() {
    let ((fenced, _), other) = (fenced().await, broker().await);
    let config = Config::new([fenced.address(), other.address()]);
    let cluster = Cluster::connect(Dial::new(&config).unwrap(), Arc::new(config)).await.unwrap();
    assert_eq!(cluster.metadata().brokers.len(), 1);
}
