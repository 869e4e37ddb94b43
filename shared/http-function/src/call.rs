//! One call, as an operation sees it: everything it reads is parsed, or refused with the field's name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, Method};
use kernel::{PageRequest, Timestamp, Zone};
use keys::{Privilege, ServiceName, User};
use serde::de::DeserializeOwned;

use crate::{Caller, Problem};

/// A call.
#[derive(Debug)]
pub struct Call {
    pub(crate) caller: Caller,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) raw_path: String,
    pub(crate) raw_query: String,
    pub(crate) path_parameters: HashMap<String, String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) client_ip: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) now: Timestamp,
    pub(crate) zone: Zone,
    pub(crate) base_url: String,
}

/// A caller's `Idempotency-Key`: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Call {
    /// The address that the client calls from, as the front saw it; personal.
    #[must_use]
    pub fn client_ip(&self) -> Option<&str> {
        self.client_ip.as_deref()
    }

    /// Who calls.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The logged-in user.
    ///
    /// # Errors
    /// 401 without a valid token, 403 for a service.
    pub fn user(&self) -> Result<&User, Problem> {
        self.caller.user()
    }

    /// The logged-in user, if it is an administrator.
    ///
    /// # Errors
    /// 401 without a valid token, 403 for everybody else.
    pub fn administrator(&self) -> Result<&User, Problem> {
        match self.user()? {
            user if user.privilege == Privilege::Administrator => Ok(user),
            _ => Err(Problem::forbidden("This is for administrators.")),
        }
    }

    /// The calling service.
    ///
    /// # Errors
    /// 401 without a valid token, 403 for users.
    pub fn service(&self) -> Result<ServiceName, Problem> {
        match &self.caller {
            Caller::Service(name) => Ok(*name),
            Caller::User(_) => Err(Problem::forbidden("This is for services, not for people.")),
            Caller::Anonymous => Err(Problem::unauthenticated()),
            Caller::Unknown(error) => Err(Problem::unavailable(error.clone())),
        }
    }

    /// Whether the method asks for a change (anything but GET and HEAD).
    #[must_use]
    pub fn changes_something(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// The time of the call.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The zone in which answers show time.
    #[must_use]
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// Base URL of this deployment, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The method, for functions that answer several.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path of the call, slash-less.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Path of the call as the gateway hands it over: URL-decoded, with the slash at its end if it has one.
    #[must_use]
    pub fn raw_path(&self) -> &str {
        &self.raw_path
    }

    /// Query string of the call, character by character as it came, without the question mark.
    #[must_use]
    pub fn raw_query(&self) -> &str {
        &self.raw_query
    }

    /// The parameter `name` of the path, parsed.
    ///
    /// # Errors
    /// 400 naming it.
    pub fn path_parameter<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, Problem> {
        let text = self.path_parameters.get(name).map_or("", String::as_str);
        text.parse()
            .map_err(|error: T::Err| Problem::invalid_field(name, error))
    }

    /// The query parameter `name` as text; empty counts as absent.
    ///
    /// # Errors
    /// 400 naming it, where it is given more than once: which one is meant is anybody's guess.
    pub fn query_text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut given = self.query.iter().filter(|(key, _)| key == name);
        match (given.next(), given.next()) {
            (Some(_), Some(_)) => Err(Problem::invalid_field(name, "is given more than once")),
            (only, _) => Ok(only.map(|(_, value)| value.as_str()).filter(|text| !text.is_empty())),
        }
    }

    /// The query parameter `name`, parsed; empty counts as absent.
    ///
    /// # Errors
    /// 400 naming it.
    pub fn query_parameter<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        self.query_text(name)?
            .map(str::parse)
            .transpose()
            .map_err(|error: T::Err| Problem::invalid_field(name, error))
    }

    /// The page wanted: `page` and `page_size`; empty counts as absent.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub fn page(&self, default_size: u32) -> Result<PageRequest, Problem> {
        let (number, size) = (self.query_text("page")?, self.query_text("page_size")?);
        PageRequest::parse(number, size, default_size).map_err(|error| {
            let name = match error {
                kernel::page::PageError::Number => "page",
                kernel::page::PageError::Size => "page_size",
            };
            Problem::invalid_field(name, error)
        })
    }

    /// The JSON body.
    ///
    /// # Errors
    /// 400 naming the field that is missing or wrong.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = std::str::from_utf8(&self.body).map_err(|_| not_an_object("must be UTF-8 text"))?;
        if !body.trim_start().starts_with('{') {
            return Err(not_an_object("must be a JSON object"));
        }
        let body = &*without_zero_fractions(body);
        let mut reader = serde_json::Deserializer::from_str(body);
        let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| refused_field(&error, body))?;
        reader
            .end()
            .map_err(|_| not_an_object("must be one JSON object and nothing after it"))?;
        Ok(parsed)
    }

    /// The JSON body, or its default where none was sent: some clients send neither a body nor a content type.
    ///
    /// # Errors
    /// 400 naming the field that is wrong.
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            Ok(T::default())
        } else {
            self.json()
        }
    }

    /// The body as it came, for signatures.
    #[must_use]
    pub fn raw_body(&self) -> &Bytes {
        &self.body
    }

    /// All headers, for signatures that need several.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header's value, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The caller's `Idempotency-Key`, if there is one.
    ///
    /// # Errors
    /// 400 when it is empty, too long or not visible ASCII.
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Problem> {
        let Some(value) = self.headers.get("idempotency-key") else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(key) if (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Some(IdempotencyKey(key.to_owned())))
            }
            _ => Err(Problem::invalid_field(
                "Idempotency-Key",
                "must be 1 to 255 visible ASCII characters",
            )),
        }
    }

    /// A fingerprint of the JSON body that does not depend on spacing or on the order of members: two requests with one
    /// fingerprint ask for the same thing.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let canonical = serde_json::from_slice::<serde_json::Value>(&self.body)
            .map_or_else(|_| self.body.to_vec(), |value| value.to_string().into_bytes());
        let hash = digest::digest(&digest::SHA256, &canonical);
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// URL of page `number` of the list that is being answered.
    #[must_use]
    pub fn url_of_page(&self, number: u32) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.query.iter().filter(|(name, _)| name != "page") {
            query.append_pair(name, value);
        }
        query.append_pair("page", &number.to_string());
        format!("{}{}/?{}", self.base_url, self.path, query.finish())
    }
}

