//! A server that takes orders, products and customers as a mesh would, and can be told to stall, to fail or to reject.

#![expect(clippy::disallowed_methods, reason = "this server is none of the mesh")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::customers::v1::customer_service_server::{CustomerService, CustomerServiceServer};
use proto::customers::v1::{self as customers};
use proto::inventory::v1::inventory_service_server::{InventoryService, InventoryServiceServer};
use proto::inventory::v1::{
    AddStockRequest, AddStockResponse, GetProductRequest, GetProductResponse, ListProductsRequest,
    ListProductsResponse, Product, SetStockRequest, SetStockResponse, UpsertProductRequest, UpsertProductResponse,
};
use proto::orders::v1::order_service_server::{OrderService, OrderServiceServer};
use proto::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse, GetOrderHistoryRequest,
    GetOrderHistoryResponse, GetOrderRequest, GetOrderResponse, ListOrdersRequest, ListOrdersResponse, Order,
    OrderChange, OrderState, WaitFor, WatchOrderRequest, WatchOrderResponse, WatchOrdersRequest, WatchOrdersResponse,
};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::Empty;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What the server does to the order of a number, counted from 0 as they come in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Nobody is served for so long, from this order on.
    Stall { at: u64, pause: Duration },
    /// It fails with UNAVAILABLE.
    Fail { below: u64 },
    /// Every second order is rejected.
    RejectHalf,
}

/// State of the server.
#[derive(Debug)]
pub(crate) struct Fake {
    fault: Option<Fault>,
    /// Orders that came in.
    pub(crate) orders: Mutex<Vec<Order>>,
    /// Products that came in.
    pub(crate) products: Mutex<BTreeMap<String, Product>>,
    /// Ids of customers that came in.
    pub(crate) customers: Mutex<BTreeSet<String>>,
    /// Who watches all orders.
    watchers: Mutex<Vec<Sender<Result<WatchOrdersResponse, Status>>>>,
    calls: AtomicU64,
    /// One call at a time, as the owner of one partition serves them.
    turn: Semaphore,
}

/// Starts one on a free port.
pub(crate) async fn start(fault: Option<Fault>) -> (SocketAddr, Arc<Fake>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fake = Arc::new(Fake {
        fault,
        orders: Mutex::default(),
        products: Mutex::default(),
        customers: Mutex::default(),
        watchers: Mutex::default(),
        calls: AtomicU64::new(0),
        turn: Semaphore::new(1),
    });
    let server = Server::builder()
        .add_service(OrderServiceServer::from_arc(fake.clone()))
        .add_service(CustomerServiceServer::from_arc(fake.clone()))
        .add_service(InventoryServiceServer::from_arc(fake.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, fake)
}

impl Fake {
    /// State in which the order of this number ends.
    fn verdict(&self, number: usize) -> OrderState {
        let rejected = matches!(self.fault, Some(Fault::RejectHalf)) && number % 2 == 1;
        if rejected { OrderState::Rejected } else { OrderState::Validated }
    }
}

#[tonic::async_trait]
impl OrderService for Fake {
    type WatchOrderStream = Empty<Result<WatchOrderResponse, Status>>;
    type WatchOrdersStream = ReceiverStream<Result<WatchOrdersResponse, Status>>;

    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        let _turn = self.turn.acquire().await.unwrap();
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Some(Fault::Stall { at, pause }) if at == call => tokio::time::sleep(pause).await,
            Some(Fault::Fail { below }) if call < below => return Err(Status::unavailable("not yet")),
            _ => {}
        }
        let request = request.into_inner();
        let waits = request.wait_for() == WaitFor::Validated;
        let mut order = request.order.unwrap();
        let mut orders = self.orders.lock().unwrap();
        if !orders.iter().any(|known| known.order_id == order.order_id) {
            orders.push(order.clone());
            let change = OrderChange { order_id: order.order_id.clone(), ..OrderChange::default() };
            let told = WatchOrdersResponse { changes: vec![change], ..WatchOrdersResponse::default() };
            for watcher in self.watchers.lock().unwrap().iter() {
                // One who has gone needs nothing any more.
                let _ = watcher.try_send(Ok(told.clone()));
            }
        }
        order.set_state(if waits { self.verdict(orders.len() - 1) } else { OrderState::Created });
        Ok(Response::new(CreateOrderResponse { order: Some(order), ..CreateOrderResponse::default() }))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.wait_for(), WaitFor::Validated);
        let orders = self.orders.lock().unwrap();
        let number = orders.iter().position(|order| order.order_id == request.order_id);
        let number = number.ok_or_else(|| Status::not_found("no such order"))?;
        let mut order = orders[number].clone();
        order.set_state(self.verdict(number));
        Ok(Response::new(GetOrderResponse { order: Some(order), ..GetOrderResponse::default() }))
    }

    async fn list_orders(&self, _: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        Err(Status::unimplemented("the driver does not list"))
    }

    async fn cancel_order(&self, _: Request<CancelOrderRequest>) -> Result<Response<CancelOrderResponse>, Status> {
        Err(Status::unimplemented("the driver does not cancel"))
    }

    async fn watch_order(&self, _: Request<WatchOrderRequest>) -> Result<Response<Self::WatchOrderStream>, Status> {
        Err(Status::unimplemented("this server lets nobody watch one order"))
    }

    async fn watch_orders(&self, _: Request<WatchOrdersRequest>) -> Result<Response<Self::WatchOrdersStream>, Status> {
        let (watcher, told) = mpsc::channel(10_000);
        watcher.try_send(Ok(WatchOrdersResponse::default())).unwrap();
        self.watchers.lock().unwrap().push(watcher);
        Ok(Response::new(ReceiverStream::new(told)))
    }

    async fn get_order_history(
        &self,
        _: Request<GetOrderHistoryRequest>,
    ) -> Result<Response<GetOrderHistoryResponse>, Status> {
        Err(Status::unimplemented("the driver asks for no histories"))
    }
}

