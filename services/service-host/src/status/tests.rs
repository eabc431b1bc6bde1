//! Every row of the documented table has its code, reason and facts, and survives the way through gRPC.

#![expect(clippy::disallowed_methods, reason = "statuses of others, which are explained here")]

use std::time::Duration;

use super::*;

fn check(problem: Problem, code: tonic::Code, reason: &str, facts: &[(&str, &str)]) {
    let status = Status::from(problem.clone());
    assert_eq!(status.code(), code, "{reason}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "ordermesh"));
    for (key, value) in facts {
        assert_eq!(info.metadata.get(*key).map(String::as_str), Some(*value), "{reason} {key}");
    }
    let headers = status.into_http::<tonic::body::Body>().into_parts().0.headers;
    let read = Status::from_header_map(&headers).unwrap();
    assert_eq!(Problem::from(&read), problem, "{reason} comes back from the wire");
    assert_eq!(explain(&read), None, "{reason} needs no further explanation");
}

#[test]
fn every_documented_problem_has_its_code_reason_and_facts() {
    use tonic::Code as C;
    let second = Duration::from_secs(1);
    check(Problem::invalid_field("a.b", "must not be blank"), C::InvalidArgument, "INVALID_FIELD", &[]);
    check(Problem::request_id_reused("r"), C::InvalidArgument, "REQUEST_ID_REUSED", &[("request_id", "r")]);
    check(Problem::not_found("order", "o-1"), C::NotFound, "ORDER_NOT_FOUND", &[("order_id", "o-1")]);
    check(Problem::not_found("work order", "o-1"), C::NotFound, "WORK_ORDER_NOT_FOUND", &[("work_order_id", "o-1")]);
    check(Problem::already_exists("order", "o-1"), C::AlreadyExists, "ORDER_EXISTS", &[("order_id", "o-1")]);
    check(Problem::version_conflict(3, "2"), C::Aborted, "VERSION_CONFLICT", &[("current", "3"), ("wanted", "2")]);
    let facts = [("state", "SHIPPED"), ("command", "CancelOrder")];
    check(Problem::illegal_transition("SHIPPED", "CancelOrder"), C::FailedPrecondition, "ILLEGAL_TRANSITION", &facts);
    let facts = [("topic", "orders"), ("partition", "2"), ("epoch", "7"), ("owner_id", "a"), ("owner_addr", "h:1")];
    check(Problem::not_owner("orders", 2, Some(7), Some(("a", "h:1"))), C::FailedPrecondition, "NOT_OWNER", &facts);
    check(Problem::not_up_to_bound(), C::FailedPrecondition, "NOT_UP_TO_BOUND", &[]);
    check(Problem::rebalancing("orders", 2), C::Unavailable, "PARTITION_REBALANCING", &[("partition", "2")]);
    check(Problem::overloaded("it"), C::Unavailable, "OVERLOADED", &[]);
    check(Problem::rate_limited(second), C::ResourceExhausted, "RATE_LIMITED", &[]);
    check(Problem::token_expired(9), C::OutOfRange, "TOKEN_EXPIRED", &[("earliest", "9")]);
    check(Problem::deadline_exceeded("CREATED"), C::DeadlineExceeded, "DEADLINE_EXCEEDED", &[("stage", "CREATED")]);
    check(Problem::message_too_large(Some(8)), C::ResourceExhausted, "MESSAGE_TOO_LARGE", &[("limit_bytes", "8")]);
    check(Problem::unknown_method("/a/B"), C::Unimplemented, "UNKNOWN_METHOD", &[]);
    check(Problem::internal(), C::Internal, "INTERNAL", &[]);
}

#[test]
fn those_worth_another_try_say_when() {
    for problem in
        [Problem::rebalancing("r", 0), Problem::overloaded("it"), Problem::rate_limited(Duration::from_secs(2))]
    {
        let status = Status::from(problem.clone());
        assert_eq!(status.get_error_details().retry_info().unwrap().retry_delay, problem.retry_after);
        assert!(problem.retry_after.is_some());
    }
}

#[test]
fn all_field_faults_come_at_once() {
    let faults = ["a", "b", "c"].map(|field| Violation { field: field.into(), description: "is bad".into() });
    let status = Status::from(Problem::invalid_fields(faults.to_vec()));
    assert_eq!(status.message(), "a is bad (and 2 more)");
    assert_eq!(Problem::from(&status).violations, faults);
}

#[test]
fn of_very_many_partitions_that_do_not_answer_the_first_are_named() {
    let names: Vec<_> = (0..4_096).map(|partition| format!("notifications-{partition}")).collect();
    let few = Problem::partitions_unreachable(&names[..2]);
    assert_eq!(few.metadata["unreachable"], "notifications-0,notifications-1");
    assert!(!few.message.contains("more"), "{}", few.message);
    let many = Problem::partitions_unreachable(&names);
    assert!(many.message.contains("(3996 more than are named)"), "{}", many.message);
    // In base64 and with what else an answer says, some clients take no more than 8 KiB.
    assert!(many.metadata["unreachable"].len() < 3 << 10);
}

#[test]
fn statuses_of_tonic_itself_get_their_place_in_the_table() {
    let too_large = "Error, decoded message length too large: found 5242880 bytes, the limit is: 1048576 bytes";
    let garbage = "failed to decode Protobuf message: Order.order_id: invalid wire type";
    let cases = [
        (tonic::Code::OutOfRange, too_large, Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        (tonic::Code::Internal, garbage, Code::InvalidArgument, "INVALID_FIELD"),
        (tonic::Code::Internal, "Missing request message.", Code::InvalidArgument, "INVALID_FIELD"),
        (tonic::Code::Unimplemented, "", Code::Unimplemented, "UNKNOWN_METHOD"),
        (tonic::Code::Cancelled, "Timeout expired", Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (tonic::Code::Internal, "h2 protocol error", Code::Internal, "INTERNAL"),
        (tonic::Code::NotFound, "service not registered", Code::NotFound, "NOT_FOUND"),
    ];
    for (code, message, wanted, reason) in cases {
        let problem = explain(&Status::new(code, message)).unwrap();
        assert_eq!((problem.code, problem.reason.as_ref()), (wanted, reason), "{message}");
    }
    let problem = explain(&Status::new(tonic::Code::OutOfRange, too_large)).unwrap();
    assert_eq!(problem.metadata["limit_bytes"], "1048576");
    assert_eq!(explain(&Status::new(tonic::Code::Ok, "")), None);
}
