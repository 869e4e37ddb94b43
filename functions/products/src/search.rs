//! Looking for products: which of the shelf's entries, and in which order. Pure.

use std::cmp::Reverse;
use std::str::FromStr;

use kernel::{Money, ProductId, Timestamp};

use crate::product::{Listing, Status};

/// As much of a product as searching needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The product.
    pub id: ProductId,
    /// Its headline.
    pub title: String,
    /// What a piece costs.
    pub price: Money,
    /// Whether it is offered.
    pub listing: Listing,
    /// Pieces that can be bought.
    pub stock: u32,
    /// How often it was looked at.
    pub visit_count: u64,
    /// When it was put up.
    pub created_at: Timestamp,
}

/// In which order results come; what is equal comes newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Newest first.
    #[default]
    Newest,
    /// Most looked at first.
    Visits,
    /// Cheapest first.
    PriceUp,
    /// Most expensive first.
    PriceDown,
}

/// A text that is not the number of a [`Sort`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 0 (newest), 1 (visits), 2 (price up) or 3 (price down)")]
pub struct NotASort;

impl FromStr for Sort {
    type Err = NotASort;

    fn from_str(number: &str) -> Result<Self, NotASort> {
        match number {
            "0" => Ok(Self::Newest),
            "1" => Ok(Self::Visits),
            "2" => Ok(Self::PriceUp),
            "3" => Ok(Self::PriceDown),
            _ => Err(NotASort),
        }
    }
}

/// A text that is not the number of a [`Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 0 (on sale), 1 (banned), 2 (sold) or 3 (unreviewed)")]
pub struct NotAStatus;

impl FromStr for Status {
    type Err = NotAStatus;

    fn from_str(number: &str) -> Result<Self, NotAStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.number().to_string() == number)
            .ok_or(NotAStatus)
    }
}

/// What somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The title contains this, in large or small letters.
    pub title: Option<String>,
    /// It costs at least this.
    pub min_price: Option<Money>,
    /// It costs at most this.
    pub max_price: Option<Money>,
    /// It has this status.
    pub status: Status,
    /// In which order.
    pub sort: Sort,
}

impl Search {
    /// The products found among `entries`, in order.
    #[must_use]
    pub fn among(&self, entries: Vec<Entry>) -> Vec<ProductId> {
        let title = self.title.as_ref().map(|title| title.to_lowercase());
        let mut found: Vec<Entry> = entries
            .into_iter()
            .filter(|entry| Status::of(entry.listing, entry.stock) == self.status)
            .filter(|entry| self.min_price.is_none_or(|least| entry.price >= least))
            .filter(|entry| self.max_price.is_none_or(|most| entry.price <= most))
            .filter(|entry| {
                title
                    .as_ref()
                    .is_none_or(|part| entry.title.to_lowercase().contains(part))
            })
            .collect();
        // The id decides between products of one millisecond, so that no page shows one twice.
        found.sort_by_key(|entry| (Reverse(entry.created_at), entry.id));
        match self.sort {
            Sort::Newest => {}
            Sort::Visits => found.sort_by_key(|entry| Reverse(entry.visit_count)),
            Sort::PriceUp => found.sort_by_key(|entry| entry.price),
            Sort::PriceDown => found.sort_by_key(|entry| Reverse(entry.price)),
        }
        found.into_iter().map(|entry| entry.id).collect()
    }
}

/// As much of a seller's product as listing it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The product.
    pub id: ProductId,
    /// Whether it is offered.
    pub listing: Listing,
    /// Pieces that can be bought.
    pub stock: u32,
}

