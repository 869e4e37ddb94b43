//! Pictures of products: where they are, not what they show.

use std::str::FromStr;

use serde::Deserialize;
use url::Url;

/// Characters in the URL of a picture.
pub const MAX_URL: usize = 500;

/// An `http` or `https` URL, or a path of this site that starts with `/`: at most [`MAX_URL`] characters. Pages put it
/// into `src`, so nothing that a browser would execute is let through.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Picture(String);

/// A text that is not the URL of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an http or https URL, or a path that starts with /, of at most {MAX_URL} characters")]
pub struct NotAPicture;

impl Picture {
    /// The URL or path.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for Picture {
    type Err = NotAPicture;

    fn from_str(text: &str) -> Result<Self, NotAPicture> {
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let is_url = || Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '\'' | '<' | '>' | '\\');
        if text.chars().count() <= MAX_URL && text.chars().all(is_plain) && (is_path || is_url()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAPicture)
        }
    }
}

impl TryFrom<String> for Picture {
    type Error = NotAPicture;

    fn try_from(text: String) -> Result<Self, NotAPicture> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_page_can_safely_show_is_a_picture() {
        for text in [
            "https://img.example.edu/a.jpg?x=1",
            "http://127.0.0.1:3000/a.png",
            "/media/products/书.png",
        ] {
            assert_eq!(text.parse::<Picture>().unwrap().into_string(), text);
        }
        for text in [
            "",
            "a.jpg",
            "javascript:alert(1)",
            "data:image/png;base64,AAAA",
            "ftp://example.edu/a.jpg",
            "//example.edu/a.jpg",
            "https://",
            "/a\" onerror=\"x",
            "/a b.png",
            "/\\example.edu/a",
        ] {
            assert_eq!(text.parse::<Picture>(), Err(NotAPicture), "{text:?}");
        }
        assert!(format!("/{}", "a".repeat(MAX_URL)).parse::<Picture>().is_err());
    }
}
