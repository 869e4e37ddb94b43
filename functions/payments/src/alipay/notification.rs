//! What Alipay tells us unasked: a form, posted to the payment's `notify_url`.

use std::collections::BTreeMap;

use kernel::{Money, RefundId};
use uuid::Uuid;

use super::keys::Keys;
use super::request::signed_text;
use super::{amount, moment};
use crate::provider::{
    CURRENCY, CallbackError, News, Observation, Receipt, RefundObservation, Trade, refund_number, trade_number,
};

/// Genuine ones have about 2 KB.
const MOST_BYTES: usize = 64 * 1024;

/// The fields that decide something.
const READ: [&str; 14] = [
    "alipay_cert_sn",
    "app_id",
    "gmt_payment",
    "gmt_refund",
    "out_biz_no",
    "out_trade_no",
    "refund_fee",
    "seller_id",
    "sign",
    "sign_type",
    "total_amount",
    "trade_no",
    "trade_status",
    "trans_currency",
];

/// To whom notifications have to be addressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addressee<'a> {
    pub(super) app_id: &'a str,
    pub(super) seller_id: &'a str,
}

/// A notification that Alipay signed.
struct Notification(BTreeMap<String, String>);

/// Verifies and reads a notification.
pub(super) fn read(keys: &Keys, addressee: Addressee<'_>, body: &[u8]) -> Result<News, CallbackError> {
    Notification::verify(keys, body)?.news(addressee)
}

impl Notification {
    fn verify(keys: &Keys, body: &[u8]) -> Result<Self, CallbackError> {
        use CallbackError::NotGenuine;
        if body.len() > MOST_BYTES {
            return Err(NotGenuine("the body is too long"));
        }
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(NotGenuine("a field is there twice"));
            }
        }
        let signature = fields.remove("sign").ok_or(NotGenuine("there is none"))?;
        if fields.remove("sign_type").as_deref() != Some("RSA2") {
            return Err(NotGenuine("sign_type is not RSA2"));
        }
        // The signed text joins raw values, so that one text can be cut into fields in several ways. A field that decides
        // something must not hide in another one's value. No title of ours holds an ampersand.
        if fields.values().any(|value| hides_a_field(value)) {
            return Err(NotGenuine("it can be read in more than one way"));
        }
        let number = fields.get("alipay_cert_sn").cloned();
        let mut verdict = keys.verify(&signed_text(&fields), &signature, number.as_deref());
        // Implementations differ on whether a notification's signature covers the certificate's number. Nothing but the
        // choice of one of Alipay's keys depends on it.
        if verdict.is_err() && number.is_some() && keys.serial_numbers().is_some() {
            fields.remove("alipay_cert_sn");
            verdict = keys.verify(&signed_text(&fields), &signature, number.as_deref());
        }
        verdict.map_err(|wrong| NotGenuine(wrong.reason()))?;
        Ok(Self(fields))
    }

    fn news(&self, addressee: Addressee<'_>) -> Result<News, CallbackError> {
        let trade_no = self.required("out_trade_no")?;
        let payment = number(trade_no, trade_number)
            .ok_or_else(|| not_understood("out_trade_no is not one of our numbers".to_owned()))?;
        let is_ours =
            self.required("app_id")? == addressee.app_id && self.required("seller_id")? == addressee.seller_id;
        let status = self.required("trade_status")?;
        if self.is_of_a_refund()? {
            if !is_ours {
                return Err(not_understood("a refund of another app or seller".to_owned()));
            }
            return Ok(News::Refund(RefundObservation {
                payment,
                refund: self
                    .optional("out_biz_no")
                    .and_then(|text| number::<RefundId>(text, refund_number)),
                // `refund_fee` is the sum of all refunds of the trade.
                amount: None,
                outcome: None,
            }));
        }
        let trade = match (status, is_ours) {
            ("TRADE_SUCCESS" | "TRADE_FINISHED", true) => Trade::Paid(self.receipt()?),
            ("TRADE_SUCCESS" | "TRADE_FINISHED", false) => Trade::PaidToAnother(self.receipt()?),
            (_, false) => return Err(not_understood("a trade of another app or seller".to_owned())),
            ("WAIT_BUYER_PAY", true) => Trade::Waiting,
            // Time was up: with money that went back it would be of a refund.
            ("TRADE_CLOSED", true) => Trade::Closed,
            _ => return Err(not_understood("trade_status is not known".to_owned())),
        };
        Ok(News::Payment(Observation { payment, trade }))
    }

    /// A refund comes to the same address and says again that the trade is paid (a part went back) or closed (all did).
    fn is_of_a_refund(&self) -> Result<bool, CallbackError> {
        let refunded = match self.optional("refund_fee") {
            Some(text) => amount(text).map_err(|error| not_understood(format!("refund_fee {error}")))?,
            None => Money::ZERO,
        };
        Ok(!refunded.is_zero() || self.optional("gmt_refund").is_some())
    }

    fn receipt(&self) -> Result<Receipt, CallbackError> {
        let paid_at = self.required("gmt_payment")?;
        Ok(Receipt {
            trade_no: self.required("trade_no")?.to_owned(),
            // Not receipt_amount: that is less where Alipay gave the buyer a rebate.
            amount: amount(self.required("total_amount")?)
                .map_err(|error| not_understood(format!("total_amount {error}")))?,
            currency: self.optional("trans_currency").unwrap_or(CURRENCY).to_owned(),
            paid_at: moment::read(paid_at).ok_or_else(|| not_understood("gmt_payment is no moment".to_owned()))?,
        })
    }

    /// The value of a field; empty counts as absent.
    fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<&str, CallbackError> {
        self.optional(name)
            .ok_or_else(|| not_understood(format!("{name} is missing")))
    }
}

