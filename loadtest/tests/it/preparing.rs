//! Products and customers for a run, and the first order after a start.

use std::time::Duration;

use loadtest::report::Output;
use loadtest::{first, setup};

use crate::fake::{self, Fault};

#[tokio::test]
async fn every_product_gets_its_stock_and_every_customer_is_there_though_the_mesh_is_still_starting() {
    let (address, server) = fake::start(Some(Fault::Fail { below: 5 })).await;
    let settings = setup::Settings {
        addr: address.to_string(),
        products: 150,
        stock: 12,
        fulfilment: setup::Kind::Stock,
        customers: 120,
        patience: Duration::from_secs(30),
    };
    for _ in 0..2 {
        setup::set_up(&settings).await.unwrap();
        let products = server.products.lock().unwrap();
        assert_eq!(products.len(), 150);
        assert!(products.values().all(|product| product.stock == 12));
        assert_eq!(server.customers.lock().unwrap().len(), 120);
    }
}

#[tokio::test]
async fn a_mesh_that_never_answers_is_given_up() {
    let settings = setup::Settings {
        addr: "127.0.0.1:1".to_owned(),
        products: 1,
        stock: 1,
        fulfilment: setup::Kind::Made,
        customers: 1,
        patience: Duration::from_millis(100),
    };
    let error = setup::set_up(&settings).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn the_first_order_is_tried_until_it_is_validated() {
    let (address, server) = fake::start(Some(Fault::Fail { below: 100 })).await;
    let settings = first::Settings {
        addr: address.to_string(),
        since: None,
        orders: 16,
        patience: Duration::from_secs(30),
        products: 10,
        output: Output::default(),
    };
    let figures = first::measure(&settings).await.unwrap();
    assert!(figures.created_ms <= figures.validated_ms && figures.validated_ms <= figures.all_validated_ms);
    assert_eq!(server.orders.lock().unwrap().len(), 16, "a repeated order is the same order");
}
