//! A callback as it comes in, and what others may do to it.

use http::{HeaderName, HeaderValue};
use http_function::HeaderMap;
use proptest::collection::vec;
use proptest::prelude::*;

/// Headers and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) headers: Vec<Pair>,
    pub(super) body: Vec<u8>,
}

/// A name, what stands between, a value: a header, or a piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    name: Vec<u8>,
    joint: Option<u8>,
    value: Vec<u8>,
}

impl Message {
    pub(super) fn new(headers: &HeaderMap, body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| Pair {
            name: name.as_str().into(),
            joint: Some(b':'),
            value: value.as_bytes().into(),
        });
        Self {
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    /// Reads a file of the corpus: a header per line, an empty line, the body. What is no header is left out, as a
    /// server would.
    pub(super) fn read(file: &[u8]) -> Self {
        let end = file.windows(2).position(|two| two == b"\n\n");
        let (head, body) = match (file.first(), end) {
            (Some(b'\n'), _) => (&[][..], &file[1..]),
            (_, Some(end)) => (&file[..end], &file[end + 2..]),
            (_, None) => (&[][..], file),
        };
        Self {
            headers: head.split(|byte| *byte == b'\n').map(Pair::read).collect(),
            body: body.to_owned(),
        }
    }

    pub(super) fn header_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for header in &self.headers {
            let name = HeaderName::from_bytes(header.name.trim_ascii());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(header.value.trim_ascii())) {
                headers.append(name, value);
            }
        }
        headers
    }
}

impl Pair {
    /// A header, a field of a form, or a member of an object: whatever stands around a colon or an equals sign.
    fn read(text: &[u8]) -> Self {
        match text.iter().position(|byte| matches!(byte, b':' | b'=')) {
            Some(at) => Self {
                name: text[..at].into(),
                joint: Some(text[at]),
                value: text[at + 1..].into(),
            },
            None => Self {
                name: text.into(),
                joint: None,
                value: Vec::new(),
            },
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.name);
        to.extend(self.joint);
        to.extend_from_slice(&self.value);
    }
}

/// Which list of pairs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Headers,
    Body,
}

/// One change. Places count from the front and go round.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Drop(Part, u8),
    Double(Part, u8),
    /// Changes the order.
    Swap(Part, u8, u8),
    /// Exchanges values.
    Mix(Part, u8, u8),
    /// Takes the pair of another genuine message.
    Borrow(Part, u8, u8),
    Rename(Part, u8, Text),
    Set(Part, u8, Text),
    /// Writes something behind a value.
    Lengthen(Part, u8, Text),
    Add(Part, Text, Text),
    UpperCase(Part, u8),
    Byte(u16, u8),
    Insert(u16, u8),
    CutOff(u16),
    /// Goes on as another genuine message does from there on.
    Splice(u8, u16),
}

/// What is written into a message.
#[derive(Debug, Clone)]
pub(super) enum Text {
    /// A word that means something in one of the protocols.
    Known(u8),
    Any(Vec<u8>),
}

/// Up to `most` of them.
pub(super) fn edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    let part = || prop_oneof![Just(Part::Headers), Just(Part::Body), Just(Part::Body)];
    let at = any::<u8>;
    let edit = prop_oneof![
        (part(), at()).prop_map(|(part, at)| Edit::Drop(part, at)),
        (part(), at()).prop_map(|(part, at)| Edit::Double(part, at)),
        (part(), at(), at()).prop_map(|(part, one, two)| Edit::Swap(part, one, two)),
        (part(), at(), at()).prop_map(|(part, one, two)| Edit::Mix(part, one, two)),
        (part(), at(), at()).prop_map(|(part, at, from)| Edit::Borrow(part, at, from)),
        (part(), at(), text()).prop_map(|(part, at, text)| Edit::Rename(part, at, text)),
        (part(), at(), text()).prop_map(|(part, at, text)| Edit::Set(part, at, text)),
        (part(), at(), text()).prop_map(|(part, at, text)| Edit::Lengthen(part, at, text)),
        (part(), text(), text()).prop_map(|(part, name, value)| Edit::Add(part, name, value)),
        (part(), at()).prop_map(|(part, at)| Edit::UpperCase(part, at)),
        (any::<u16>(), at()).prop_map(|(at, to)| Edit::Byte(at, to)),
        (any::<u16>(), at()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        any::<u16>().prop_map(Edit::CutOff),
        (at(), any::<u16>()).prop_map(|(from, at)| Edit::Splice(from, at)),
    ];
    vec(edit, 0..=most)
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![3 => any::<u8>().prop_map(Text::Known), 1 => vec(any::<u8>(), 0..24).prop_map(Text::Any)]
}

const KNOWN: [&str; 64] = [
    "",
    "0",
    "1",
    "-1",
    "0.00",
    "0.01",
    "19.9",
    "19.90",
    "19.900",
    "1990",
    "1990.0",
    "+19.90",
    " 19.90",
    "1e3",
    "00",
    ".5",
    "5.",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999",
    "null",
    "true",
    "[]",
    "{}",
    "\"",
    "\\",
    "\"\"",
    "\"0\"",
    "\"CNY\"",
    "\"USD\"",
    "\"SUCCESS\"",
    "\"REFUND\"",
    "\"CLOSED\"",
    "\"NOTPAY\"",
    "\"TRANSACTION.SUCCESS\"",
    "\"REFUND.SUCCESS\"",
    "\"transaction\"",
    "\"refund\"",
    "\"TRADE_SUCCESS\"",
    "\"TRADE_CLOSED\"",
    "\"cfmp\"",
    "TRADE_SUCCESS",
    "TRADE_FINISHED",
    "TRADE_CLOSED",
    "WAIT_BUYER_PAY",
    "RSA",
    "RSA2",
    "refund_fee",
    "gmt_refund",
    "total_amount",
    "out_trade_no",
    "app_id",
    "sign",
    "sign_type",
    "alipay_cert_sn",
    "%00",
    "%26total_amount%3D0.01",
    "%F0%9F%92%A1",
    "%",
    "+",
    "&total_amount=0.01",
    "WECHATPAY/SIGNTEST/",
    "PUB_KEY_ID_",
    "00000000000000000000000000000000",
];

