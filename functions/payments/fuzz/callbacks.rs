//! Callbacks that nobody would think of, for every provider's `parse_callback`. Whatever comes in, nothing panics; and
//!
//! - what is not signed by the provider says nothing (`raw`, `edited`): whatever is done to genuine messages, what is
//!   believed is what one of them says;
//! - what is signed by the provider says no more than its own words (`signed`): those are read here a second time, in the
//!   plainest way.
//!
//! Each target runs for a moment with every `cargo test`, and for `FUZZ_SECONDS` where that is set. The messages are made
//! from genuine ones and from those in `corpus`, where each that once failed has its place.

mod message;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use http_function::HeaderMap;
use kernel::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use serde_json::{Value, json};
use uuid::Uuid;

use self::message::{Edit, Message, edited, edits};
use crate::alipay::vectors::{self, VECTORS};
use crate::provider::{News, Provider, Receipt, Refunding, Trade, refund_number, trade_number};
use crate::sandbox;
use crate::wechat_pay::fixture::{Fixture, Signer};

/// For how long a target runs where nothing else is said.
const MOMENT: Duration = Duration::from_millis(500);
/// Messages between two looks at the clock.
const ROUND: u32 = 32;

/// A provider, and messages that are truly its own.
struct Target {
    /// The adapter, in each way in which it may be configured.
    adapters: Vec<Box<dyn Provider>>,
    genuine: Vec<Message>,
    /// What the genuine ones say, and nothing else may be believed.
    known: Vec<News>,
    /// When they were sent.
    sent_at: Timestamp,
    /// How long they are believed, before and after, where that has an end.
    window: Option<Duration>,
    /// Between the pieces of a body.
    separator: u8,
}

/// A genuine message, and what became of it on the way.
#[derive(Debug, Clone)]
struct Journey {
    message: u8,
    edits: Vec<Edit>,
    /// In seconds; below zero where clocks differ.
    took: i64,
}

fn journeys() -> impl Strategy<Value = Journey> {
    (any::<u8>(), edits(5), -320_i64..=320).prop_map(|(message, edits, took)| Journey { message, edits, took })
}

/// A message of the corpus with other bytes, or just bytes.
fn files(provider: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let bytes = || any::<prop::sample::Index>();
    let changed = (
        prop::sample::select(corpus(provider)),
        prop::collection::vec((bytes(), any::<u8>()), 0..4),
        bytes(),
        0..4_u8,
    );
    prop_oneof![
        4 => changed.prop_map(|((_, mut file), changes, end, kind)| {
            for (at, byte) in changes {
                let at = at.index(file.len());
                match kind {
                    0 => file[at] = byte,
                    1 => file[at] ^= 1 << (byte % 8),
                    2 => file.insert(at, byte),
                    _ => file.truncate(end.index(file.len()).max(1)),
                }
            }
            file
        }),
        1 => prop::collection::vec(any::<u8>(), 0..512),
    ]
}

/// The messages that are kept, with their names.
fn corpus(provider: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(provider);
    let files = folder.read_dir().unwrap().map(|file| file.unwrap());
    let mut corpus: Vec<_> = files
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                std::fs::read(file.path()).unwrap(),
            )
        })
        .collect();
    corpus.sort();
    corpus
}

