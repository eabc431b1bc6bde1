//! The methods of InventoryService on the owner's side: convert, call the task that owns the product, convert back.

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1 as pb;
use proto::inventory::v1::inventory_service_server::InventoryService;
use service_host::{Call, FieldFaults, Owner, Page, Problem, ReadBound, owner, validate};
use task_runtime::View;
use tonic::{Request, Response, Status};

use crate::Config;
use crate::domain::Product;
use crate::processors::commands::{ADD_STOCK, SET_STOCK, UPSERT_PRODUCT};
use crate::stores::{PRODUCTS, STOCK};
use crate::wire;

/// The owner's side of InventoryService.
#[derive(Debug, Clone)]
pub struct Inventory {
    owner: Owner,
    config: Config,
}

impl Inventory {
    pub(crate) fn new(owner: Owner, config: Config) -> Self {
        Self { owner, config }
    }
}

#[tonic::async_trait]
impl InventoryService for Inventory {
    async fn upsert_product(
        &self,
        request: Request<pb::UpsertProductRequest>,
    ) -> Result<Response<pb::UpsertProductResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let product = check_upsert(self.owner.faults(), &request)?;
        let product_id = product.product_id.clone();
        // What a client cannot set must not make a repeat look different.
        let product = pb::Product { stock: 0, reserved: 0, available: 0, ..product.clone() };
        let request_id = std::mem::take(&mut request.request_id);
        request.product = Some(product);
        let call = call(UPSERT_PRODUCT, &product_id, request_id, &request);
        let answer = self.owner.execute::<pb::UpsertProductResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::UpsertProductResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn set_stock(&self, request: Request<pb::SetStockRequest>) -> Result<Response<pb::SetStockResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let mut faults = self.owner.faults();
        check_change(&mut faults, &request.product_id, &request.etag, &request.request_id);
        if request.quantity < 0 {
            faults.add("quantity", "must not be negative");
        }
        faults.finish()?;
        let request_id = std::mem::take(&mut request.request_id);
        let call = call(SET_STOCK, &request.product_id, request_id, &request);
        let answer = self.owner.execute::<pb::SetStockResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::SetStockResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn add_stock(&self, request: Request<pb::AddStockRequest>) -> Result<Response<pb::AddStockResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let mut faults = self.owner.faults();
        check_change(&mut faults, &request.product_id, &request.etag, &request.request_id);
        faults.finish()?;
        let request_id = std::mem::take(&mut request.request_id);
        let call = call(ADD_STOCK, &request.product_id, request_id, &request);
        let answer = self.owner.execute::<pb::AddStockResponse>(&metadata, call).await?;
        let (consistency_token, served_by) =
            (self.owner.consistency_token(&answer), Some(self.owner.served_by(&answer)));
        Ok(Response::new(pb::AddStockResponse { consistency_token, served_by, ..answer.value }))
    }

    async fn get_product(
        &self,
        request: Request<pb::GetProductRequest>,
    ) -> Result<Response<pb::GetProductResponse>, Status> {
        let request = request.into_inner();
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "product_id", &request.product_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        faults.finish()?;
        let product_id = request.product_id.clone();
        let read = move |view: &View<'_>| {
            let stock = owner::row(view, STOCK, product_id.as_bytes())?;
            let stock = stock.ok_or_else(|| Problem::not_found("product", &product_id))?;
            product(view, product_id.as_bytes(), &stock)
        };
        let answer = self.owner.read(request.product_id.as_bytes(), bound, read).await?;
        let served_by = Some(self.owner.served_by(&answer));
        Ok(Response::new(pb::GetProductResponse { product: Some(answer.value), served_by }))
    }

    async fn list_products(
        &self,
        request: Request<pb::ListProductsRequest>,
    ) -> Result<Response<pb::ListProductsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let rows_max = self.config.list_rows_max;
        let read = move |view: &View<'_>, page: &Page| {
            page.fill(view, STOCK, b"", rows_max, |key, stock| product(view, key, &stock).map(Some))
        };
        let answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (products, next_page_token) = answer.value;
        Ok(Response::new(pb::ListProductsResponse { products, next_page_token, unreachable: Vec::new(), served_by }))
    }
}

/// The command of a request whose request id was taken out.
fn call(name: &'static str, product_id: &str, request_id: String, request: &impl Message) -> Call {
    let key = Bytes::copy_from_slice(product_id.as_bytes());
    Call { name, key, request_id, payload: request.encode_to_vec().into(), attachment: Bytes::new() }
}

fn check_upsert(mut faults: FieldFaults, request: &pb::UpsertProductRequest) -> Result<&pb::Product, Problem> {
    validate::request_id(&mut faults, &request.request_id);
    let Some(product) = &request.product else {
        faults.add("product", "must be set");
        return Err(faults.finish().expect_err("a fault was just added"));
    };
    validate::id(&mut faults, "product.product_id", &product.product_id);
    validate::text(&mut faults, "product.name", &product.name);
    validate::text(&mut faults, "product.etag", &product.etag);
    if wire::fulfilment(product.fulfilment).is_none() {
        faults.add("product.fulfilment", "must be FULFILMENT_FROM_STOCK or FULFILMENT_MADE_TO_ORDER");
    }
    faults.finish()?;
    Ok(product)
}

fn check_change(faults: &mut FieldFaults, product_id: &str, etag: &str, request_id: &str) {
    validate::id(faults, "product_id", product_id);
    validate::text(faults, "etag", etag);
    validate::request_id(faults, request_id);
}

/// The product whose stock row this is.
fn product(view: &View<'_>, key: &[u8], stock: &Bytes) -> Result<pb::Product, Problem> {
    let unreadable = |error| owner::unreadable("row of a product", &error);
    let stock = wire::stock(stock).map_err(unreadable)?;
    let name = owner::row(view, PRODUCTS, key)?.map(|row| wire::name(&row).map_err(unreadable)).transpose()?;
    let product = Product { name: name.unwrap_or_default(), stock };
    Ok(wire::product_to_proto(&String::from_utf8_lossy(key), product))
}

#[cfg(test)]
mod tests;
