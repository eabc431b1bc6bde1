//! The real binary with certificates and tokens, as server and as client.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use credentials::testing::{Authority, Issued};
use tempfile::TempDir;

use crate::process::Process;
use crate::shop::PATIENCE;

const TOKENS: &str = "reader reader-reader-reader read\nshop writer-writer-writer\n";

struct Place {
    directory: TempDir,
    authority: Authority,
    server: Issued,
    tokens: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(&directory.path().join("ours"));
        let server = authority.issue("server", &["localhost", "127.0.0.1"]);
        let tokens = directory.path().join("tokens");
        std::fs::write(&tokens, TOKENS).unwrap();
        Self { directory, authority, server, tokens }
    }

    fn start(&self, more: &[&str]) -> Process {
        let (cert, key) = (text(&self.server.cert), text(&self.server.key));
        let flags = ["--tls-cert", cert, "--tls-key", key, "--tokens", text(&self.tokens)];
        Process::start(&self.directory.path().join("data"), &[&flags, more].concat())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs the binary as a client, with a token in its environment or none.
fn client(token: Option<&str>, line: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    command.args(line).stdin(Stdio::null()).env_remove("ORDERMESH_TOKEN");
    if let Some(token) = token {
        command.env("ORDERMESH_TOKEN", token);
    }
    command.output().unwrap()
}

#[track_caller]
fn refused(output: Output, part: &str) {
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains(part), "{said}");
    assert!(!said.contains("reader-reader") && !said.contains("writer-writer"), "{said}");
}

#[track_caller]
fn done(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_mesh_with_certificate_and_tokens_is_used_by_who_trusts_it_and_has_one() {
    let place = Place::new();
    let mesh = place.start(&["--sample"]);
    let (url, ca) = (format!("https://{}", mesh.address), place.authority.ca());
    let list = ["order", "list", "--addr", &url, "--tls-ca", text(&ca)];
    refused(client(None, &list), "TOKEN_MISSING");
    refused(client(Some("guess-guess-guess"), &list), "TOKEN_UNKNOWN");
    assert!(done(client(Some("reader-reader-reader"), &list)).contains("sample-1"), "the sample needs no token");

    let stock = ["stock", "set", "jumper", "7", "--addr", &url, "--tls-ca", text(&ca)];
    refused(client(Some("reader-reader-reader"), &stock), "ROLE_MISSING");
    let file = place.directory.path().join("token");
    std::fs::write(&file, "writer-writer-writer\n").unwrap();
    done(client(None, &[&stock[..], &["--token-file", text(&file)]].concat()));

    assert_eq!(done(client(None, &["health", "--addr", &url, "--tls-ca", text(&ca)])), "SERVING\n");
    let topology = ["topology", "--addr", &mesh.address.to_string(), "--tls-ca", text(&ca)];
    refused(client(None, &topology), "token is needed");
    assert!(done(client(Some("reader-reader-reader"), &topology)).contains("SERVICE"));

    let stranger = Authority::new(&place.directory.path().join("theirs")).ca();
    refused(client(None, &["health", "--addr", &url, "--tls-ca", text(&stranger)]), "UnknownIssuer");
    refused(client(None, &["health", "--addr", &url]), "UnknownIssuer");

    let (status, said) = mesh.terminate();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("writer-writer"), "{said}");
}

#[test]
fn who_speaks_plain_text_to_an_encrypted_mesh_is_told_how_to_reach_it() {
    let place = Place::new();
    let mesh = place.start(&[]);
    let address = mesh.address.to_string();
    let hint = "the connection broke; a mesh that is encrypted is reached with https:// and --tls-ca";
    let list = client(Some("reader-reader-reader"), &["order", "list", "--addr", &address]);
    refused(list, &format!("UNAVAILABLE UNREACHABLE: {hint}"));
    refused(client(Some("writer-writer-writer"), &["stock", "set", "jumper", "7", "--addr", &address]), hint);
    refused(client(None, &["health", "--addr", &address]), hint);
    refused(client(Some("reader-reader-reader"), &["topology", "--addr", &address]), hint);
}

#[test]
fn who_has_no_certificate_does_not_get_in_where_one_is_asked_for() {
    let place = Place::new();
    let ca = place.authority.ca();
    let mesh = place.start(&["--tls-client-ca", text(&ca)]);
    let (url, own) = (format!("https://{}", mesh.address), place.authority.issue("client", &["client.test"]));
    let health = ["health", "--addr", &url, "--tls-ca", text(&ca)];
    let with = |issued: &Issued| {
        let own = ["--tls-cert", text(&issued.cert), "--tls-key", text(&issued.key)];
        client(None, &[&health[..], &own].concat())
    };
    assert_eq!(done(with(&own)), "SERVING\n");
    let theirs = Authority::new(&place.directory.path().join("theirs")).issue("client", &["client.test"]);
    refused(with(&theirs), "");
    refused(client(None, &health), "");
}

#[test]
fn tokens_and_certificates_are_exchanged_while_it_runs() {
    let place = Place::new();
    let mesh = place.start(&[]);
    let (url, ca) = (format!("https://{}", mesh.address), place.authority.ca());
    let list = ["order", "list", "--addr", &url, "--tls-ca", text(&ca)];
    refused(client(Some("newer-newer-newer"), &list), "TOKEN_UNKNOWN");
    let next = Authority::new(&place.directory.path().join("next"));
    let renewed = next.issue("server", &["127.0.0.1"]);
    std::fs::copy(&renewed.key, &place.server.key).unwrap();
    std::fs::copy(&renewed.cert, &place.server.cert).unwrap();
    std::fs::write(&place.tokens, "newer newer-newer-newer read\n").unwrap();
    let next_ca = next.ca();
    let trust = ["order", "list", "--addr", &url, "--tls-ca", text(&next_ca)];
    let begin = Instant::now();
    while !client(Some("newer-newer-newer"), &trust).status.success() {
        assert!(begin.elapsed() < PATIENCE, "it is never read again");
    }
    refused(client(Some("writer-writer-writer"), &trust), "TOKEN_UNKNOWN");
    refused(client(Some("newer-newer-newer"), &list), "do not trust each other");
}

#[test]
fn a_start_without_the_protection_it_was_told_to_have_is_refused() {
    let place = Place::new();
    let start_at = |address: &str, flags: &[&str]| {
        let data = place.directory.path().join("never");
        client(None, &[&["dev", "--listen", address, "--data", text(&data)], flags].concat())
    };
    let start = |flags: &[&str]| start_at("127.0.0.1:0", flags);
    let (cert, key, tokens) = (text(&place.server.cert), text(&place.server.key), text(&place.tokens));
    refused(start(&["--tls-cert", "/nowhere/cert.pem", "--tls-key", key]), "/nowhere/cert.pem: No such file");
    refused(start(&["--tls-cert", cert]), "listen.tls.key_file go together");
    refused(start(&["--tls-cert", cert, "--tls-key", cert]), "it has no private key");
    refused(start(&["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", tokens]), "it has no certificate");
    refused(start(&["--tokens", cert]), "it must be: NAME TOKEN");
    refused(start_at("0.0.0.0:0", &["--tokens", tokens]), "--insecure");
    let metrics = start(&["--tls-cert", cert, "--tls-key", key, "--metrics", "0.0.0.0:9464"]);
    refused(metrics, "telemetry.metrics is 0.0.0.0:9464");
    refused(
        client(Some("writer-writer-writer"), &["order", "list", "--addr", "mesh.example.org:50051"]),
        "would go in plain text",
    );
}
