//! Folding the slash at the end of a path.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What may not stand in the path of a URL as it is (RFC 3986, `pchar` and `/` stay).
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Where a call of `path` (URL-decoded) with `query` (as it came) is answered: the same without one slash at its end.
/// `None` if the path is not one of ours or has no slash to fold.
///
/// The answer is relative to the host: it always begins with `/api/`, so it leads nowhere else.
#[must_use]
pub fn folded(path: &str, query: &str) -> Option<String> {
    let slashless = path
        .strip_suffix('/')
        .filter(|rest| rest.starts_with("/api/") || *rest == "/api")?;
    let mut target = utf8_percent_encode(slashless, NOT_IN_PATHS).to_string();
    if !query.is_empty() {
        target.push('?');
        target.push_str(query);
    }
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slash_at_the_end_of_an_api_path_is_folded() {
        for (path, query, expected) in [
            ("/api/orders/", "", Some("/api/orders")),
            (
                "/api/orders/",
                "status=paid&page=2",
                Some("/api/orders?status=paid&page=2"),
            ),
            ("/api/orders//", "", Some("/api/orders/")),
            ("/api/", "", Some("/api")),
            ("/api/orders", "", None),
            ("/api", "", None),
            ("/", "", None),
            ("/apis/", "", None),
            ("/elsewhere/", "", None),
            ("//evil.example/api/", "", None),
        ] {
            assert_eq!(folded(path, query).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn the_query_stays_as_it_came() {
        let query = "a=1&a=2&b=%E4%BD%A0+%2F&c&=d&e=%zz";
        assert_eq!(folded("/api/x/", query), Some(format!("/api/x?{query}")));
    }

    #[test]
    fn what_the_gateway_decoded_in_the_path_is_encoded_again() {
        assert_eq!(
            folded("/api/张 三/50%/a?b#c/", "").as_deref(),
            Some("/api/%E5%BC%A0%20%E4%B8%89/50%25/a%3Fb%23c")
        );
        assert_eq!(
            folded("/api/a\r\nSet-Cookie: x/", "").as_deref(),
            Some("/api/a%0D%0ASet-Cookie:%20x")
        );
    }
}
