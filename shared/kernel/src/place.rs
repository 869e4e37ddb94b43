//! Places in lists that are in the order of time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Timestamp;

/// A place in a list that is in the order of time: the moment, and the id of what stands there. As text it sorts as the
/// list does, so it serves as a sort key, and as where a part of the list ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(pattern = "^[0-9]{13}_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
pub struct Place(String);

impl Place {
    /// The place of what has this id and happened at `at`.
    #[must_use]
    pub fn of(at: Timestamp, id: Uuid) -> Self {
        Self(format!("{:013}_{id}", at.millis()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('_').and_then(|(millis, id)| {
            let is_time = millis.len() == 13 && millis.bytes().all(|byte| byte.is_ascii_digit());
            let is_id = id.parse::<Uuid>().is_ok_and(|uuid| uuid.hyphenated().to_string() == id);
            (is_time && is_id).then(|| Self(text.to_owned()))
        });
        parsed.ok_or("must be the place that the part before named")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_by_time() {
        let place = |millis| Place::of(Timestamp::from_millis(millis), Uuid::new_v4());
        let (early, late) = (place(999_999_999_999), place(1_800_000_000_000));
        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
        for text in [
            "",
            "x",
            "1800000000000",
            "1800000000000_x",
            "1800000000000_6D9E2A7B-3C18-4F50-9B6E-1A2B3C4D5E6F",
            "18_6d9e2a7b-3c18-4f50-9b6e-1a2b3c4d5e6f",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
