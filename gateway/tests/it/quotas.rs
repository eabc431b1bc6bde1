//! How often one caller may call: what is refused, with which advice, and whose calls count.

use std::time::Duration;

use gateway::{Config, LocalOwner, Owner, RateLimitConfig};
use service_host::{AccessTokens, Problem};
use tokio::time::{Instant, sleep_until};
use tonic::Code;

use crate::fixture::{Fixture, GET_ORDER, Scripted, framed};

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const HEARTBEAT: &str = "/ordermesh.mesh.v1.PeerService/Heartbeat";
/// Calls at once.
const BURST: u32 = 5;

fn limited(calls_per_second: u32) -> Config {
    let rate_limit = RateLimitConfig { calls_per_second, burst: BURST, ..RateLimitConfig::default() };
    Config { rate_limit, ..Config::default() }
}

/// Calls until one is refused, which it must be before long: how many were let in, and the refusal.
async fn until_refused(gateway: &Fixture, headers: &[(&'static str, &str)]) -> (u32, Problem) {
    for admitted in 0..1_000 {
        let answer = gateway.call_raw(GET_ORDER, headers, framed(b"\x0a\x03o-1")).await;
        if answer.status.code() != Code::Ok {
            return (admitted, answer.problem());
        }
    }
    panic!("nothing is refused");
}

#[tokio::test]
async fn a_caller_over_its_quota_is_told_when_to_come_back_and_let_in_then() {
    let owner = Scripted::answering(&());
    let gateway = Fixture::configured(&owner, limited(1)).await;
    let (admitted, refused) = until_refused(&gateway, &[]).await;
    assert!(admitted >= BURST, "{admitted}");
    assert_eq!((refused.code, refused.reason.as_ref()), (service_host::Code::ResourceExhausted, "RATE_LIMITED"));
    let retry_after = refused.retry_after.unwrap();
    assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_secs(1), "{retry_after:?}");
    assert_eq!(owner.seen().len(), admitted as usize, "no owner hears of what is refused");
    sleep_until(Instant::now() + retry_after).await;
    assert_eq!(gateway.call_raw(GET_ORDER, &[], framed(b"\x0a\x03o-1")).await.status.code(), Code::Ok);
}

#[tokio::test]
async fn health_reflection_and_what_is_not_of_the_public_api_count_towards_no_quota() {
    let owner = Scripted::answering(&());
    let gateway = Fixture::configured(&owner, limited(1)).await;
    until_refused(&gateway, &[]).await;
    for _ in 0..2 * BURST {
        for path in [HEALTH, REFLECTION] {
            assert_eq!(gateway.call_raw(path, &[], framed(b"")).await.status.code(), Code::Ok, "{path}");
        }
        let internal = gateway.call_raw(HEARTBEAT, &[], framed(b"")).await.refusal();
        assert_eq!(internal, (Code::PermissionDenied, "INTERNAL_METHOD".to_owned()));
    }
}

#[tokio::test]
async fn each_token_has_a_quota_of_its_own() {
    let owner = Scripted::answering(&());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    std::fs::write(&file, "one one-one-one-one-one read\ntwo two-two-two-two-two read\n").unwrap();
    let tokens = Some(AccessTokens::open(&file).unwrap());
    let owner_of_all = Owner::Local(LocalOwner::new(owner.service()));
    let gateway = Fixture::guarded(owner_of_all, limited(1), tokens).await;
    for token in ["Bearer one-one-one-one-one", "Bearer two-two-two-two-two"] {
        let (admitted, refused) = until_refused(&gateway, &[("authorization", token)]).await;
        assert!(admitted >= BURST, "{token}: {admitted}");
        assert_eq!(refused.reason, "RATE_LIMITED");
    }
    assert_eq!(until_refused(&gateway, &[]).await.1.reason, "TOKEN_MISSING");
}

#[tokio::test]
async fn without_a_setting_nobody_is_limited() {
    let owner = Scripted::answering(&());
    let gateway = Fixture::new(&owner).await;
    for _ in 0..300 {
        assert_eq!(gateway.call_raw(GET_ORDER, &[], framed(b"\x0a\x03o-1")).await.status.code(), Code::Ok);
    }
}
