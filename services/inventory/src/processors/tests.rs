//! The whole definition without a log: what is emitted, what is stored, what a client is answered.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1 as pb;
use proto::inventory::v1::product_event::Event;
use proto::orders::v1::{StockAction, StockRequest};
use proto::validation::v1::{Check, Outcome, Verdict};
use service_host::{Problem, reply};
use task_runtime::{CallError, Command, Context, Reply};
use testkit::Driver;

use super::commands::{ADD_STOCK, SET_STOCK, UPSERT_PRODUCT};
use crate::stores::{LINES, STOCK, line_key};
use crate::{Config, topics, wire};

const DAY_MS: i64 = 24 * 3600 * 1000;

struct Warehouse {
    driver: Driver,
}

impl Warehouse {
    fn new() -> Self {
        Self { driver: Driver::new(crate::definition(&Config::default()).replayable()) }
    }

    fn with(products: &[(&str, pb::Fulfilment, i64)]) -> Self {
        let mut warehouse = Self::new();
        for (product_id, fulfilment, stock) in products {
            warehouse.upsert(product_id, *fulfilment, "").unwrap();
            warehouse.set_stock(product_id, *stock).unwrap();
        }
        warehouse.driver.emitted();
        warehouse
    }

    fn upsert(&mut self, product_id: &str, fulfilment: pb::Fulfilment, etag: &str) -> Result<pb::Product, Problem> {
        let product = pb::Product {
            product_id: product_id.into(),
            name: format!("The {product_id}"),
            fulfilment: fulfilment.into(),
            etag: etag.into(),
            ..Default::default()
        };
        let request = pb::UpsertProductRequest { product: Some(product), request_id: String::new() };
        let answer = self.driver.command(UPSERT_PRODUCT, product_id.as_bytes(), None, request.encode_to_vec(), "");
        reply::decode::<pb::UpsertProductResponse>(answer.unwrap()).map(|response| response.product.unwrap())
    }

    fn set_stock(&mut self, product_id: &str, quantity: i64) -> Result<pb::Product, Problem> {
        self.set_stock_of(product_id, quantity, "")
    }

    fn set_stock_of(&mut self, product_id: &str, quantity: i64, etag: &str) -> Result<pb::Product, Problem> {
        let etag = etag.into();
        let request = pb::SetStockRequest { product_id: product_id.into(), quantity, etag, ..Default::default() };
        let answer = self.driver.command(SET_STOCK, product_id.as_bytes(), None, request.encode_to_vec(), "");
        reply::decode::<pb::SetStockResponse>(answer.unwrap()).map(|response| response.product.unwrap())
    }

    fn add_stock(&mut self, product_id: &str, quantity: i64, request_id: &str) -> Result<pb::Product, Problem> {
        self.add_stock_to(product_id, quantity, "", Some(request_id))
    }

    fn add_stock_to(
        &mut self,
        product_id: &str,
        quantity: i64,
        etag: &str,
        request_id: Option<&str>,
    ) -> Result<pb::Product, Problem> {
        let etag = etag.into();
        let request = pb::AddStockRequest { product_id: product_id.into(), quantity, etag, ..Default::default() };
        let answer = self.driver.command(ADD_STOCK, product_id.as_bytes(), request_id, request.encode_to_vec(), "");
        reply::decode::<pb::AddStockResponse>(answer.unwrap()).map(|response| response.product.unwrap())
    }

    /// Sends one request and returns the outcome and code of its verdict.
    fn ask(
        &mut self,
        line: (&str, u32),
        product_id: &str,
        action: StockAction,
        quantity: i64,
    ) -> Option<(Outcome, String)> {
        let request = request(line, product_id, action, quantity);
        self.driver.record("stock-requests", product_id.as_bytes(), request);
        self.answer(line, product_id)
    }

    /// Brings back the dead letter of a request for one piece of a jumper that was asked at `asked_ms`.
    fn replay(&mut self, line: (&str, u32), action: StockAction, asked_ms: i64) -> Option<(Outcome, String)> {
        let now_ms = self.driver.now_ms();
        let headers = [("ordermesh-replay-topic", "stock-requests")];
        let request = request(line, "jumper", action, 1);
        // A letter keeps the time of its record.
        self.driver.advance_to(asked_ms);
        self.driver.record_with("inventory-replays", Some(b"jumper"), request, &headers);
        self.driver.advance_to(now_ms);
        self.answer(line, "jumper")
    }

