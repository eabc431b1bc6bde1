//! One order is one trace: sent by the real binary to a real Jaeger, and asked from its query API as its pages would.
//! Runs where `ORDERMESH_TEST_JAEGER` names the binary: `tools/clients.sh jaeger` builds it and prints its folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proto::common::v1::Money;
use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::inventory::v1::{Fulfilment, Product, SetStockRequest, UpsertProductRequest};
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{CreateOrderRequest, Order, OrderLine, OrderState, WaitFor};
use serde_json::Value;
use tonic::transport::Channel;

/// How long anything may take on a busy machine before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);
const ORDER_ID: &str = "traced-1";
const CREATE: &str = "ordermesh.orders.v1.OrderService/CreateOrder";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_JAEGER, a jaeger binary (tools/clients.sh jaeger)"]
async fn an_order_is_one_trace_from_the_gateway_to_shipping() {
    let binary = std::env::var_os("ORDERMESH_TEST_JAEGER").expect("ORDERMESH_TEST_JAEGER names the jaeger binary");
    let jaeger = Jaeger::start(Path::new(&binary));
    let data = tempfile::tempdir().unwrap();
    let (_mesh, address) = start_mesh(data.path(), jaeger.otlp);
    ship_one_order(address).await;

    let trace = tokio::task::spawn_blocking(move || {
        let mut seen = String::from("none");
        eventually(|| {
            // The answer to a caller can be earlier than the last hop, and its spans than their export.
            let trace = jaeger.trace_of(ORDER_ID)?;
            seen = format!("{:?}", trace.values().map(|span| &span.name).collect::<Vec<_>>());
            trace.values().any(|span| span.name == "process shipments").then_some(trace)
        })
        .unwrap_or_else(|| panic!("no trace goes as far as the shipment; the last one seen was {seen}"))
    });
    check(&trace.await.unwrap());
}

fn check(trace: &BTreeMap<String, Span>) {
    for span in trace.values() {
        let whole = span.parent.is_empty() || trace.contains_key(&span.parent);
        assert!(whole, "the parent of {} is not in the trace: {trace:#?}", span.name);
    }
    let roots: Vec<_> = trace.values().filter(|span| span.parent.is_empty()).collect();
    assert!(roots.len() == 1 && roots[0].name == CREATE && roots[0].tag("span.kind") == "server", "{roots:#?}");

    let services: BTreeSet<_> = trace.values().map(|span| span.tag("service")).collect();
    for service in ["orders", "inventory", "validation", "shipping"] {
        assert!(services.contains(service), "{service} is missing: {trace:#?}");
    }
    // What makes it one story is the chain of causes, from the shipment back to the call.
    let mut span = trace.values().find(|span| span.name == "process shipments").unwrap();
    let mut chain = vec![span];
    while let Some(cause) = trace.get(&span.parent) {
        chain.push(cause);
        span = cause;
    }
    let steps: Vec<_> = chain.iter().rev().map(|span| (span.tag("service"), span.name.as_str())).collect();
    assert_eq!(steps[..2], [("", CREATE), ("orders", "command CreateOrder")], "{steps:?}");
    let end =
        [("orders", "process order-validations"), ("shipping", "process orders"), ("orders", "process shipments")];
    assert_eq!(steps[steps.len() - 3..], end, "{steps:?}");
    let judged = steps.iter().any(|(service, name)| *service == "validation" && name.ends_with("-verdicts"));
    assert!(judged, "{steps:?}");

    for span in trace.values() {
        assert_eq!(span.tag("order_id"), ORDER_ID, "nobody finds this span: {span:?}");
    }
}

/// A span as the query API shows it. Its parent is empty for a root.
#[derive(Debug)]
struct Span {
    name: String,
    parent: String,
    tags: BTreeMap<String, String>,
}

impl Span {
    fn read(span: &Value) -> (String, Self) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut references = span["references"].as_array().unwrap().iter();
        let parent = references.find(|reference| reference["refType"] == "CHILD_OF");
        let parent = parent.map(|reference| text(&reference["spanID"])).unwrap_or_default();
        let tags = span["tags"].as_array().unwrap().iter().map(|tag| (text(&tag["key"]), text(&tag["value"])));
        (text(&span["spanID"]), Self { name: text(&span["operationName"]), parent, tags: tags.collect() })
    }

    /// Empty when it has none.
    fn tag(&self, name: &str) -> &str {
        self.tags.get(name).map_or("", String::as_str)
    }
}