fn not_an_object(reason: &'static str) -> Problem {
    Problem::invalid_field("body", reason)
}

/// The same JSON with its numbers like `2.0` written as `2`: to JSON they are the same, to serde's whole numbers they are
/// not. Done to the text, so that no other number loses a digit.
fn without_zero_fractions(body: &str) -> Cow<'_, str> {
    if !body.contains(".0") {
        return Cow::Borrowed(body);
    }
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let mut rewritten = String::with_capacity(body.len());
    let (mut rest, mut in_text) = (body, false);
    while let Some(first) = rest.chars().next() {
        let token = match (in_text, first) {
            (true, '\\') => rest.chars().take(2).map(char::len_utf8).sum(),
            (false, '-' | '0'..='9') => rest.find(|c| !is_of_number(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(token);
        in_text ^= first == '"';
        rewritten.push_str(match token.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => token,
        });
        rest = after;
    }
    Cow::Owned(rewritten)
}

fn refused_field(error: &serde_path_to_error::Error<serde_json::Error>, body: &str) -> Problem {
    let is_syntax = error.inner().is_syntax() || error.inner().is_eof();
    if is_syntax && serde_json::from_str::<serde::de::IgnoredAny>(body).is_err() {
        return not_an_object("must be valid JSON");
    }
    let path = error.path().to_string();
    let said = error.inner().to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    // serde names an absent member in its message only, and gives the path of the object that lacks it.
    match said
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        Some(member) if path == "." => Problem::invalid_field(member, "is required"),
        Some(member) => Problem::invalid_field(format!("{path}.{member}"), "is required"),
        None if path == "." => not_an_object("must be a JSON object with the documented members"),
        // What serde calls a syntax error in valid JSON is a member of another type than the words it can be.
        None if is_syntax => Problem::invalid_field(path, "must be one of the documented words"),
        None => Problem::invalid_field(path, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_fraction_is_no_fraction_and_nothing_else_is_rewritten() {
        for (body, rewritten) in [
            (r#"{"a": 2.0}"#, r#"{"a": 2}"#),
            (r#"{"a":[-3.00,0.0,1]}"#, r#"{"a":[-3,0,1]}"#),
            (
                r#"{"a": "2.0", "b": 2.50, "c": 2.05}"#,
                r#"{"a": "2.0", "b": 2.50, "c": 2.05}"#,
            ),
            (
                r#"{"a\": 2.0": 1, "b": 1.0e2, "c": 1e2}"#,
                r#"{"a\": 2.0": 1, "b": 1.0e2, "c": 1e2}"#,
            ),
            (r#"{"\\": 2.0}"#, r#"{"\\": 2}"#),
            (r#"{"字": 2.0}"#, r#"{"字": 2}"#),
            (r#"{"a": "2.0\"#, r#"{"a": "2.0\"#),
        ] {
            assert_eq!(without_zero_fractions(body), rewritten, "{body}");
        }
    }
}
