//! What WeChat Pay says unasked.
//!
//! Its notification is JSON: who it is about is sealed (`resource`), what it is about stands beside it (`event_type`). The
//! signature covers both, yet they have to agree: a refund must never be read as a payment.
//!
//! Source: <https://pay.weixin.qq.com/docs/merchant/products/notification/introduction.html> (payments) and
//! <https://pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter3_1_11.shtml> (refunds).

use http_function::{HeaderMap, StatusCode};
use kernel::Timestamp;
use serde::Deserialize;

use super::Account;
use super::credentials::Credentials;
use super::report::{self, RefundReport, TradeReport, misread};
use super::sealed::Sealed;
use crate::provider::{Acknowledgement, CallbackError, Handled, News, Observation, RefundObservation, Trade};

/// Largest notification that is looked at, in bytes. Real ones have a few thousand.
pub(super) const LARGEST: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Notification {
    event_type: String,
    resource: Sealed,
}

/// What a notification says, if it is WeChat Pay's.
///
/// One that is genuine but opens under none of our APIv3 keys is "not understood", so that a person hears of it: either it
/// was sent to another merchant, or a new key was set there and is missing here.
pub(super) fn read(
    account: &Account,
    credentials: &Credentials,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<News, CallbackError> {
    if body.len() > LARGEST {
        return Err(CallbackError::NotGenuine("the body is too large"));
    }
    credentials
        .platform_keys
        .verify(headers, body, now)
        .map_err(CallbackError::NotGenuine)?;
    let notification: Notification =
        serde_json::from_slice(body).map_err(|error| CallbackError::NotUnderstood(misread(&error)))?;
    let sealed = &notification.resource;
    let open = || credentials.api_keys.open(sealed);
    let news = match (notification.event_type.as_str(), sealed.original_type.as_str()) {
        ("TRANSACTION.SUCCESS", "transaction") => open().and_then(|text| payment(account, &text)).map(News::Payment),
        ("REFUND.SUCCESS", "refund") => open()
            .and_then(|text| refund(account, &text, "SUCCESS"))
            .map(News::Refund),
        ("REFUND.ABNORMAL", "refund") => open()
            .and_then(|text| refund(account, &text, "ABNORMAL"))
            .map(News::Refund),
        ("REFUND.CLOSED", "refund") => open()
            .and_then(|text| refund(account, &text, "CLOSED"))
            .map(News::Refund),
        _ => Err("its event_type and original_type are not known, or do not belong together"),
    };
    news.map_err(|reason| CallbackError::NotUnderstood(reason.to_owned()))
}

fn payment(account: &Account, text: &[u8]) -> Result<Observation, &'static str> {
    let report: TradeReport = serde_json::from_slice(text).map_err(|_| "what is sealed is no transaction")?;
    let payment = report::payment(&report.out_trade_no).ok_or("its out_trade_no is none of ours")?;
    match report.trade(account)? {
        trade @ (Trade::Paid(_) | Trade::PaidToAnother(_) | Trade::Returned(_)) => Ok(Observation { payment, trade }),
        Trade::Waiting | Trade::Failed | Trade::Closed => Err("it speaks of success, but its trade_state does not"),
    }
}

fn refund(account: &Account, text: &[u8], status: &str) -> Result<RefundObservation, &'static str> {
    let report: RefundReport = serde_json::from_slice(text).map_err(|_| "what is sealed is no refund")?;
    if report.mchid.as_deref() != Some(account.merchant_id.as_str()) {
        return Err("it is about another merchant's refund");
    }
    if report.status != status {
        return Err("its event_type and refund_status do not belong together");
    }
    Ok(RefundObservation {
        payment: report::payment(&report.out_trade_no).ok_or("its out_trade_no is none of ours")?,
        refund: report::refund(&report.out_refund_no),
        amount: Some(report::money(report.amount.refund)?),
        outcome: Some(report.outcome()?),
    })
}

