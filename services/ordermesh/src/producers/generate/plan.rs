//! What a generated run does, from its seed alone: who orders what next, what is paid, what is cancelled.

use proto::common::v1::Money;
use proto::customers::v1::{Customer, CustomerLevel};
use proto::inventory::v1::{Fulfilment, Product};
use proto::orders::v1::{Order, OrderLine};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Currency of everything.
pub(super) const CURRENCY: &str = "EUR";
/// Orders of a customer before another one comes: so few that their sum seldom comes near the limit of the fraud check.
const ORDERS_PER_CUSTOMER: u32 = 12;

/// Product, name, price in cents, whether it is made to order.
const PRODUCTS: [(&str, &str, i64, bool); 6] = [
    ("gen-jumper", "Jumper", 39_90, false),
    ("gen-socks", "Socks, a dozen", 14_50, false),
    ("gen-tea", "Tea, a pound", 9_75, false),
    ("gen-atlas", "Atlas of clouds", 89_00, false),
    ("gen-mug", "Mug with your name", 12_50, true),
    ("gen-stamp", "Stamp with your address", 24_00, true),
];
const FIRST_NAMES: [&str; 8] = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Tony", "Frances", "Donald"];
const LAST_NAMES: [&str; 8] = ["Archer", "Baker", "Cooper", "Dyer", "Fletcher", "Mason", "Porter", "Weaver"];

/// Products that a run sells.
pub(super) fn products() -> impl Iterator<Item = Product> {
    PRODUCTS.iter().map(|(product_id, name, _, is_made)| Product {
        product_id: (*product_id).to_owned(),
        name: (*name).to_owned(),
        fulfilment: if *is_made { Fulfilment::MadeToOrder } else { Fulfilment::FromStock }.into(),
        ..Default::default()
    })
}

/// One order with everything around it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    /// Key of the order, and its request_id.
    pub(super) name: String,
    /// Who orders.
    pub(super) customer: Customer,
    /// Where the customer sits, among those that order at present.
    pub(super) chair: usize,
    /// Whether the customer has not ordered before.
    pub(super) is_new_customer: bool,
    /// What is ordered.
    pub(super) order: Order,
    /// Payments in cents.
    pub(super) pays: Vec<i64>,
    /// Whether the customer thinks better of it.
    pub(super) cancels: bool,
}

/// The run as far as it is planned.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u32,
    random: StdRng,
    orders: u64,
    /// Orders of each customer that orders at present, and how many came before on the same chair.
    chairs: Vec<(u32, u32)>,
}

impl Plan {
    /// A run with so many customers at a time.
    pub(super) fn new(seed: u32, customers: u32) -> Self {
        let chairs = vec![(0, 0); customers.max(1) as usize];
        Self { seed, random: StdRng::seed_from_u64(u64::from(seed)), orders: 0, chairs }
    }

    /// The next order.
    pub(super) fn next(&mut self) -> Wish {
        let name = format!("gen-{}-{}", self.seed, self.orders);
        self.orders += 1;
        let chair = self.random.random_range(0..self.chairs.len());
        let (ordered, before) = &mut self.chairs[chair];
        if *ordered == ORDERS_PER_CUSTOMER {
            (*ordered, *before) = (0, *before + 1);
        }
        *ordered += 1;
        let (is_new_customer, generation) = (*ordered == 1, *before);
        let customer = customer(self.seed, chair, generation);
        let lines = self.lines();
        let total: i64 = lines.iter().map(|line| line.quantity * price_of(line)).sum();
        let order =
            Order { order_id: name.clone(), customer_id: customer.customer_id.clone(), lines, ..Default::default() };
        // Of a hundred orders 78 are paid at once, 10 in two parts, 4 in part and 8 not at all.
        let pays = match self.random.random_range(0..100) {
            0..78 => vec![total],
            78..88 => vec![total / 2, total - total / 2],
            88..92 => vec![total / 2],
            _ => Vec::new(),
        };
        let cancels = self.random.random_ratio(3, 100);
        Wish { name, customer, chair, is_new_customer, order, pays, cancels }
    }