#[tonic::async_trait]
impl InventoryService for Fake {
    async fn upsert_product(
        &self,
        request: Request<UpsertProductRequest>,
    ) -> Result<Response<UpsertProductResponse>, Status> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if matches!(self.fault, Some(Fault::Fail { below }) if call < below) {
            return Err(Status::unavailable("not yet"));
        }
        let product = request.into_inner().product.unwrap();
        self.products.lock().unwrap().insert(product.product_id.clone(), product);
        Ok(Response::new(UpsertProductResponse::default()))
    }

    async fn set_stock(&self, request: Request<SetStockRequest>) -> Result<Response<SetStockResponse>, Status> {
        let request = request.into_inner();
        let mut products = self.products.lock().unwrap();
        let product = products.get_mut(&request.product_id).ok_or_else(|| Status::not_found("no such product"))?;
        product.stock = request.quantity;
        Ok(Response::new(SetStockResponse::default()))
    }

    async fn get_product(&self, _: Request<GetProductRequest>) -> Result<Response<GetProductResponse>, Status> {
        Err(Status::unimplemented("the driver does not read products"))
    }

    async fn list_products(&self, _: Request<ListProductsRequest>) -> Result<Response<ListProductsResponse>, Status> {
        Err(Status::unimplemented("the driver does not list"))
    }

    async fn add_stock(&self, _: Request<AddStockRequest>) -> Result<Response<AddStockResponse>, Status> {
        Err(Status::unimplemented("the driver sets stock"))
    }
}

#[tonic::async_trait]
impl CustomerService for Fake {
    async fn create_customer(
        &self,
        request: Request<customers::CreateCustomerRequest>,
    ) -> Result<Response<customers::CreateCustomerResponse>, Status> {
        let customer = request.into_inner().customer.unwrap();
        self.customers.lock().unwrap().insert(customer.customer_id);
        Ok(Response::new(customers::CreateCustomerResponse::default()))
    }

    async fn update_customer(
        &self,
        _: Request<customers::UpdateCustomerRequest>,
    ) -> Result<Response<customers::UpdateCustomerResponse>, Status> {
        Err(Status::unimplemented("the driver only creates customers"))
    }

    async fn set_credit_limit(
        &self,
        _: Request<customers::SetCreditLimitRequest>,
    ) -> Result<Response<customers::SetCreditLimitResponse>, Status> {
        Err(Status::unimplemented("the driver only creates customers"))
    }

    async fn get_customer(
        &self,
        _: Request<customers::GetCustomerRequest>,
    ) -> Result<Response<customers::GetCustomerResponse>, Status> {
        Err(Status::unimplemented("the driver only creates customers"))
    }

    async fn list_customers(
        &self,
        _: Request<customers::ListCustomersRequest>,
    ) -> Result<Response<customers::ListCustomersResponse>, Status> {
        Err(Status::unimplemented("the driver only creates customers"))
    }

    async fn list_customer_orders(
        &self,
        _: Request<customers::ListCustomerOrdersRequest>,
    ) -> Result<Response<customers::ListCustomerOrdersResponse>, Status> {
        Err(Status::unimplemented("the driver only creates customers"))
    }

    async fn send_greeting(
        &self,
        _: Request<customers::SendGreetingRequest>,
    ) -> Result<Response<customers::SendGreetingResponse>, Status> {
        Err(Status::unimplemented("the driver only creates customers"))
    }

    async fn list_greetings(
        &self,
        _: Request<customers::ListGreetingsRequest>,
    ) -> Result<Response<customers::ListGreetingsResponse>, Status> {
        Err(Status::unimplemented("the driver only creates customers"))
    }
}
