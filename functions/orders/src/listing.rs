//! How a page of somebody's orders is found without reading all of them.
//!
//! A user's orders stand on three shelves: those under way, the completed and the cancelled ones. Each shelf is read in
//! the wanted order from its nearer end, only as far as the page goes; what several shelves bring is merged.

use std::str::FromStr;

use kernel::{Money, OrderId, PageRequest, Timestamp, UserId};

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::status::Status;

/// A part of a user's orders that an index keeps together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Pending and paid. They are few, because time ends them.
    UnderWay,
    /// Completed.
    Completed,
    /// Cancelled.
    Cancelled,
}

impl Shelf {
    /// Every shelf.
    pub const ALL: [Self; 3] = [Self::UnderWay, Self::Completed, Self::Cancelled];

    /// The shelf on which orders of this status stand.
    #[must_use]
    pub fn of(status: Status) -> Self {
        match status {
            Status::PendingPayment | Status::Paid => Self::UnderWay,
            Status::Completed => Self::Completed,
            Status::Cancelled => Self::Cancelled,
        }
    }

    /// The key of `user`'s shelf in the indexes.
    #[must_use]
    pub fn key(self, user: UserId) -> String {
        let word = match self {
            Self::UnderWay => "under_way",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        };
        format!("{user}#{word}")
    }
}

/// The query parameter `status`: one status, or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter(Option<Status>);

impl Filter {
    /// Every order.
    pub const ALL: Self = Self(None);

    /// The status wanted, if not all are.
    #[must_use]
    pub fn status(self) -> Option<Status> {
        self.0
    }

    /// Where such orders stand.
    #[must_use]
    pub fn shelves(self) -> Vec<Shelf> {
        self.0
            .map_or_else(|| Shelf::ALL.to_vec(), |status| vec![Shelf::of(status)])
    }

    /// Whether it selects orders of this status.
    #[must_use]
    pub fn selects(self, status: Status) -> bool {
        self.0.is_none_or(|wanted| wanted == status)
    }
}

impl FromStr for Filter {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match Status::ALL.into_iter().find(|status| status.word() == word) {
            None if word != "all" => Err("must be pending_payment, paid, completed, cancelled or all"),
            status => Ok(Self(status)),
        }
    }
}

impl PartialSchema for Filter {
    fn schema() -> RefOr<Schema> {
        let words = Status::ALL.into_iter().map(Status::word).chain(["all"]);
        RefOr::T(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(words))
                .into(),
        )
    }
}

impl ToSchema for Filter {
    fn name() -> std::borrow::Cow<'static, str> {
        "OrderFilter".into()
    }
}

/// The query parameter `sort`: which come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(as = OrderSort)]
pub enum Sort {
    /// `created_desc`.
    #[schema(rename = "created_desc")]
    Newest,
    /// `created_asc`.
    #[schema(rename = "created_asc")]
    Oldest,
    /// `amount_desc`; of the same amount, the newest.
    #[schema(rename = "amount_desc")]
    Dearest,
    /// `amount_asc`; of the same amount, the oldest.
    #[schema(rename = "amount_asc")]
    Cheapest,
}

impl Sort {
    /// Whether the amount decides, and not the time.
    #[must_use]
    pub fn is_by_amount(self) -> bool {
        matches!(self, Self::Dearest | Self::Cheapest)
    }

    /// Whether the largest come first.
    #[must_use]
    pub fn is_descending(self) -> bool {
        matches!(self, Self::Newest | Self::Dearest)
    }

    /// The same from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Newest => Self::Oldest,
            Self::Oldest => Self::Newest,
            Self::Dearest => Self::Cheapest,
            Self::Cheapest => Self::Dearest,
        }
    }
}

impl FromStr for Sort {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "created_desc" => Ok(Self::Newest),
            "created_asc" => Ok(Self::Oldest),
            "amount_desc" => Ok(Self::Dearest),
            "amount_asc" => Ok(Self::Cheapest),
            _ => Err("must be created_desc, created_asc, amount_desc or amount_asc"),
        }
    }
}

/// Where an order stands in a sorted list; ranks sort as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(String);

impl Rank {
    /// Among orders sorted by time.
    #[must_use]
    pub fn by_time(placed_at: Timestamp) -> Self {
        Self(format!("{:013}", placed_at.millis()))
    }

    /// Among orders sorted by amount. The time makes it definite, so that pages neither repeat nor skip.
    #[must_use]
    pub fn by_amount(total: Money, placed_at: Timestamp) -> Self {
        Self(format!("{:010}-{:013}", total.fen(), placed_at.millis()))
    }

    /// As stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// As stored.
    #[must_use]
    pub fn as_stored(&self) -> &str {
        &self.0
    }
}

/// What an index tells of an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its place.
    pub rank: Rank,
    /// The order.
    pub id: OrderId,
}

/// Pages that begin further down than this are looked up from the end that the counters say is nearer.
const DEEP: usize = 1000;

/// Which stretch of a sorted list to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// In this order.
    pub sort: Sort,
    /// So many entries are passed over.
    pub skip: usize,
    /// So many are wanted.
    pub take: usize,
    /// Whether `sort` is the wanted order reversed.
    from_the_end: bool,
}

