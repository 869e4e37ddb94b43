//! A buyer's hands: what he does with the offer that a payment comes with, in a browser or in a provider's app.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use url::Url;

/// How often a browser is sent elsewhere before it gives up.
const MOST_REDIRECTS: usize = 5;
/// How the content of WeChat Pay's codes begins.
const CODE: &str = "weixin://";

/// Why a buyer does not get as far as paying or being refused.
#[derive(Debug, thiserror::Error)]
pub enum BuyerError {
    /// There is nothing in the offer that he could open.
    #[error("nothing to open in {0}")]
    NothingToOpen(Value),
    /// An address is not one.
    #[error("{url}: {source}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong.
        source: url::ParseError,
    },
    /// A page does not open.
    #[error("{url}: {reason}")]
    Page {
        /// The page.
        url: String,
        /// Why.
        reason: String,
    },
}

/// What came of an attempt to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paying {
    /// It is paid. Where the page leads back to, if it does.
    Paid(Option<String>),
    /// It can not be paid, as this page says.
    Refused(String),
}

/// A page as it came.
#[derive(Debug)]
struct Page {
    url: Url,
    status: StatusCode,
    text: String,
    leads_to: Option<String>,
}

/// A browser, and the providers' apps beside it.
#[derive(Debug, Clone)]
pub struct Buyer {
    client: Client<HttpConnector, Full<Bytes>>,
    simulator: Option<String>,
}

impl Buyer {
    /// A buyer whose apps talk to the simulated providers at this address, where there are any.
    #[must_use]
    pub fn new(simulator: Option<&str>) -> Buyer {
        Buyer {
            client: Client::builder(TokioExecutor::new()).build_http(),
            simulator: simulator.map(str::to_owned),
        }
    }

    /// Opens, scans or hands to the app what `payment_data` offers, and pays.
    ///
    /// # Errors
    /// [`BuyerError`].
    pub async fn pays(&self, payment_data: &Value) -> Result<Paying, BuyerError> {
        if let Some(parameters) = payment_data["jsapi_params"].as_str() {
            return self.pays_inside(parameters, payment_data).await;
        }
        let page = self.opens(payment_data).await?;
        let Some(action) = form_action(&page.text) else {
            return Ok(Paying::Refused(page.text));
        };
        let action = join(&page.url, &action)?;
        let form = ("application/x-www-form-urlencoded", "outcome=pay".to_owned());
        let page = self.fetch(Method::POST, action, Some(form)).await?;
        Ok(match page.leads_to {
            Some(url) => Paying::Paid(Some(url)),
            None if page.text.contains('✓') => Paying::Paid(None),
            None => Paying::Refused(page.text),
        })
    }

    /// Opens or scans what `payment_data` offers, and does no more. Answers the page's text.
    ///
    /// # Errors
    /// [`BuyerError`].
    pub async fn looks(&self, payment_data: &Value) -> Result<String, BuyerError> {
        Ok(self.opens(payment_data).await?.text)
    }

    /// Follows the way back from the provider.
    ///
    /// # Errors
    /// [`BuyerError`].
    pub async fn returns(&self, url: &str) -> Result<StatusCode, BuyerError> {
        Ok(self.fetch(Method::GET, parse(url)?, None).await?.status)
    }

    async fn opens(&self, payment_data: &Value) -> Result<Page, BuyerError> {
        let nothing = || BuyerError::NothingToOpen(payment_data.clone());
        let text = payment_data["payment_url"].as_str().filter(|text| !text.is_empty());
        let text = text.ok_or_else(nothing)?;
        let url = if text.starts_with(CODE) {
            let simulator = self.simulator.as_deref().ok_or_else(nothing)?;
            let mut url = parse(&format!("{simulator}/wechat_pay/scan"))?;
            url.query_pairs_mut().append_pair("code_url", text);
            url
        } else {
            parse(text)?
        };
        let mut page = self.fetch(Method::GET, url, None).await?;
        for _ in 0..MOST_REDIRECTS {
            let Some(to) = &page.leads_to else { break };
            page = self.fetch(Method::GET, join(&page.url, to)?, None).await?;
        }
        Ok(page)
    }

    async fn pays_inside(&self, parameters: &str, payment_data: &Value) -> Result<Paying, BuyerError> {
        let nothing = || BuyerError::NothingToOpen(payment_data.clone());
        let simulator = self.simulator.as_deref().ok_or_else(nothing)?;
        let url = parse(&format!("{simulator}/wechat_pay/jsapi-pay"))?;
        let body = ("application/json", parameters.to_owned());
        let answer = self.fetch(Method::POST, url, Some(body)).await?;
        Ok(match answer.status {
            StatusCode::OK => Paying::Paid(None),
            _ => Paying::Refused(answer.text),
        })
    }

    async fn fetch(&self, method: Method, url: Url, body: Option<(&str, String)>) -> Result<Page, BuyerError> {
        let failed = |reason: String| BuyerError::Page {
            url: url.to_string(),
            reason,
        };
        let mut request = Request::builder().method(method).uri(url.as_str());
        let body = match body {
            Some((kind, body)) => {
                request = request.header(CONTENT_TYPE, kind);
                body
            }
            None => String::new(),
        };
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| failed(error.to_string()))?;
        let response = self.client.request(request).await;
        let (head, body) = response.map_err(|error| failed(format!("{error:?}")))?.into_parts();
        let body = body.collect().await.map_err(|error| failed(error.to_string()))?;
        let leads_to = head.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        Ok(Page {
            status: head.status,
            text: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            leads_to: leads_to.map(str::to_owned),
            url,
        })
    }
}

fn parse(url: &str) -> Result<Url, BuyerError> {
    Url::parse(url).map_err(|source| BuyerError::Address {
        url: url.to_owned(),
        source,
    })
}

fn join(base: &Url, url: &str) -> Result<Url, BuyerError> {
    base.join(url).map_err(|source| BuyerError::Address {
        url: url.to_owned(),
        source,
    })
}

/// Where the page's form is sent, if it has one with a button that pays.
fn form_action(page: &str) -> Option<String> {
    let tags: Vec<&str> = page.split('<').collect();
    tags.iter()
        .find(|tag| tag.starts_with("button") && tag.contains("value=\"pay\""))?;
    let form = tags.iter().find(|tag| tag.starts_with("form "))?;
    let (_, action) = form.split_once("action=\"")?;
    let (action, _) = action.split_once('"')?;
    Some(
        action
            .replace("&#38;", "&")
            .replace("&amp;", "&")
            .replace("&quot;", "\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_found_by_its_button() {
        let page =
            r#"<form method="post" action="/pay?a=1&#38;b=2"><button name="outcome" value="pay">Pay</button></form>"#;
        assert_eq!(form_action(page).as_deref(), Some("/pay?a=1&b=2"));
        assert_eq!(form_action("<form action=\"/pay\"></form>"), None);
        assert_eq!(form_action("<p>closed</p>"), None);
    }
}
