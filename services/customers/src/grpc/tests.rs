//! The methods over real tasks on a log in memory.

use std::time::{Duration, Instant};

use prost::Message;
use proto::common::v1::Money;
use proto::orders::v1 as orders;
use service_host::headers;
use testkit::Running;

use super::*;

const PARTITIONS: u32 = 2;

struct Fixture {
    running: Running,
    service: Customers,
}

impl Fixture {
    async fn start() -> Self {
        let running = Running::start(crate::definition(&Config::default()), PARTITIONS).await;
        let service = Customers::new(Owner::new(running.tasks(), "here"), Config::default());
        Self { running, service }
    }

    async fn create(&self, customer: pb::Customer) -> pb::Customer {
        let request = pb::CreateCustomerRequest { customer: Some(customer), request_id: String::new() };
        self.service.create_customer(Request::new(request)).await.unwrap().into_inner().customer.unwrap()
    }

    async fn greet(&self, customer_id: &str, generated: &'static str) -> Result<pb::Greeting, Problem> {
        let request =
            pb::SendGreetingRequest { customer_id: customer_id.into(), message: "Hello".into(), ..Default::default() };
        let mut request = Request::new(request);
        if !generated.is_empty() {
            request.metadata_mut().insert(headers::GENERATED_KEY, generated.parse().unwrap());
        }
        let sent = self.service.send_greeting(request).await.map_err(|status| Problem::from(&status))?;
        Ok(sent.into_inner().greeting.unwrap())
    }

    /// Ids of the greetings that a list shows, page by page.
    async fn greetings(&self, customer_id: &str, page_size: i32) -> Vec<String> {
        let mut found = Vec::new();
        for partition in 0..PARTITIONS {
            let mut page_token = String::new();
            loop {
                let list = pb::ListGreetingsRequest {
                    customer_id: customer_id.into(),
                    page_size,
                    page_token,
                    ..Default::default()
                };
                let page = self.service.list_greetings(of_partition(list, partition)).await.unwrap().into_inner();
                assert!(page.greetings.len() <= usize::try_from(page_size).unwrap());
                found.extend(page.greetings.into_iter().map(|greeting| greeting.greeting_id));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
        }
        found.sort();
        found
    }

    async fn rows(&self, customer_id: &str) -> Vec<pb::CustomerOrder> {
        let mut found = Vec::new();
        for partition in 0..PARTITIONS {
            let list = pb::ListCustomerOrdersRequest { customer_id: customer_id.into(), ..Default::default() };
            let page = self.service.list_customer_orders(of_partition(list, partition)).await.unwrap().into_inner();
            found.extend(page.customer_orders);
        }
        found
    }

    async fn place(&self, customer_id: &str, order_id: &str) {
        let placed = orders::OrderPlaced {
            order_id: order_id.into(),
            customer_id: customer_id.into(),
            total: Some(Money { currency_code: "EUR".into(), minor_units: 300 }),
            ..Default::default()
        };
        let topic = crate::topics::ORDERS_BY_CUSTOMER;
        self.running.record(topic, customer_id.as_bytes(), placed.encode_to_vec()).await;
    }
}

fn of_partition<T>(message: T, partition: u32) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(headers::PARTITION, partition.into());
    request
}

fn ada() -> pb::Customer {
    pb::Customer { customer_id: "c-1".into(), first_name: "Ada".into(), ..Default::default() }
}

fn problem<T: std::fmt::Debug>(answer: Result<T, Status>) -> Problem {
    Problem::from(&answer.unwrap_err())
}

fn fields(problem: &Problem) -> Vec<&str> {
    problem.violations.iter().map(|violation| violation.field.as_str()).collect()
}