fn hides_a_field(value: &str) -> bool {
    let pieces = value.split('&').skip(1);
    let mut names = pieces.filter_map(|piece| piece.split_once('=')).map(|(name, _)| name);
    names.any(|name| READ.contains(&name))
}

/// The id that Alipay was given as `text`: exactly as we write it, because Alipay's numbers differ by case.
fn number<Id: From<Uuid> + Copy>(text: &str, written: impl Fn(Id) -> String) -> Option<Id> {
    let id = Id::from(Uuid::try_parse(text).ok()?);
    (written(id) == text).then_some(id)
}

fn not_understood(reason: String) -> CallbackError {
    CallbackError::NotUnderstood(reason)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::super::vectors::VECTORS;
    use super::*;
    use CallbackError::{NotGenuine, NotUnderstood};

    type Fields = Vec<(String, String)>;

    fn addressee() -> Addressee<'static> {
        Addressee {
            app_id: VECTORS.text("app_id"),
            seller_id: VECTORS.text("seller_id"),
        }
    }

    fn heard(body: &[u8]) -> Result<News, CallbackError> {
        read(&VECTORS.our_keys(), addressee(), body)
    }

    fn genuine(name: &str) -> Fields {
        let body = VECTORS.of("notifications", name).as_bytes();
        form_urlencoded::parse(body).into_owned().collect()
    }

    fn posted(fields: &Fields) -> Vec<u8> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields).finish().into_bytes()
    }

    /// The notification `name` with other values, signed by Alipay; `None` leaves a field out.
    fn signed(name: &str, changes: &[(&str, Option<&str>)]) -> Vec<u8> {
        signed_by(&VECTORS.keys_of_alipay(), name, changes)
    }

    fn signed_by(keys: &Keys, name: &str, changes: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut fields: BTreeMap<String, String> = genuine(name).into_iter().collect();
        fields.retain(|name, _| name != "sign" && name != "sign_type");
        for (name, value) in changes {
            match value {
                Some(value) => drop(fields.insert((*name).to_owned(), (*value).to_owned())),
                None => drop(fields.remove(*name)),
            }
        }
        let sign = keys.sign(&signed_text(&fields)).unwrap();
        let mut fields: Fields = fields.into_iter().collect();
        fields.extend([("sign".into(), sign), ("sign_type".into(), "RSA2".into())]);
        posted(&fields)
    }

    fn receipt() -> Receipt {
        Receipt {
            trade_no: "2027011522001400000000000001".into(),
            amount: Money::from_fen(1990).unwrap(),
            currency: CURRENCY.into(),
            paid_at: "2027-01-15T16:05:07+08:00".parse().unwrap(),
        }
    }

    fn of_the_payment(trade: Trade) -> News {
        News::Payment(Observation {
            payment: VECTORS.text("payment").parse().unwrap(),
            trade,
        })
    }

    fn of_a_refund(refund: Option<&str>) -> News {
        News::Refund(RefundObservation {
            payment: VECTORS.text("payment").parse().unwrap(),
            refund: refund.map(|id| id.parse().unwrap()),
            amount: None,
            outcome: None,
        })
    }

    #[test]
    fn notifications_that_another_implementation_signed_are_understood() {
        let refund = of_a_refund(Some(VECTORS.text("refund")));
        let expected = [
            ("paid", of_the_payment(Trade::Paid(receipt()))),
            ("finished", of_the_payment(Trade::Paid(receipt()))),
            ("partly refunded", refund.clone()),
            ("all refunded", refund),
            ("timed out", of_the_payment(Trade::Closed)),
            ("waiting", of_the_payment(Trade::Waiting)),
            ("to another app", of_the_payment(Trade::PaidToAnother(receipt()))),
            ("to another seller", of_the_payment(Trade::PaidToAnother(receipt()))),
        ];
        assert_eq!(expected.len(), VECTORS.names("notifications").len());
        for (name, news) in expected {
            let body = VECTORS.of("notifications", name).as_bytes();
            for keys in [VECTORS.our_keys(), VECTORS.our_certificates()] {
                assert_eq!(read(&keys, addressee(), body).as_ref(), Ok(&news), "{name}");
            }
        }
    }

    #[test]
    fn a_partial_refund_is_not_a_second_payment() {
        let fields = genuine("partly refunded");
        assert!(fields.contains(&("trade_status".into(), "TRADE_SUCCESS".into())));
        assert!(matches!(heard(&posted(&fields)), Ok(News::Refund(_))));
        // One of the two signs of a refund is enough; nothing went back is none.
        for missing in ["refund_fee", "gmt_refund"] {
            assert!(matches!(
                heard(&signed("partly refunded", &[(missing, None)])),
                Ok(News::Refund(_))
            ));
        }
        for nothing in ["", "0", "0.00"] {
            let body = signed(
                "paid",
                &[
                    ("refund_fee", Some(nothing)),
                    ("gmt_refund", Some("")),
                    ("out_biz_no", Some("")),
                ],
            );
            assert_eq!(heard(&body), Ok(of_the_payment(Trade::Paid(receipt()))), "{nothing:?}");
        }
    }

    #[test]
    fn a_refund_that_a_person_made_is_not_one_of_ours() {
        for number in [
            "",
            "HZ01RF001",
            "7D1C2B3A4F5E46978A9B0C1D2E3F4A5B",
            "7d1c2b3a-4f5e-4697-8a9b-0c1d2e3f4a5b",
        ] {
            let body = signed("partly refunded", &[("out_biz_no", Some(number))]);
            assert_eq!(heard(&body), Ok(of_a_refund(None)), "{number}");
        }
    }

    #[test]
    fn whatever_is_changed_in_a_notification_takes_its_proof_away() {
        for name in VECTORS.names("notifications") {
            let fields = genuine(name);
            assert!(heard(&posted(&fields)).is_ok(), "{name}");
            for at in 0..fields.len() {
                let field = &fields[at].0;
                let changed = |change: &dyn Fn(&mut Fields)| {
                    let mut probe = fields.clone();
                    change(&mut probe);
                    let outcome = heard(&posted(&probe));
                    assert!(matches!(outcome, Err(NotGenuine(_))), "{name}: {field}: {outcome:?}");
                };
                changed(&|probe| probe[at].1.push('0'));
                changed(&|probe| probe[at].1.insert(0, ' '));
                changed(&|probe| probe[at].0.push('x'));
                changed(&|probe| probe[at].0 = probe[at].0.to_uppercase());
                changed(&|probe| drop(probe.remove(at)));
                changed(&|probe| probe.push(probe[at].clone()));
                changed(&|probe| probe.insert(0, (probe[at].0.clone(), "1".into())));
                if !fields[at].1.is_empty() {
                    changed(&|probe| probe[at].1.clear());
                }
            }
            for added in [
                ("x", "1"),
                ("x", ""),
                ("", ""),
                ("refund_fee ", "1.00"),
                ("alipay_cert_sn", "1"),
            ] {
                let mut probe = fields.clone();
                probe.push((added.0.into(), added.1.into()));
                assert!(
                    matches!(heard(&posted(&probe)), Err(NotGenuine(_))),
                    "{name}: {added:?}"
                );
            }
        }
    }

    #[test]
    fn fields_that_are_not_known_and_empty_ones_are_signed_too() {
        let body = signed(
            "paid",
            &[
                ("a new field", Some("x=1;y")),
                ("another", Some("")),
                ("~", Some("台灯 💡+%2B")),
            ],
        );
        assert_eq!(heard(&body), Ok(of_the_payment(Trade::Paid(receipt()))));
        let without = String::from_utf8(body).unwrap().replace("another=&", "").into_bytes();
        assert!(matches!(heard(&without), Err(NotGenuine(_))));
    }

    #[test]
    fn a_notification_is_decoded_once() {
        let expected = Ok(of_the_payment(Trade::Paid(receipt())));
        let fields = genuine("paid");
        // Every byte escaped, in lower case, and in another order: the same notification.
        let escaped: Vec<String> = fields
            .iter()
            .rev()
            .map(|(name, value)| {
                let value: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
                format!("{name}={value}")
            })
            .collect();
        assert_eq!(heard(escaped.join("&").as_bytes()), expected);
        let body = VECTORS.of("notifications", "paid");
        for again in [
            body.replace('%', "%25"),
            form_urlencoded::byte_serialize(body.as_bytes()).collect(),
            body.replace("%2B", "+"),
            body.replace("a%EF%BC%9Db", "a%EF%BC%9Db%00"),
        ] {
            assert!(matches!(heard(again.as_bytes()), Err(NotGenuine(_))), "{again}");
        }
        // A title with everything that could be decoded once too often.
        let body = signed("paid", &[("subject", Some("100%25 %26total_amount%3D0.01 + \"}"))]);
        assert_eq!(heard(&body), expected);
    }

    #[test]
    fn only_alipay_s_rsa2_signature_counts() {
        for keys in [VECTORS.keys_of("stranger_private_key"), VECTORS.our_keys()] {
            assert_eq!(heard(&signed_by(&keys, "paid", &[])), Err(NotGenuine("it is wrong")));
        }
        assert!(
            heard(&signed_by(&VECTORS.keys_of("alipay_next_private_key"), "paid", &[])).is_ok(),
            "rotation"
        );
        let with = |name: &str, value: Option<&str>| {
            let mut fields = genuine("paid");
            fields.retain(|field| field.0 != name);
            fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            heard(&posted(&fields))
        };
        let sign = genuine("paid").into_iter().find(|field| field.0 == "sign").unwrap().1;
        assert!(with("sign", Some(&sign)).is_ok());
        for kind in [
            None,
            Some(""),
            Some("RSA"),
            Some("rsa2"),
            Some("RSA2 "),
            Some("none"),
            Some("HMAC"),
        ] {
            assert_eq!(
                with("sign_type", kind),
                Err(NotGenuine("sign_type is not RSA2")),
                "{kind:?}"
            );
        }
        assert_eq!(with("sign", None), Err(NotGenuine("there is none")));
        let zeros = STANDARD.encode([0; 256]);
        let ones = STANDARD.encode([255; 256]);
        for cut in [
            "",
            "=",
            "AAAA",
            &sign[1..],
            &sign[..sign.len() - 1],
            &sign[..sign.len() - 4],
            &zeros,
            &ones,
        ] {
            assert!(matches!(with("sign", Some(cut)), Err(NotGenuine(_))), "{cut}");
        }
        assert!(matches!(with("sign", Some(&format!("{sign}\n"))), Err(NotGenuine(_))));
    }

    #[test]
    fn a_named_certificate_is_the_one_that_verifies_a_notification() {
        let ours = VECTORS.our_certificates();
        let number = VECTORS.serial_number("alipay_certificate");
        let hears = |body: &[u8]| read(&ours, addressee(), body);
        let body = signed("paid", &[("alipay_cert_sn", Some(number))]);
        assert!(hears(&body).is_ok(), "under the signature");
        let mut fields = genuine("paid");
        fields.push(("alipay_cert_sn".into(), number.into()));
        assert!(hears(&posted(&fields)).is_ok(), "beside the signature");
        for other in ["", "1", VECTORS.serial_number("alipay_next_certificate")] {
            fields.last_mut().unwrap().1 = other.into();
            assert!(matches!(hears(&posted(&fields)), Err(NotGenuine(_))), "{other}");
            let body = signed("paid", &[("alipay_cert_sn", Some(other))]);
            assert!(matches!(hears(&body), Err(NotGenuine(_))), "{other}");
        }
    }

    /// The signed text joins raw values, so cutting it elsewhere keeps the signature.
    #[test]
    fn a_field_can_not_be_hidden_in_another_one() {
        let mut fields = genuine("partly refunded");
        fields.sort();
        let at = fields.iter().position(|field| field.0 == "refund_fee").unwrap();
        let hidden = fields.remove(at);
        let host = &mut fields[at - 1].1;
        *host = format!("{host}&{}={}", hidden.0, hidden.1);
        assert_eq!(
            heard(&posted(&fields)),
            Err(NotGenuine("it can be read in more than one way"))
        );
        // A title that was made to be cut: it would say that more was paid.
        let title = "lamp&total_amount=9999.00&total_amounts=";
        assert!(heard(&signed("paid", &[("subject", Some(title))])).is_err());
        // Other ampersands do no harm.
        let title = "R&B = a&b=c &refund_fee";
        assert!(heard(&signed("paid", &[("subject", Some(title))])).is_ok());
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let cases: &[(&str, &[&str])] = &[
            (
                "out_trade_no",
                &[
                    "",
                    "1",
                    "0b6f5a3e-8c1d-4f27-9a44-2d5e7c9b1a30",
                    "0B6F5A3E8C1D4F279A442D5E7C9B1A30",
                    "0b6f5a3e8c1d4f279a442d5e7c9b1a3g",
                    "0b6f5a3e8c1d4f279a442d5e7c9b1a300",
                    "{0b6f5a3e8c1d4f279a442d5e7c9b1a}",
                ],
            ),
            (
                "total_amount",
                &[
                    "",
                    "19.900",
                    "19.901",
                    "-19.90",
                    "+19.90",
                    "1990e-2",
                    "1.99e1",
                    "19,90",
                    " 19.90",
                    "NaN",
                    "１９.９０",
                    "0x13",
                    ".90",
                    "19.",
                    "999999999999999999999.00",
                    "1e400",
                ],
            ),
            ("trade_status", &["", "TRADE_PAID", "trade_success", "TRADE_SUCCESS "]),
            ("trade_no", &[""]),
            ("app_id", &[""]),
            ("seller_id", &[""]),
            ("gmt_payment", &["", "yesterday", "2027-01-15T16:05:07Z", "1800000000"]),
            ("refund_fee", &["x", "-1.00", "1.001"]),
        ];
        for (field, values) in cases {
            for value in *values {
                let outcome = heard(&signed("paid", &[(field, Some(value))]));
                assert!(
                    matches!(outcome, Err(NotUnderstood(_))),
                    "{field} {value:?}: {outcome:?}"
                );
            }
            if *field != "refund_fee" {
                let outcome = heard(&signed("paid", &[(field, None)]));
                assert_eq!(outcome, Err(NotUnderstood(format!("{field} is missing"))));
            }
        }
    }

    #[test]
    fn what_is_said_to_others_changes_nothing_of_ours() {
        for name in ["waiting", "timed out", "partly refunded", "all refunded"] {
            for foreign in ["app_id", "seller_id"] {
                let outcome = heard(&signed(name, &[(foreign, Some("2088000000000009"))]));
                assert!(matches!(outcome, Err(NotUnderstood(_))), "{name}: {outcome:?}");
            }
        }
    }

    #[test]
    fn another_currency_is_no_renminbi() {
        let outcome = heard(&signed("paid", &[("trans_currency", Some("USD"))]));
        let expected = Receipt {
            currency: "USD".into(),
            ..receipt()
        };
        assert_eq!(outcome, Ok(of_the_payment(Trade::Paid(expected))));
    }

    #[test]
    fn a_body_that_is_no_notification_is_refused() {
        let long = [VECTORS.of("notifications", "paid"), "&x=", &"x".repeat(1024 * 1024)].concat();
        assert_eq!(heard(long.as_bytes()), Err(NotGenuine("the body is too long")));
        let many = "&a=".repeat(20_000);
        for body in [
            &b""[..],
            b"&&&",
            b"=",
            b"sign=&sign_type=RSA2",
            b"\xff\xfe=%ff&sign=%c0&sign_type=RSA2",
            b"{}",
            many.as_bytes(),
            b"sign_type=RSA2&sign=%",
        ] {
            assert!(matches!(heard(body), Err(NotGenuine(_))));
        }
        let body = VECTORS
            .of("notifications", "paid")
            .replace("subject=a", "subject=%ff%fea");
        assert!(matches!(heard(body.as_bytes()), Err(NotGenuine(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_never_believed(body in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(heard(&body).is_err());
        }

        #[test]
        fn arbitrary_fields_are_never_believed(fields in prop::collection::vec((".{0,12}", ".{0,40}"), 0..12)) {
            let mut fields: Fields = fields;
            fields.push(("sign_type".into(), "RSA2".into()));
            fields.push(("sign".into(), STANDARD.encode([7; 256])));
            prop_assert!(heard(&posted(&fields)).is_err());
        }

        #[test]
        fn a_changed_byte_is_noticed_or_means_the_same(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut body = VECTORS.of("notifications", "paid").as_bytes().to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            if let Ok(news) = heard(&body) {
                prop_assert_eq!(news, of_the_payment(Trade::Paid(receipt())));
            }
        }
    }
}