    fn lines(&mut self) -> Vec<OrderLine> {
        let count = self.random.random_range(1..=3);
        let from = self.random.random_range(0..PRODUCTS.len());
        (from..from + count)
            .map(|index| {
                let (product_id, _, cents, _) = PRODUCTS[index % PRODUCTS.len()];
                OrderLine {
                    product_id: product_id.to_owned(),
                    quantity: self.random.random_range(1..=2),
                    unit_price: Some(Money { currency_code: CURRENCY.to_owned(), minor_units: cents }),
                }
            })
            .collect()
    }
}

fn price_of(line: &OrderLine) -> i64 {
    line.unit_price.as_ref().map_or(0, |price| price.minor_units)
}

/// The customer on a chair; the same every time for the same numbers.
fn customer(seed: u32, chair: usize, generation: u32) -> Customer {
    let number = chair + generation as usize;
    let (first, last) = (FIRST_NAMES[number % 8], LAST_NAMES[(number / 8 + generation as usize) % 8]);
    let customer_id = format!("gen-{seed}-c{chair}-{generation}");
    let level = match number % 10 {
        0 => CustomerLevel::Platinum,
        1 | 2 => CustomerLevel::Gold,
        3..=5 => CustomerLevel::Silver,
        _ => CustomerLevel::Bronze,
    };
    // One of five has a limit, which unpaid orders can reach.
    let limit = (number % 5 == 4).then(|| Money { currency_code: CURRENCY.to_owned(), minor_units: 30_000 });
    Customer {
        email: format!("{customer_id}@example.org"),
        customer_id,
        first_name: first.to_owned(),
        last_name: last.to_owned(),
        level: level.into(),
        credit_limit: limit,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn run(seed: u32, orders: usize) -> Vec<Wish> {
        let mut plan = Plan::new(seed, 10);
        std::iter::repeat_with(|| plan.next()).take(orders).collect()
    }

    #[test]
    fn a_seed_is_a_run() {
        assert_eq!(run(7, 200), run(7, 200));
        assert_ne!(run(7, 200), run(8, 200));
    }

    #[test]
    fn each_customer_is_created_with_the_first_order_and_orders_so_many_times() {
        let mut seen = BTreeMap::<String, u32>::new();
        for wish in run(3, 1_000) {
            let orders = seen.entry(wish.customer.customer_id.clone()).or_default();
            assert_eq!(wish.is_new_customer, *orders == 0);
            assert_eq!(wish.order.customer_id, wish.customer.customer_id);
            *orders += 1;
            assert!(*orders <= ORDERS_PER_CUSTOMER);
        }
        assert!(seen.len() > 1_000 / ORDERS_PER_CUSTOMER as usize);
    }

    #[test]
    fn a_day_of_business_has_everything_in_it() {
        let run = run(1, 1_000);
        let names: BTreeSet<_> = run.iter().map(|wish| &wish.name).collect();
        assert_eq!(names.len(), run.len());
        let total = |wish: &Wish| wish.order.lines.iter().map(|line| line.quantity * price_of(line)).sum::<i64>();
        let paid = |wish: &Wish| wish.pays.iter().sum::<i64>();
        assert!(run.iter().all(|wish| !wish.order.lines.is_empty() && paid(wish) <= total(wish)));
        for some in [
            run.iter().filter(|wish| wish.cancels).count(),
            run.iter().filter(|wish| wish.pays.is_empty()).count(),
            run.iter().filter(|wish| wish.pays.len() == 2).count(),
            run.iter().filter(|wish| (1..total(wish)).contains(&paid(wish))).count(),
            run.iter().filter(|wish| wish.customer.credit_limit.is_some()).count(),
        ] {
            assert!((10..400).contains(&some), "{some}");
        }
    }
}
