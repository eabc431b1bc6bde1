//! The sample: a few products, customers, orders and payments, made as any client makes them, so that there is something
//! to look at.
//!
//! Everything has a fixed request id, so that a second start changes nothing.

use std::time::Duration;

use gateway::Gateway;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::catalog::v1::{AddChapterRequest, Author, Book, CreateAuthorRequest, CreateBookRequest};
use proto::common::v1::Money;
use proto::customers::v1::customer_service_client::CustomerServiceClient;
use proto::customers::v1::{CreateCustomerRequest, Customer, CustomerLevel};
use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::inventory::v1::{Fulfilment, Product, SetStockRequest, UpsertProductRequest};
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{CreateOrderRequest, Order, OrderLine, WaitFor};
use proto::payments::v1::payment_service_client::PaymentServiceClient;
use proto::payments::v1::{Payment, RecordPaymentRequest};
use tonic::{Code, Request, Status};

/// Product, name, how it is fulfilled, stock in pieces, price in cents.
const PRODUCTS: [(&str, &str, Fulfilment, i64, i64); 4] = [
    ("jumper", "Jumper", Fulfilment::FromStock, 10, 19_99),
    ("underpants", "Underpants", Fulfilment::FromStock, 75, 4_95),
    ("atlas", "Atlas of clouds", Fulfilment::FromStock, 3, 89_00),
    ("bookend", "Bookend with your name", Fulfilment::MadeToOrder, 0, 24_50),
];

/// Customer, first and last name, level, credit limit in cents if there is one.
const CUSTOMERS: [(&str, &str, &str, CustomerLevel, Option<i64>); 3] = [
    ("c-ada", "Ada", "Lovelace", CustomerLevel::Platinum, None),
    ("c-grace", "Grace", "Hopper", CustomerLevel::Gold, Some(50_000)),
    ("c-alan", "Alan", "Turing", CustomerLevel::Bronze, Some(5_000)),
];

/// Product and quantity.
type Line = (&'static str, i64);

/// Order, customer, lines.
const ORDERS: [(&str, &str, &[Line]); 4] = [
    ("sample-1", "c-ada", &[("jumper", 1), ("underpants", 3)]),
    ("sample-2", "c-grace", &[("bookend", 2)]),
    ("sample-3", "c-grace", &[("atlas", 1), ("bookend", 1)]),
    // More than there are, and more than he may spend: rejected, with both reasons on the record.
    ("sample-4", "c-alan", &[("atlas", 5)]),
];

/// Order and what comes in for it, in cents: one is paid in full, so that its customer gets an e-mail, and one in part.
const PAYMENTS: [(&str, i64); 2] = [("sample-1", 34_84), ("sample-2", 20_00)];

/// Author, first and last name.
const AUTHORS: [(&str, &str, &str); 2] = [("lovelace", "Ada", "Lovelace"), ("babbage", "Charles", "Babbage")];

/// Book, title, author, titles of the chapters.
const BOOKS: [(&str, &str, &str, &[&str]); 2] = [
    ("01990000-0000-7000-8000-000000000001", "Notes on the engine", "lovelace", &["Note A", "Note G"]),
    ("01990000-0000-7000-8000-000000000002", "On the economy of machinery", "babbage", &["Introduction"]),
];

/// Time for one call of the sample.
const DEADLINE: Duration = Duration::from_secs(20);

/// What was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Products.
    pub products: usize,
    /// Customers.
    pub customers: usize,
    /// Orders.
    pub orders: usize,
    /// Books.
    pub books: usize,
}