    /// The outcome and code of the one verdict that was emitted, if any.
    fn answer(&mut self, (order_id, line): (&str, u32), product_id: &str) -> Option<(Outcome, String)> {
        let mut emitted = self.driver.emitted();
        assert!(emitted.len() <= 1, "{emitted:?}");
        let record = emitted.pop()?;
        assert_eq!((record.topic.as_str(), &record.key[..]), (topics::INVENTORY_VERDICTS, order_id.as_bytes()));
        let verdict = Verdict::decode(record.value).unwrap();
        assert_eq!((verdict.check(), verdict.line, verdict.product_id.as_str()), (Check::Inventory, line, product_id));
        Some((verdict.outcome(), verdict.code))
    }

    fn stock(&self, product_id: &str) -> (i64, i64) {
        let stock = wire::stock(&self.driver.get(STOCK, product_id.as_bytes()).unwrap()).unwrap();
        (stock.stock, stock.reserved)
    }
}

fn request((order_id, line): (&str, u32), product_id: &str, action: StockAction, quantity: i64) -> Vec<u8> {
    let (product_id, order_id) = (product_id.into(), order_id.into());
    StockRequest { product_id, order_id, line, action: action.into(), quantity, time: None }.encode_to_vec()
}

fn pass() -> Option<(Outcome, String)> {
    Some((Outcome::Pass, String::new()))
}

fn fail(code: &str) -> Option<(Outcome, String)> {
    Some((Outcome::Fail, code.into()))
}

#[test]
fn orders_reserve_until_nothing_is_available() {
    use StockAction::Reserve;
    let products = [("underpants", pb::Fulfilment::FromStock, 75), ("jumper", pb::Fulfilment::FromStock, 1)];
    let mut warehouse = Warehouse::with(&products);
    assert_eq!(warehouse.ask(("o-1", 0), "underpants", Reserve, 3), pass());
    assert_eq!(warehouse.ask(("o-2", 0), "jumper", Reserve, 1), pass());
    assert_eq!(warehouse.ask(("o-3", 0), "jumper", Reserve, 1), fail("OUT_OF_STOCK"));
    assert_eq!(warehouse.stock("underpants"), (75, 3));
    assert_eq!(warehouse.stock("jumper"), (1, 1));
}

#[test]
fn two_lines_of_one_order_hold_each_their_own() {
    use StockAction::{Release, Reserve, Ship};
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", Reserve, 2), pass());
    assert_eq!(warehouse.ask(("o-1", 1), "jumper", Reserve, 3), pass());
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", Ship, 2), None);
    assert_eq!(warehouse.stock("jumper"), (8, 3));
    assert_eq!(warehouse.ask(("o-1", 1), "jumper", Release, 3), None);
    assert_eq!(warehouse.ask(("o-1", 1), "jumper", Release, 3), None);
    assert_eq!(warehouse.stock("jumper"), (8, 0));
}

#[test]
fn a_verdict_says_how_the_line_is_fulfilled() {
    let mut warehouse = Warehouse::with(&[("desk", pb::Fulfilment::MadeToOrder, 0)]);
    let request = StockRequest {
        product_id: "desk".into(),
        order_id: "o-1".into(),
        action: StockAction::Reserve.into(),
        quantity: 2,
        ..Default::default()
    };
    warehouse.driver.record("stock-requests", b"desk", request.encode_to_vec());
    let verdict = Verdict::decode(warehouse.driver.emitted().remove(0).value).unwrap();
    assert_eq!(verdict.fulfilment(), pb::Fulfilment::MadeToOrder);
}

#[test]
fn a_line_without_a_positive_quantity_leaves_no_trace() {
    use StockAction::{Release, Reserve};
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", Reserve, -1), pass());
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", Release, -1), None);
    assert_eq!(warehouse.ask(("o-1", 1), "nothing", Reserve, 0), fail("PRODUCT_NOT_FOUND"));
    assert_eq!(warehouse.driver.view().scan(LINES, b"", None, 10).unwrap(), []);
}

