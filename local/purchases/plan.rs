//! What the people of a run want, and what goes wrong at their providers: all of it from one number.
//!
//! Wishes and faults are drawn apart, so that a run without faults has the same customers with the same wishes. Each
//! purchase draws for itself: the first hundred of a thousand are those of a run of a hundred.

use std::fmt;

use fastrand::Rng;

use crate::Providers;
use crate::simulator::{Fate, Operation, Spoiling, Switches};

/// Keeps the draws of wishes and faults apart.
const FAULTS: u64 = 0x6661_756c_7473;
/// Minutes in which the purchases of a run begin, at this many a minute.
const BEGINNINGS_A_MINUTE: u32 = 40;
/// Minutes that an order waits for its money.
const TIME_TO_PAY: u32 = 30;

/// What becomes of a purchase by its people's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// Pays, and confirms that the goods came.
    Completes,
    /// Pays, and is never heard of again.
    CompletesByTime,
    /// The buyer calls it off before he starts to pay.
    CancelledUnpaid,
    /// The buyer calls it off when the payment page is open.
    CancelledWhilePaying,
    /// The buyer pays, and calls it off at once.
    CancelledByBuyer,
    /// The seller calls off what is paid.
    CancelledBySeller,
    /// Nobody starts to pay.
    Expires,
    /// The payment page is opened and left.
    ExpiresWhilePaying,
    /// Pays on the page of an order that he called off.
    PaysAfterCancelling,
    /// Pays on the page of an order that has expired.
    PaysAfterExpiry,
    /// Pays as the time runs out.
    PaysAtTheLastMoment,
    /// Starts to pay in one way, and pays in another one.
    ChangesHisMind,
    /// The same, and then also pays in the first way.
    PaysTwice,
    /// The same, the first way first.
    PaysTheOldOneFirst,
    /// Gets a part back, and keeps the goods.
    PartBack,
    /// Gets a part back, and then the rest.
    PartAndRestBack,
    /// Gets all of it back.
    AllBack,
}

impl Flow {
    /// Every one.
    pub const ALL: [Self; 17] = [
        Self::Completes,
        Self::CompletesByTime,
        Self::CancelledUnpaid,
        Self::CancelledWhilePaying,
        Self::CancelledByBuyer,
        Self::CancelledBySeller,
        Self::Expires,
        Self::ExpiresWhilePaying,
        Self::PaysAfterCancelling,
        Self::PaysAfterExpiry,
        Self::PaysAtTheLastMoment,
        Self::ChangesHisMind,
        Self::PaysTwice,
        Self::PaysTheOldOneFirst,
        Self::PartBack,
        Self::PartAndRestBack,
        Self::AllBack,
    ];

    /// What two runs with the same wishes have in common.
    #[must_use]
    pub fn certainty(self) -> Certainty {
        match self {
            Self::PaysAtTheLastMoment => Certainty::Nothing,
            // Whether a page that should be closed can still be paid depends on what the provider knew of it.
            Self::CancelledWhilePaying | Self::PaysAfterCancelling | Self::PaysAfterExpiry => Certainty::Ending,
            Self::ChangesHisMind | Self::PaysTwice | Self::PaysTheOldOneFirst => Certainty::Ending,
            _ => Certainty::Everything,
        }
    }
}

/// What two runs with the same wishes have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// Status, and every sum.
    Everything,
    /// Status, and where the money is in the end; more may have come and gone back.
    Ending,
    /// Only that the books are right: it is a race.
    Nothing,
}

/// Where a buyer meets a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// `alipay` or `wechat_pay`.
    pub method: &'static str,
    /// The channel.
    pub channel: &'static str,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.channel)
    }
}

/// Every way there is.
pub(super) const WAYS: [Way; 6] = [
    Way {
        method: "alipay",
        channel: "page",
    },
    Way {
        method: "alipay",
        channel: "mobile_page",
    },
    Way {
        method: "alipay",
        channel: "qr_code",
    },
    Way {
        method: "wechat_pay",
        channel: "qr_code",
    },
    Way {
        method: "wechat_pay",
        channel: "in_app",
    },
    Way {
        method: "wechat_pay",
        channel: "mobile_page",
    },
];

