//! Watches through the gateway: what happens is told once and in order, whoever dies in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::orders::v1::{
    Order, OrderChange, OrderState, WaitFor, WatchOrderRequest, WatchOrderResponse, WatchOrdersRequest,
    WatchOrdersResponse,
};
use proto::shipping::v1::{ShipmentState, WatchShipmentsRequest};
use service_host::Clock;
use service_host::token::{self, ResumeToken};
use testkit::Mesh;
use tonic::{Code, Status, Streaming};

use crate::process::Process;
use crate::shop::{PATIENCE, Shop, named, order, reason, timed};

/// The next message that says something.
async fn news(stream: &mut Streaming<WatchOrdersResponse>) -> Result<WatchOrdersResponse, Status> {
    let next = async {
        loop {
            let message = stream.message().await?.expect("watches end with a status");
            if !message.changes.is_empty() || !message.orders.is_empty() {
                return Ok(message);
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("something happens")
}

async fn watch(shop: &Shop, request: WatchOrdersRequest) -> Result<Streaming<WatchOrdersResponse>, Status> {
    Ok(shop.orders.clone().watch_orders(timed(request)).await?.into_inner())
}

/// Ids and states of changes.
fn told(changes: &[OrderChange]) -> Vec<(&str, OrderState)> {
    changes.iter().map(|change| (change.order_id.as_str(), change.state())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_is_watched_from_its_snapshot_to_its_end() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.made_to_order("atlas").await;
    let judged = shop.judged(named("o-1", order("c-1", &[("atlas", 1)]))).await;
    shop.wait("o-1", WaitFor::Validated).await.unwrap();
    shop.shipment_at("o-1", ShipmentState::Waiting, "0/1").await;
    let request = WatchOrderRequest { order_id: "o-1".into(), snapshot: true, ..Default::default() };
    let mut stream = shop.orders.clone().watch_order(timed(request.clone())).await.unwrap().into_inner();
    let first: WatchOrderResponse = stream.message().await.unwrap().unwrap();
    let snapshot = first.order.unwrap();
    assert_eq!((snapshot.order_id.as_str(), snapshot.lines), ("o-1", judged.lines));
    assert!(first.snapshot_complete && first.changes.is_empty() && first.served_by.is_some());

    shop.report("o-1", "atlas", 1, "r-1").await.unwrap();
    let mut seen = BTreeMap::from([(snapshot.etag.parse::<u64>().unwrap(), snapshot.state)]);
    let mut last_token = first.resume_token;
    while !seen.values().any(|state| *state == i32::from(OrderState::Shipped)) {
        let message = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
        for change in message.changes {
            assert_eq!((change.order_id.as_str(), change.customer_id.as_str()), ("o-1", "c-1"));
            assert!(seen.insert(change.etag.parse().unwrap(), change.state).is_none(), "a version is told once");
        }
        last_token = message.resume_token;
    }
    let versions: Vec<u64> = seen.keys().copied().collect();
    assert_eq!(versions, (versions[0]..versions[0] + versions.len() as u64).collect::<Vec<_>>(), "none is left out");
    // Behind the last change there is nothing more: the first message only says where the watch stands.
    let again = WatchOrderRequest { resume_token: last_token.clone(), ..request };
    let mut stream = shop.orders.clone().watch_order(timed(again.clone())).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.order.is_none() && first.changes.is_empty() && !first.resume_token.is_empty());

    let fingerprint = token::fingerprint(&again);
    let partition = first.served_by.unwrap().partition.unsigned_abs();
    let mut made_up = ResumeToken::decode(&again.resume_token, partition, fingerprint).unwrap().unwrap();
    made_up.sequence += 1_000;
    let ahead = WatchOrderRequest { resume_token: made_up.encode(), ..again.clone() };
    let refused = shop.orders.clone().watch_order(timed(ahead)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::OutOfRange, "TOKEN_EXPIRED".to_owned()));

    let other = WatchOrderRequest { order_id: "o-2".into(), ..again };
    let refused = shop.orders.clone().watch_order(timed(other)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    let unknown = WatchOrderRequest { order_id: "o-2".into(), ..Default::default() };
    let refused = shop.orders.clone().watch_order(timed(unknown)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "ORDER_NOT_FOUND".to_owned()));
}

/// What one who watches has been told: the newest version of each order, and whose place in the snapshot has come.
#[derive(Default)]
struct Told {
    versions: BTreeMap<String, u64>,
    in_snapshot: BTreeSet<String>,
    is_complete: bool,
}

impl Told {
    fn take(&mut self, message: WatchOrdersResponse) {
        let version = |etag: &str| etag.parse::<u64>().unwrap();
        for order in message.orders {
            let known = self.versions.insert(order.order_id.clone(), version(&order.etag)).unwrap_or_default();
            assert!(known <= version(&order.etag), "{} goes back to {}", order.order_id, order.etag);
            assert!(self.in_snapshot.insert(order.order_id.clone()), "{} comes twice", order.order_id);
        }
        for change in message.changes {
            let told = version(&change.etag);
            if let Some(known) = self.versions.insert(change.order_id.clone(), told) {
                assert_eq!(told, known + 1, "{} is left out or repeated", change.order_id);
            }
        }
        self.is_complete |= message.snapshot_complete;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_in_many_pieces_breaks_off_and_goes_on_while_orders_change() {
    let mut config = Mesh::config();
    // Each order is a piece by itself.
    config.watches.batch_bytes = 1;
    let mesh = Mesh::with(config, Clock::system()).await;
    let shop = Shop::new(mesh.channel());
    shop.made_to_order("atlas").await;
    let ids: Vec<String> = (0..40).map(|n| format!("o-{n}")).collect();
    let (before, meanwhile) = ids.split_at(30);
    for order_id in before {
        shop.judged(named(order_id, order("c-1", &[("atlas", 1)]))).await;
    }
    let changing = async {
        for (n, order_id) in before.iter().enumerate() {
            shop.cancel(order_id).await.unwrap();
            if n % 3 == 0 {
                let new = &meanwhile[n / 3];
                shop.create(named(new, order("c-1", &[("atlas", 1)]))).await.unwrap();
                shop.cancel(new).await.unwrap();
            }
        }
    };
    let mut request = WatchOrdersRequest { snapshot: true, ..Default::default() };
    let mut told = Told::default();
    let watching = async {
        let mut breaks = 0;
        while !(told.is_complete && told.versions.len() == ids.len()) {
            let mut stream = watch(&shop, request.clone()).await.unwrap();
            for _ in 0..5 {
                let message = stream.message().await.unwrap().unwrap();
                request.resume_token.clone_from(&message.resume_token);
                told.take(message);
            }
            breaks += 1;
        }
        breaks
    };
    let (breaks, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(watching, changing) }).await.unwrap();
    assert!(breaks > 5, "{breaks}");
    assert!(before.iter().all(|order_id| told.in_snapshot.contains(order_id)), "{:?}", told.in_snapshot);
    // Whatever has not been told yet follows.
    let mut stream = watch(&shop, request).await.unwrap();
    for order in shop.all_orders().await {
        while told.versions[&order.order_id].to_string() != order.etag {
            told.take(tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_orders_are_watched_with_filters_over_all_partitions() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 100).await;
    for n in 0..10 {
        shop.judged(named(&format!("before-{n}"), order(&format!("c-{}", n % 2), &[("jumpers", 1)]))).await;
        shop.wait(&format!("before-{n}"), WaitFor::Shipped).await.unwrap();
    }
    let everything = WatchOrdersRequest { snapshot: true, ..Default::default() };
    let mut everything = watch(&shop, everything).await.unwrap();
    let of_one = WatchOrdersRequest { customer_id: "c-1".into(), snapshot: true, ..Default::default() };
    let mut of_one = watch(&shop, of_one).await.unwrap();
    let shipped = WatchOrdersRequest { state: OrderState::Shipped.into(), ..Default::default() };
    let mut shipped = watch(&shop, shipped).await.unwrap();

    let first = news(&mut everything).await.unwrap();
    assert_eq!(first.served_by.len(), 4);
    let mut orders: Vec<Order> = first.orders;
    let mut is_complete = first.snapshot_complete;
    while !is_complete {
        let more = everything.message().await.unwrap().unwrap();
        orders.extend(more.orders);
        is_complete = more.snapshot_complete;
    }
    assert_eq!(orders.iter().map(|order| &order.order_id).collect::<BTreeSet<_>>().len(), 10);
    assert_eq!(news(&mut of_one).await.unwrap().orders.len(), 5);
    assert!(shipped.message().await.unwrap().unwrap().orders.is_empty(), "a snapshot comes when it is asked for");

    for n in 0..6 {
        shop.create(named(&format!("o-{n}"), order(&format!("c-{}", n % 2), &[("jumpers", 1)]))).await.unwrap();
    }
    let mut all = BTreeMap::<String, Vec<i32>>::new();
    while all.values().map(Vec::len).sum::<usize>() < 18 {
        for change in news(&mut everything).await.unwrap().changes {
            assert_eq!(change.order.is_some(), change.state() == OrderState::Created);
            all.entry(change.order_id).or_default().push(change.state);
        }
    }
    let life = [OrderState::Created, OrderState::Validated, OrderState::Shipped].map(i32::from).to_vec();
    assert_eq!(all, (0..6).map(|n| (format!("o-{n}"), life.clone())).collect());
    let mut count = 0;
    while count < 9 {
        let changes = news(&mut of_one).await.unwrap().changes;
        assert!(told(&changes).iter().all(|(order_id, _)| ["o-1", "o-3", "o-5"].contains(order_id)), "{changes:?}");
        count += changes.len();
    }
    let mut ids = BTreeSet::new();
    while ids.len() < 6 {
        let changes = news(&mut shipped).await.unwrap().changes;
        assert!(changes.iter().all(|change| change.state() == OrderState::Shipped));
        ids.extend(changes.into_iter().map(|change| change.order_id));
    }

    let shipments = WatchShipmentsRequest { snapshot: true, ..Default::default() };
    let mut shipments = shop.shipping.clone().watch_shipments(timed(shipments)).await.unwrap().into_inner();
    assert_eq!(shipments.message().await.unwrap().unwrap().shipments.len(), 16);
    shop.create(named("last", order("c-1", &[("jumpers", 1)]))).await.unwrap();
    let change = loop {
        if let Some(change) = shipments.message().await.unwrap().unwrap().changes.pop() {
            break change;
        }
    };
    assert_eq!((change.order_id.as_str(), change.state()), ("last", ShipmentState::Shipped));
}

/// Every state of every order, and the versions in between, from watches that are broken off and taken up again.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_a_kill_without_gap_or_repeat() {
    const ORDERS: usize = 40;
    let data = tempfile::tempdir().unwrap();
    let mut process = Process::start(data.path(), &[]);
    Shop::new(process.channel()).stock("jumpers", 1_000).await;
    let mut versions = BTreeMap::<String, Vec<u64>>::new();
    let mut sequences = BTreeMap::<i32, i64>::new();
    let mut resume_token = String::new();
    let is_over = |versions: &BTreeMap<String, Vec<u64>>| {
        versions.values().filter(|versions| versions.len() == 3).count() == ORDERS
    };
    let (mut created, mut kills) = (0, 0);
    while !is_over(&versions) {
        let shop = Shop::new(process.channel());
        let request = WatchOrdersRequest { resume_token: resume_token.clone(), ..Default::default() };
        let mut stream = watch(&shop, request).await.unwrap();
        let mut seen = 0;
        while !is_over(&versions) {
            let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("checkpoints come");
            let message = message.unwrap().unwrap();
            resume_token = message.resume_token;
            for change in message.changes {
                let last = sequences.insert(change.partition, change.sequence).unwrap_or_default();
                assert!(last < change.sequence, "{change:?} after {last}");
                versions.entry(change.order_id).or_default().push(change.etag.parse().unwrap());
                seen += 1;
            }
            if seen == 0 && created < ORDERS {
                for _ in 0..5 {
                    let wanted = order(&format!("c-{created}"), &[("jumpers", 1)]);
                    let wanted = named(&format!("o-{created}"), wanted);
                    shop.create_as(wanted, &format!("r-{created}")).await.unwrap();
                    created += 1;
                }
            }
            if seen > 6 && created < ORDERS {
                // In the middle of what the last orders set off.
                process.kill();
                kills += 1;
                process = Process::start(data.path(), &[]);
                break;
            }
        }
    }
    assert!(kills > 2, "only {kills} kills");
    assert!(versions.values().all(|versions| *versions == [1, 2, 3]), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_cut_off_and_goes_on_where_it_was() {
    let mut config = Mesh::config();
    config.mesh.partitions = 1;
    config.watches.buffer_bytes = 16 << 10;
    let mesh = Mesh::with(config, service_host::Clock::system()).await;
    let shop = Shop::new(mesh.channel());
    // A window of the least size: what the client does not read stays with the server.
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", mesh.address())).unwrap();
    let narrow = endpoint.initial_stream_window_size(1_024).initial_connection_window_size(65_535);
    let slow = Shop::new(narrow.connect().await.unwrap());
    let mut stream = watch(&slow, WatchOrdersRequest::default()).await.unwrap();
    let mut quick = watch(&shop, WatchOrdersRequest::default()).await.unwrap();
    let mut quick_ids = Vec::new();
    for n in 0..200 {
        shop.create(named(&format!("o-{n}"), order(&format!("c-{n}"), &[("nothing", 1)]))).await.unwrap();
    }
    while quick_ids.len() < 400 {
        quick_ids.extend(news(&mut quick).await.unwrap().changes.into_iter().map(|change| change.sequence));
    }
    let mut ids = Vec::new();
    let mut token = String::new();
    let status = loop {
        match stream.message().await {
            Ok(message) => {
                let message = message.expect("watches end with a status");
                ids.extend(message.changes.into_iter().map(|change| change.sequence));
                token = message.resume_token;
            }
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, "SLOW_READER".to_owned()));
    let problem = service_host::Problem::from(&status);
    assert_eq!(problem.metadata["resume_token"], token, "the last token is in the refusal too");
    assert!(ids.len() < 400);
    let mut stream = watch(&slow, WatchOrdersRequest { resume_token: token, ..Default::default() }).await.unwrap();
    while ids.len() < 400 {
        ids.extend(news(&mut stream).await.unwrap().changes.into_iter().map(|change| change.sequence));
    }
    assert_eq!(ids, quick_ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_have_a_limit_a_deadline_and_an_end() {
    let mut config = Mesh::config();
    config.watches.watches_max = 8;
    config.watches.checkpoint_interval = Duration::from_millis(50);
    let mesh = Mesh::with(config, service_host::Clock::system()).await;
    let shop = Shop::new(mesh.channel());
    let mut first = watch(&shop, WatchOrdersRequest::default()).await.unwrap();
    let second = watch(&shop, WatchOrdersRequest::default()).await.unwrap();
    let refused = watch(&shop, WatchOrdersRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "OVERLOADED".to_owned()));
    let tokens = [first.message().await, first.message().await].map(|message| message.unwrap().unwrap().resume_token);
    assert!(tokens.iter().all(|token| !token.is_empty()), "silence is broken by tokens");
    drop(second);
    let hurried = async || {
        let mut request = tonic::Request::new(WatchOrdersRequest::default());
        request.set_timeout(Duration::from_millis(300));
        shop.orders.clone().watch_orders(request).await
    };
    let mut hurried = crate::shop::eventually("room for one more", async || hurried().await.ok()).await.into_inner();
    let late = loop {
        if let Err(status) = hurried.message().await {
            break status;
        }
    };
    assert_eq!(late.code(), Code::DeadlineExceeded);

    let stopping = tokio::spawn(mesh.stop());
    let end = loop {
        match first.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("watches end with a status"),
            Err(status) => break status,
        }
    };
    assert_eq!((end.code(), reason(&end)), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    assert!(service_host::Problem::from(&end).metadata.contains_key("resume_token"));
    assert_eq!(stopping.await.unwrap().connections_cut, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_malformed_is_refused_with_everything_that_is_wrong() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    let fields = |refused: Status| {
        assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
        let violations = service_host::Problem::from(&refused).violations;
        violations.into_iter().map(|fault| fault.field).collect::<Vec<_>>()
    };
    let garbage = WatchOrdersRequest { resume_token: "garbage".into(), ..Default::default() };
    assert_eq!(fields(watch(&shop, garbage.clone()).await.unwrap_err()), ["resume_token"]);
    let worse = WatchOrdersRequest { customer_id: "c 1".into(), state: 77, ..garbage };
    assert_eq!(fields(watch(&shop, worse).await.unwrap_err()), ["customer_id", "state", "resume_token"]);
    let one = WatchOrderRequest { order_id: "o-1".into(), resume_token: "garbage".into(), ..Default::default() };
    assert_eq!(fields(shop.orders.clone().watch_order(timed(one)).await.unwrap_err()), ["resume_token"]);
    mesh.stop().await;
}

/// What a watch may cost the process, in bytes: connection, call, joined partitions and all.
const WATCH_BYTES_MAX: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watches_cost_little_and_each_sees_its_own() {
    const WATCHES: usize = 1_000;
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let shop = Shop::new(process.channel());
    for n in 0..20 {
        shop.judged(named(&format!("warm-{n}"), order(&format!("w-{n}"), &[("nothing", 1)]))).await;
    }
    // One watch first, so that what all of them share is there.
    let _first = watch(&shop, WatchOrdersRequest::default()).await.unwrap();
    let before = process.resident_bytes();
    let mut streams = Vec::new();
    for connection in 0..4 {
        let shop = Shop::new(process.channel());
        for n in connection * WATCHES / 4..(connection + 1) * WATCHES / 4 {
            let request = WatchOrdersRequest { customer_id: format!("c-{n}"), ..Default::default() };
            let mut stream = watch(&shop, request).await.unwrap();
            stream.message().await.unwrap().unwrap();
            streams.push(stream);
        }
    }
    let each = process.resident_bytes().saturating_sub(before) / WATCHES;
    println!("{each} bytes for each of {WATCHES} watches of {} partitions", 4);
    for n in (0..WATCHES).step_by(50) {
        shop.create(named(&format!("o-{n}"), order(&format!("c-{n}"), &[("nothing", 1)]))).await.unwrap();
    }
    for n in (0..WATCHES).step_by(50) {
        let message = news(&mut streams[n]).await.unwrap();
        assert_eq!(told(&message.changes)[0], (format!("o-{n}").as_str(), OrderState::Created));
    }
    assert!(each <= WATCH_BYTES_MAX, "{each} bytes for each watch");
}