/// The status decides: after anything but 200 and 204 WeChat Pay sends the notification again, 15 times in 24 hours.
pub(super) fn acknowledgement(handled: Handled) -> Acknowledgement {
    let (status, text) = match handled {
        Handled::Stored => (StatusCode::OK, r#"{"code":"SUCCESS"}"#),
        Handled::NotGenuine => (
            StatusCode::UNAUTHORIZED,
            r#"{"code":"FAIL","message":"the signature proves nothing"}"#,
        ),
        Handled::NotUnderstood => (StatusCode::BAD_REQUEST, r#"{"code":"FAIL","message":"not understood"}"#),
        Handled::UnknownTrade => (StatusCode::NOT_FOUND, r#"{"code":"FAIL","message":"no such payment"}"#),
        Handled::NotStored => (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"code":"FAIL","message":"not stored, send it again"}"#,
        ),
    };
    Acknowledgement {
        status,
        content_type: "application/json",
        text,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use http::HeaderValue;
    use kernel::Money;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::fixture::{Fixture, Signer};
    use super::super::signature::{NONCE, SERIAL, SIGNATURE, SIGNATURE_TYPE, TIMESTAMP, WINDOW};
    use super::*;
    use crate::provider::Refunding;

    type Outcome = Result<News, CallbackError>;

    fn read_at(it: &Fixture, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Outcome {
        read(&it.account, &it.credentials, headers, body, now)
    }

    /// Reads a body that WeChat Pay itself signed just now.
    fn hear(it: &Fixture, body: &Value) -> Outcome {
        let body = body.to_string().into_bytes();
        read_at(it, &it.signed(&body), &body, it.now())
    }

    fn is_forged(outcome: &Outcome) -> bool {
        matches!(outcome, Err(CallbackError::NotGenuine(_)))
    }

    fn is_strange(outcome: &Outcome) -> bool {
        matches!(outcome, Err(CallbackError::NotUnderstood(_)))
    }

    fn trade(outcome: Outcome) -> Trade {
        match outcome {
            Ok(News::Payment(seen)) => seen.trade,
            other => panic!("{other:?}"),
        }
    }

    /// The transaction of the vectors with one member replaced.
    fn transaction(it: &Fixture, pointer: &str, value: Value) -> Value {
        changed(&it.vectors["transaction"], pointer, value)
    }

    fn changed(json: &Value, pointer: &str, value: Value) -> Value {
        let mut json = json.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        json.pointer_mut(parent).unwrap()[member] = value;
        json
    }

    fn without(json: &Value, pointer: &str) -> Value {
        let mut json = json.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        json.pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(member)
            .unwrap();
        json
    }

    fn paid(it: &Fixture) -> Value {
        it.notification("TRANSACTION.SUCCESS", "transaction", &it.vectors["transaction"])
    }

    /// Made by another library; under the public key and under a certificate, after a rotation of the APIv3 key, with and
    /// without associated data.
    #[test]
    fn a_genuine_payment_is_believed_whatever_key_it_comes_under() {
        let it = Fixture::new();
        for name in ["payment", "payment_before_the_rotation", "payment_by_certificate"] {
            let (headers, body) = it.message(&format!("/callbacks/{name}"));
            let Ok(News::Payment(seen)) = read_at(&it, &headers, &body, it.now()) else {
                panic!("{name}");
            };
            assert_eq!(seen.payment, it.payment_id());
            let Trade::Paid(receipt) = seen.trade else {
                panic!("{name}: {:?}", seen.trade)
            };
            assert_eq!(receipt.amount, Money::from_fen(1990).unwrap(), "total, not payer_total");
            assert_eq!(
                (receipt.currency.as_str(), receipt.trade_no.as_str()),
                ("CNY", "4200000000202601010000000001")
            );
            assert_eq!(receipt.paid_at, it.now().minus(Duration::from_secs(2)));
        }
    }

    #[test]
    fn a_genuine_refund_is_believed() {
        let it = Fixture::new();
        let (headers, body) = it.message("/callbacks/refund");
        let expected = RefundObservation {
            payment: it.payment_id(),
            refund: Some(it.refund_id()),
            amount: Some(Money::from_fen(500).unwrap()),
            outcome: Some(Refunding::Succeeded),
        };
        assert_eq!(read_at(&it, &headers, &body, it.now()), Ok(News::Refund(expected)));
    }

    #[test]
    fn a_refund_that_was_not_made_goes_to_a_person() {
        let it = Fixture::new();
        for status in ["ABNORMAL", "CLOSED"] {
            let content = changed(&it.vectors["refunded"], "/refund_status", json!(status));
            let outcome = hear(&it, &it.notification(&format!("REFUND.{status}"), "refund", &content));
            let Ok(News::Refund(seen)) = outcome else {
                panic!("{outcome:?}")
            };
            assert!(matches!(seen.outcome, Some(Refunding::Rejected(reason)) if reason.starts_with(status)));
        }
    }

    #[test]
    fn a_refund_that_a_person_made_there_has_no_number_of_ours() {
        let it = Fixture::new();
        for number in ["50000000382019052709732678859", "FEDCBA9876543210FEDCBA9876543210", ""] {
            let content = changed(&it.vectors["refunded"], "/out_refund_no", json!(number));
            let outcome = hear(&it, &it.notification("REFUND.SUCCESS", "refund", &content));
            assert!(
                matches!(outcome, Ok(News::Refund(seen)) if seen.refund.is_none()),
                "{number}"
            );
        }
    }

    #[test]
    fn a_header_that_is_changed_dropped_or_doubled_makes_it_nobody_s() {
        let it = Fixture::new();
        for signer in ["payment", "payment_by_certificate"] {
            let (genuine, body) = it.message(&format!("/callbacks/{signer}"));
            let refused = |headers: &HeaderMap| is_forged(&read_at(&it, headers, &body, it.now()));
            for name in [TIMESTAMP, NONCE, SERIAL, SIGNATURE] {
                let mut headers = genuine.clone();
                headers.remove(name);
                assert!(refused(&headers), "{name} dropped");

                let mut headers = genuine.clone();
                headers.append(name, genuine[name].clone());
                assert!(refused(&headers), "{name} doubled");

                for other in [TIMESTAMP, NONCE, SERIAL, SIGNATURE]
                    .iter()
                    .filter(|other| **other != name)
                {
                    let mut headers = genuine.clone();
                    headers.insert(name, genuine[*other].clone());
                    headers.insert(*other, genuine[name].clone());
                    assert!(refused(&headers), "{name} swapped with {other}");
                }
                for value in [
                    "",
                    " ",
                    "0",
                    "x",
                    "é",
                    "-1",
                    "1e9",
                    "99999999999999999999",
                    "9223372036854775807",
                ] {
                    let mut headers = genuine.clone();
                    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
                    assert!(refused(&headers), "{name}: {value:?}");
                }
                let first = genuine[name].as_bytes()[0];
                let mut value = genuine[name].as_bytes().to_vec();
                value[0] = if first == b'1' { b'2' } else { b'1' };
                let mut headers = genuine.clone();
                headers.insert(name, HeaderValue::from_bytes(&value).unwrap());
                assert!(refused(&headers), "{name}, one character");
            }
            let mut headers = genuine.clone();
            headers.insert(SIGNATURE_TYPE, "WECHATPAY2-SM2-WITH-SM3".parse().unwrap());
            assert!(refused(&headers), "another kind of signature");
        }
    }

    #[test]
    fn the_serial_number_chooses_the_key() {
        let it = Fixture::new();
        let body = paid(&it).to_string().into_bytes();
        let now = it.now().seconds().to_string();
        for (signer, other) in [
            (Signer::PublicKey, Signer::Certificate),
            (Signer::Certificate, Signer::PublicKey),
        ] {
            let genuine = it.signed_by(signer, &body, &now);
            assert!(read_at(&it, &genuine, &body, it.now()).is_ok());
            let unknown = [
                it.serial(other),
                "5157F09EFDC096DE15EBE81A47057A7232F1B8E1".to_owned(),
                "PUB_KEY_ID_".to_owned(),
                "PUB_KEY_ID_0000000000000000000000000000000000".to_owned(),
                it.text("/secret/public_keys/0/id").to_lowercase(),
                it.text("/secret/merchant_serial_no"),
            ];
            for serial in unknown {
                let mut headers = genuine.clone();
                headers.insert(SERIAL, serial.parse().unwrap());
                assert!(is_forged(&read_at(&it, &headers, &body, it.now())), "{serial}");
            }
        }
        // The same number in the spellings that programs have for it.
        let serial = it.serial(Signer::Certificate);
        for spelling in [serial.to_lowercase(), format!("0{serial}")] {
            let mut headers = it.signed_by(Signer::Certificate, &body, &now);
            headers.insert(SERIAL, spelling.parse().unwrap());
            assert!(read_at(&it, &headers, &body, it.now()).is_ok(), "{spelling}");
        }
    }

    #[test]
    fn an_expired_certificate_proves_nothing() {
        let it = Fixture::new();
        let body = paid(&it).to_string().into_bytes();
        let mut headers = it.signed_by(Signer::Certificate, &body, &it.now().seconds().to_string());
        headers.insert(SERIAL, it.text("/platform/expired_serial").parse().unwrap());
        let outcome = read_at(&it, &headers, &body, it.now());
        assert_eq!(
            outcome,
            Err(CallbackError::NotGenuine("its certificate is not valid at this time"))
        );
    }

    #[test]
    fn a_notification_is_believed_for_less_than_five_minutes_either_way() {
        let it = Fixture::new();
        let (headers, body) = it.message("/callbacks/payment");
        let step = Duration::from_millis(1);
        for (now, believed) in [
            (it.now().plus(WINDOW).minus(step), true),
            (it.now().plus(WINDOW), false),
            (it.now().minus(WINDOW).plus(step), true),
            (it.now().minus(WINDOW), false),
            (Timestamp::from_millis(i64::MIN), false),
            (Timestamp::from_millis(i64::MAX), false),
        ] {
            assert_eq!(read_at(&it, &headers, &body, now).is_ok(), believed, "{now:?}");
        }
        for timestamp in [
            "-9223372036854775808",
            "9223372036854775807",
            "18446744073709551616",
            "+1767225600",
            "",
        ] {
            let headers = it.signed_by(Signer::PublicKey, &body, timestamp);
            assert!(is_forged(&read_at(&it, &headers, &body, it.now())), "{timestamp}");
        }
    }

    /// WeChat Pay sends them and expects a refusal.
    #[test]
    fn a_probe_is_refused() {
        let it = Fixture::new();
        let (genuine, body) = it.message("/callbacks/payment");
        let right = genuine[SIGNATURE].to_str().unwrap();
        for probe in ["WECHATPAY/SIGNTEST/".to_owned(), format!("WECHATPAY/SIGNTEST/{right}")] {
            let mut headers = genuine.clone();
            headers.insert(SIGNATURE, probe.parse().unwrap());
            let outcome = read_at(&it, &headers, &body, it.now());
            assert!(is_forged(&outcome));
            assert!(acknowledgement(Handled::NotGenuine).status.is_client_error());
        }
    }

    #[test]
    fn a_body_that_was_changed_is_nobody_s() {
        let it = Fixture::new();
        let (headers, body) = it.message("/callbacks/payment");
        for place in 0..body.len() {
            let mut changed = body.clone();
            changed[place] ^= 1;
            assert!(is_forged(&read_at(&it, &headers, &changed, it.now())), "byte {place}");
        }
        let more = [body.as_slice(), b"\n"].concat();
        for changed in [&body[1..], &body[..body.len() - 1], &more, b"", b"\xff\xfe\x00"] {
            assert!(is_forged(&read_at(&it, &headers, changed, it.now())));
        }
        let huge = vec![b'{'; LARGEST + 1];
        assert!(is_forged(&read_at(&it, &it.signed(&huge), &huge, it.now())));
    }

    /// As if WeChat Pay's key, but not ours, had fallen into wrong hands; or as if it changed its mind.
    #[test]
    fn what_is_signed_but_does_not_fit_together_is_not_understood() {
        let it = Fixture::new();
        let genuine = paid(&it);
        assert!(hear(&it, &genuine).is_ok());
        let refund = it.notification("REFUND.SUCCESS", "refund", &it.vectors["refunded"]);
        let strange = [
            changed(&genuine, "/event_type", json!("REFUND.SUCCESS")),
            changed(&genuine, "/event_type", json!("TRANSACTION.FAIL")),
            changed(&genuine, "/event_type", json!("MCHTRANSFER.BATCH.FINISHED")),
            changed(&genuine, "/event_type", json!("transaction.success")),
            changed(&genuine, "/event_type", json!(null)),
            changed(&genuine, "/resource/original_type", json!("refund")),
            changed(&genuine, "/resource/original_type", json!("")),
            changed(&genuine, "/resource/algorithm", json!("AEAD_SM4_GCM")),
            changed(&genuine, "/resource/algorithm", json!("AEAD_AES_256_GCM ")),
            changed(&genuine, "/resource/associated_data", json!("refund")),
            changed(&genuine, "/resource/associated_data", json!("")),
            changed(&genuine, "/resource/associated_data", json!(null)),
            changed(&genuine, "/resource/associated_data", json!(1)),
            changed(&genuine, "/resource/nonce", json!("fdasflkja485")),
            changed(&genuine, "/resource/nonce", json!("fdasflkja48")),
            changed(&genuine, "/resource/nonce", json!("fdasflkja4844")),
            changed(&genuine, "/resource/nonce", json!("")),
            changed(&genuine, "/resource/nonce", json!("字字字字")),
            changed(&genuine, "/resource/ciphertext", json!("")),
            changed(&genuine, "/resource/ciphertext", json!("AAAA")),
            changed(&genuine, "/resource/ciphertext", json!("no base64!")),
            changed(&genuine, "/resource", json!([])),
            changed(&refund, "/event_type", json!("REFUND.CLOSED")),
            changed(&refund, "/event_type", json!("TRANSACTION.SUCCESS")),
            without(&genuine, "/event_type"),
            without(&genuine, "/resource"),
            without(&genuine, "/resource/algorithm"),
            without(&genuine, "/resource/nonce"),
            without(&genuine, "/resource/ciphertext"),
            without(&genuine, "/resource/associated_data"),
            without(&genuine, "/resource/original_type"),
            json!([]),
            json!("text"),
        ];
        for body in strange {
            let outcome = hear(&it, &body);
            assert!(is_strange(&outcome), "{body}: {outcome:?}");
        }
        for body in [&b"\xff\xfe"[..], b"", b"{", b"{}", &[b'['; 100_000]] {
            assert!(is_strange(&read_at(&it, &it.signed(body), body, it.now())));
        }
    }

    /// A refund sealed where a payment is spoken of, and the other way round: the outer words are not enough.
    #[test]
    fn what_is_sealed_has_to_be_what_was_announced() {
        let it = Fixture::new();
        let refund = it.notification("TRANSACTION.SUCCESS", "transaction", &it.vectors["refunded"]);
        let payment = it.notification("REFUND.SUCCESS", "refund", &it.vectors["transaction"]);
        for body in [refund, payment] {
            assert!(is_strange(&hear(&it, &body)));
        }
    }

    #[test]
    fn every_bit_of_the_ciphertext_counts() {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;

        let it = Fixture::new();
        let genuine: Value = paid(&it);
        let sealed = STANDARD
            .decode(genuine["resource"]["ciphertext"].as_str().unwrap())
            .unwrap();
        for place in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[place] ^= 1 << (place % 8);
            let mut resource: Sealed = serde_json::from_value(genuine["resource"].clone()).unwrap();
            resource.ciphertext = STANDARD.encode(flipped);
            assert!(it.credentials.api_keys.open(&resource).is_err(), "byte {place}");
        }
    }

    #[test]
    fn money_for_another_merchant_or_app_is_not_ours() {
        let it = Fixture::new();
        for (pointer, value) in [
            ("/mchid", "1900000110"),
            ("/appid", "wx9999999999999999"),
            ("/mchid", ""),
        ] {
            for state in ["SUCCESS", "REFUND"] {
                let content = changed(&transaction(&it, pointer, json!(value)), "/trade_state", json!(state));
                let outcome = hear(&it, &it.notification("TRANSACTION.SUCCESS", "transaction", &content));
                assert!(matches!(trade(outcome), Trade::PaidToAnother(_)), "{pointer} {state}");
            }
        }
        let content = changed(&it.vectors["refunded"], "/mchid", json!("1900000110"));
        for content in [content, without(&it.vectors["refunded"], "/mchid")] {
            assert!(is_strange(&hear(
                &it,
                &it.notification("REFUND.SUCCESS", "refund", &content)
            )));
        }
    }

    #[test]
    fn a_payment_whose_money_went_back_is_told_as_that() {
        let it = Fixture::new();
        let content = transaction(&it, "/trade_state", json!("REFUND"));
        let outcome = hear(&it, &it.notification("TRANSACTION.SUCCESS", "transaction", &content));
        assert!(matches!(trade(outcome), Trade::Returned(_)));
    }

    #[test]
    fn another_amount_or_currency_is_told_as_it_is() {
        let it = Fixture::new();
        for (pointer, value) in [("/amount/total", json!(1)), ("/amount/currency", json!("USD"))] {
            let content = transaction(&it, pointer, value);
            let outcome = hear(&it, &it.notification("TRANSACTION.SUCCESS", "transaction", &content));
            let Trade::Paid(receipt) = trade(outcome) else { panic!() };
            assert!(receipt.amount.fen() == 1 || receipt.currency == "USD");
        }
    }

    #[test]
    fn a_payment_that_is_told_incompletely_or_not_as_paid_is_not_understood() {
        let it = Fixture::new();
        let genuine = &it.vectors["transaction"];
        let mut contents: Vec<Value> = [
            "/mchid",
            "/appid",
            "/out_trade_no",
            "/trade_state",
            "/amount",
            "/amount/total",
        ]
        .into_iter()
        .chain(["/transaction_id", "/success_time"])
        .map(|pointer| without(genuine, pointer))
        .collect();
        for state in [
            "NOTPAY",
            "CLOSED",
            "REVOKED",
            "USERPAYING",
            "PAYERROR",
            "ACCEPT",
            "success",
            "",
            "X",
        ] {
            contents.push(transaction(&it, "/trade_state", json!(state)));
        }
        for total in [
            json!(-1),
            json!("1990"),
            json!(19.9),
            json!(1e30),
            json!(u64::MAX),
            json!(null),
        ] {
            contents.push(transaction(&it, "/amount/total", total));
        }
        for number in [
            "",
            "x",
            "0123456789ABCDEF0123456789ABCDEF",
            "01234567-89ab-cdef-0123-456789abcdef",
        ] {
            contents.push(transaction(&it, "/out_trade_no", json!(number)));
        }
        contents.push(transaction(&it, "/success_time", json!("yesterday")));
        for content in contents {
            let outcome = hear(&it, &it.notification("TRANSACTION.SUCCESS", "transaction", &content));
            assert!(is_strange(&outcome), "{content}: {outcome:?}");
        }
    }

    #[test]
    fn what_a_person_reads_of_a_strange_notification_quotes_nothing_of_it() {
        let it = Fixture::new();
        let content = transaction(&it, "/appid", json!(["oUpF8uMuAJO_secret"]));
        for body in [
            it.notification("TRANSACTION.SUCCESS", "transaction", &content),
            json!({"event_type": ["oUpF8uMuAJO_secret"]}),
        ] {
            assert!(!format!("{:?}", hear(&it, &body)).contains("secret"));
        }
    }

    #[test]
    fn only_what_is_stored_is_acknowledged() {
        let all = [
            (Handled::Stored, 200),
            (Handled::NotGenuine, 401),
            (Handled::NotUnderstood, 400),
            (Handled::UnknownTrade, 404),
            (Handled::NotStored, 503),
        ];
        for (handled, status) in all {
            let answer = acknowledgement(handled);
            assert_eq!(
                (answer.status.as_u16(), answer.content_type),
                (status, "application/json")
            );
            let text: Value = serde_json::from_str(answer.text).unwrap();
            assert_eq!(
                text["code"],
                if handled == Handled::Stored { "SUCCESS" } else { "FAIL" }
            );
            assert_eq!(text["message"].is_string(), handled != Handled::Stored);
        }
    }

    /// Prints them: `cargo test -p payments --lib how_long -- --nocapture`, and with `--release`.
    #[test]
    fn how_long_the_secret_and_a_notification_take_is_measured() {
        let it = Fixture::new();
        let secret = it.vectors["secret"].to_string();
        let (headers, body) = it.message("/callbacks/payment");
        let rounds = 20;
        let start = Instant::now();
        for _ in 0..rounds {
            secret.parse::<Credentials>().unwrap();
        }
        let parsed = start.elapsed() / rounds;
        let start = Instant::now();
        for _ in 0..rounds {
            read_at(&it, &headers, &body, it.now()).unwrap();
        }
        println!("secret {parsed:?}, notification {:?}", start.elapsed() / rounds);
    }

    fn header_values() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
        let name = prop::sample::select(vec![TIMESTAMP, NONCE, SERIAL, SIGNATURE, SIGNATURE_TYPE]);
        let plausible = prop::sample::select(vec![
            "1767225600",
            "PUB_KEY_ID_0119000001092026010100000000000001",
            "A9D0C5C1F3C5D9E2B7A6F8E1D4C3B2A19080716",
            "WECHATPAY2-SHA256-RSA2048",
            "AAAA",
        ]);
        let value = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            plausible.prop_map(|text| text.as_bytes().to_vec())
        ];
        prop::collection::vec((name, value), 0..8)
    }

    proptest! {
        #[test]
        fn what_anybody_makes_up_is_never_believed(
            values in header_values(),
            body in prop_oneof![prop::collection::vec(any::<u8>(), 0..400), "\\PC{0,200}".prop_map(String::into_bytes)],
        ) {
            thread_local!(static IT: Fixture = Fixture::new());
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
            IT.with(|it| assert!(is_forged(&read_at(it, &headers, &body, it.now()))));
        }

        #[test]
        fn what_is_signed_but_made_up_is_never_paid(event in "(TRANSACTION|REFUND)\\.(SUCCESS|CLOSED)", text in "\\PC{0,200}") {
            thread_local!(static IT: Fixture = Fixture::new());
            IT.with(|it| for kind in ["transaction", "refund"] {
                let mut body = paid(it);
                body["event_type"] = json!(event);
                body["resource"] = it.seal(&text, kind);
                assert!(is_strange(&hear(it, &body)));
            });
        }
    }
}
