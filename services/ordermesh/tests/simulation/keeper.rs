//! Who keeps the shop: the assortment, the stock, the customers. Made while faults happen already, so that orders come for
//! products and customers that are not there yet.

use proto::common::v1::Money;
use proto::customers::v1::customer_service_client::CustomerServiceClient;
use proto::customers::v1::{CreateCustomerRequest, Customer};
use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::inventory::v1::{AddStockRequest, Fulfilment, Product, SetStockRequest, UpsertProductRequest};

use crate::desk::Desk;

pub(crate) const FROM_STOCK: [&str; 3] = ["book", "mug", "lamp"];
pub(crate) const MADE_TO_ORDER: [&str; 2] = ["desk", "chair"];
/// The limit of their credit in minor units.
const CUSTOMERS: [(&str, Option<i64>); 3] = [("ann", None), ("bob", Some(60_000)), ("eve", Some(9_000))];

pub(crate) fn customers() -> [&'static str; 3] {
    CUSTOMERS.map(|(name, _)| name)
}

pub(crate) fn euros(minor_units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), minor_units }
}

pub(crate) async fn run(mut desk: Desk) {
    for (name, limit) in CUSTOMERS {
        create_customer(&mut desk, name, limit).await;
    }
    for name in FROM_STOCK {
        upsert(&mut desk, name, Fulfilment::FromStock).await;
        set_stock(&mut desk, name).await;
    }
    for name in MADE_TO_ORDER {
        upsert(&mut desk, name, Fulfilment::MadeToOrder).await;
    }
    for number in 0..desk.dice.below(5) {
        desk.pause(50, 900).await;
        add_stock(&mut desk, number).await;
    }
}

async fn create_customer(desk: &mut Desk, name: &str, limit: Option<i64>) {
    let customer = Customer {
        customer_id: name.to_owned(),
        first_name: name.to_owned(),
        last_name: "Example".to_owned(),
        email: format!("{name}@example.org"),
        credit_limit: limit.map(euros),
        ..Customer::default()
    };
    let request = CreateCustomerRequest { customer: Some(customer), request_id: format!("create-{name}") };
    let created = desk.insist(customers::SERVICE, name, request, async |server, request| {
        CustomerServiceClient::new(customers::server(server.owner, &server.config.customers))
            .create_customer(request)
            .await
    });
    match created.await {
        Ok(_) => {
            desk.history(|history| history.customers.insert(name.to_owned()));
        }
        Err(problem) => desk.broken("I14 right status", format!("customer {name} was refused: {problem:?}")),
    }
}

async fn upsert(desk: &mut Desk, name: &str, fulfilment: Fulfilment) {
    let mut product = Product { product_id: name.to_owned(), name: name.to_owned(), ..Product::default() };
    product.set_fulfilment(fulfilment);
    let request = UpsertProductRequest { product: Some(product), request_id: format!("upsert-{name}") };
    let upserted = desk.insist(inventory::SERVICE, name, request, async |server, request| {
        InventoryServiceClient::new(inventory::server(server.owner, &server.config.inventory))
            .upsert_product(request)
            .await
    });
    if let Err(problem) = upserted.await {
        desk.broken("I14 right status", format!("product {name} was refused: {problem:?}"));
    }
}

async fn set_stock(desk: &mut Desk, name: &str) {
    let quantity = i64::try_from(desk.dice.range(3, 15)).unwrap();
    let request = SetStockRequest {
        product_id: name.to_owned(),
        quantity,
        request_id: format!("set-{name}"),
        ..SetStockRequest::default()
    };
    let set = desk.insist(inventory::SERVICE, name, request, async |server, request| {
        InventoryServiceClient::new(inventory::server(server.owner, &server.config.inventory)).set_stock(request).await
    });
    match set.await {
        Ok(_) => {
            desk.history(|history| history.stocked.insert(name.to_owned(), quantity));
        }
        Err(problem) => desk.broken("I14 right status", format!("the stock of {name} was refused: {problem:?}")),
    }
}

async fn add_stock(desk: &mut Desk, number: u64) {
    let name = desk.dice.pick(&FROM_STOCK);
    let quantity = i64::try_from(desk.dice.range(1, 6)).unwrap();
    let request = AddStockRequest {
        product_id: name.to_owned(),
        quantity,
        request_id: format!("add-{number}"),
        ..AddStockRequest::default()
    };
    let added = desk.insist(inventory::SERVICE, name, request, async |server, request| {
        InventoryServiceClient::new(inventory::server(server.owner, &server.config.inventory)).add_stock(request).await
    });
    match added.await {
        Ok(_) => desk.history(|history| *history.stocked.entry(name.to_owned()).or_default() += quantity),
        Err(problem) => desk.broken("I14 right status", format!("{quantity} more of {name} was refused: {problem:?}")),
    }
}