impl Stretch {
    /// Whether the counters are needed to plan the page: for pages near the beginning they are not.
    #[must_use]
    pub fn needs_count(page: PageRequest) -> bool {
        page.offset() > DEEP
    }

    /// The stretch of `page` in a list of about `count` entries, or of an unknown number; `None`: it lies past the end.
    #[must_use]
    pub fn of(page: PageRequest, sort: Sort, count: Option<usize>) -> Option<Self> {
        let (offset, size) = (page.offset(), page.size() as usize);
        let from_the_beginning = Self {
            sort,
            skip: offset,
            take: size,
            from_the_end: false,
        };
        let Some(count) = count.filter(|count| offset > count / 2) else {
            return Some(from_the_beginning);
        };
        let after = count.saturating_sub(offset + size);
        (offset < count).then(|| Self {
            sort: sort.reversed(),
            skip: after,
            take: count - offset - after,
            from_the_end: true,
        })
    }

    /// How much of each shelf has to be read: one entry more than shown, which tells whether there is a next page.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.skip + self.take + 1
    }

    /// Cuts the page out of what the shelves brought, each as far as [`Stretch::reach`] or to its end. Answers the ids in
    /// the wanted order, and the length of the whole list: exact when it ends here, otherwise what the counters say.
    #[must_use]
    pub fn cut(&self, shelves: Vec<Vec<Listed>>, counted: usize) -> (Vec<OrderId>, usize) {
        let mut all: Vec<Listed> = shelves.into_iter().flatten().collect();
        all.sort();
        if self.sort.is_descending() {
            all.reverse();
        }
        let count = if self.from_the_end {
            counted
        } else if all.len() < self.reach() {
            all.len()
        } else {
            counted.max(all.len())
        };
        let mut page: Vec<OrderId> = all
            .into_iter()
            .skip(self.skip)
            .take(self.take)
            .map(|entry| entry.id)
            .collect();
        if self.from_the_end {
            page.reverse();
        }
        (page, count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Orders 0 to `count`, spread over three shelves as an index would return them.
    fn shelves(count: usize, stretch: &Stretch, ids: &[OrderId]) -> Vec<Vec<Listed>> {
        (0..3)
            .map(|shelf| {
                let mut listed: Vec<Listed> = (0..count)
                    .filter(|number| number % 7 % 3 == shelf)
                    .map(|number| Listed {
                        rank: Rank::by_time(Timestamp::from_millis(i64::try_from(number).unwrap())),
                        id: ids[number],
                    })
                    .collect();
                if stretch.sort.is_descending() {
                    listed.reverse();
                }
                listed.truncate(stretch.reach());
                listed
            })
            .collect()
    }

    proptest! {
        /// However long the list, whatever the order: the pages together are the list, each with its length.
        #[test]
        fn pages_are_cut_from_whichever_end_is_nearer(
            count in 0_usize..3000, number in 1_u32..40, size in 1_u32..=100, newest in any::<bool>(),
        ) {
            let ids: Vec<OrderId> = (0..count).map(|_| OrderId::random()).collect();
            let page = PageRequest::parse(Some(&number.to_string()), Some(&size.to_string()), 10).unwrap();
            let sort = if newest { Sort::Newest } else { Sort::Oldest };
            let mut expected = ids.clone();
            if newest {
                expected.reverse();
            }
            let expected: Vec<OrderId> =
                expected.into_iter().skip(page.offset()).take(size as usize).collect();
            match Stretch::of(page, sort, Stretch::needs_count(page).then_some(count)) {
                None => prop_assert!(expected.is_empty()),
                Some(stretch) => {
                    prop_assert!(stretch.reach() <= DEEP.max(count / 2) + 102, "never more than half of it");
                    let (found, counted) = stretch.cut(shelves(count, &stretch, &ids), count);
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(counted, count);
                }
            }
        }
    }

    #[test]
    fn near_the_beginning_a_late_counter_does_no_harm() {
        let ids: Vec<OrderId> = (0..12).map(|_| OrderId::random()).collect();
        let page = |number: &str| PageRequest::parse(Some(number), None, 10).unwrap();
        // The counter says 3 although there are 12.
        let stretch = Stretch::of(page("1"), Sort::Oldest, None).unwrap();
        let (found, count) = stretch.cut(shelves(12, &stretch, &ids), 3);
        assert_eq!((found.len(), count), (10, 12), "there is a next page");
        let stretch = Stretch::of(page("2"), Sort::Oldest, None).unwrap();
        let (found, count) = stretch.cut(shelves(12, &stretch, &ids), 3);
        assert_eq!((found.len(), count), (2, 12), "the last page tells the exact count");
    }

    #[test]
    fn ranks_sort_as_what_they_stand_for() {
        let rank = |fen: i64, ms: i64| Rank::by_amount(Money::from_fen(fen).unwrap(), Timestamp::from_millis(ms));
        let sorted = [
            rank(999, 5),
            rank(1000, 4),
            rank(1000, 1_800_000_000_000),
            rank(9_999_999_999, 1),
        ];
        assert!(sorted.is_sorted());
    }
}