impl Text {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Known(at) => KNOWN[usize::from(*at) % KNOWN.len()].as_bytes(),
            Self::Any(bytes) => bytes,
        }
    }
}

/// `message` with all `edits`. Pieces of its body are separated by `separator`; `others` are there to be borrowed from.
pub(super) fn edited(message: &Message, edits: &[Edit], separator: u8, others: &[Message]) -> Message {
    let mut message = message.clone();
    for edit in edits {
        edit.apply(&mut message, separator, others);
    }
    message
}

impl Edit {
    fn apply(&self, message: &mut Message, separator: u8, others: &[Message]) {
        let other = |from: &u8| &others[usize::from(*from) % others.len()];
        match self {
            Self::Byte(at, to) => {
                if let Some(at) = place(*at, message.body.len()) {
                    message.body[at] = *to;
                }
            }
            Self::Insert(at, byte) => {
                let at = place(*at, message.body.len()).unwrap_or(0);
                message.body.insert(at, *byte);
            }
            Self::CutOff(at) => message.body.truncate(place(*at, message.body.len()).unwrap_or(0)),
            Self::Splice(from, at) => {
                let at = place(*at, message.body.len()).unwrap_or(0);
                message.body.truncate(at);
                message.body.extend(other(from).body.iter().skip(at));
            }
            Self::Drop(part, at) => message.change(*part, separator, |pairs| {
                if let Some(at) = place(*at, pairs.len()) {
                    pairs.remove(at);
                }
            }),
            Self::Double(part, at) => message.change(*part, separator, |pairs| {
                if let Some(at) = place(*at, pairs.len()) {
                    pairs.insert(at, pairs[at].clone());
                }
            }),
            Self::Swap(part, one, two) => message.change(*part, separator, |pairs| {
                if let (Some(one), Some(two)) = (place(*one, pairs.len()), place(*two, pairs.len())) {
                    pairs.swap(one, two);
                }
            }),
            Self::Mix(part, one, two) => message.change(*part, separator, |pairs| {
                if let (Some(one), Some(two)) = (place(*one, pairs.len()), place(*two, pairs.len())) {
                    let value = pairs[one].value.clone();
                    pairs[one].value = std::mem::replace(&mut pairs[two].value, value);
                }
            }),
            Self::Borrow(part, at, from) => {
                let lent = other(from).pairs(*part, separator);
                message.change(*part, separator, |pairs| {
                    let (Some(at), Some(from)) = (place(*at, pairs.len()), place(*at, lent.len())) else {
                        return;
                    };
                    match lent.iter().find(|pair| pair.name == pairs[at].name) {
                        Some(same) => pairs[at] = same.clone(),
                        None => pairs[at] = lent[from].clone(),
                    }
                });
            }
            Self::Rename(part, at, text) => message.pair(*part, separator, *at, |pair| pair.name = text.bytes().into()),
            Self::Set(part, at, text) => message.pair(*part, separator, *at, |pair| pair.value = text.bytes().into()),
            Self::Lengthen(part, at, text) => {
                message.pair(*part, separator, *at, |pair| pair.value.extend_from_slice(text.bytes()));
            }
            Self::UpperCase(part, at) => message.pair(*part, separator, *at, |pair| pair.value.make_ascii_uppercase()),
            Self::Add(part, name, value) => message.change(*part, separator, |pairs| {
                let joint = pairs.first().and_then(|pair| pair.joint);
                pairs.push(Pair {
                    name: name.bytes().into(),
                    joint,
                    value: value.bytes().into(),
                });
            }),
        }
    }
}

impl Message {
    fn pairs(&self, part: Part, separator: u8) -> Vec<Pair> {
        match part {
            Part::Headers => self.headers.clone(),
            Part::Body => self.body.split(|byte| *byte == separator).map(Pair::read).collect(),
        }
    }

    fn change(&mut self, part: Part, separator: u8, change: impl FnOnce(&mut Vec<Pair>)) {
        let mut pairs = self.pairs(part, separator);
        change(&mut pairs);
        match part {
            Part::Headers => self.headers = pairs,
            Part::Body => {
                self.body.clear();
                for (at, pair) in pairs.iter().enumerate() {
                    if at > 0 {
                        self.body.push(separator);
                    }
                    pair.write(&mut self.body);
                }
            }
        }
    }

    fn pair(&mut self, part: Part, separator: u8, at: u8, change: impl FnOnce(&mut Pair)) {
        self.change(part, separator, |pairs| {
            if let Some(at) = place(at, pairs.len()) {
                change(&mut pairs[at]);
            }
        });
    }
}

fn place(at: impl Into<usize>, length: usize) -> Option<usize> {
    at.into().checked_rem(length)
}