#[tokio::test]
async fn a_customer_is_read_and_listed_as_it_was_written() {
    let fixture = Fixture::start().await;
    let output_only = pb::Customer { etag: "7".into(), credit_available: Some(Money::default()), ..ada() };
    let created = fixture.create(output_only).await;
    assert_eq!(
        (created.level(), created.etag.as_str(), &created.credit_available),
        (pb::CustomerLevel::Bronze, "1", &None)
    );
    let get = pb::GetCustomerRequest { customer_id: "c-1".into(), consistency: None };
    let read = fixture.service.get_customer(Request::new(get)).await.unwrap().into_inner();
    assert_eq!(read.customer, Some(created.clone()));
    let mut listed = Vec::new();
    for partition in 0..PARTITIONS {
        let request = of_partition(pb::ListCustomersRequest::default(), partition);
        listed.extend(fixture.service.list_customers(request).await.unwrap().into_inner().customers);
    }
    assert_eq!(listed, [created]);
    let get = pb::GetCustomerRequest { customer_id: "ghost".into(), consistency: None };
    assert_eq!(problem(fixture.service.get_customer(Request::new(get)).await).reason, "CUSTOMER_NOT_FOUND");
    fixture.running.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_once_whatever_its_output_fields_say() {
    let fixture = Fixture::start().await;
    let create = |etag: &str| {
        let customer = Some(pb::Customer { etag: etag.into(), ..ada() });
        Request::new(pb::CreateCustomerRequest { customer, request_id: "r-1".into() })
    };
    let first = fixture.service.create_customer(create("")).await.unwrap().into_inner();
    let again = fixture.service.create_customer(create("9")).await.unwrap().into_inner();
    assert_eq!(first.customer, again.customer);
    let set = |minor_units| {
        let credit_limit = Some(Money { currency_code: "EUR".into(), minor_units });
        let (customer_id, request_id) = ("c-1".into(), "r-2".into());
        Request::new(pb::SetCreditLimitRequest { customer_id, credit_limit, request_id, ..Default::default() })
    };
    let first = fixture.service.set_credit_limit(set(0)).await.unwrap().into_inner();
    let again = fixture.service.set_credit_limit(set(0)).await.unwrap().into_inner();
    assert_eq!((first.customer.as_ref().unwrap().etag.as_str(), &first.customer), ("2", &again.customer));
    assert_eq!(problem(fixture.service.set_credit_limit(set(1)).await).reason, "REQUEST_ID_REUSED");
    fixture.running.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_once() {
    let fixture = Fixture::start().await;
    let customer = pb::Customer {
        customer_id: "a b".into(),
        first_name: "x\r\nBcc: all".into(),
        email: "nobody".into(),
        level: 77,
        credit_limit: Some(Money { currency_code: "money".into(), minor_units: -1 }),
        ..Default::default()
    };
    let request = pb::CreateCustomerRequest { customer: Some(customer.clone()), request_id: " ".into() };
    let refused = problem(fixture.service.create_customer(Request::new(request)).await);
    let of_customer = [
        "request_id",
        "customer.customer_id",
        "customer.first_name",
        "customer.email",
        "customer.level",
        "customer.credit_limit.currency_code",
        "customer.credit_limit.minor_units",
    ];
    assert_eq!(fields(&refused), of_customer);
    let update_mask = Some(prost_types::FieldMask { paths: vec!["phone".into(), "customer_id".into(), "etag".into()] });
    let request = pb::UpdateCustomerRequest { customer: Some(ada()), update_mask, ..Default::default() };
    let refused = problem(fixture.service.update_customer(Request::new(request)).await);
    assert_eq!(fields(&refused), ["update_mask", "update_mask"]);
    let refused = problem(fixture.service.update_customer(Request::new(pb::UpdateCustomerRequest::default())).await);
    assert_eq!(fields(&refused), ["customer"]);
    let refused = problem(fixture.service.set_credit_limit(Request::new(pb::SetCreditLimitRequest::default())).await);
    assert_eq!(fields(&refused), ["customer_id", "credit_limit"]);
    let refused = problem(fixture.service.send_greeting(Request::new(pb::SendGreetingRequest::default())).await);
    assert_eq!(fields(&refused), ["customer_id", "message"]);
    fixture.running.stop().await;
}

#[tokio::test]
async fn orders_stand_beside_their_customer_as_it_is_now() {
    let fixture = Fixture::start().await;
    for order_id in ["o-1", "o-2"] {
        fixture.place("c-1", order_id).await;
    }
    fixture.place("c-10", "o-3").await;
    let asked = Instant::now();
    while fixture.rows("").await.len() < 3 {
        assert!(asked.elapsed() < Duration::from_secs(20), "the orders do not show");
        tokio::task::yield_now().await;
    }
    let names = async |customer_id: &str| {
        let rows = fixture.rows(customer_id).await.into_iter();
        let row = |row: pb::CustomerOrder| (row.order.unwrap().order_id, row.customer.unwrap().first_name);
        let mut rows: Vec<_> = rows.map(row).collect();
        rows.sort();
        rows
    };
    let of = |order_id: &str, name: &str| (order_id.to_owned(), name.to_owned());
    assert_eq!(names("c-1").await, [of("o-1", ""), of("o-2", "")], "the customer is not there yet");
    fixture.create(ada()).await;
    assert_eq!(names("").await, [of("o-1", "Ada"), of("o-2", "Ada"), of("o-3", "")]);
    let update_mask = Some(prost_types::FieldMask { paths: vec!["first_name".into()] });
    let customer = Some(pb::Customer { first_name: "Augusta".into(), ..ada() });
    let rename = pb::UpdateCustomerRequest { customer, update_mask, ..Default::default() };
    fixture.service.update_customer(Request::new(rename)).await.unwrap();
    assert_eq!(names("c-1").await, [of("o-1", "Augusta"), of("o-2", "Augusta")]);
    fixture.running.stop().await;
}

#[tokio::test]
async fn a_customer_is_shown_its_own_greetings_and_those_to_everyone() {
    let fixture = Fixture::start().await;
    fixture.create(ada()).await;
    fixture.create(pb::Customer { customer_id: "c-10".into(), ..ada() }).await;
    assert_eq!(fixture.greet("ghost", "").await.unwrap_err().reason, "CUSTOMER_NOT_FOUND");
    for generated in ["all-1", "all-2", "all-3"] {
        fixture.greet("", generated).await.unwrap();
    }
    for customer_id in ["c-1", "c-1", "c-10"] {
        fixture.greet(customer_id, "").await.unwrap();
    }
    for page_size in 1..8 {
        assert_eq!(fixture.greetings("c-1", page_size).await, ["all-1", "all-2", "all-3", "c-1-1", "c-1-2"]);
        assert_eq!(fixture.greetings("c-10", page_size).await, ["all-1", "all-2", "all-3", "c-10-1"]);
        assert_eq!(fixture.greetings("", page_size).await.len(), 6);
    }
    fixture.running.stop().await;
}
