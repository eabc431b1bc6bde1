//! A customer and a warehouse clerk at the public API: what the tests of this crate do all the time.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::common::v1::Money;
use proto::customers::v1::customer_service_client::CustomerServiceClient;
use proto::customers::v1::{CreateCustomerRequest, Customer, GetCustomerRequest};
use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::inventory::v1::{Fulfilment, GetProductRequest, Product, SetStockRequest, UpsertProductRequest};
use proto::manufacturing::v1::manufacturing_service_client::ManufacturingServiceClient;
use proto::manufacturing::v1::{ReportManufacturedRequest, ReportManufacturedResponse};
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{
    CancelOrderRequest, CreateOrderRequest, GetOrderRequest, ListOrdersRequest, Order, OrderLine, OrderState, WaitFor,
};
use proto::shipping::v1::shipping_service_client::ShippingServiceClient;
use proto::shipping::v1::{GetShipmentRequest, Shipment, ShipmentState};
use proto::validation::v1::validation_service_client::ValidationServiceClient;
use proto::validation::v1::{Check, GetValidationRequest, Outcome, Validation};
use service_host::Problem;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// How long anything may take on a busy machine before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The public API as people use it.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    pub(crate) orders: OrderServiceClient<Channel>,
    pub(crate) validation: ValidationServiceClient<Channel>,
    pub(crate) inventory: InventoryServiceClient<Channel>,
    pub(crate) customers: CustomerServiceClient<Channel>,
    pub(crate) manufacturing: ManufacturingServiceClient<Channel>,
    pub(crate) shipping: ShippingServiceClient<Channel>,
    /// Customers that exist, as far as this shop has seen to it.
    known: Arc<Mutex<HashSet<String>>>,
}

