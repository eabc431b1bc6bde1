//! What a file of tokens may say, and who gets in with what.

use credentials::Secret;
use futures::FutureExt;
use http::HeaderMap;

use super::file::parse;
use super::*;
use crate::Code;

/// What `printf %s correct-horse-battery | sha256sum` prints.
const HASHED: &str = "sha256:62249369389075490555a758353aec61500c6218fa597252d52dc4bd0148f12d";

fn table(text: &str) -> Result<Table, String> {
    parse(&Secret::new(text))
}

#[test]
fn a_file_has_one_token_a_line() {
    let text =
        format!("# tokens\n\nshop 0123456789abcdef\ngrafana\tfedcba9876543210   read\n  on-call {HASHED} operate  ");
    let table = table(&text).unwrap();
    let known =
        |token: &str| table.find(&sha256(token.as_bytes())).map(|holder| (holder.name.to_string(), holder.role));
    assert_eq!(known("0123456789abcdef"), Some(("shop".to_owned(), Role::Write)));
    assert_eq!(known("fedcba9876543210"), Some(("grafana".to_owned(), Role::Read)));
    assert_eq!(known("correct-horse-battery"), Some(("on-call".to_owned(), Role::Operate)));
    for unknown in ["", "0123456789abcde", "0123456789abcdef0", "shop", HASHED] {
        assert_eq!(known(unknown), None, "{unknown}");
    }
}

fn hashed(token: &str) -> String {
    sha256(token.as_bytes()).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02X}"))
}

#[test]
fn lines_that_cannot_be_used_are_named_without_their_token() {
    let token = "0123456789abcdef";
    let long = "x".repeat(513);
    let many: String = (0..1_001).map(|n| format!("n{n} {n:016}\n")).collect();
    let cases: [(&str, &str); 12] = [
        ("", "no token"),
        ("# nothing\n", "no token"),
        ("shop", "line 1: it must be"),
        ("# x\nshop 0123456789abcde", "line 2: the token must have 16 to 512"),
        (&format!("shop {long}"), "16 to 512"),
        ("shop 0123456789abcdéf", "ASCII"),
        ("shop sha256:0123", "64 hexadecimal"),
        (&format!("shop {token} admin"), "read, write or operate"),
        (&format!("shop {token} read please"), "more than"),
        (&format!("shop {token}\nshop {token}x"), "line 2: shop has a token already"),
        (&format!("shop {token}\nstore {}", hashed(token)), "line 2: shop and store have the same token"),
        (&many, "1001 tokens"),
    ];
    for (text, part) in cases {
        let refused = table(text).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(refused.contains(part), "{refused}");
        assert!(!refused.contains("0123456789"), "{refused}");
    }
}

#[test]
fn a_caller_is_known_by_its_header_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    std::fs::write(&file, "shop 0123456789abcdef\n").unwrap();
    let tokens = AccessTokens::open(&file).unwrap();
    let holder = |header: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("authorization", header.parse().unwrap());
        }
        let holder = tokens.standing(&headers, Role::Read).and_then(|standing| standing.holder());
        holder.map(|holder| holder.name.to_string()).map_err(|refused| (refused.code, refused.reason))
    };
    for good in ["Bearer 0123456789abcdef", "bearer 0123456789abcdef", "BEARER  0123456789abcdef "] {
        assert_eq!(holder(Some(good)).unwrap(), "shop", "{good}");
    }
    for missing in [None, Some(""), Some("0123456789abcdef"), Some("Basic 0123456789abcdef"), Some("Bearer")] {
        assert_eq!(holder(missing).unwrap_err(), (Code::Unauthenticated, "TOKEN_MISSING".into()), "{missing:?}");
    }
    for unknown in ["Bearer x", "Bearer 0123456789abcdeg", "Bearer 0123456789abcdef 0123456789abcdef"] {
        assert_eq!(holder(Some(unknown)).unwrap_err(), (Code::Unauthenticated, "TOKEN_UNKNOWN".into()), "{unknown}");
    }

    // A token that is taken out of the file counts no more, and a file that cannot be used changes nothing.
    std::fs::write(&file, "store fedcba9876543210 read\n").unwrap();
    assert!(tokens.renewal().renew().unwrap());
    assert!(holder(Some("Bearer 0123456789abcdef")).is_err());
    assert_eq!(holder(Some("Bearer fedcba9876543210")).unwrap(), "store");
    std::fs::write(&file, "nonsense\n").unwrap();
    assert!(tokens.renewal().renew().is_err());
    assert_eq!(holder(Some("Bearer fedcba9876543210")).unwrap(), "store");
}

#[tokio::test]
async fn a_standing_is_lost_with_the_token_and_with_its_role_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("shop 0123456789abcdef write\n");
    let tokens = AccessTokens::open(&file).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    let (reads, writes) = (tokens.standing(&headers, Role::Read), tokens.standing(&headers, Role::Write));
    let (reads, writes) = (reads.unwrap(), writes.unwrap());
    let (mut reading, mut writing) = (Box::pin(reads.lost()), Box::pin(writes.lost()));
    let mut now = || {
        let (reading, writing) = (reading.as_mut().now_or_never(), writing.as_mut().now_or_never());
        [reading, writing].map(|lost| lost.map(|problem| problem.reason.into_owned()))
    };
    assert_eq!(now(), [None, None]);

    // Read again, and as good as before.
    write("shop 0123456789abcdef write\nother fedcba9876543210\n");
    assert!(tokens.renewal().renew().unwrap());
    assert_eq!(now(), [None, None]);

    write("shop 0123456789abcdef read\n");
    assert!(tokens.renewal().renew().unwrap());
    assert_eq!(now(), [None, Some("ROLE_MISSING".to_owned())]);
}

#[test]
fn nothing_shows_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    std::fs::write(&file, "shop 0123456789abcdef\n").unwrap();
    let shown = format!("{:?}", AccessTokens::open(&file).unwrap());
    assert!(shown.contains("tokens") && !shown.contains("0123456789"), "{shown}");
}