/// Which of a purchase's two ways to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// The first.
    First,
    /// The other.
    Second,
}

/// One thing that somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The seller puts the goods up, and the buyer orders them.
    Order,
    /// The buyer starts to pay.
    Open(Which),
    /// He pays.
    Pay(Which),
    /// He calls it off.
    CancelAsBuyer,
    /// The seller does, once it is paid.
    CancelAsSeller,
    /// The goods came.
    Complete,
    /// Asks so much back; all that is left when nothing is said.
    AskBack(Option<i64>),
}

/// A purchase as its people want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its number in the run.
    pub number: u32,
    /// What becomes of it.
    pub flow: Flow,
    /// How it is to be paid.
    pub first: Way,
    /// How it is paid after a change of mind.
    pub second: Way,
    /// What a piece costs.
    pub price_fen: i64,
    /// Pieces that are ordered.
    pub quantity: i64,
    /// Pieces that the seller has.
    pub stock: i64,
    /// Whether the buyer's browser comes back from the provider.
    pub returns: bool,
    /// What is done in which minute of the run.
    pub acts: Vec<(u32, Act)>,
}

impl Wish {
    /// The purchase `number` of the run `seed`.
    #[must_use]
    pub fn draw(seed: u64, number: u32) -> Wish {
        let mut rng = rng(seed, number);
        let flow = rng.choice(Flow::ALL).unwrap_or(Flow::Completes);
        let first = rng.choice(WAYS).unwrap_or(WAYS[0]);
        let others = WAYS.into_iter().filter(|way| *way != first);
        let second = rng.choice(others.collect::<Vec<_>>()).unwrap_or(first);
        let price_fen = rng.i64(100..30_000);
        let quantity = rng.i64(1..=3);
        let stock = quantity + rng.i64(0..=2);
        let part = rng.i64(1..price_fen * quantity);
        let returns = rng.bool();
        let start = number / BEGINNINGS_A_MINUTE + rng.u32(0..3);
        let open = start + rng.u32(0..=1);
        let pay = open + rng.u32(0..=6);
        let then = pay + rng.u32(0..=15);
        let late = start + TIME_TO_PAY + rng.u32(2..30);
        let mut acts = vec![(start, Act::Order)];
        acts.extend(match flow {
            Flow::Completes => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Pay(Which::First)),
                (then, Act::Complete),
            ],
            Flow::CompletesByTime => vec![(open, Act::Open(Which::First)), (pay, Act::Pay(Which::First))],
            Flow::CancelledUnpaid => vec![(open, Act::CancelAsBuyer)],
            Flow::CancelledWhilePaying => vec![(open, Act::Open(Which::First)), (pay, Act::CancelAsBuyer)],
            Flow::CancelledByBuyer => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Pay(Which::First)),
                (pay, Act::CancelAsBuyer),
            ],
            Flow::CancelledBySeller => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Pay(Which::First)),
                (then, Act::CancelAsSeller),
            ],
            Flow::Expires => vec![],
            Flow::ExpiresWhilePaying => vec![(open, Act::Open(Which::First))],
            Flow::PaysAfterCancelling => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::CancelAsBuyer),
                (pay + 1, Act::Pay(Which::First)),
            ],
            Flow::PaysAfterExpiry => vec![(open, Act::Open(Which::First)), (late, Act::Pay(Which::First))],
            Flow::PaysAtTheLastMoment => vec![
                (open, Act::Open(Which::First)),
                (start + TIME_TO_PAY - 1, Act::Pay(Which::First)),
            ],
            Flow::ChangesHisMind => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Open(Which::Second)),
                (pay + 1, Act::Pay(Which::Second)),
                (then + 1, Act::Complete),
            ],
            Flow::PaysTwice => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Open(Which::Second)),
                (pay + 1, Act::Pay(Which::Second)),
                (pay + 1, Act::Pay(Which::First)),
                (then + 1, Act::Complete),
            ],
            Flow::PaysTheOldOneFirst => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Open(Which::Second)),
                (pay + 1, Act::Pay(Which::First)),
                (pay + 2, Act::Pay(Which::Second)),
                (then + 2, Act::Complete),
            ],
            Flow::PartBack => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Pay(Which::First)),
                (pay + 1, Act::AskBack(Some(part))),
                (then + 1, Act::Complete),
            ],
            Flow::PartAndRestBack => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Pay(Which::First)),
                (pay + 1, Act::AskBack(Some(part))),
                (then + 1, Act::AskBack(None)),
            ],
            Flow::AllBack => vec![
                (open, Act::Open(Which::First)),
                (pay, Act::Pay(Which::First)),
                (pay + 1, Act::AskBack(None)),
            ],
        });
        Wish {
            number,
            flow,
            first,
            second,
            price_fen,
            quantity,
            stock,
            returns,
            acts,
        }
    }

    /// The way that is meant.
    #[must_use]
    pub fn way(&self, which: Which) -> Way {
        match which {
            Which::First => self.first,
            Which::Second => self.second,
        }
    }

    /// What it costs.
    #[must_use]
    pub fn total_fen(&self) -> i64 {
        self.price_fen * self.quantity
    }
}