impl Shop {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            orders: OrderServiceClient::new(channel.clone()),
            validation: ValidationServiceClient::new(channel.clone()),
            inventory: InventoryServiceClient::new(channel.clone()),
            customers: CustomerServiceClient::new(channel.clone()),
            manufacturing: ManufacturingServiceClient::new(channel.clone()),
            shipping: ShippingServiceClient::new(channel),
            known: Arc::default(),
        }
    }

    /// A product with so many pieces in stock.
    pub(crate) async fn stock(&self, product_id: &str, quantity: i64) {
        self.upsert(product_id, Fulfilment::FromStock).await.unwrap();
        self.set_stock(product_id, quantity).await.unwrap();
    }

    pub(crate) async fn made_to_order(&self, product_id: &str) {
        self.upsert(product_id, Fulfilment::MadeToOrder).await.unwrap();
    }

    pub(crate) async fn upsert(&self, product_id: &str, fulfilment: Fulfilment) -> Result<(), Status> {
        let product = Product {
            product_id: product_id.to_owned(),
            name: product_id.to_uppercase(),
            fulfilment: fulfilment.into(),
            ..Default::default()
        };
        let request = UpsertProductRequest { product: Some(product), request_id: format!("upsert-{product_id}") };
        self.inventory.clone().upsert_product(timed(request)).await.map(|_| ())
    }

    pub(crate) async fn set_stock(&self, product_id: &str, quantity: i64) -> Result<(), Status> {
        let request_id = format!("stock-{product_id}");
        let request = SetStockRequest { product_id: product_id.to_owned(), quantity, request_id, ..Default::default() };
        self.inventory.clone().set_stock(timed(request)).await.map(|_| ())
    }

    pub(crate) async fn product(&self, product_id: &str) -> Product {
        let request = GetProductRequest { product_id: product_id.to_owned(), consistency: None };
        self.inventory.clone().get_product(timed(request)).await.unwrap().into_inner().product.unwrap()
    }

    /// Stock, reserved, available.
    pub(crate) async fn pieces(&self, product_id: &str) -> (i64, i64, i64) {
        let product = self.product(product_id).await;
        (product.stock, product.reserved, product.available)
    }

    pub(crate) async fn create(&self, order: Order) -> Result<Order, Status> {
        self.create_as(order, "").await
    }

    /// Creates an order. Its customer is made before, without a credit limit, unless there is one of that id.
    pub(crate) async fn create_as(&self, order: Order, request_id: &str) -> Result<Order, Status> {
        self.see_to_customer(&order.customer_id).await?;
        self.create_for_stranger(order, request_id).await
    }

    /// Creates an order of a customer who may not exist.
    pub(crate) async fn create_for_stranger(&self, order: Order, request_id: &str) -> Result<Order, Status> {
        let request = CreateOrderRequest { order: Some(order), request_id: request_id.to_owned(), wait_for: 0 };
        Ok(self.orders.clone().create_order(timed(request)).await?.into_inner().order.unwrap())
    }

    /// A customer with a credit limit in cents, if it shall have one.
    pub(crate) async fn customer(&self, customer_id: &str, limit: Option<i64>) -> Result<Customer, Status> {
        let customer = Customer {
            customer_id: customer_id.to_owned(),
            first_name: customer_id.to_uppercase(),
            credit_limit: limit.map(euros),
            ..Default::default()
        };
        let request = CreateCustomerRequest { customer: Some(customer), request_id: format!("customer-{customer_id}") };
        let created = self.customers.clone().create_customer(timed(request)).await?.into_inner().customer.unwrap();
        self.known.lock().unwrap().insert(customer_id.to_owned());
        Ok(created)
    }

    pub(crate) async fn see_to_customer(&self, customer_id: &str) -> Result<(), Status> {
        if self.known.lock().unwrap().contains(customer_id) {
            return Ok(());
        }
        match self.customer(customer_id, None).await {
            // One with other content is one too; one that cannot be is for the order to find out.
            Err(status) if matches!(status.code(), Code::AlreadyExists | Code::InvalidArgument) => Ok(()),
            created => created.map(|_| ()),
        }
    }

    /// Limit, reserved, available, in cents.
    pub(crate) async fn credit(&self, customer_id: &str) -> (Option<i64>, i64, Option<i64>) {
        let request = GetCustomerRequest { customer_id: customer_id.to_owned(), consistency: None };
        let found = self.customers.clone().get_customer(timed(request)).await.unwrap().into_inner().customer.unwrap();
        let cents = |money: Option<Money>| money.map(|money| money.minor_units);
        (cents(found.credit_limit), cents(found.credit_reserved).unwrap_or(0), cents(found.credit_available))
    }

    /// The order once it has got that far, or is in a final state.
    pub(crate) async fn wait(&self, order_id: &str, wait_for: WaitFor) -> Result<Order, Status> {
        let request =
            GetOrderRequest { order_id: order_id.to_owned(), wait_for: wait_for.into(), ..Default::default() };
        Ok(self.orders.clone().get_order(timed(request)).await?.into_inner().order.unwrap())
    }

    /// Creates an order and waits for the verdict on it.
    pub(crate) async fn judged(&self, order: Order) -> Order {
        let order = self.create(order).await.unwrap();
        self.wait(&order.order_id, WaitFor::Validated).await.unwrap()
    }

    pub(crate) async fn cancel(&self, order_id: &str) -> Result<Order, Status> {
        self.cancel_as(order_id, "").await
    }

    /// Cancels with a request id: safe to repeat.
    pub(crate) async fn cancel_as(&self, order_id: &str, request_id: &str) -> Result<Order, Status> {
        let request = CancelOrderRequest {
            order_id: order_id.to_owned(),
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        Ok(self.orders.clone().cancel_order(timed(request)).await?.into_inner().order.unwrap())
    }

    pub(crate) async fn all_orders(&self) -> Vec<Order> {
        let request = ListOrdersRequest { page_size: 1000, require_complete: true, ..Default::default() };
        self.orders.clone().list_orders(timed(request)).await.unwrap().into_inner().orders
    }

    pub(crate) async fn verdicts(&self, order_id: &str) -> Validation {
        let request = GetValidationRequest { order_id: order_id.to_owned(), consistency: None };
        self.validation.clone().get_validation(timed(request)).await.unwrap().into_inner().validation.unwrap()
    }

    pub(crate) async fn report(
        &self,
        order_id: &str,
        product_id: &str,
        quantity: i64,
        request_id: &str,
    ) -> Result<ReportManufacturedResponse, Status> {
        let request = ReportManufacturedRequest {
            order_id: order_id.to_owned(),
            product_id: product_id.to_owned(),
            quantity,
            request_id: request_id.to_owned(),
        };
        self.manufacturing.clone().report_manufactured(timed(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn shipment(&self, order_id: &str) -> Result<Shipment, Status> {
        let request = GetShipmentRequest { order_id: order_id.to_owned(), consistency: None };
        Ok(self.shipping.clone().get_shipment(timed(request)).await?.into_inner().shipment.unwrap())
    }

    /// The shipment once it says this about its progress.
    pub(crate) async fn shipment_at(&self, order_id: &str, state: ShipmentState, progress: &str) -> Shipment {
        eventually(&format!("{order_id} {progress}"), async || {
            let shipment = self.shipment(order_id).await.ok()?;
            (shipment.state() == state && shipment.progress.starts_with(progress)).then_some(shipment)
        })
        .await
    }
}

/// An order of these products and quantities, each piece at 19.99.
pub(crate) fn order(customer_id: &str, lines: &[(&str, i64)]) -> Order {
    priced(customer_id, &lines.iter().map(|(product, quantity)| (*product, *quantity, 19_99)).collect::<Vec<_>>())
}

/// An order of products, quantities and prices in cents.
pub(crate) fn priced(customer_id: &str, lines: &[(&str, i64, i64)]) -> Order {
    let lines = lines.iter().map(|(product_id, quantity, cents)| OrderLine {
        product_id: (*product_id).to_owned(),
        quantity: *quantity,
        unit_price: Some(euros(*cents)),
    });
    Order { customer_id: customer_id.to_owned(), lines: lines.collect(), ..Default::default() }
}

pub(crate) fn euros(cents: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), minor_units: cents }
}

/// The same under a chosen id.
pub(crate) fn named(order_id: &str, order: Order) -> Order {
    Order { order_id: order_id.to_owned(), ..order }
}

pub(crate) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

/// Asks again and again, with the machine given a breath in between, until there is an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let mut breath = tokio::time::interval(Duration::from_millis(5));
    let asking = async {
        loop {
            breath.tick().await;
            if let Some(found) = ask().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// How many orders are in each state.
pub(crate) fn states(orders: &[Order]) -> HashMap<OrderState, usize> {
    let mut states = HashMap::new();
    for order in orders {
        *states.entry(order.state()).or_default() += 1;
    }
    states
}

/// Reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    Problem::from(status).reason.into_owned()
}

/// What one check said of an order, once for each line.
pub(crate) fn outcomes(validation: &Validation, check: Check) -> Vec<Outcome> {
    validation.verdicts.iter().filter(|verdict| verdict.check() == check).map(|verdict| verdict.outcome()).collect()
}
