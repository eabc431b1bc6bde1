//! Given, when, then: the rules of commands and of lines, and the laws under any interleaving.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn from_stock(stock: i64, reserved: i64) -> Stock {
    Stock { fulfilment: Fulfilment::FromStock, stock, reserved, version: 1 }
}

fn made_to_order(stock: i64, reserved: i64) -> Stock {
    Stock { fulfilment: Fulfilment::MadeToOrder, ..from_stock(stock, reserved) }
}

/// Given a product and a line, when asked, then the product is so, the line is so and the answer is this.
#[track_caller]
fn check(
    given: (Option<Stock>, Option<Line>),
    (action, quantity): (Action, i64),
    then: (Option<Stock>, Option<Line>, Option<Verdict>),
) {
    let decision = settle(given.0.as_ref(), given.1.as_ref(), action, quantity);
    let (stock, line) = (decision.stock.or(given.0), decision.line.or(given.1));
    assert_eq!((stock, line, decision.verdict), then);
}

const PASS_STOCK: Option<Verdict> = Some(Verdict::Pass(Fulfilment::FromStock));
const PASS_MADE: Option<Verdict> = Some(Verdict::Pass(Fulfilment::MadeToOrder));

const fn fail(fault: Fault) -> Option<Verdict> {
    Some(Verdict::Fail(fault))
}

#[test]
fn a_reserve_takes_the_last_piece_and_not_one_more() {
    use Action::Reserve;
    let full = Some(from_stock(10, 10));
    check((Some(from_stock(10, 7)), None), (Reserve, 3), (full, Some(Line::Held(3)), PASS_STOCK));
    let refused = Some(Line::Refused(Fault::OutOfStock));
    check((Some(from_stock(10, 7)), None), (Reserve, 4), (Some(from_stock(10, 7)), refused, fail(Fault::OutOfStock)));
    check((full, None), (Reserve, 1), (full, refused, fail(Fault::OutOfStock)));
    let huge = Some(from_stock(i64::MAX, i64::MAX - 1));
    check((huge, None), (Reserve, i64::MAX), (huge, refused, fail(Fault::OutOfStock)));
}

#[test]
fn an_unknown_product_is_a_verdict_and_never_silence() {
    let refused = Some(Line::Refused(Fault::ProductNotFound));
    check((None, None), (Action::Reserve, 1), (None, refused, fail(Fault::ProductNotFound)));
    // The product that came since does not change what was said.
    let since = Some(from_stock(5, 0));
    check((since, refused), (Action::Reserve, 1), (since, refused, fail(Fault::ProductNotFound)));
}

#[test]
fn a_product_made_to_order_passes_without_a_reservation() {
    let product = Some(made_to_order(0, 0));
    check((product, None), (Action::Reserve, 5), (product, Some(Line::Unreserved), PASS_MADE));
    check((product, Some(Line::Unreserved)), (Action::Ship, 5), (product, Some(Line::Closed), None));
}

#[test]
fn a_quantity_below_one_touches_nothing_and_the_product_must_be_known() {
    let product = Some(from_stock(5, 2));
    for quantity in [0, -1, i64::MIN] {
        check((product, None), (Action::Reserve, quantity), (product, None, PASS_STOCK));
        check((None, None), (Action::Reserve, quantity), (None, None, fail(Fault::ProductNotFound)));
        check((product, None), (Action::Release, quantity), (product, None, None));
        check((product, None), (Action::Ship, quantity), (product, None, None));
    }
}

#[test]
fn a_repeated_reserve_is_answered_alike_and_holds_nothing_more() {
    let product = Some(from_stock(10, 3));
    check((product, Some(Line::Held(3))), (Action::Reserve, 3), (product, Some(Line::Held(3)), PASS_STOCK));
    let refused = Some(Line::Refused(Fault::OutOfStock));
    check((product, refused), (Action::Reserve, 7), (product, refused, fail(Fault::OutOfStock)));
}

#[test]
fn a_line_is_closed_once_by_what_it_holds() {
    let held = Some(Line::Held(3));
    let closed = Some(Line::Closed);
    check((Some(from_stock(10, 4)), held), (Action::Release, 3), (Some(from_stock(10, 1)), closed, None));
    check((Some(from_stock(10, 4)), held), (Action::Ship, 3), (Some(from_stock(7, 1)), closed, None));
    // What the line holds counts, not what the request says.
    check((Some(from_stock(10, 4)), held), (Action::Ship, 2), (Some(from_stock(7, 1)), closed, None));
    for action in [Action::Release, Action::Ship] {
        check((Some(from_stock(10, 4)), closed), (action, 3), (Some(from_stock(10, 4)), closed, None));
    }
}