/// Of what a seller put up (newest first), what has this status, or any; without what he deleted, and without what the
/// market holds back where that is nobody's business.
#[must_use]
pub fn published(entries: Vec<Published>, status: Option<Status>, with_held_back: bool) -> Vec<ProductId> {
    entries
        .into_iter()
        .filter(|entry| entry.listing != Listing::Removed)
        .map(|entry| (entry.id, Status::of(entry.listing, entry.stock)))
        .filter(|(_, its)| status.is_none_or(|status| status == *its))
        .filter(|(_, its)| with_held_back || !its.is_held_back())
        .map(|(id, _)| id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_seller_published_is_shown_as_far_as_it_concerns_the_one_who_asks() {
        let entries: Vec<Published> = Listing::ALL
            .into_iter()
            .flat_map(|listing| {
                [0, 1].map(|stock| Published {
                    id: ProductId::random(),
                    listing,
                    stock,
                })
            })
            .collect();
        let count = |status, with_held_back| published(entries.clone(), status, with_held_back).len();
        assert_eq!(
            (count(None, true), count(None, false)),
            (8, 4),
            "never what was deleted"
        );
        for (status, all, public) in [
            (Status::OnSale, 1, 1),
            (Status::Banned, 2, 0),
            (Status::Sold, 3, 3),
            (Status::Unreviewed, 2, 0),
        ] {
            assert_eq!(
                (count(Some(status), true), count(Some(status), false)),
                (all, public),
                "{status:?}"
            );
        }
        let all = published(entries.clone(), None, true);
        assert_eq!(
            all,
            entries[..8].iter().map(|entry| entry.id).collect::<Vec<_>>(),
            "in order"
        );
    }

    const ANYTHING: Search = Search {
        title: None,
        min_price: None,
        max_price: None,
        status: Status::OnSale,
        sort: Sort::Newest,
    };

    fn shelf() -> Vec<Entry> {
        let entry = |title: &str, fen, listing, stock, visit_count, created_at| Entry {
            id: ProductId::random(),
            title: title.to_owned(),
            price: Money::from_fen(fen).unwrap(),
            listing,
            stock,
            visit_count,
            created_at: Timestamp::from_millis(created_at),
        };
        vec![
            entry("Lamp", 2000, Listing::OnSale, 1, 5, 1),
            entry("台灯 LAMP", 1000, Listing::OnSale, 2, 5, 2),
            entry("Book", 3000, Listing::OnSale, 1, 9, 3),
            entry("Sold lamp", 10, Listing::OnSale, 0, 0, 4),
            entry("Withdrawn lamp", 10, Listing::Withdrawn, 1, 0, 5),
            entry("Banned lamp", 10, Listing::Banned, 1, 0, 6),
            entry("Unreviewed lamp", 10, Listing::Unreviewed, 1, 0, 7),
        ]
    }

    fn titles(search: &Search) -> Vec<String> {
        let shelf = shelf();
        let title = |id| shelf.iter().find(|entry| entry.id == id).unwrap().title.clone();
        search.among(shelf.clone()).into_iter().map(title).collect()
    }

    #[test]
    fn every_sort_has_its_number_and_order() {
        for (number, expected) in [
            ("0", ["Book", "台灯 LAMP", "Lamp"]),
            ("1", ["Book", "台灯 LAMP", "Lamp"]),
            ("2", ["台灯 LAMP", "Lamp", "Book"]),
            ("3", ["Book", "Lamp", "台灯 LAMP"]),
        ] {
            assert_eq!(
                titles(&Search {
                    sort: number.parse().unwrap(),
                    ..ANYTHING
                }),
                expected,
                "{number}"
            );
        }
        assert!("4".parse::<Sort>().is_err());
    }

    #[test]
    fn filters_hold_together() {
        let fen = |fen| Some(Money::from_fen(fen).unwrap());
        assert_eq!(
            titles(&Search {
                title: Some("lamp".into()),
                ..ANYTHING
            }),
            ["台灯 LAMP", "Lamp"]
        );
        assert_eq!(
            titles(&Search {
                min_price: fen(2000),
                ..ANYTHING
            }),
            ["Book", "Lamp"]
        );
        assert_eq!(
            titles(&Search {
                max_price: fen(2000),
                min_price: fen(1001),
                ..ANYTHING
            }),
            ["Lamp"]
        );
    }

    #[test]
    fn each_status_finds_its_own() {
        for (number, expected) in [
            ("1", &["Banned lamp"][..]),
            ("2", &["Withdrawn lamp", "Sold lamp"]),
            ("3", &["Unreviewed lamp"]),
        ] {
            assert_eq!(
                titles(&Search {
                    status: number.parse().unwrap(),
                    ..ANYTHING
                }),
                expected,
                "{number}"
            );
        }
        assert!("on_sale".parse::<Status>().is_err());
    }
}
