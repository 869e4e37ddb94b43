//! What products are sorted into.
//!
//! The market's own categories have numbers, which never change their meaning: one that is given up keeps its number. Sellers
//! may also name something of their own.

use std::fmt;

use kernel::Text;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

/// The market's categories: what students sell to students.
const CATEGORIES: [(u32, &str); 12] = [
    (1, "教材书籍"),
    (2, "数码电子"),
    (3, "电脑配件"),
    (4, "宿舍用品"),
    (5, "家居生活"),
    (6, "服饰鞋包"),
    (7, "美妆个护"),
    (8, "运动户外"),
    (9, "自行车与代步"),
    (10, "文具与考试资料"),
    (11, "乐器与娱乐"),
    (12, "其他"),
];

/// The highest number of a category; none below it is free.
pub const HIGHEST: u32 = 12;

/// One of the market's categories, as everybody sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct CategoryView {
    category_id: u32,
    name: &'static str,
}

/// The market's categories, in the order in which pages show them.
#[must_use]
pub fn all() -> Vec<CategoryView> {
    CATEGORIES
        .into_iter()
        .map(|(category_id, name)| CategoryView { category_id, name })
        .collect()
}

/// What a product belongs to: one of the market's categories, given by its number or its name, or a name of the seller's
/// own of 1 to 30 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category(Text<1, 30>);

impl Category {
    /// Its name.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0.into_string()
    }
}

impl<'de> Deserialize<'de> for Category {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrName;
        impl de::Visitor<'_> for NumberOrName {
            type Value = Category;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a category, or a name of 1 to 30 characters")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Category, E> {
                name.parse().map(Category).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Category, E> {
                let known = CATEGORIES.into_iter().find(|(id, _)| u64::from(*id) == number);
                let (_, name) = known.ok_or_else(|| E::custom("is the number of no category"))?;
                self.visit_str(name)
            }
        }
        deserializer.deserialize_any(NumberOrName)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_category_is_given_by_number_or_by_name() {
        let read = |json: &str| serde_json::from_str::<Category>(json).map(Category::into_string);
        for (id, name) in CATEGORIES {
            assert_eq!(read(&id.to_string()).unwrap(), name);
            assert_eq!(read(&format!("{name:?}")).unwrap(), name);
        }
        assert_eq!(read("\" 手工 \"").unwrap(), "手工");
        let long = format!("\"{}\"", "长".repeat(31));
        for json in ["0", "99", "-1", "1.5", "\"\"", "null", "[]", "{}", "true", &long] {
            assert!(read(json).is_err(), "{json}");
        }
        let ids: BTreeSet<u32> = CATEGORIES.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, (1..=HIGHEST).collect());
    }
}