#[test]
fn a_reserve_after_its_release_is_refused_for_a_day() {
    use StockAction::{Release, Reserve};
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", Release, 2), None);
    warehouse.driver.advance_to(DAY_MS - 1);
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", Reserve, 2), fail("LINE_CLOSED"));
    assert_eq!(warehouse.stock("jumper"), (10, 0));
    // What comes later than that was lost, and the next sweep has forgotten the line.
    warehouse.driver.advance_to(DAY_MS + DAY_MS / 4 + 1);
    assert_eq!(warehouse.driver.get(LINES, &line_key("o-1", 0, "jumper")), None);
}

#[test]
fn a_replayed_reserve_finds_its_line_closed_once_that_would_be_forgotten() {
    use StockAction::{Release, Reserve, Ship};
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    warehouse.driver.advance_to(1_000);
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", Release, 1), None);
    warehouse.driver.advance_to(3 * DAY_MS);
    assert_eq!(warehouse.driver.get(LINES, &line_key("o-1", 0, "jumper")), None, "the release is forgotten");
    assert_eq!(warehouse.replay(("o-1", 0), Reserve, 999), fail("LINE_CLOSED"));
    for action in [Release, Ship] {
        assert_eq!(warehouse.replay(("o-1", 0), action, 1_000), None);
    }
    assert_eq!(warehouse.stock("jumper"), (10, 0));
    assert_eq!(warehouse.driver.view().scan(LINES, b"", None, 10).unwrap(), [], "nothing is left to release");
}

#[test]
fn a_replayed_reserve_still_counts_as_long_as_a_closed_line_is_remembered() {
    use StockAction::{Release, Reserve};
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    warehouse.driver.advance_to(1_000 + DAY_MS);
    assert_eq!(warehouse.ask(("o-9", 0), "jumper", Reserve, 1), pass());
    for (order_id, asked_ms, verdict) in
        [("o-1", 1_001, pass()), ("o-2", 1_000, fail("LINE_CLOSED")), ("o-3", i64::MIN, fail("LINE_CLOSED"))]
    {
        assert_eq!(warehouse.replay((order_id, 0), Reserve, asked_ms), verdict, "{order_id}");
    }
    assert_eq!(warehouse.stock("jumper"), (10, 2));
    // What a line holds is known for as long as it holds it.
    assert_eq!(warehouse.replay(("o-9", 0), Reserve, 0), pass());
    assert_eq!(warehouse.replay(("o-9", 0), Release, 0), None);
    assert_eq!(warehouse.stock("jumper"), (10, 1));
}

#[test]
fn a_task_that_was_away_for_days_reserves_what_waited_for_it() {
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    warehouse.driver.advance_to(3 * DAY_MS);
    assert_eq!(warehouse.ask(("o-9", 0), "jumper", StockAction::Reserve, 1), pass());
    warehouse.driver.advance_to(1_000);
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", StockAction::Reserve, 1), pass());
    assert_eq!(warehouse.stock("jumper"), (10, 2));
}

#[test]
fn the_sweep_removes_closed_lines_of_many_pages_and_leaves_the_open_ones() {
    use StockAction::{Release, Reserve};
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10_000)]);
    for number in 0..700 {
        let order_id = format!("o-{number}");
        assert_eq!(warehouse.ask((&order_id, 0), "jumper", Reserve, 1), pass());
        if number % 7 != 0 {
            assert_eq!(warehouse.ask((&order_id, 0), "jumper", Release, 1), None);
        }
    }
    warehouse.driver.advance_to(2 * DAY_MS);
    assert_eq!(warehouse.driver.view().scan(LINES, b"", None, 1_000).unwrap().len(), 100);
    assert_eq!(warehouse.stock("jumper"), (10_000, 100));
}

#[test]
fn a_line_that_cannot_be_read_stays_and_does_not_end_the_sweep() {
    let plant = |ctx: &mut Context<'_>, command: &Command| {
        ctx.put(LINES, &command.key, command.payload.clone());
        Ok(Reply(Bytes::new()))
    };
    let mut warehouse =
        Warehouse { driver: Driver::new(crate::definition(&Config::default()).command("plant", plant)) };
    let unreadable = line_key("o-2", 0, "ghost");
    warehouse.driver.command("plant", &unreadable, None, &b"\xff\xff"[..], "").unwrap();
    for order_id in ["o-1", "o-3"] {
        assert_eq!(warehouse.ask((order_id, 0), "ghost", StockAction::Release, 2), None);
    }
    warehouse.driver.advance_to(2 * DAY_MS);
    let left = warehouse.driver.view().scan(LINES, b"", None, 10).unwrap();
    assert_eq!(left.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [unreadable]);
    assert_eq!(warehouse.ask(("o-4", 0), "ghost", StockAction::Release, 2), None);
    warehouse.driver.advance_to(4 * DAY_MS);
    assert_eq!(warehouse.driver.view().scan(LINES, b"", None, 10).unwrap().len(), 1, "the sweep goes on");
}