#[test]
fn a_reserve_after_its_release_is_refused() {
    let product = Some(from_stock(10, 0));
    let closed = Some(Line::Closed);
    check((product, None), (Action::Release, 3), (product, closed, None));
    check((product, closed), (Action::Reserve, 3), (product, closed, fail(Fault::LineClosed)));
    check((product, Some(Line::Refused(Fault::OutOfStock))), (Action::Release, 3), (product, closed, None));
}

#[test]
fn only_what_comes_back_too_late_to_remember_its_line_finds_it_closed() {
    let closed = Some(Line::Closed);
    for (line, age_ms, then) in [
        (None, None, None),
        (None, Some(i64::MIN), None),
        (None, Some(99), None),
        (None, Some(100), closed),
        (None, Some(i64::MAX), closed),
        (closed, Some(99), closed),
        (Some(Line::Held(3)), Some(100), Some(Line::Held(3))),
        (Some(Line::Refused(Fault::OutOfStock)), Some(100), Some(Line::Refused(Fault::OutOfStock))),
    ] {
        assert_eq!(recall(line, age_ms, 100), then, "{line:?} {age_ms:?}");
    }
}

#[test]
fn a_change_of_fulfilment_leaves_the_lines_that_hold_pieces_alone() {
    let held = Some(Line::Held(3));
    check((Some(made_to_order(10, 3)), held), (Action::Reserve, 3), (Some(made_to_order(10, 3)), held, PASS_STOCK));
    let closed = Some(Line::Closed);
    check((Some(made_to_order(10, 3)), held), (Action::Ship, 3), (Some(made_to_order(7, 0)), closed, None));
    let unreserved = Some(Line::Unreserved);
    check((Some(from_stock(10, 0)), unreserved), (Action::Ship, 3), (Some(from_stock(10, 0)), closed, None));
}

#[test]
fn an_upsert_keeps_the_stock_and_counts_real_changes_only() {
    let created = upsert(None, "Jumper", Fulfilment::FromStock, None).unwrap();
    assert_eq!(created, Product { name: "Jumper".into(), stock: from_stock(0, 0) });
    let product = Product { name: "Jumper".into(), stock: from_stock(9, 4) };
    assert_eq!(upsert(Some(&product), "Jumper", Fulfilment::FromStock, Some(1)), Ok(product.clone()));
    let changed = upsert(Some(&product), "Jersey", Fulfilment::MadeToOrder, Some(1)).unwrap();
    assert_eq!(changed, Product { name: "Jersey".into(), stock: Stock { version: 2, ..made_to_order(9, 4) } });
}

#[test]
fn a_command_on_another_version_is_refused() {
    let product = Product { name: "Jumper".into(), stock: from_stock(9, 4) };
    let conflict = Refusal::VersionConflict { current: 1 };
    assert_eq!(upsert(Some(&product), "x", Fulfilment::FromStock, Some(2)), Err(conflict.clone()));
    assert_eq!(set_stock(Some(&product.stock), 50, Some(7)), Err(conflict.clone()));
    assert_eq!(add_stock(Some(&product.stock), 50, Some(0)), Err(conflict));
    let absent = Refusal::VersionConflict { current: 0 };
    for wanted in [0, 1, u64::MAX] {
        assert_eq!(upsert(None, "x", Fulfilment::FromStock, Some(wanted)), Err(absent.clone()), "{wanted}");
    }
}

#[test]
fn stock_is_never_set_or_taken_below_what_lines_hold() {
    let product = from_stock(9, 4);
    assert_eq!(set_stock(Some(&product), 4, None), Ok(Stock { version: 2, ..from_stock(4, 4) }));
    assert_eq!(set_stock(Some(&product), 3, None), Err(Refusal::BelowReserved { wanted: 3, reserved: 4 }));
    assert_eq!(set_stock(Some(&from_stock(0, 0)), -1, None), Err(Refusal::BelowReserved { wanted: -1, reserved: 0 }));
    assert_eq!(add_stock(Some(&product), -5, None), Ok(Stock { version: 2, ..from_stock(4, 4) }));
    assert_eq!(add_stock(Some(&product), -6, None), Err(Refusal::BelowReserved { wanted: 3, reserved: 4 }));
    assert_eq!(add_stock(Some(&product), i64::MAX, None), Err(Refusal::TooLarge));
    assert_eq!(
        add_stock(Some(&from_stock(0, 0)), i64::MIN, None),
        Err(Refusal::BelowReserved { wanted: i64::MIN, reserved: 0 })
    );
}

