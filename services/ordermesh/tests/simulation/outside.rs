//! Somebody outside of the mesh who writes what nobody can read into its topics (I11).

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{Record, SharedLog, TopicPartition};
use testkit::simulation::{Dice, fail};
use tokio::time::{Instant, sleep};

use crate::shop::World;

/// Topics that several services read, and topics that one reads.
const TOPICS: [&str; 6] =
    ["orders", "orders-by-customer", "stock-requests", "order-validations", "inventory-verdicts", "order-payments"];
/// How long a poisoned record may hold up its partition when nothing else goes wrong.
const DELAY_MAX: Duration = Duration::from_secs(1);
/// After the faults, until every task has an owner again.
const CALM: Duration = Duration::from_secs(8);

pub(crate) async fn run(world: Rc<World>, mut dice: Dice) {
    let log = world.outside_log();
    for _ in 0..world.shared.profile.outside_records {
        let pause = dice.millis(0, 500);
        sleep(pause).await;
        write(&world, &log, &mut dice).await;
    }
    while world.shared.is_faulty() {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(CALM).await;
    i11_poison_delays_its_partition_by_a_second(&world, &log, &mut dice).await;
}

async fn write(world: &World, log: &SharedLog, dice: &mut Dice) -> TopicPartition {
    let partitions = u64::from(world.shared.topology.partitions);
    let at = TopicPartition::new(dice.pick(&TOPICS), u32::try_from(dice.below(partitions)).unwrap());
    let record = Record {
        key: Some(Bytes::from_static(b"poison")),
        value: Some(Bytes::from_static(b"\xff\xff\xff\xff")),
        headers: Vec::new(),
        timestamp_ms: world.clock_of(0),
    };
    while log.append(&at, vec![record.clone()]).await.is_err() {
        sleep(Duration::from_millis(30)).await;
    }
    at
}

async fn i11_poison_delays_its_partition_by_a_second(world: &World, log: &SharedLog, dice: &mut Dice) {
    let at = write(world, log, dice).await;
    let until = Instant::now() + DELAY_MAX;
    let end = log.latest(&at).await.map_or(0, |end| end.0);
    let behind = || {
        world.shared.oracle(|oracle| {
            let readers = world.shared.topology.receivers(&at);
            readers.into_iter().find(|task| oracle.reading(*task).position(at.topic.as_str()) < end)
        })
    };
    while let Some(task) = behind() {
        if world.shared.oracle(|oracle| oracle.has_lost) {
            return;
        }
        if Instant::now() > until {
            let name = world.name(task);
            return world.shared.check(fail("I11 poison", format!("{name} is held up at a poisoned record of {at}")));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