/// Asks again and again until the time is over. `check` says whether its message was believed.
fn ask<S: Strategy>(target: &str, inputs: &S, check: impl Fn(&S::Value) -> bool) {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let limit = seconds.map_or(MOMENT, |seconds| Duration::from_secs(seconds.parse().unwrap()));
    let config = ProptestConfig {
        cases: ROUND,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (since, asked, believed) = (Instant::now(), Cell::new(0_u64), Cell::new(0_u64));
    while since.elapsed() < limit {
        // A runner counts all that it ever asked: each round needs its own.
        let outcome = TestRunner::new(config.clone()).run(inputs, |input| {
            asked.set(asked.get() + 1);
            believed.set(believed.get() + u64::from(check(&input)));
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => panic!("{target}: {reason}\n{input:?}"),
            Err(TestError::Abort(reason)) => panic!("{target}: {reason}"),
        }
    }
    println!(
        "{target}: {} messages, {} believed, {:?}",
        asked.get(),
        believed.get(),
        since.elapsed()
    );
}

impl Target {
    fn new(adapters: Vec<Box<dyn Provider>>, genuine: Vec<Message>, sent_at: Timestamp, separator: u8) -> Self {
        let mut target = Self {
            window: (separator == b',').then_some(Duration::from_secs(300)),
            adapters,
            genuine,
            known: Vec::new(),
            sent_at,
            separator,
        };
        for message in &target.genuine {
            let headers = message.header_map();
            for adapter in &target.adapters {
                target
                    .known
                    .push(adapter.parse_callback(&headers, &message.body, sent_at).unwrap());
            }
        }
        target
    }

    fn receive(&self, message: &Message, now: Timestamp) -> Vec<Option<News>> {
        let headers = message.header_map();
        let heard = self.adapters.iter();
        heard
            .map(|adapter| adapter.parse_callback(&headers, &message.body, now).ok())
            .collect()
    }

    /// Whatever it is, it says nothing new.
    fn raw(&self, file: &[u8]) -> bool {
        let heard = self.receive(&Message::read(file), self.sent_at);
        for news in heard.iter().flatten() {
            assert!(self.known.contains(news), "{news:?}");
        }
        heard.iter().any(Option::is_some)
    }

    fn edited(&self, journey: &Journey) -> bool {
        let genuine = &self.genuine[usize::from(journey.message) % self.genuine.len()];
        let message = edited(genuine, &journey.edits, self.separator, &self.genuine);
        let span = Duration::from_secs(journey.took.unsigned_abs());
        let now = match journey.took < 0 {
            true => self.sent_at.minus(span),
            false => self.sent_at.plus(span),
        };
        let late = self.window.is_some_and(|window| span >= window);
        let heard = self.receive(&message, now);
        for news in &heard {
            match news {
                Some(news) => assert!(!late && self.known.contains(news), "{news:?}"),
                None => assert!(late || message != *genuine, "a genuine message is refused"),
            }
        }
        heard.iter().any(Option::is_some)
    }
}

static ALIPAY: LazyLock<Target> = LazyLock::new(|| {
    let genuine = VECTORS.names("notifications").into_iter();
    let genuine = genuine.map(|name| Message::new(&HeaderMap::new(), VECTORS.of("notifications", name).as_bytes()));
    let adapters = vectors::adapters()
        .into_iter()
        .map(|adapter| Box::new(adapter) as Box<dyn Provider>);
    let sent_at = Timestamp::from_millis(1_800_000_000_000);
    Target::new(adapters.collect(), genuine.collect(), sent_at, b'&')
});

static WECHAT_PAY: LazyLock<Target> = LazyLock::new(|| {
    let it = Fixture::new();
    let names = it.vectors["callbacks"].as_object().unwrap().keys();
    let genuine = names.map(|name| {
        let (headers, body) = it.message(&format!("/callbacks/{name}"));
        Message::new(&headers, &body)
    });
    Target::new(vec![Box::new(Fixture::adapter())], genuine.collect(), it.now(), b',')
});

static SANDBOX: LazyLock<Target> = LazyLock::new(|| {
    let sent_at = sandbox::fixture::NOW;
    let genuine = sandbox_reports().into_iter().map(|report| {
        let body = report.to_string();
        Message::new(&sandbox::fixture::signed(&body, sent_at), body.as_bytes())
    });
    Target::new(
        vec![Box::new(sandbox::fixture::adapter())],
        genuine.collect(),
        sent_at,
        b',',
    )
});

fn sandbox_reports() -> Vec<Value> {
    let paid = sandbox::fixture::report(VECTORS.text("payment").parse().unwrap());
    let with = |name: &str, value: &str| {
        let mut report = paid.clone();
        report[name] = json!(value);
        report
    };
    vec![
        paid.clone(),
        with("merchant", "another"),
        with("trade_status", "WAIT_BUYER_PAY"),
        with("trade_status", "TRADE_FAILED"),
        with("trade_status", "TRADE_CLOSED"),
    ]
}

macro_rules! targets {
    ($($provider:ident $target:ident $letters:expr, $says:ident;)*) => { $(
        mod $provider {
            use super::*;

            const NAME: &str = stringify!($provider);

            #[test]
            fn no_message_says_anything_without_its_signature() {
                ask(&format!("{NAME}, raw"), &files(NAME), |file| $target.raw(file));
            }

            #[test]
            fn whatever_is_done_to_a_genuine_message_it_says_nothing_else() {
                ask(&format!("{NAME}, edited"), &journeys(), |journey| $target.edited(journey));
            }

            #[test]
            fn a_signed_message_says_no_more_than_its_words() {
                ask(&format!("{NAME}, signed"), &$letters, $says);
            }

            /// Messages of which none is believed would prove nothing.
            #[test]
            fn of_the_corpus_exactly_the_genuine_are_believed() {
                let mut genuine = 0;
                for (name, file) in corpus(NAME) {
                    let is_genuine = name.starts_with("genuine");
                    for news in $target.receive(&Message::read(&file), $target.sent_at) {
                        assert_eq!(news.is_some(), is_genuine, "{name}: {news:?}");
                    }
                    genuine += usize::from(is_genuine);
                }
                assert_eq!(genuine, $target.genuine.len());
            }
        }
    )* };
}

targets! {
    alipay ALIPAY journeys(), alipay_says_no_more;
    wechat_pay WECHAT_PAY letters(), wechat_pay_says_no_more;
    sandbox_provider SANDBOX journeys(), sandbox_says_no_more;
}

/// Yuan with at most two decimals, as fen.
fn fen(yuan: &str) -> Option<i64> {
    let (whole, decimals) = yuan.split_once('.').unwrap_or((yuan, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse().ok()
}

fn alipay_says_no_more(journey: &Journey) -> bool {
    let genuine = &ALIPAY.genuine[usize::from(journey.message) % ALIPAY.genuine.len()];
    let unsigned = edited(genuine, &journey.edits, b'&', &ALIPAY.genuine);
    let fields: BTreeMap<String, String> = form_urlencoded::parse(&unsigned.body).into_owned().collect();
    let body = vectors::signed(fields.clone()).into_bytes();
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let ours = field("app_id") == VECTORS.text("app_id") && field("seller_id") == VECTORS.text("seller_id");
    let gone = fen(field("refund_fee")).is_some_and(|fen| fen != 0) || !field("gmt_refund").is_empty();
    let came = |receipt: &Receipt| {
        let currency = Some(field("trans_currency"))
            .filter(|text| !text.is_empty())
            .unwrap_or("CNY");
        ["TRADE_SUCCESS", "TRADE_FINISHED"].contains(&field("trade_status"))
            && fen(field("total_amount")) == Some(receipt.amount.fen())
            && (receipt.trade_no.as_str(), receipt.currency.as_str()) == (field("trade_no"), currency)
    };
    let heard = ALIPAY.receive(&Message::new(&HeaderMap::new(), &body), ALIPAY.sent_at);
    for news in heard.iter().flatten() {
        assert_eq!(trade_number(news.payment()), field("out_trade_no"));
        let same = match news {
            News::Payment(seen) => {
                !gone
                    && match &seen.trade {
                        Trade::Paid(receipt) => ours && came(receipt),
                        Trade::PaidToAnother(receipt) => !ours && came(receipt),
                        Trade::Waiting => ours && field("trade_status") == "WAIT_BUYER_PAY",
                        Trade::Closed => ours && field("trade_status") == "TRADE_CLOSED",
                        Trade::Returned(_) | Trade::Failed => false,
                    }
            }
            News::Refund(seen) => {
                ours && gone
                    && (&seen.amount, &seen.outcome) == (&None, &None)
                    && seen
                        .refund
                        .is_none_or(|refund| refund_number(refund) == field("out_biz_no"))
            }
        };
        assert!(same, "{news:?}");
    }
    heard.iter().any(Option::is_some)
}

/// What WeChat Pay seals, and what it puts around it.
#[derive(Debug, Clone)]
struct Letter {
    is_refund: bool,
    by_certificate: bool,
    content: Vec<Edit>,
    envelope: Vec<Edit>,
}

fn letters() -> impl Strategy<Value = Letter> {
    let letters = (any::<bool>(), any::<bool>(), edits(4), prop_oneof![edits(0), edits(2)]);
    letters.prop_map(|(is_refund, by_certificate, content, envelope)| Letter {
        is_refund,
        by_certificate,
        content,
        envelope,
    })
}

fn wechat_pay_says_no_more(letter: &Letter) -> bool {
    static IT: LazyLock<Fixture> = LazyLock::new(Fixture::new);
    let plain = |name: &str| Message::new(&HeaderMap::new(), IT.vectors[name].to_string().as_bytes());
    let (content, kind, event) = match letter.is_refund {
        true => (plain("refunded"), "refund", "REFUND.SUCCESS"),
        false => (plain("transaction"), "transaction", "TRANSACTION.SUCCESS"),
    };
    let content = edited(
        &content,
        &letter.content,
        b',',
        &[plain("refunded"), plain("transaction")],
    )
    .body;
    let Ok(content) = String::from_utf8(content) else {
        return false;
    };
    let envelope = json!({"event_type": event, "resource": IT.seal(&content, kind)}).to_string();
    let envelope = Message::new(&HeaderMap::new(), envelope.as_bytes());
    let body = edited(&envelope, &letter.envelope, b',', &WECHAT_PAY.genuine).body;
    let signer = match letter.by_certificate {
        true => Signer::Certificate,
        false => Signer::PublicKey,
    };
    let headers = IT.signed_by(signer, &body, &IT.now().seconds().to_string());
    let heard = WECHAT_PAY.receive(&Message::new(&headers, &body), IT.now());
    for news in heard.iter().flatten() {
        // An envelope that was mended with pieces of genuine ones may hold what those hold.
        if WECHAT_PAY.known.contains(news) {
            continue;
        }
        let (outside, inside): (Value, Value) = (
            serde_json::from_slice(&body).unwrap(),
            serde_json::from_str(&content).unwrap(),
        );
        let is = |pointer: &str, value: &str| inside.pointer(pointer).and_then(Value::as_str) == Some(value);
        assert!(is("/out_trade_no", &trade_number(news.payment())), "{news:?}");
        let ours = is("/mchid", &IT.text("/merchant_id")) && is("/appid", &IT.text("/app_id"));
        let amount = |name: &str| inside["amount"][name].as_i64();
        let came = |receipt: &Receipt| {
            let currency = inside["amount"]
                .get("currency")
                .and_then(Value::as_str)
                .unwrap_or("CNY");
            amount("total") == Some(receipt.amount.fen())
                && receipt.currency == currency
                && is("/transaction_id", &receipt.trade_no)
        };
        let (event, kind) = (&outside["event_type"], &outside["resource"]["original_type"]);
        let same = match news {
            News::Payment(seen) => {
                (event, kind) == (&json!("TRANSACTION.SUCCESS"), &json!("transaction"))
                    && match &seen.trade {
                        Trade::Paid(receipt) => ours && is("/trade_state", "SUCCESS") && came(receipt),
                        Trade::Returned(receipt) => ours && is("/trade_state", "REFUND") && came(receipt),
                        Trade::PaidToAnother(receipt) => {
                            !ours && (is("/trade_state", "SUCCESS") || is("/trade_state", "REFUND")) && came(receipt)
                        }
                        Trade::Waiting | Trade::Closed | Trade::Failed => false,
                    }
            }
            News::Refund(seen) => {
                let state = ["/refund_status", "/status"]
                    .iter()
                    .find_map(|name| inside.pointer(name)?.as_str());
                kind == "refund"
                    && is("/mchid", &IT.text("/merchant_id"))
                    && Some(format!("REFUND.{}", state.unwrap_or_default()).as_str()) == event.as_str()
                    && seen.amount.map(kernel::Money::fen) == amount("refund")
                    && (seen.outcome == Some(Refunding::Succeeded)) == (state == Some("SUCCESS"))
                    && seen
                        .refund
                        .is_none_or(|refund| is("/out_refund_no", &refund_number(refund)))
            }
        };
        assert!(same, "{news:?}");
    }
    heard.iter().any(Option::is_some)
}

fn sandbox_says_no_more(journey: &Journey) -> bool {
    let genuine = &SANDBOX.genuine[usize::from(journey.message) % SANDBOX.genuine.len()];
    let body = edited(genuine, &journey.edits, b',', &SANDBOX.genuine).body;
    let Ok(text) = std::str::from_utf8(&body) else {
        return false;
    };
    let headers = sandbox::fixture::signed(text, SANDBOX.sent_at);
    let heard = SANDBOX.receive(&Message::new(&headers, &body), SANDBOX.sent_at);
    for news in heard.iter().flatten() {
        let words: Value = serde_json::from_str(text).unwrap();
        let is = |name: &str, value: &str| words[name].as_str() == Some(value);
        let number = words["out_trade_no"]
            .as_str()
            .and_then(|text| Uuid::parse_str(text).ok());
        assert_eq!(Some(news.payment().uuid()), number);
        let ours = is("merchant", "cfmp");
        let came = |receipt: &Receipt| {
            is("trade_status", "TRADE_SUCCESS")
                && words["amount"].as_i64() == Some(receipt.amount.fen())
                && is("currency", &receipt.currency)
                && is("trade_no", &receipt.trade_no)
        };
        let same = match news {
            News::Payment(seen) => match &seen.trade {
                Trade::Paid(receipt) => ours && came(receipt),
                Trade::PaidToAnother(receipt) => !ours && came(receipt),
                Trade::Waiting => is("trade_status", "WAIT_BUYER_PAY"),
                Trade::Failed => is("trade_status", "TRADE_FAILED"),
                Trade::Closed => is("trade_status", "TRADE_CLOSED"),
                Trade::Returned(_) => false,
            },
            News::Refund(_) => false,
        };
        assert!(same, "{news:?}");
    }
    heard.iter().any(Option::is_some)
}