/// What goes wrong with the trades of a purchase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// In words, for tables.
    pub kinds: Vec<String>,
    /// At the simulated providers.
    pub switches: Switches,
    /// Whether a person has to be called: what is notified does not match, or a refund is not made.
    pub needs_a_person: bool,
}

impl Trouble {
    /// What goes wrong with the purchase `number` of the run `seed`. Nothing does at the sandbox, which has no switches.
    #[must_use]
    pub fn draw(seed: u64, number: u32, total_fen: i64, providers: Providers) -> Trouble {
        let mut trouble = Trouble::default();
        if providers == Providers::Sandbox {
            return trouble;
        }
        let mut rng = rng(seed ^ FAULTS, number);
        // One in ten has no trouble; most have one kind, the others several.
        let (notices, answers, refunds) = match rng.u32(0..10) {
            0 => (false, false, false),
            1..4 => (true, false, false),
            4..6 => (false, true, false),
            6 => (false, false, true),
            7 => (true, true, false),
            8 => (true, true, true),
            _ => (true, false, true),
        };
        if notices {
            trouble.spoil_notices(&mut rng, total_fen);
        }
        if answers {
            trouble.spoil_answers(&mut rng);
        }
        if refunds {
            trouble.spoil_refunds(&mut rng);
        }
        trouble
    }

    fn add(&mut self, kind: impl Into<String>) {
        self.kinds.push(kind.into());
    }

    fn spoil_notices(&mut self, rng: &mut Rng, total_fen: i64) {
        let switches = &mut self.switches;
        let kind = match rng.u32(0..14) {
            0 => {
                switches.late_ms = rng.u32(60_000..600_000);
                "late"
            }
            1 => {
                switches.late_ms = rng.u32(2_400_000..90_000_000);
                "very late"
            }
            2 => {
                switches.copies = rng.u8(1..=3);
                "duplicate"
            }
            3 => {
                switches.reordered = true;
                "reordered"
            }
            4 => {
                switches.after_refund = true;
                "after the refund"
            }
            5 => {
                switches.lost = true;
                "lost"
            }
            6 => {
                switches.forged = true;
                "forged"
            }
            7 => {
                switches.sign_test = true;
                "SIGNTEST"
            }
            8 => {
                switches.unknown_serial = true;
                "unknown serial"
            }
            9 => {
                switches.stale_timestamp = true;
                "an hour old"
            }
            10 => {
                // Sometimes a fen less, sometimes more than was asked for.
                let difference = if rng.bool() { -1 } else { rng.i64(1..500) };
                switches.wrong_amount_fen = Some(total_fen + difference);
                "wrong amount"
            }
            11 => {
                switches.wrong_app = true;
                "wrong app"
            }
            12 => {
                switches.wrong_merchant = true;
                "wrong merchant"
            }
            _ => {
                switches.partial_refund_notification = false;
                switches.copies = 1;
                switches.late_ms = rng.u32(1_000..60_000);
                "late duplicate"
            }
        };
        self.needs_a_person |= switches.wrong_amount_fen.is_some() || switches.wrong_app || switches.wrong_merchant;
        self.add(kind);
    }

