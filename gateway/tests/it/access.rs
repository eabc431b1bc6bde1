//! Tokens at the entry: who gets in, what each role may call, and what an owner never sees.

use std::time::Duration;

use futures::FutureExt;
use gateway::{Config, LocalOwner, Owner};
use http_body_util::BodyExt;
use service_host::{AccessTokens, Problem, headers};
use tonic::{Code, Status};

use crate::fixture::{
    CREATE_ORDER, Fixture, GET_ORDER, LIST_ORDERS, Scripted, WATCH_ORDER, WATCH_ORDERS, beginning, framed,
};

/// For what must happen; never waited for when it does.
const SOON: Duration = Duration::from_secs(20);

const REPLAY: &str = "/ordermesh.mesh.v1.DeadLetterService/ReplayDeadLetter";
const HEARTBEAT: &str = "/ordermesh.mesh.v1.PeerService/Heartbeat";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

async fn guarded(owner: &Scripted) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let text = "reader reader-reader-reader read\nwriter writer-writer-writer\noperator operator-operator operate\n";
    std::fs::write(&file, text).unwrap();
    guarded_by(owner, AccessTokens::open(&file).unwrap()).await
}

async fn guarded_by(owner: &Scripted, tokens: AccessTokens) -> Fixture {
    Fixture::guarded(Owner::Local(LocalOwner::new(owner.service())), Config::default(), Some(tokens)).await
}

async fn refusal(gateway: &Fixture, path: &str, token: Option<&str>) -> (Code, String) {
    let token = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&'static str, &str)> = token.iter().map(|token| ("authorization", token.as_str())).collect();
    gateway.call_raw(path, &headers, framed(b"")).await.refusal()
}

#[tokio::test]
async fn nobody_calls_without_a_token_that_is_known() {
    let owner = Scripted::answering(&());
    let gateway = guarded(&owner).await;
    for path in [GET_ORDER, CREATE_ORDER, LIST_ORDERS, REPLAY, HEARTBEAT, REFLECTION, "/nothing.of/Ours"] {
        let missing = refusal(&gateway, path, None).await;
        assert_eq!(missing, (Code::Unauthenticated, "TOKEN_MISSING".to_owned()), "{path}");
        let unknown = refusal(&gateway, path, Some("guess-guess-guess")).await;
        assert_eq!(unknown, (Code::Unauthenticated, "TOKEN_UNKNOWN".to_owned()), "{path}");
    }
    assert!(owner.seen().is_empty());
    assert_eq!(refusal(&gateway, HEALTH, None).await.0, Code::Ok, "probes have no tokens");
    assert_eq!(refusal(&gateway, REFLECTION, Some("reader-reader-reader")).await.0, Code::Ok);
}

#[tokio::test]
async fn each_role_calls_what_it_may_and_nothing_else() {
    let owner = Scripted::answering(&());
    let gateway = guarded(&owner).await;
    let roles = ["reader-reader-reader", "writer-writer-writer", "operator-operator"];
    // The least role, by its place among them.
    for (path, least) in [(GET_ORDER, 0), (LIST_ORDERS, 0), (CREATE_ORDER, 1), (REPLAY, 2)] {
        for (role, token) in roles.iter().enumerate() {
            let (code, reason) = refusal(&gateway, path, Some(token)).await;
            let is_refused = (code, reason.as_str()) == (Code::PermissionDenied, "ROLE_MISSING");
            assert_eq!(is_refused, role < least, "{path} as {token}: {code:?} {reason}");
        }
    }
}

#[tokio::test]
async fn an_owner_sees_neither_tokens_nor_what_a_client_says_in_the_name_of_an_instance() {
    let owner = Scripted::answering(&());
    let gateway = guarded(&owner).await;
    let sent = [
        ("authorization", "Bearer reader-reader-reader"),
        (headers::PEER_SECRET, "stolen"),
        ("x-request-label", "kept"),
    ];
    assert_eq!(gateway.call_raw(LIST_ORDERS, &sent, framed(b"")).await.status.code(), Code::Ok);
    for seen in owner.seen() {
        assert_eq!((seen.header("authorization"), seen.header(headers::PEER_SECRET)), (None, None));
        assert_eq!(seen.header("x-request-label"), Some("kept"));
    }
    assert!(!owner.seen().is_empty());
}

#[tokio::test]
async fn what_instances_say_to_each_other_is_refused_from_outside() {
    let owner = Scripted::answering(&());
    let open = Fixture::new(&owner).await;
    assert_eq!(refusal(&open, HEARTBEAT, None).await, (Code::PermissionDenied, "INTERNAL_METHOD".to_owned()));
    let gateway = guarded(&owner).await;
    let refused = refusal(&gateway, HEARTBEAT, Some("operator-operator")).await;
    assert_eq!(refused, (Code::PermissionDenied, "INTERNAL_METHOD".to_owned()));
    assert!(owner.seen().is_empty());
}

#[tokio::test]
async fn a_watch_ends_when_its_token_is_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    std::fs::write(&file, "left left-left-left-left\nstays stays-stays-stays\n").unwrap();
    let tokens = AccessTokens::open(&file).unwrap();
    let gateway = guarded_by(&beginning(), tokens.clone()).await;
    for path in [WATCH_ORDER, WATCH_ORDERS] {
        let watch = async |token: &'static str| {
            let authorization = format!("Bearer {token}");
            let mut watch = gateway.open(path, &[("authorization", &authorization)], framed(b"\x0a\x01o")).await;
            let begun = tokio::time::timeout(SOON, watch.frame()).await.expect("it begins");
            assert!(begun.unwrap().unwrap().is_data(), "{path}");
            watch
        };
        std::fs::write(&file, "left left-left-left-left\nstays stays-stays-stays\n").unwrap();
        tokens.renewal().renew().unwrap();
        let (mut left, mut stays) = (watch("left-left-left-left").await, watch("stays-stays-stays").await);

        std::fs::write(&file, "stays stays-stays-stays\n").unwrap();
        assert!(tokens.renewal().renew().unwrap());
        let end = tokio::time::timeout(SOON, left.frame()).await.expect("it ends").unwrap().unwrap();
        let end = Status::from_header_map(&end.into_trailers().unwrap()).unwrap();
        assert_eq!((end.code(), &*Problem::from(&end).reason), (Code::Unauthenticated, "TOKEN_UNKNOWN"), "{path}");
        assert!(stays.frame().now_or_never().is_none(), "{path}: the other goes on");
    }
}