#[test]
fn lines_of_unknown_products_are_swept_too() {
    use StockAction::{Release, Reserve};
    let mut warehouse = Warehouse::new();
    assert_eq!(warehouse.ask(("o-1", 0), "ghost", Reserve, 2), fail("PRODUCT_NOT_FOUND"));
    assert_eq!(warehouse.ask(("o-1", 0), "ghost", Release, 2), None);
    warehouse.driver.advance_to(2 * DAY_MS);
    assert_eq!(warehouse.driver.view().scan(LINES, b"", None, 10).unwrap(), []);
}

#[test]
fn nothing_to_sweep_means_a_timer_every_few_hours_and_no_more() {
    let mut warehouse = Warehouse::new();
    assert_eq!(warehouse.driver.next_timer_ms(), None);
    warehouse.upsert("jumper", pb::Fulfilment::FromStock, "").unwrap();
    warehouse.driver.advance_to(1);
    assert!(warehouse.driver.next_timer_ms() >= Some(DAY_MS / 4));
}

#[test]
fn poison_is_put_aside_and_an_unknown_action_is_skipped() {
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    warehouse.driver.record("stock-requests", b"jumper", &b"\xff\xff"[..]);
    let request = StockRequest { product_id: "jumper".into(), quantity: 1, ..Default::default() };
    warehouse.driver.record("stock-requests", b"trousers", request.encode_to_vec());
    let emitted = warehouse.driver.emitted();
    let topics: Vec<_> = emitted.iter().map(|record| record.topic.as_str()).collect();
    assert_eq!(topics, ["inventory-dead-letters", "inventory-dead-letters"]);
    warehouse.driver.record("stock-requests", b"jumper", request.encode_to_vec());
    assert_eq!(warehouse.driver.emitted(), []);
}

#[test]
fn commands_answer_with_the_product_and_tell_the_topic() {
    let mut warehouse = Warehouse::new();
    let created = warehouse.upsert("jumper", pb::Fulfilment::FromStock, "").unwrap();
    assert_eq!((created.name.as_str(), created.stock, created.etag.as_str()), ("The jumper", 0, "1"));
    let set = warehouse.set_stock("jumper", 10).unwrap();
    assert_eq!((set.name.as_str(), set.stock, set.available, set.etag.as_str()), ("The jumper", 10, 10, "2"));
    let added = warehouse.add_stock("jumper", -3, "r-1").unwrap();
    assert_eq!(added.stock, 7);
    // The same request again: the same answer, and nothing happens.
    assert_eq!(warehouse.add_stock("jumper", -3, "r-1").unwrap(), added);
    assert_eq!(warehouse.stock("jumper"), (7, 0));
    let events: Vec<_> = warehouse
        .driver
        .emitted()
        .into_iter()
        .map(|record| {
            assert_eq!((record.topic.as_str(), &record.key[..]), (topics::PRODUCTS, &b"jumper"[..]));
            pb::ProductEvent::decode(record.value).unwrap().event.unwrap()
        })
        .collect();
    let set = Event::StockSet(pb::StockSet { stock: 10 });
    let added = Event::StockAdded(pb::StockAdded { quantity: -3, stock: 7 });
    assert_eq!(events, [Event::Upserted(pb::ProductUpserted { product: Some(created) }), set, added]);
}

#[test]
fn a_command_that_changes_nothing_tells_nobody() {
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    assert_eq!(warehouse.upsert("jumper", pb::Fulfilment::FromStock, "2").unwrap().etag, "2");
    assert_eq!(warehouse.set_stock("jumper", 10).unwrap().etag, "2");
    assert_eq!(warehouse.add_stock("jumper", 0, "r-1").unwrap().etag, "2");
    assert_eq!(warehouse.driver.emitted(), []);
}