#[test]
fn stock_that_stays_the_same_stays_in_its_version() {
    let product = from_stock(9, 4);
    assert_eq!(set_stock(Some(&product), 9, None), Ok(product));
    assert_eq!(add_stock(Some(&product), 0, None), Ok(product));
}

#[test]
fn stock_of_an_unknown_product_cannot_be_set() {
    for wanted in [None, Some(0), Some(1)] {
        assert_eq!(set_stock(None, 4, wanted), Err(Refusal::NotFound), "{wanted:?}");
        assert_eq!(add_stock(None, 4, wanted), Err(Refusal::NotFound), "{wanted:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Upsert(Fulfilment),
    Set(i64),
    Add(i64),
    Settle(u8, Action, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let fulfilment = prop_oneof![3 => Just(Fulfilment::FromStock), 1 => Just(Fulfilment::MadeToOrder)];
    let action = prop_oneof![2 => Just(Action::Reserve), 1 => Just(Action::Release), 1 => Just(Action::Ship)];
    let stock = prop_oneof![9 => -5i64..40, 1 => any::<i64>()];
    // Each line always asks for the same quantity, as the lines of a real order do.
    let line = (0u8..12, action).prop_map(|(line, action)| Step::Settle(line, action, i64::from(line) - 1));
    prop_oneof![
        1 => fulfilment.prop_map(Step::Upsert),
        2 => stock.clone().prop_map(Step::Set),
        2 => stock.prop_map(Step::Add),
        9 => line,
    ]
}

/// What must come out, kept in the plainest way.
#[derive(Default)]
struct Ledger {
    product: Option<Product>,
    lines: BTreeMap<u8, Line>,
    verdicts: BTreeMap<u8, Verdict>,
    supplied: i128,
    shipped: i128,
}

impl Ledger {
    fn take(&mut self, step: &Step) {
        let stock = self.product.as_ref().map(|product| product.stock);
        let changed = match *step {
            Step::Upsert(fulfilment) => {
                self.product = upsert(self.product.as_ref(), "x", fulfilment, None).ok();
                return;
            }
            Step::Set(quantity) => set_stock(stock.as_ref(), quantity, None).ok(),
            Step::Add(quantity) => add_stock(stock.as_ref(), quantity, None).ok(),
            Step::Settle(line, action, quantity) => return self.settle(line, action, quantity),
        };
        if let (Some(changed), Some(product)) = (changed, &mut self.product) {
            self.supplied += i128::from(changed.stock) - i128::from(product.stock.stock);
            product.stock = changed;
        }
    }

    fn settle(&mut self, line: u8, action: Action, quantity: i64) {
        let stock = self.product.as_ref().map(|product| product.stock);
        let before = self.lines.get(&line).copied();
        let decision = settle(stock.as_ref(), before.as_ref(), action, quantity);
        assert_eq!(decision.verdict.is_some(), action == Action::Reserve, "a reserve is answered, nothing else is");
        if let Some(verdict) = decision.verdict {
            let first = *self.verdicts.entry(line).or_insert(verdict);
            let open = before != Some(Line::Closed) && quantity > 0;
            assert!(!open || first == verdict, "an open line is answered alike: {first:?}, {verdict:?}");
        }
        if let (Action::Ship, Some(Line::Held(held))) = (action, before) {
            self.shipped += i128::from(held);
        }
        if let (Some(stock), Some(product)) = (decision.stock, &mut self.product) {
            product.stock = stock;
        }
        if let Some(state) = decision.line {
            assert_ne!(before, Some(Line::Closed), "nothing leaves closed");
            self.lines.insert(line, state);
        }
    }

    fn laws(&self) {
        let Some(Product { stock, .. }) = &self.product else { return };
        assert!(0 <= stock.reserved && stock.reserved <= stock.stock, "{stock:?}");
        assert_eq!(i128::from(stock.stock), self.supplied - self.shipped);
        let held = self.lines.values().map(|line| if let Line::Held(held) = line { *held } else { 0 });
        assert_eq!(held.sum::<i64>(), stock.reserved);
    }
}

proptest! {
    #[test]
    fn the_laws_hold_under_any_interleaving_with_repeats(steps in prop::collection::vec(step(), 1..120)) {
        let mut ledger = Ledger::default();
        for step in &steps {
            ledger.take(step);
            ledger.laws();
        }
    }
}
