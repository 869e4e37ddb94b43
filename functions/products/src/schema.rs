//! What the nouns of products look like in JSON and in queries, for the OpenAPI document.

use std::borrow::Cow;

use kernel::schema::{one_of, text, whole};
use kernel::schemas;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::category::Category;
use crate::picture::{MAX_URL, Picture};
use crate::product::{Handover, Pieces, Status, Verdict, Wish};
use crate::review::Rating;
use crate::search::Sort;
use crate::stock::{Difference, MAX_DIFFERENCE};

schemas! {
    Status: "ListingStatus", "0 on sale, 1 banned, 2 sold, 3 unreviewed", one_of([0, 1, 2, 3]);
    Verdict: "ListingVerdict", "0 on sale, 1 banned, 3 unreviewed", one_of([0, 1, 3]);
    Wish: "ListingWish", "0 on sale, 2 sold", one_of([0, 2]);
    Handover: "Handover", "0 free shipping, 1 pick-up", one_of([0, 1]);
    Sort: "ProductSort", "0 newest, 1 most visited, 2 cheapest, 3 most expensive first", one_of([0, 1, 2, 3]);
    Pieces: "Pieces", "Pieces; none says that it is sold", whole(0, 999);
    Rating: "Rating", "Stars", whole(1, 5);
    Picture: "Picture", "An http or https URL, or a path of this site that starts with /", text()
        .max_length(Some(MAX_URL))
        .pattern(Some(r"^(/|/[A-Za-z0-9._~%-][A-Za-z0-9/._~%-]*|https?://[a-z]+(\.[a-z]+)*(/[A-Za-z0-9/._~%-]*)?)$"))
        .examples(["/media/lamp.jpg"]);
    Difference: "StockDifference", "Pieces more, or fewer where it is negative; not 0", OneOfBuilder::new()
        .item(whole(-MAX_DIFFERENCE, -1))
        .item(whole(1, MAX_DIFFERENCE));
    Category: "Category", "The number of one of the market's categories, or a name", OneOfBuilder::new()
        .item(kernel::Text::<1, 30>::schema())
        .item(whole(1, i64::from(crate::category::HIGHEST)));
}

/// `ids` of a query: UUIDs with commas between them. For descriptions only.
#[derive(Debug, Clone, Copy)]
pub struct ProductIds;

impl PartialSchema for ProductIds {
    fn schema() -> RefOr<Schema> {
        const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        RefOr::T(text().pattern(Some(format!("^{UUID}(,{UUID}){{0,99}}$"))).into())
    }
}

impl ToSchema for ProductIds {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ProductIds")
    }
}
