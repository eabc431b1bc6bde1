//! What becomes of tokens when partitions are joined.

use service_host::token::ResumeToken;

use super::*;

const FINGERPRINT: u64 = 7;

/// A token of one partition, as its owner makes it.
fn token_of(partition: u32) -> String {
    let token = ResumeToken {
        fingerprint: FINGERPRINT,
        partition,
        life: u32::MAX,
        sequence: 1 << 40,
        offset: 1 << 40,
        snapshot_after: None,
    };
    token.encode()
}

fn merged(partitions: u32) -> Merged {
    let tokens = (0..partitions).map(|partition| token::raw(token_of(partition).as_bytes()).unwrap());
    Merged {
        shape: StreamShape { request_token: 11, resume_token: 3, snapshot_complete: 4 },
        fingerprint: FINGERPRINT,
        tokens: tokens.collect(),
        complete: vec![false; partitions as usize],
        is_complete_told: false,
        parts: SelectAll::new(),
        until: Until::new(tokio_util::sync::CancellationToken::new(), None),
    }
}

/// The token in the problem that a caller is told when the owner of a partition gave its own.
fn told(partitions: u32) -> Option<String> {
    let of_owner = Problem::token_expired(5).with("resume_token", token_of(1));
    let told = merged(partitions).with_token(of_owner);
    assert_eq!(told.metadata["earliest"], "5");
    told.metadata.get("resume_token").cloned()
}

#[test]
fn a_problem_has_the_token_of_all_partitions_or_none() {
    let token = told(8).unwrap();
    let tokens = ResumeTokens::decode(&token, 8, FINGERPRINT).unwrap().unwrap().tokens;
    assert_eq!(tokens, merged(8).tokens);
    assert!(merged(200).token().len() > TOKEN_IN_TRAILERS_MAX);
    assert_eq!(told(200), None, "the token of one partition is none for the caller");
}
