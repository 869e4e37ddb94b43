//! `POST /api/product`: a logged-in user puts something up for sale and is its seller.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, operation};
use kernel::{ProductId, Quantity};
use products::category::Category;
use products::error::ProductError;
use products::picture::Picture;
use products::product::{
    AtMost, Description, Draft, Handover, MAX_CATEGORIES, MAX_PICTURES, Pictures, Price, Product, Seller, Title,
};
use products::table::AddProducts;
use products::view::{self, ProductView};
use serde::Deserialize;
use utoipa::ToSchema;

fn main() -> ExitCode {
    http_function::open(AddProducts::from_env, create_product, describe)
}

/// A product to put up.
#[derive(Deserialize, ToSchema)]
struct NewProduct {
    title: Title,
    name: Option<Title>,
    description: Description,
    #[schema(value_type = kernel::schema::Amount)]
    price: Price,
    stock: Option<Quantity>,
    image: Option<Picture>,
    #[schema(value_type = Option<Vec<Picture>>, max_items = 9)]
    media: Option<AtMost<MAX_PICTURES, Picture>>,
    #[schema(value_type = Option<Vec<Category>>, max_items = 5)]
    categories: Option<AtMost<MAX_CATEGORIES, Category>>,
    #[serde(default, deserialize_with = "view::handover")]
    function: Option<Handover>,
}

async fn create_product(products: Arc<AddProducts>, call: Call) -> Result<Reply, ProductError> {
    let user = call.user()?;
    let request: NewProduct = call.json()?;

    let seller = Seller {
        id: user.id.into(),
        username: user.username.clone(),
    };
    let draft = Draft {
        title: request.title,
        name: request.name,
        description: request.description,
        price: request.price,
        stock: request.stock,
        handover: request.function.unwrap_or_default(),
        pictures: Pictures {
            main: request.image,
            others: request.media,
        },
        categories: request.categories,
    };
    let product = Product::put_up(ProductId::random(), seller, draft, call.now());
    products.insert(&product).await?;

    Ok(Reply::created("商品发布成功", ProductView::of(product, call.zone()))?)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/product", "Put a product up for sale")
            .details("Whoever puts it up is its seller.")
            .for_users()
            .body::<NewProduct>()
            .created::<ProductView>("The product"),
    );
}