/// Loads the sample through the public API.
///
/// # Errors
/// The status of the first call that failed.
pub async fn load_sample(api: Gateway) -> Result<Sample, Status> {
    let mut inventory = InventoryServiceClient::new(api.clone());
    for (product_id, name, fulfilment, stock, _) in PRODUCTS {
        let product = Product {
            product_id: product_id.to_owned(),
            name: name.to_owned(),
            fulfilment: fulfilment.into(),
            ..Default::default()
        };
        let request_id = format!("sample-product-{product_id}");
        inventory.upsert_product(timed(UpsertProductRequest { product: Some(product), request_id })).await?;
        if fulfilment == Fulfilment::FromStock {
            inventory.set_stock(timed(stock_of(product_id, stock))).await?;
        }
    }
    let mut customers = CustomerServiceClient::new(api.clone());
    for (customer_id, first_name, last_name, level, limit) in CUSTOMERS {
        let customer = Customer {
            customer_id: customer_id.to_owned(),
            first_name: first_name.to_owned(),
            last_name: last_name.to_owned(),
            email: format!("{}@example.org", first_name.to_lowercase()),
            level: level.into(),
            credit_limit: limit.map(euros),
            ..Default::default()
        };
        let request_id = format!("sample-customer-{customer_id}");
        customers.create_customer(timed(CreateCustomerRequest { customer: Some(customer), request_id })).await?;
    }
    load_books(api.clone()).await?;
    let mut orders = OrderServiceClient::new(api.clone());
    for (order_id, customer_id, lines) in ORDERS {
        orders.create_order(timed(order(order_id, customer_id, lines))).await?;
    }
    let mut payments = PaymentServiceClient::new(api);
    for (order_id, cents) in PAYMENTS {
        let payment = Payment {
            payment_id: format!("sample-payment-{order_id}"),
            order_id: order_id.to_owned(),
            amount: Some(euros(cents)),
            ..Default::default()
        };
        let request_id = format!("sample-payment-{order_id}");
        payments.record_payment(timed(RecordPaymentRequest { payment: Some(payment), request_id })).await?;
    }
    Ok(Sample { products: PRODUCTS.len(), customers: CUSTOMERS.len(), orders: ORDERS.len(), books: BOOKS.len() })
}

/// The catalog refuses to create what is there. A start that comes after its memory of request ids leaves that alone.
async fn load_books(api: Gateway) -> Result<(), Status> {
    let mut catalog = CatalogServiceClient::new(api);
    let is_new = |status: Result<(), Status>| match status {
        Err(status) if status.code() == Code::AlreadyExists => Ok(false),
        status => status.map(|()| true),
    };
    for (code, first_name, last_name) in AUTHORS {
        let author = Author {
            code: code.to_owned(),
            first_name: first_name.to_owned(),
            last_name: last_name.to_owned(),
            ..Default::default()
        };
        let request = CreateAuthorRequest { author: Some(author), request_id: format!("sample-author-{code}") };
        is_new(catalog.create_author(timed(request)).await.map(|_| ()))?;
    }
    for (book_id, title, author_code, chapters) in BOOKS {
        let book = Book {
            book_id: book_id.to_owned(),
            title: title.to_owned(),
            author_code: author_code.to_owned(),
            ..Default::default()
        };
        let request = CreateBookRequest { book: Some(book), request_id: format!("sample-{book_id}") };
        if !is_new(catalog.create_book(timed(request)).await.map(|_| ()))? {
            continue;
        }
        for (number, chapter) in chapters.iter().enumerate() {
            let request = AddChapterRequest {
                book_id: book_id.to_owned(),
                title: (*chapter).to_owned(),
                request_id: format!("sample-{book_id}-{number}"),
                ..Default::default()
            };
            catalog.add_chapter(timed(request)).await?;
        }
    }
    Ok(())
}

fn stock_of(product_id: &str, quantity: i64) -> SetStockRequest {
    let request_id = format!("sample-stock-{product_id}");
    SetStockRequest { product_id: product_id.to_owned(), quantity, request_id, ..Default::default() }
}

fn order(order_id: &str, customer_id: &str, lines: &[Line]) -> CreateOrderRequest {
    let line = |(product_id, quantity): &Line| OrderLine {
        product_id: (*product_id).to_owned(),
        quantity: *quantity,
        unit_price: Some(price(product_id)),
    };
    let order = Order {
        order_id: order_id.to_owned(),
        customer_id: customer_id.to_owned(),
        lines: lines.iter().map(line).collect(),
        ..Default::default()
    };
    let request_id = format!("sample-order-{order_id}");
    CreateOrderRequest { order: Some(order), request_id, wait_for: WaitFor::Unspecified.into() }
}

fn price(product_id: &str) -> Money {
    let cents = PRODUCTS.iter().find(|product| product.0 == product_id).map_or(0, |product| product.4);
    euros(cents)
}

fn euros(cents: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), minor_units: cents }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}
