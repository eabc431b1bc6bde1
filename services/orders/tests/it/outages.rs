//! What callers are told while the log does not answer.

use std::time::Duration;

use proto::mesh::v1::read_consistency::Bound;
use proto::mesh::v1::{Eventual, ReadConsistency};
use proto::orders::v1::{self as api, WaitFor};
use service_host::{Owner, Problem, WatchConfig, Watches};
use task_runtime::{Assignment, Role};
use testkit::{Running, TroubledLog};
use tonic::{Code, Status};

use crate::{Client, PATIENCE, create, patient, problem, wish};

/// How long calls wait here for a log that does not answer.
const LOG_WAIT_MAX: Duration = Duration::from_millis(100);

async fn start() -> (TroubledLog, Running, Client) {
    let started = starting(TroubledLog::default(), Assignment::Alone).await;
    started.1.is_ready().await;
    started
}

/// The same on a log that may not let the task run.
async fn starting(troubled: TroubledLog, assignment: Assignment) -> (TroubledLog, Running, Client) {
    let config = orders::Config::default();
    let (log, availability) = troubled.watched();
    let running = Running::starting_on(log, vec![orders::definition(&config)], 1, assignment).await;
    let owner = Owner::new(running.tasks(), "test-1").with_log(availability, LOG_WAIT_MAX);
    let watches = Watches::new(WatchConfig::default(), running.log(), 1);
    let client = Client::new(orders::server(owner, &watches, &config));
    (troubled, running, client)
}

fn repeatable(order_id: &str) -> api::CreateOrderRequest {
    api::CreateOrderRequest { request_id: order_id.into(), ..wish(order_id, "c-1") }
}

fn get(order_id: &str, bound: Option<Bound>, wait_for: WaitFor) -> tonic::Request<api::GetOrderRequest> {
    let consistency = bound.map(|bound| ReadConsistency { bound: Some(bound) });
    patient(api::GetOrderRequest { order_id: order_id.into(), consistency, wait_for: wait_for.into() })
}

/// Whether the call was told that the log is away, and when to come again.
fn log_away(status: &Status) -> Problem {
    let problem = problem(status);
    assert_eq!((status.code(), &*problem.reason), (Code::Unavailable, "LOG_UNAVAILABLE"), "{status:?}");
    assert!(problem.retry_after.is_some());
    problem
}

#[tokio::test]
async fn a_change_whose_outcome_the_log_does_not_tell_is_unknown_and_can_be_repeated_by_its_request_id() {
    let (log, running, mut client) = start().await;
    log.refuse(true, false);
    // On their way when nobody knew of the outage yet.
    let (mut second, mut third) = (client.clone(), client.clone());
    let (named, unnamed) = tokio::join!(second.create_order(repeatable("o-1")), third.create_order(wish("o-2", "c-1")));
    assert!(log_away(&named.unwrap_err()).message.contains("with the same request_id"));
    let unnamed = unnamed.unwrap_err();
    assert_eq!(problem(&unnamed).reason, "OUTCOME_UNKNOWN");
    // Refused at once: nothing has happened, with or without an id.
    assert!(log_away(&client.create_order(wish("o-3", "c-1")).await.unwrap_err()).message.ends_with("try again"));

    log.refuse(false, false);
    let order = tokio::time::timeout(PATIENCE, async {
        loop {
            match client.create_order(repeatable("o-1")).await {
                Ok(created) => return created.into_inner().order.unwrap(),
                Err(status) => drop(log_away(&status)),
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(order.await.unwrap().etag, "1", "created once");
    assert_eq!(client.get_order(get("o-3", None, WaitFor::Unspecified)).await.unwrap_err().code(), Code::NotFound);
    running.stop().await;
}

#[tokio::test]
async fn reads_that_need_the_log_are_told_that_it_is_away_and_others_are_answered() {
    let (log, running, mut client) = start().await;
    create(&mut client, "o-1").await;
    log.refuse(true, false);
    log_away(&client.create_order(repeatable("o-2")).await.unwrap_err());
    // A log that takes nothing can still be read; but nothing that is waited for can come.
    client.get_order(get("o-1", None, WaitFor::Unspecified)).await.unwrap();
    let waited = log_away(&client.get_order(get("o-1", None, WaitFor::Validated)).await.unwrap_err());
    assert!(waited.message.contains("may come later"), "{waited:?}");

    log.refuse(true, true);
    log_away(&client.get_order(get("o-1", None, WaitFor::Unspecified)).await.unwrap_err());
    let eventual = Some(Bound::Eventual(Eventual {}));
    client.get_order(get("o-1", eventual, WaitFor::Unspecified)).await.unwrap();
    log.refuse(false, false);
    running.stop().await;
}

#[tokio::test]
async fn a_task_that_cannot_claim_since_the_log_takes_nothing_is_not_waited_for() {
    for assignment in [Assignment::Alone, Assignment::Managed(Role::Active)] {
        let log = TroubledLog::default();
        log.refuse(true, false);
        let (log, running, mut client) = starting(log, assignment).await;
        for bound in [None, Some(Bound::Eventual(Eventual {}))] {
            let told = tokio::time::timeout(PATIENCE, async {
                loop {
                    let read = get("o-1", bound.clone(), WaitFor::Unspecified);
                    let status = client.get_order(read).await.unwrap_err();
                    // As long as the task may well be moving.
                    if problem(&status).reason != "PARTITION_REBALANCING" {
                        return log_away(&status);
                    }
                }
            });
            told.await.unwrap();
        }

        log.refuse(false, false);
        running.is_ready().await;
        let read = get("o-1", None, WaitFor::Unspecified);
        assert_eq!(client.get_order(read).await.unwrap_err().code(), Code::NotFound);
        running.stop().await;
    }
}
