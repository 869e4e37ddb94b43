//! What we ask: parameters, the text of them that is signed, and the form that is sent.

use std::collections::BTreeMap;

use kernel::Timestamp;
use serde::Serialize;

use super::keys::Keys;
use super::moment;

/// The methods of Alipay's gateway that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    PagePay,
    WapPay,
    Precreate,
    Query,
    Close,
    Refund,
    RefundQuery,
    StatementAddress,
}

impl Method {
    /// As the gateway knows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PagePay => "alipay.trade.page.pay",
            Self::WapPay => "alipay.trade.wap.pay",
            Self::Precreate => "alipay.trade.precreate",
            Self::Query => "alipay.trade.query",
            Self::Close => "alipay.trade.close",
            Self::Refund => "alipay.trade.refund",
            Self::RefundQuery => "alipay.trade.fastpay.refund.query",
            Self::StatementAddress => "alipay.data.dataservice.bill.downloadurl.query",
        }
    }

    /// The member of an answer that is about this method.
    pub(super) fn response(self) -> String {
        format!("{}_response", self.name().replace('.', "_"))
    }
}

/// A request, before it is signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) app_id: &'a str,
    pub(super) method: Method,
    /// When it is made.
    pub(super) at: Timestamp,
    /// Where Alipay tells us what becomes of the trade.
    pub(super) notify_url: Option<&'a str>,
    /// Where it sends the buyer's browser back to.
    pub(super) return_url: Option<&'a str>,
}

impl Request<'_> {
    /// The form, with its signature. `None` where it could not be signed, which is not expected.
    pub(super) fn form(self, keys: &Keys, content: &impl Serialize) -> Option<String> {
        // In the order in which they are signed. What is empty is not sent.
        let mut parameters = BTreeMap::from([
            ("app_id", self.app_id.to_owned()),
            ("biz_content", serde_json::to_string(content).ok()?),
            ("charset", "utf-8".to_owned()),
            ("format", "JSON".to_owned()),
            ("method", self.method.name().to_owned()),
            ("sign_type", "RSA2".to_owned()),
            ("timestamp", moment::written(self.at)),
            ("version", "1.0".to_owned()),
        ]);
        let urls = [("notify_url", self.notify_url), ("return_url", self.return_url)];
        parameters.extend(urls.into_iter().filter_map(|(name, url)| Some((name, url?.to_owned()))));
        if let Some(numbers) = keys.serial_numbers() {
            parameters.insert("app_cert_sn", numbers.app.clone());
            parameters.insert("alipay_root_cert_sn", numbers.root.clone());
        }
        let sign = keys.sign(&signed_text(&parameters))?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&parameters);
        Some(form.append_pair("sign", &sign).finish())
    }
}

/// The text under a signature: raw values, sorted by name.
pub(super) fn signed_text<K: AsRef<str>, V: AsRef<str>>(fields: &BTreeMap<K, V>) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", name.as_ref(), value.as_ref()))
        .collect();
    fields.join("&")
}