    fn spoil_answers(&mut self, rng: &mut Rng) {
        if rng.u32(0..6) == 0 {
            self.switches.unsigned_refusals = true;
            self.add("unsigned refusals");
            return;
        }
        let operations = [
            (Operation::Create, "create"),
            (Operation::Query, "query"),
            (Operation::Close, "close"),
            (Operation::Refund, "refund"),
            (Operation::QueryRefund, "refund query"),
        ];
        let spoilings = [
            (Spoiling::Lost, "lost"),
            (Spoiling::Hanging, "hanging"),
            (Spoiling::ServerError, "5xx"),
            (Spoiling::Unsigned, "unsigned"),
            (Spoiling::WronglySigned, "wrongly signed"),
            (Spoiling::SignTest, "SIGNTEST"),
        ];
        let (operation, of) = rng.choice(operations).unwrap_or((Operation::Create, "create"));
        let (spoiling, kind) = rng.choice(spoilings).unwrap_or((Spoiling::Lost, "lost"));
        self.switches.answer = spoiling;
        self.switches.answer_to = Some(operation);
        self.switches.answer_times = Some(rng.u32(1..=3));
        // Longer than the functions wait, and no longer than a run can.
        self.switches.hang_ms = 2_500;
        self.add(format!("{kind} answer to {of}"));
    }

    fn spoil_refunds(&mut self, rng: &mut Rng) {
        let (fate, kind) = match rng.u32(0..4) {
            0 => (Fate::Refused, "refund refused"),
            1 => (Fate::Abnormal, "refund abnormal"),
            _ => (Fate::Slow, "refund slow"),
        };
        self.switches.refund = fate;
        self.switches.refund_ms = rng.u32(60_000..7_200_000);
        self.needs_a_person |= fate != Fate::Slow;
        self.add(kind);
    }
}

fn rng(seed: u64, number: u32) -> Rng {
    // Neighbouring numbers are to have nothing in common.
    let mut numbers = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number));
    Rng::with_seed(numbers.u64(..))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_wishes_the_same_and_has_the_same_trouble() {
        for number in 0..50 {
            assert_eq!(Wish::draw(7, number), Wish::draw(7, number));
            let trouble = || Trouble::draw(7, number, 1_990, Providers::Simulated);
            assert_eq!(trouble(), trouble());
        }
        assert_ne!(Wish::draw(7, 1), Wish::draw(8, 1));
    }

    #[test]
    fn a_long_run_has_everything_in_it() {
        let wishes: Vec<Wish> = (0..2_000).map(|number| Wish::draw(1, number)).collect();
        let flows: BTreeSet<Flow> = wishes.iter().map(|wish| wish.flow).collect();
        let ways: BTreeSet<Way> = wishes.iter().map(|wish| wish.first).collect();
        assert_eq!((flows.len(), ways.len()), (Flow::ALL.len(), WAYS.len()));
        let kinds: BTreeSet<String> = wishes
            .iter()
            .flat_map(|wish| Trouble::draw(1, wish.number, wish.total_fen(), Providers::Simulated).kinds)
            .collect();
        assert_eq!(kinds.len(), 14 + 1 + 30 + 3, "{kinds:?}");
    }

    #[test]
    fn everything_is_done_in_its_order() {
        for number in 0..500 {
            let wish = Wish::draw(3, number);
            let minutes: Vec<u32> = wish.acts.iter().map(|(minute, _)| *minute).collect();
            assert!(minutes.is_sorted(), "{wish:?}");
        }
    }
}
