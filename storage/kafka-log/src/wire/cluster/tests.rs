//! How many connections there may be, and who has to give one up.

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