#[test]
fn refusals_name_their_reason_and_are_remembered() {
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", StockAction::Reserve, 4), pass());
    let refused = warehouse.set_stock("jumper", 3).unwrap_err();
    assert_eq!(refused.reason, "STOCK_BELOW_RESERVED");
    assert_eq!(refused.metadata["reserved"], "4");
    assert_eq!(warehouse.add_stock("jumper", -7, "r-1").unwrap_err().reason, "STOCK_BELOW_RESERVED");
    assert_eq!(warehouse.ask(("o-1", 0), "jumper", StockAction::Release, 4), None);
    assert_eq!(warehouse.add_stock("jumper", -7, "r-1").unwrap_err().reason, "STOCK_BELOW_RESERVED");
    assert_eq!(warehouse.add_stock("jumper", i64::MAX, "r-2").unwrap_err().reason, "STOCK_TOO_LARGE");
    assert_eq!(warehouse.set_stock("socks", 3).unwrap_err().reason, "PRODUCT_NOT_FOUND");
    let conflict = warehouse.upsert("jumper", pb::Fulfilment::FromStock, "not a version").unwrap_err();
    assert_eq!((conflict.reason.as_ref(), conflict.metadata["wanted"].as_str()), ("VERSION_CONFLICT", "not a version"));
}

#[test]
fn an_etag_counts_in_one_spelling_only() {
    let mut warehouse = Warehouse::new();
    warehouse.upsert("jumper", pb::Fulfilment::FromStock, "").unwrap();
    for etag in ["0", "01", "+1", " 1", "1 ", "1.0", "abc", "2"] {
        let upserted = warehouse.upsert("jumper", pb::Fulfilment::MadeToOrder, etag).unwrap_err();
        let set = warehouse.set_stock_of("jumper", 3, etag).unwrap_err();
        let added = warehouse.add_stock_to("jumper", 3, etag, None).unwrap_err();
        assert_eq!([upserted.reason, set.reason, added.reason], ["VERSION_CONFLICT"; 3], "{etag:?}");
    }
    assert_eq!(warehouse.set_stock_of("jumper", 3, "1").unwrap().etag, "2");
    assert_eq!(warehouse.add_stock_to("jumper", 3, "2", None).unwrap().etag, "3");
}

#[test]
fn a_new_product_has_no_version_that_an_etag_could_name() {
    let mut warehouse = Warehouse::new();
    for etag in ["abc", "0", "1", "01"] {
        let refused = warehouse.upsert("jumper", pb::Fulfilment::FromStock, etag).unwrap_err();
        assert_eq!(refused.reason, "VERSION_CONFLICT", "{etag}");
        let set = warehouse.set_stock_of("jumper", 3, etag).unwrap_err();
        let added = warehouse.add_stock_to("jumper", 3, etag, None).unwrap_err();
        assert_eq!([set.reason, added.reason], ["PRODUCT_NOT_FOUND"; 2], "{etag}");
    }
    assert_eq!(warehouse.driver.emitted(), []);
    assert_eq!(warehouse.driver.get(STOCK, b"jumper"), None);
}

#[test]
fn a_request_id_with_other_content_is_refused() {
    let mut warehouse = Warehouse::with(&[("jumper", pb::Fulfilment::FromStock, 10)]);
    warehouse.add_stock("jumper", 1, "r-1").unwrap();
    let request = pb::AddStockRequest { product_id: "jumper".into(), quantity: 2, ..Default::default() };
    let again = warehouse.driver.command(ADD_STOCK, b"jumper", Some("r-1"), request.encode_to_vec(), "");
    assert_eq!(again, Err(CallError::RequestIdReused));
}

#[test]
fn a_shorter_memory_is_a_matter_of_configuration() {
    let config = Config { closed_lines_kept: Duration::from_secs(60), ..Config::default() };
    let mut warehouse = Warehouse { driver: Driver::new(crate::definition(&config)) };
    assert_eq!(warehouse.ask(("o-1", 0), "ghost", StockAction::Release, 2), None);
    warehouse.driver.advance_to(60_000 + 15_000 + 1);
    assert_eq!(warehouse.driver.view().scan(LINES, b"", None, 10).unwrap(), []);
}
