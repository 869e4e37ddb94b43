//! `PUT` and `PATCH /api/product/{product_id}`: its seller changes what he says of it, restocks it, takes it off sale or
//! offers it again. What is not named stays, for both methods.
//!
//! The whole product is written, on condition that nothing of it changed since it was read. Stock that buyers take
//! meanwhile counts as such a change, so an edit is decided anew and never undoes it.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::ProductId;
use products::category::Category;
use products::error::ProductError;
use products::picture::Picture;
use products::product::{
    AtMost, Description, Edit, Handover, MAX_CATEGORIES, MAX_PICTURES, Pictures, Pieces, Price, Title, Wish,
};
use products::table::{ChangeProducts, Turn};
use products::view::{self, ProductView};
use serde::Deserialize;
use tables::TableError;
use utoipa::ToSchema;

/// How often an edit is decided anew before its seller is asked to look again.
const ATTEMPTS: u32 = 5;

fn main() -> ExitCode {
    http_function::open(ChangeProducts::from_env, update_product, describe)
}

/// What changes of a product; what is not named stays.
#[derive(Deserialize, ToSchema)]
struct ProductEdit {
    title: Option<Title>,
    name: Option<Title>,
    description: Option<Description>,
    #[schema(value_type = Option<kernel::schema::Amount>)]
    price: Option<Price>,
    stock: Option<Pieces>,
    #[serde(default, deserialize_with = "view::wish")]
    status: Option<Wish>,
    image: Option<Picture>,
    #[schema(value_type = Option<Vec<Picture>>, max_items = 9)]
    media: Option<AtMost<MAX_PICTURES, Picture>>,
    #[schema(value_type = Option<Vec<Category>>, max_items = 5)]
    categories: Option<AtMost<MAX_CATEGORIES, Category>>,
    #[serde(default, deserialize_with = "view::handover")]
    function: Option<Handover>,
}

async fn update_product(products: Arc<ChangeProducts>, call: Call) -> Result<Reply, ProductError> {
    let seller = call.user()?.id.into();
    let id: ProductId = call.path_parameter("product_id")?;
    let request: ProductEdit = call.json()?;
    let edit = Edit {
        title: request.title,
        name: request.name,
        description: request.description,
        price: request.price,
        stock: request.stock,
        listing: request.status,
        handover: request.function,
        pictures: Pictures {
            main: request.image,
            others: request.media,
        },
        categories: request.categories,
    };

    for _ in 0..ATTEMPTS {
        let product = products
            .find(id)
            .await?
            .ok_or(ProductError::NotFound)?
            .of_seller(seller)?;
        let Some(edited) = product.edited(edit.clone(), call.now())? else {
            return Ok(Reply::ok("商品没有变化", ProductView::of(product, call.zone()))?);
        };
        if products.replace(&edited).await? == Turn::Won {
            return Ok(Reply::ok("商品修改成功", ProductView::of(edited, call.zone()))?);
        }
    }
    Err(TableError::ConditionFailed.into())
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::PUT, Method::PATCH], "/api/product/{product_id}", "Change a product")
            .details("What is not named stays, for both methods. `stock` says how many can be bought from now on, beside what orders hold.")
            .for_users()
            .path::<ProductId>("product_id", "The product")
            .body::<ProductEdit>()
            .ok::<ProductView>("The product as it is now")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product of yours.")
            .refuses(StatusCode::CONFLICT, "`held-by-the-market`: it is banned or unreviewed. `changed-meanwhile`: repeat."),
    );
}
