//! The producers: the real binary as a client of a real mesh, as people type it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use prost_reflect::{DescriptorPool, DynamicMessage};
use proto::orders::v1::{GetOrderResponse, WaitFor};
use serde_json::Value;

use crate::process::Process;
use crate::shop::Shop;

/// How a producer ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn binary(line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    command.args(line).stdin(Stdio::null());
    command
}

/// Runs a producer against a mesh.
fn run(process: &Process, line: &[&str]) -> Ended {
    let output = binary(line).args(["--addr", &process.address.to_string()]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs one that succeeds.
fn done(process: &Process, line: &[&str]) -> String {
    let ended = run(process, line);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{line:?}: {ended:?}");
    ended.out
}

/// Runs one that succeeds, with JSON.
fn json(process: &Process, line: &[&str]) -> Value {
    serde_json::from_str(&done(process, &[line, &["--json"]].concat())).unwrap()
}

/// Runs one that fails. Nothing stands on its standard output.
fn refused(process: &Process, line: &[&str]) -> String {
    let ended = run(process, line);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{line:?}: {ended:?}");
    ended.err
}

fn mesh() -> (tempfile::TempDir, Process) {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    (data, process)
}

/// Words of a line, with blanks of any width between them.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == words)
}

#[test]
fn an_order_goes_from_the_shell_to_its_shipment() {
    let (_data, mesh) = mesh();
    done(&mesh, &["product", "upsert", "jumper", "--name", "Jumper"]);
    done(&mesh, &["stock", "set", "jumper", "12"]);
    let stock = done(&mesh, &["stock", "add", "jumper", "-2"]);
    assert!(has_line(&stock, &["stock", "10"]) && has_line(&stock, &["fulfilment", "FROM_STOCK"]), "{stock}");
    let customer = ["customer", "create", "c-1", "--first-name", "Ada", "--level", "gold", "--credit-limit", "100"];
    let customer = done(&mesh, &customer);
    assert!(has_line(&customer, &["credit", "limit", "100.00", "EUR"]), "{customer}");

    let create =
        ["order", "create", "--id", "o-1", "--customer", "c-1", "--line", "jumper:2:19.99", "--wait", "shipped"];
    let order = done(&mesh, &create);
    assert!(order.starts_with("order o-1\n"), "{order}");
    assert!(has_line(&order, &["state", "SHIPPED"]) && has_line(&order, &["total", "39.98", "EUR"]), "{order}");
    assert!(has_line(&order, &["PRODUCT", "QUANTITY", "PRICE"]) && has_line(&order, &["jumper", "2", "19.99", "EUR"]));
    let paid = done(&mesh, &["payment", "record", "o-1", "39.98"]);
    assert!(has_line(&paid, &["settlement", "PAID"]) && has_line(&paid, &["balance", "0.00", "EUR"]), "{paid}");

    // What is paid is in it a moment later.
    let mut looks = (0..200).map(|_| done(&mesh, &["order", "history", "o-1"]));
    let told = looks.find(|told| told.contains("settled")).expect("the payment comes into the history");
    assert!(told.starts_with("TIME"), "{told}");
    for step in ["created", "FRAUD PASS", "INVENTORY PASS jumper", "validated", "shipped", "settled", "39.98 EUR"] {
        assert!(told.contains(step), "{step} is not in {told}");
    }
    assert!(told.lines().any(|line| line.contains("settled") && line.contains("payments/")), "{told}");

    let err = refused(&mesh, &["order", "cancel", "o-1"]);
    assert!(err.starts_with("ordermesh: FAILED_PRECONDITION ILLEGAL_TRANSITION: "), "{err}");
    assert!(has_line(&err, &["state:", "SHIPPED"]), "{err}");

    let many = ["order", "create", "--id", "o-2", "--customer", "c-1", "--line", "jumper:9:1", "--wait", "validated"];
    let rejected = done(&mesh, &many);
    assert!(rejected.contains("INVENTORY") && rejected.contains("OUT_OF_STOCK"), "{rejected}");
    let listed = done(&mesh, &["order", "list", "--state", "rejected"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.starts_with("ORDER") && listed.contains("o-2"), "{listed}");
    let all = json(&mesh, &["order", "list", "--limit", "0"]);
    assert_eq!(all["orders"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_answer_itself() {
    let (_data, mesh) = mesh();
    done(&mesh, &["product", "upsert", "atlas", "--made-to-order"]);
    done(&mesh, &["customer", "create", "c-1"]);
    let create = ["order", "create", "--id", "o-1", "--customer", "c-1", "--line", "atlas:2:5", "--request-id", "r-1"];
    let created = json(&mesh, &create);
    assert_eq!(created["order"]["lines"][0]["quantity"], "2", "64-bit numbers are text in protobuf JSON");
    let token = created["consistencyToken"].as_str().unwrap();
    // The same request again is the same order, and the token can be used for a read.
    assert_eq!(json(&mesh, &create)["order"]["createTime"], created["order"]["createTime"]);
    json(&mesh, &["order", "get", "o-1", "--at-least", token]);

    let said = done(&mesh, &["order", "get", "o-1", "--wait", "validated", "--json"]);
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let message = pool.get_message_by_name("ordermesh.orders.v1.GetOrderResponse").unwrap();
    let mut reader = serde_json::Deserializer::from_str(&said);
    let answer: GetOrderResponse = DynamicMessage::deserialize(message, &mut reader).unwrap().transcode_to().unwrap();
    let state = answer.order.as_ref().unwrap().state();
    let order = Shop::new(mesh.channel()).wait("o-1", WaitFor::Validated).await.unwrap();
    assert_eq!(order.order_id, answer.order.as_ref().unwrap().order_id);
    assert_eq!((order.lines, order.total), {
        let answer = answer.order.unwrap();
        (answer.lines, answer.total)
    });
    assert!(said.contains(&format!("\"{}\"", state.as_str_name())), "{said}");
}

#[test]
fn a_write_that_fails_says_why_and_ends_with_one() {
    let (_data, mesh) = mesh();
    let err = refused(&mesh, &["author", "create", "ADA", "--first-name", " ", "--last-name", "Lovelace"]);
    assert!(err.contains("INVALID_ARGUMENT INVALID_FIELD"), "{err}");
    assert!(err.lines().any(|line| line.starts_with("  author.code: must consist of")), "{err}");
    assert!(err.lines().any(|line| line == "  author.first_name: must not be blank"), "{err}");
    let err = refused(&mesh, &["stock", "set", "ghost", "1"]);
    assert!(err.contains("NOT_FOUND PRODUCT_NOT_FOUND: product ghost does not exist"), "{err}");
    let err = refused(&mesh, &["payment", "record", "o-1", "1.999"]);
    assert!(err.contains("more than 2 decimals"), "{err}");
    let err = refused(&mesh, &["order", "get", "nowhere", "--wait", "created", "--deadline", "50ms"]);
    assert!(err.contains("DEADLINE_EXCEEDED"), "{err}");

    // It takes connections and never answers: the deadline passes here.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let output = binary(&["order", "get", "nowhere", "--deadline", "50ms", "--addr", &addr]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("ordermesh: DEADLINE_EXCEEDED"), "{err}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = binary(&["stock", "set", "jumper", "1", "--addr", &nobody]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.starts_with(&format!("ordermesh: no mesh answers at http://{nobody};")), "{err}");
}

#[test]
fn the_catalog_is_kept_from_the_shell() {
    let (_data, mesh) = mesh();
    done(&mesh, &["author", "create", "ada", "--first-name", "Ada", "--last-name", "Lovelace"]);
    let book = json(&mesh, &["book", "create", "Notes", "--author", "ada"]);
    let id = book["book"]["bookId"].as_str().unwrap().to_owned();
    for title in ["One", "Two"] {
        done(&mesh, &["book", "add-chapter", &id, title, "--content", "words"]);
    }
    done(&mesh, &["book", "remove-chapter", &id, "1"]);
    let err = refused(&mesh, &["book", "remove-chapter", &id, "555"]);
    assert!(err.contains("CHAPTER_NOT_FOUND"), "{err}");
    let shown = done(&mesh, &["book", "get", &id]);
    assert!(has_line(&shown, &["2", "Two", "words"]) && !shown.contains("One"), "{shown}");
    done(&mesh, &["author", "update", "ada", "--first-name", "Ada", "--last-name", "King", "--etag", "1"]);
    let err = refused(&mesh, &["author", "update", "ada", "--first-name", "A", "--last-name", "K", "--etag", "1"]);
    assert!(err.contains("ABORTED VERSION_CONFLICT"), "{err}");
    let cards = done(&mesh, &["book", "cards", "--author", "ada"]);
    assert!(has_line(&cards, &["ada", "Ada", "King", "Notes", "1", &id]), "{cards}");
    done(&mesh, &["book", "set-author", &id]);
    done(&mesh, &["book", "remove", &id]);
    let gone = done(&mesh, &["book", "get", &id]);
    assert!(has_line(&gone, &["state", "REMOVED"]), "{gone}");
    done(&mesh, &["author", "delete", "ada"]);
    assert!(has_line(&done(&mesh, &["author", "get", "ada"]), &["state", "DELETED"]));
}

/// A producer that runs until it is dropped.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_watch_tells_what_becomes_of_an_order() {
    let (_data, mesh) = mesh();
    done(&mesh, &["product", "upsert", "atlas", "--made-to-order"]);
    done(&mesh, &["customer", "create", "c-1"]);
    let create = ["order", "create", "--id", "o-1", "--customer", "c-1", "--line", "atlas:2:5", "--wait", "validated"];
    done(&mesh, &create);
    let addr = mesh.address.to_string();
    let line = ["order", "watch", "o-1", "--snapshot", "--deadline", "60s", "--addr", &addr];
    let mut following = Following(binary(&line).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(following.0.stdout.take().unwrap()).lines();
    // The snapshot: the watch has begun.
    assert!(lines.next().unwrap().unwrap().contains("o-1"));
    let report = done(&mesh, &["manufactured", "report", "o-1", "atlas", "2"]);
    assert!(has_line(&report, &["atlas", "2", "2"]), "{report}");
    let shipped = lines.map(Result::unwrap).find(|line| line.contains("SHIPPED"));
    assert!(shipped.is_some_and(|line| line.contains("o-1")));
}

#[test]
fn a_generated_run_is_the_same_again() {
    let (_data, mesh) = mesh();
    let line = ["generate", "--rate", "100", "--duration", "1s", "--seed", "7", "--customers", "5"];
    let count = |summary: &Value, what: &str| summary[what].as_u64().unwrap();
    let run = || {
        let ended = run(&mesh, &[&line[..], &["--json"]].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str::<Value>(&ended.out).unwrap()
    };
    let (first, second) = (run(), run());
    assert_eq!((count(&first, "failed"), count(&second, "failed")), (0, 0), "{first} {second}");
    let most = count(&first, "orders").max(count(&second, "orders"));
    assert!((1..=110).contains(&most), "{first} {second}");
    assert!(count(&first, "payments") > 0 && count(&first, "customers") > 0, "{first}");
    let listed = json(&mesh, &["order", "list", "--limit", "0"]);
    assert_eq!(listed["orders"].as_array().unwrap().len() as u64, most, "{first} {second}");
}

#[test]
fn shells_learn_the_whole_command_line() {
    for shell in ["bash", "zsh", "fish"] {
        let output = binary(&["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        for word in ["ordermesh", "add-chapter", "generate", "deadline"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn schemas_are_shown_as_a_table_and_as_text() {
    let (_data, process) = mesh();
    let table = done(&process, &["schema", "list"]);
    let line = table.lines().find(|line| line.starts_with("orders ")).unwrap();
    assert!(line.contains("ordermesh.orders.v1.OrderEvent") && line.ends_with("current"), "{table}");
    let text = done(&process, &["schema", "show", "orders"]);
    assert!(text.contains("message OrderEvent {") && text.contains("// ordermesh/orders/v1/events.proto"), "{text}");
    assert!(refused(&process, &["schema", "show", "nothing"]).contains("schema list"));
}
