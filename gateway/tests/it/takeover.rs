//! A partition that changes its owner: the gateway follows, waits within the deadline, and never guesses.

use std::time::Duration;

use gateway::{LocalOwner, Owner};
use proto::mesh::v1::read_consistency::Bound;
use proto::mesh::v1::{Eventual, ReadConsistency, Strong};
use proto::orders::v1::{CreateOrderRequest, GetOrderRequest, Order};
use service_host::Problem;
use tonic::Code;

use crate::fixture::{CREATE_ORDER, Fixture, GET_ORDER, Scripted, partition_of, remote};

fn get(bound: Option<Bound>) -> GetOrderRequest {
    let consistency = Some(ReadConsistency { bound });
    GetOrderRequest { order_id: "o-17".to_owned(), consistency, ..Default::default() }
}

/// A change that must not happen twice.
fn create() -> CreateOrderRequest {
    let order = Order { order_id: "o-17".to_owned(), ..Default::default() };
    CreateOrderRequest { order: Some(order), ..Default::default() }
}

fn local(owner: &Scripted) -> Owner {
    Owner::Local(LocalOwner::new(owner.service()))
}

fn not_owner(epoch: u64) -> Scripted {
    Scripted::new(move |_| {
        let refusal = Problem::not_owner("orders", 1, Some(epoch), Some(("new", "")));
        std::future::ready(refusal.into_http())
    })
}

#[tokio::test]
async fn a_hint_is_followed_at_once_by_changes_too() {
    let (old, new) = (not_owner(2), Scripted::answering(&()));
    let gateway = Fixture::new(&old).await;
    *gateway.owners.next.lock().unwrap() = Some(local(&new));
    assert_eq!(gateway.call(CREATE_ORDER, &create()).await.status.code(), Code::Ok);
    assert_eq!((old.seen().len(), new.seen().len()), (1, 1));
}

#[tokio::test]
async fn instances_that_name_each_other_are_asked_within_the_deadline_only() {
    let old = not_owner(1);
    let gateway = Fixture::new(&old).await;
    let message = prost::Message::encode_to_vec(&create());
    let answer = gateway.call_with(CREATE_ORDER, &[("grpc-timeout", "900m")], &message).await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "PARTITION_REBALANCING".to_owned()));
    assert!(answer.problem().retry_after.is_some());
    assert!(old.seen().len() < 20, "{} calls", old.seen().len());
}

#[tokio::test]
async fn an_owner_that_moves_is_waited_for_without_a_limit_of_tries() {
    let old = Scripted::new(|_| {
        let refusal = Problem::rebalancing("orders", 1).retry_after(Duration::from_millis(1));
        std::future::ready(refusal.into_http())
    });
    let new = Scripted::answering(&());
    let gateway = Fixture::new(&old).await;
    let (request, owners) = (create(), gateway.owners.clone());
    let answered = gateway.call(CREATE_ORDER, &request);
    let moved = async {
        while old.seen().len() < 10 {
            tokio::task::yield_now().await;
        }
        owners.claimed_by(local(&new));
    };
    assert_eq!(tokio::join!(answered, moved).0.status.code(), Code::Ok);
    assert_eq!(new.seen().len(), 1);
}

#[tokio::test]
async fn a_call_that_never_left_goes_to_the_next_owner_whatever_it_is() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: http::Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let new = Scripted::answering(&());
    let gateway = Fixture::with(remote(&address, 1), gateway::Config::default()).await;
    let (request, owners) = (create(), gateway.owners.clone());
    let answered = gateway.call(CREATE_ORDER, &request);
    let moved = async {
        while owners.asked.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        owners.claimed_by(local(&new));
    };
    assert_eq!(tokio::join!(answered, moved).0.status.code(), Code::Ok);
}

#[tokio::test]
async fn a_call_leaves_an_owner_that_stands_still_once_there_is_another() {
    let (still, new) = (Scripted::new(|_| std::future::pending()), Scripted::answering(&()));
    let gateway = Fixture::remote(&still).await;
    let (request, owners) = (get(None), gateway.owners.clone());
    let answered = gateway.call(GET_ORDER, &request);
    let moved = async {
        while still.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        owners.claimed_by(local(&new));
    };
    assert_eq!(tokio::join!(answered, moved).0.status.code(), Code::Ok);
}

#[tokio::test]
async fn without_an_owner_standbys_answer_reads_that_allow_it_and_no_others() {
    let (owner, standby) = (Scripted::answering(&()), Scripted::answering(&()));
    let behind = Scripted::new(|_| std::future::ready(Problem::not_up_to_bound().into_http()));
    let gateway = Fixture::new(&owner).await;
    gateway.owners.without.lock().unwrap().insert(partition_of(b"o-17"));
    *gateway.owners.standbys.lock().unwrap() = vec![local(&behind), local(&standby)];
    let code = async |bound| {
        let message = prost::Message::encode_to_vec(&get(bound));
        gateway.call_with(GET_ORDER, &[("grpc-timeout", "400m")], &message).await.status.code()
    };
    assert_eq!(code(Some(Bound::Eventual(Eventual {}))).await, Code::Ok);
    assert_eq!(code(Some(Bound::AtLeast("t".to_owned()))).await, Code::Ok);
    assert_eq!((behind.seen().len(), standby.seen().len()), (2, 2));
    assert_eq!(code(Some(Bound::Strong(Strong {}))).await, Code::Unavailable);
    assert_eq!(code(None).await, Code::Unavailable);
    assert_eq!((owner.seen().len(), standby.seen().len()), (0, 2));
}