/// A Jaeger that keeps its spans in memory, on free ports.
struct Jaeger {
    _process: Killed,
    otlp: SocketAddr,
    query: SocketAddr,
}

impl Jaeger {
    fn start(binary: &Path) -> Self {
        let [otlp, query] = [free_port(), free_port()];
        let mut command = Command::new(binary);
        command.arg("--collector.otlp.enabled=true");
        command.arg(format!("--collector.otlp.grpc.host-port={otlp}"));
        command.arg(format!("--query.http-server.host-port={query}"));
        for unused in
            ["collector.otlp.http", "query.grpc-server", "collector.grpc-server", "collector.http-server", "admin.http"]
        {
            command.arg(format!("--{unused}.host-port={}", free_port()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Killed(command.spawn().expect("ORDERMESH_TEST_JAEGER is a program"));
        let jaeger = Self { _process: process, otlp, query };
        let ready = eventually(|| {
            let listens = TcpStream::connect(otlp).is_ok();
            jaeger.get("/api/services").filter(|_| listens)
        });
        assert!(ready.is_some(), "jaeger does not answer");
        jaeger
    }

    /// The trace in which this order was created, by span id.
    fn trace_of(&self, order_id: &str) -> Option<BTreeMap<String, Span>> {
        let tags = format!("%7B%22order_id%22%3A%22{order_id}%22%7D");
        let answer = self.get(&format!("/api/traces?service=ordermesh&limit=100&tags={tags}"))?;
        let traces = answer["data"].as_array()?.iter();
        let mut traces = traces.map(|trace| trace["spans"].as_array().unwrap().iter().map(Span::read).collect());
        traces.find(|trace: &BTreeMap<_, _>| trace.values().any(|span| span.name == CREATE))
    }

    /// HTTP 1.0, so that the answer ends with the connection. Absent when there is none yet.
    fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.query).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the mesh with its spans going to `otlp`, and waits until it listens.
fn start_mesh(data: &Path, otlp: SocketAddr) -> (Killed, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--sync", "os", "--data"]).arg(data);
    // Nobody creates the customer.
    command.args(["--checks", "details,fraud,inventory", "--otlp", &format!("http://{otlp}")]);
    let mut mesh = Killed(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(mesh.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.into_iter().find_map(|line| {
        let rest = line.strip_prefix("listening on ")?.to_owned();
        Some(rest.split_whitespace().next().unwrap().parse().unwrap())
    });
    (mesh, address.expect("it listens"))
}

async fn ship_one_order(address: SocketAddr) {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut inventory = InventoryServiceClient::new(channel.clone());
    let product_id = "jumper".to_owned();
    let product =
        Product { product_id: product_id.clone(), fulfilment: Fulfilment::FromStock.into(), ..Product::default() };
    let upsert = UpsertProductRequest { product: Some(product), ..UpsertProductRequest::default() };
    inventory.upsert_product(upsert).await.unwrap();
    let stock = SetStockRequest { product_id: product_id.clone(), quantity: 10, ..SetStockRequest::default() };
    inventory.set_stock(stock).await.unwrap();

    let unit_price = Some(Money { currency_code: "EUR".to_owned(), minor_units: 1999 });
    let order = Order {
        order_id: ORDER_ID.to_owned(),
        customer_id: "c-1".to_owned(),
        lines: vec![OrderLine { product_id, quantity: 1, unit_price }],
        ..Order::default()
    };
    let request =
        CreateOrderRequest { order: Some(order), wait_for: WaitFor::Shipped.into(), ..CreateOrderRequest::default() };
    let answer = OrderServiceClient::new(channel).create_order(request).await.unwrap();
    assert_eq!(answer.into_inner().order.unwrap().state(), OrderState::Shipped);
}

/// Nobody else is likely to take it in the moment between.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Asks until there is an answer, or patience ends.
fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        match ask() {
            None if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            answer => return answer,
        }
    }
}
