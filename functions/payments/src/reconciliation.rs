//! Our books of a day against a provider's statement of it. Pure: nothing is read here.
//!
//! A payment's day is the same on both sides, because ours is by the provider's word. Of a refund we know when it was asked
//! for and when we heard that it was done; the provider's day lies between, so a refund is only missing where none of the
//! statements of that time has it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use kernel::{Money, OrderId, PaymentId, RefundId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::payment::Payment;
use crate::provider::{Receipt, refund_number, trade_number};
use crate::refund::{Refund, RefundStatus};
use crate::statement::{Day, Movement, StatementLine};
use crate::status::Status;

/// How far two clocks may be apart, and the providers' own records of one moment.
const CLOCKS: Duration = Duration::from_secs(5 * 60);
/// How many days before a day are searched for its refunds. Who waited longer is shown as missing, with both dates.
const DAYS_BEFORE: usize = 3;

/// What our books say of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurPayment {
    /// The payment.
    pub id: PaymentId,
    /// What it pays.
    pub order: OrderId,
    /// How much was asked for.
    pub asked: Money,
    /// The money that came, if any did.
    pub receipt: Option<Receipt>,
    /// Where it stands.
    pub status: Status,
}

/// What our books say of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurRefund {
    /// The refund.
    pub id: RefundId,
    /// What it is taken from.
    pub payment: PaymentId,
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub status: RefundStatus,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When we heard that the buyer has it, if he has.
    pub settled_at: Option<Timestamp>,
}

impl From<&Payment> for OurPayment {
    fn from(payment: &Payment) -> Self {
        Self {
            id: payment.id,
            order: payment.order,
            asked: payment.amount,
            receipt: payment.receipt().cloned(),
            status: payment.status(),
        }
    }
}

impl From<&Refund> for OurRefund {
    fn from(refund: &Refund) -> Self {
        Self {
            id: refund.id,
            payment: refund.payment,
            amount: refund.amount,
            status: refund.status,
            requested_at: refund.created_at,
            settled_at: refund.settled_at(),
        }
    }
}

/// Payments and refunds of ours: those of a day, and whatever else was looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    /// The payments.
    pub payments: Vec<OurPayment>,
    /// The refunds.
    pub refunds: Vec<OurRefund>,
}

/// Payments and refunds by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The payments.
    pub payments: Vec<PaymentId>,
    /// The refunds.
    pub refunds: Vec<RefundId>,
}

impl Books {
    /// The days besides `day` on which the provider may have what these books have on it.
    #[must_use]
    pub fn other_days(&self, day: Day) -> BTreeSet<Day> {
        let paid = self.payments.iter().filter_map(OurPayment::paid_at).map(|at| (at, at));
        let settled = self.refunds.iter();
        let settled = settled.filter_map(|refund| Some((refund.requested_at, refund.settled_at?)));
        let earliest = (0..DAYS_BEFORE).fold(day, |day, _| day.before());
        let mut days = BTreeSet::new();
        for (from, to) in paid.chain(settled) {
            let last = Day::of(to.plus(CLOCKS)).min(day.after());
            let mut next = Day::of(from.minus(CLOCKS)).max(earliest);
            while next <= last {
                days.insert(next);
                next = next.after();
            }
        }
        days.remove(&day);
        days
    }

    /// What `lines` name by numbers that could be ours and these books do not have.
    #[must_use]
    pub fn lack(&self, lines: &[StatementLine]) -> Named {
        let payments: HashSet<PaymentId> = self.payments.iter().map(|payment| payment.id).collect();
        let refunds: HashSet<RefundId> = self.refunds.iter().map(|refund| refund.id).collect();
        let (mut lacked_payments, mut lacked_refunds) = (BTreeSet::new(), BTreeSet::new());
        for line in lines {
            let refund = line.refund_number().and_then(refund_named);
            if refund.is_some_and(|refund| refunds.contains(&refund)) {
                continue;
            }
            lacked_refunds.extend(refund);
            lacked_payments.extend(payment_named(&line.out_trade_no).filter(|payment| !payments.contains(payment)));
        }
        Named {
            payments: lacked_payments.into_iter().collect(),
            refunds: lacked_refunds.into_iter().collect(),
        }
    }

    /// These books with what was looked up.
    #[must_use]
    pub fn with(mut self, more: Books) -> Self {
        self.payments.extend(more.payments);
        self.refunds.extend(more.refunds);
        self
    }
}

impl OurPayment {
    /// When the money came, by the provider's word.
    #[must_use]
    pub fn paid_at(&self) -> Option<Timestamp> {
        self.receipt.as_ref().map(|receipt| receipt.paid_at)
    }
}

impl StatementLine {
    /// The merchant's number of the refund, where it is one.
    #[must_use]
    pub fn refund_number(&self) -> Option<&str> {
        match &self.movement {
            Movement::Payment => None,
            Movement::Refund { number, .. } => Some(number),
        }
    }
}

/// The payment whose trade has this number. Ours are written in one way.
fn payment_named(number: &str) -> Option<PaymentId> {
    number.parse().ok().filter(|payment| trade_number(*payment) == number)
}

fn refund_named(number: &str) -> Option<RefundId> {
    number.parse().ok().filter(|refund| refund_number(*refund) == number)
}

/// How two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = DifferenceKind)]
pub enum Kind {
    /// The provider has money of a trade for which none came by our books.
    MissingHere,
    /// By our books money came, and the provider does not have it.
    MissingAtProvider,
    /// Both have it, with different amounts.
    AmountDiffers,
    /// Both have it, on different days.
    PaidOnAnotherDay,
    /// Money came that is not what was asked for; a person decides.
    HeldForAPerson,
    /// The provider gave money back, and our books do not say so.
    RefundMissingHere,
    /// By our books money went back, and the provider does not say so.
    RefundMissingAtProvider,
    /// Both gave money back, with different amounts.
    RefundAmountDiffers,
}

impl Kind {
    /// The word that clients know.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::MissingHere => "missing-here",
            Self::MissingAtProvider => "missing-at-provider",
            Self::AmountDiffers => "amount-differs",
            Self::PaidOnAnotherDay => "paid-on-another-day",
            Self::HeldForAPerson => "held-for-a-person",
            Self::RefundMissingHere => "refund-missing-here",
            Self::RefundMissingAtProvider => "refund-missing-at-provider",
            Self::RefundAmountDiffers => "refund-amount-differs",
        }
    }
}

/// One difference, with what each side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How they differ.
    pub kind: Kind,
    /// Our payment, if it is of one.
    pub payment: Option<OurPayment>,
    /// Our refund, if it is of one.
    pub refund: Option<OurRefund>,
    /// The provider's line, if it has one.
    pub line: Option<StatementLine>,
}

/// What our books have of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OurSide {
    /// The exact word of the payment's or the refund's status.
    pub status: &'static str,
    /// What came, or goes back; none where no money came.
    pub amount: Option<Money>,
    /// What was asked for, of a payment.
    pub asked: Option<Money>,
    /// When it was paid; of a refund, when it was settled or else asked for.
    pub at: Option<Timestamp>,
}

/// How many, and how much together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// In fen. Together they may be more than [`Money`] holds.
    pub fen: i64,
}

/// What one side has on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Money that came.
    pub payments: Sum,
    /// Money that went back.
    pub refunds: Sum,
}

/// The comparison of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which day.
    pub day: Day,
    /// By our books. A refund counts to the day on which the provider has it.
    pub ours: Totals,
    /// By the provider's statement.
    pub theirs: Totals,
    /// What is not the same, by kind and number.
    pub differences: Vec<Difference>,
}

impl Sum {
    fn add(&mut self, amount: Money) {
        self.count += 1;
        self.fen = self.fen.saturating_add(amount.fen());
    }
}

impl Difference {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            payment: None,
            refund: None,
            line: None,
        }
    }

    fn at(self, line: &StatementLine) -> Self {
        Self {
            line: Some(line.clone()),
            ..self
        }
    }

    fn with_payment(self, payment: Option<&OurPayment>) -> Self {
        Self {
            payment: payment.cloned(),
            ..self
        }
    }

    fn with_refund(self, refund: Option<&OurRefund>) -> Self {
        Self {
            refund: refund.cloned(),
            ..self
        }
    }

    /// Our payment, also of a refund of which nothing else is known.
    #[must_use]
    pub fn payment_id(&self) -> Option<PaymentId> {
        let of_payment = self.payment.as_ref().map(|payment| payment.id);
        of_payment.or_else(|| self.refund.as_ref().map(|refund| refund.payment))
    }

    /// What our books have. Of a refund that is not ours they have nothing, though its payment is known.
    #[must_use]
    pub fn ours(&self) -> Option<OurSide> {
        match (&self.refund, &self.payment) {
            (Some(refund), _) => Some(OurSide {
                status: refund.status.word(),
                amount: Some(refund.amount),
                asked: None,
                at: Some(refund.settled_at.unwrap_or(refund.requested_at)),
            }),
            (None, Some(payment)) if self.refund_no().is_none() => Some(OurSide {
                status: payment.status.word(),
                amount: payment.receipt.as_ref().map(|receipt| receipt.amount),
                asked: Some(payment.asked),
                at: payment.paid_at(),
            }),
            (None, _) => None,
        }
    }

    /// The provider's number of the trade.
    #[must_use]
    pub fn trade_no(&self) -> Option<&str> {
        let of_line = self.line.as_ref().map(|line| line.trade_no.as_str());
        of_line.or_else(|| Some(self.payment.as_ref()?.receipt.as_ref()?.trade_no.as_str()))
    }

    /// The merchant's number of the trade, ours or somebody else's.
    #[must_use]
    pub fn out_trade_no(&self) -> String {
        match &self.line {
            Some(line) => line.out_trade_no.clone(),
            None => self.payment_id().map(trade_number).unwrap_or_default(),
        }
    }

    /// The merchant's number of the refund, where it is about one.
    #[must_use]
    pub fn refund_no(&self) -> Option<String> {
        let of_line = self.line.as_ref().and_then(StatementLine::refund_number);
        of_line
            .map(str::to_owned)
            .or_else(|| self.refund.as_ref().map(|refund| refund_number(refund.id)))
    }
}

/// Differences that an answer lists. More of them have one cause, and would be larger than an answer may be.
const MOST_LISTED: usize = 5_000;

impl Report {
    /// The differences that are listed: all but those beyond the first 5000.
    #[must_use]
    pub fn listed(&self) -> &[Difference] {
        self.differences.get(..MOST_LISTED).unwrap_or(&self.differences)
    }

    /// Compares `books`, which have at least what is ours on `day` and what [`Books::lack`] named, with the statement of that
    /// day, and with the lines of the other days that [`Books::other_days`] named.
    #[must_use]
    pub fn of(day: Day, books: &Books, lines: &[StatementLine], other_days: &[StatementLine]) -> Self {
        let mut report = Self {
            day,
            ours: Totals::default(),
            theirs: Totals::default(),
            differences: Vec::new(),
        };
        report.compare_payments(books, lines, other_days);
        report.compare_refunds(books, lines, other_days);
        let order = |of: &Difference| (of.kind, of.out_trade_no(), of.refund_no());
        report.differences.sort_by_cached_key(order);
        report
    }

    fn compare_payments(&mut self, books: &Books, lines: &[StatementLine], other_days: &[StatementLine]) {
        let ours: HashMap<PaymentId, &OurPayment> =
            books.payments.iter().map(|payment| (payment.id, payment)).collect();
        let mut stated = HashSet::new();
        for line in lines.iter().filter(|line| line.movement == Movement::Payment) {
            self.theirs.payments.add(line.amount);
            let payment = payment_named(&line.out_trade_no).and_then(|id| ours.get(&id).copied());
            // A trade is paid once: a second line of it is money that we do not know.
            let came = payment.and_then(|payment| Some((payment, payment.receipt.as_ref()?)));
            let Some((payment, receipt)) = came.filter(|(payment, _)| stated.insert(payment.id)) else {
                let missing = Difference::of(Kind::MissingHere).with_payment(payment);
                self.differences.push(missing.at(line));
                continue;
            };
            self.compare_payment(payment, receipt, line);
            if Day::of(receipt.paid_at) != self.day {
                self.note(Kind::PaidOnAnotherDay, payment, Some(line));
            }
        }
        let elsewhere: HashMap<&str, &StatementLine> = other_days
            .iter()
            .filter(|line| line.movement == Movement::Payment)
            .map(|line| (line.out_trade_no.as_str(), line))
            .collect();
        for payment in ours.values() {
            let Some(receipt) = &payment.receipt else { continue };
            let is_of_the_day = Day::of(receipt.paid_at) == self.day;
            if is_of_the_day {
                self.ours.payments.add(receipt.amount);
            }
            let is_stated = stated.contains(&payment.id);
            let line = elsewhere.get(trade_number(payment.id).as_str()).copied();
            match line {
                _ if is_stated || !is_of_the_day => {}
                Some(line) => {
                    self.compare_payment(payment, receipt, line);
                    self.note(Kind::PaidOnAnotherDay, payment, Some(line));
                }
                None => self.note(Kind::MissingAtProvider, payment, None),
            }
            if payment.status == Status::Mismatch && is_of_the_day {
                let lines = lines.iter().chain(line);
                let mut of_payment = lines.filter(|line| line.movement == Movement::Payment);
                let number = trade_number(payment.id);
                let line = of_payment.find(|line| line.out_trade_no == number);
                self.note(Kind::HeldForAPerson, payment, line);
            }
        }
    }

    fn compare_payment(&mut self, payment: &OurPayment, receipt: &Receipt, line: &StatementLine) {
        if receipt.amount != line.amount {
            self.note(Kind::AmountDiffers, payment, Some(line));
        }
    }

    fn note(&mut self, kind: Kind, payment: &OurPayment, line: Option<&StatementLine>) {
        let difference = Difference::of(kind).with_payment(Some(payment));
        self.differences.push(match line {
            Some(line) => difference.at(line),
            None => difference,
        });
    }

    fn compare_refunds(&mut self, books: &Books, lines: &[StatementLine], other_days: &[StatementLine]) {
        let payments: HashMap<PaymentId, &OurPayment> =
            books.payments.iter().map(|payment| (payment.id, payment)).collect();
        let ours: HashMap<RefundId, &OurRefund> = books.refunds.iter().map(|refund| (refund.id, refund)).collect();
        let mut stated = HashSet::new();
        for line in lines {
            let Movement::Refund { number, is_done } = &line.movement else {
                continue;
            };
            self.theirs.refunds.add(line.amount);
            let named = refund_named(number).and_then(|id| ours.get(&id).copied());
            let refund = named.filter(|refund| trade_number(refund.payment) == line.out_trade_no);
            // What is on its way there may be on its way here.
            let is_known = |refund: &OurRefund| refund.settled_at.is_some() || (!is_done && refund.status.is_open());
            let known = refund.filter(|refund| is_known(refund));
            let Some(refund) = known.filter(|refund| stated.insert(refund.id)) else {
                let payment = payment_named(&line.out_trade_no).and_then(|id| payments.get(&id).copied());
                let missing = Difference::of(Kind::RefundMissingHere);
                self.differences
                    .push(missing.with_payment(payment).with_refund(refund).at(line));
                continue;
            };
            self.ours.refunds.add(refund.amount);
            if refund.amount != line.amount {
                let differs = Difference::of(Kind::RefundAmountDiffers);
                self.differences.push(differs.with_refund(Some(refund)).at(line));
            }
        }
        let elsewhere: HashSet<&str> = other_days.iter().filter_map(StatementLine::refund_number).collect();
        for refund in ours.values() {
            let is_of_the_day = refund.settled_at.is_some_and(|at| Day::of(at) == self.day);
            let is_stated = stated.contains(&refund.id) || elsewhere.contains(refund_number(refund.id).as_str());
            if is_of_the_day && !is_stated {
                self.ours.refunds.add(refund.amount);
                let missing = Difference::of(Kind::RefundMissingAtProvider);
                self.differences.push(missing.with_refund(Some(refund)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::provider::CURRENCY;

    fn day() -> Day {
        "2026-01-31".parse().unwrap()
    }

    fn money(fen: i64) -> Money {
        Money::from_fen(fen).unwrap()
    }

    fn after(minutes: u64) -> Timestamp {
        day().start().plus(Duration::from_secs(minutes * 60))
    }

    fn payment(fen: i64, paid_at: Timestamp) -> (OurPayment, StatementLine) {
        let id = PaymentId::random();
        let receipt = Receipt {
            trade_no: "T".into(),
            amount: money(fen),
            currency: CURRENCY.into(),
            paid_at,
        };
        let ours = OurPayment {
            id,
            order: OrderId::random(),
            asked: money(fen),
            receipt: Some(receipt),
            status: Status::Paid,
        };
        let line = StatementLine {
            out_trade_no: trade_number(id),
            trade_no: "T".into(),
            movement: Movement::Payment,
            amount: money(fen),
            at: paid_at,
        };
        (ours, line)
    }

    fn refund(fen: i64, requested_at: Timestamp, settled_at: Timestamp) -> (OurRefund, StatementLine) {
        let (id, payment) = (RefundId::random(), PaymentId::random());
        let ours = OurRefund {
            id,
            payment,
            amount: money(fen),
            status: RefundStatus::Succeeded,
            requested_at,
            settled_at: Some(settled_at),
        };
        let line = StatementLine {
            out_trade_no: trade_number(payment),
            trade_no: "T".into(),
            movement: Movement::Refund {
                number: refund_number(id),
                is_done: true,
            },
            amount: money(fen),
            at: requested_at,
        };
        (ours, line)
    }

    fn kinds(report: &Report) -> Vec<(Kind, String)> {
        let kinds = report.differences.iter();
        kinds
            .map(|difference| (difference.kind, difference.out_trade_no()))
            .collect()
    }

    fn only_refund(refund: OurRefund) -> Books {
        Books {
            refunds: vec![refund],
            ..Books::default()
        }
    }

    #[test]
    fn a_refund_around_midnight_is_missing_on_neither_day() {
        // Asked for a minute before midnight, known a minute after it.
        let (ours, line) = refund(500, after(0).minus(Duration::from_secs(60)), after(1));
        let books = only_refund(ours.clone());
        assert_eq!(books.other_days(day()), BTreeSet::from([day().before()]));
        let of_its_day = Report::of(day(), &books, &[], std::slice::from_ref(&line));
        assert_eq!((of_its_day.differences.len(), of_its_day.ours), (0, Totals::default()));
        // On the provider's day it is found by its number.
        assert_eq!(Books::default().lack(std::slice::from_ref(&line)).refunds, [ours.id]);
        let of_theirs = Report::of(day().before(), &books, &[line], &[]);
        assert_eq!(of_theirs.differences, []);
        assert_eq!(of_theirs.ours, of_theirs.theirs);
        assert_eq!(of_theirs.ours.refunds, Sum { count: 1, fen: 500 });
    }

    #[test]
    fn other_days_are_looked_at_only_where_something_may_be_there() {
        let noon = after(12 * 60);
        let books = only_refund(refund(1, noon, noon.plus(Duration::from_secs(600))).0);
        assert_eq!(books.other_days(day()), BTreeSet::new());
        let slow = only_refund(refund(1, noon.minus(Duration::from_secs(9 * 86_400)), noon).0);
        assert_eq!(slow.other_days(day()).len(), DAYS_BEFORE);
        let last = day().end().minus(Duration::from_secs(1));
        let books = Books {
            payments: vec![payment(1, last).0],
            ..Books::default()
        };
        assert_eq!(books.other_days(day()), BTreeSet::from([day().after()]));
    }

    #[test]
    fn a_refund_on_its_way_is_no_difference_until_it_is_done_there() {
        let (mut ours, mut line) = refund(500, after(60), after(61));
        (ours.status, ours.settled_at) = (RefundStatus::Processing, None);
        let kinds_of = |ours: &OurRefund, line: &StatementLine| {
            let report = Report::of(day(), &only_refund(ours.clone()), std::slice::from_ref(line), &[]);
            report
                .differences
                .iter()
                .map(|difference| difference.kind)
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds_of(&ours, &line), [Kind::RefundMissingHere]);
        line.movement = Movement::Refund {
            number: refund_number(ours.id),
            is_done: false,
        };
        assert_eq!(kinds_of(&ours, &line), []);
        ours.status = RefundStatus::NeedsHuman;
        assert_eq!(kinds_of(&ours, &line), [Kind::RefundMissingHere]);
    }

    #[test]
    fn a_number_of_somebody_elses_is_looked_up_nowhere() {
        let (_, mut line) = payment(1, after(1));
        for number in [
            "",
            "x",
            "order_1",
            "01931b66-3e1c-4d7e-9d53-0d2f4a3b8c11",
            "01931B663E1C4D7E9D530D2F4A3B8C11",
        ] {
            line.out_trade_no = number.into();
            assert_eq!(
                Books::default().lack(std::slice::from_ref(&line)),
                Named::default(),
                "{number}"
            );
            let report = Report::of(day(), &Books::default(), std::slice::from_ref(&line), &[]);
            assert_eq!(kinds(&report), [(Kind::MissingHere, number.to_owned())]);
            assert_eq!(report.differences[0].payment_id(), None);
        }
    }

    #[test]
    fn one_line_twice_is_money_that_we_do_not_know() {
        let (ours, line) = payment(1, after(1));
        let books = Books {
            payments: vec![ours],
            ..Books::default()
        };
        let report = Report::of(day(), &books, &[line.clone(), line.clone()], &[]);
        assert_eq!(kinds(&report), [(Kind::MissingHere, line.out_trade_no)]);
    }

    /// What is done to one pair.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Injury {
        None,
        NotHere,
        NotThere,
        OtherAmount,
        AnotherDayThere,
        AnotherDayHere,
        Held,
        NotPaidHere,
    }

    fn injuries() -> impl Strategy<Value = Vec<(bool, Injury, i64, u64)>> {
        let injury = prop_oneof![
            3 => Just(Injury::None),
            1 => Just(Injury::NotHere),
            1 => Just(Injury::NotThere),
            1 => Just(Injury::OtherAmount),
            1 => Just(Injury::AnotherDayThere),
            1 => Just(Injury::AnotherDayHere),
            1 => Just(Injury::Held),
            1 => Just(Injury::NotPaidHere),
        ];
        prop::collection::vec((any::<bool>(), injury, 1..1_000_000_i64, 0..24 * 60_u64), 0..40)
    }

    proptest! {
        /// Books that agree, and differences that are put into them: exactly these are found.
        #[test]
        fn the_differences_that_were_made_are_found_and_no_others(injuries in injuries()) {
            use Injury::*;
            let (mut books, mut lines, mut others) = (Books::default(), Vec::new(), Vec::new());
            let mut expected = Vec::new();
            for (is_payment, injury, fen, minute) in injuries {
                let another = after(minute).minus(Duration::from_secs(86_400));
                if is_payment {
                    let (mut ours, mut line) = payment(fen, after(minute));
                    let found = match injury {
                        None => vec![],
                        NotHere => vec![Kind::MissingHere],
                        NotThere => vec![Kind::MissingAtProvider],
                        OtherAmount => { line.amount = money(fen + 1); vec![Kind::AmountDiffers] }
                        AnotherDayThere => vec![Kind::PaidOnAnotherDay],
                        AnotherDayHere => {
                            ours.receipt.as_mut().unwrap().paid_at = another;
                            vec![Kind::PaidOnAnotherDay]
                        }
                        Held => { ours.status = Status::Mismatch; vec![Kind::HeldForAPerson] }
                        NotPaidHere => {
                            (ours.receipt, ours.status) = (Option::None, Status::Expired);
                            vec![Kind::MissingHere]
                        }
                    };
                    expected.extend(found.into_iter().map(|kind| (kind, line.out_trade_no.clone())));
                    if injury != NotHere { books.payments.push(ours) }
                    match injury {
                        NotThere => {}
                        AnotherDayThere => { line.at = another; others.push(line) }
                        _ => lines.push(line),
                    }
                } else {
                    let (mut ours, mut line) = refund(fen, another, after(minute));
                    let found = match injury {
                        None | AnotherDayThere | AnotherDayHere => vec![],
                        NotHere | NotPaidHere | Held => vec![Kind::RefundMissingHere],
                        NotThere => vec![Kind::RefundMissingAtProvider],
                        OtherAmount => { line.amount = money(fen + 1); vec![Kind::RefundAmountDiffers] }
                    };
                    match injury {
                        AnotherDayHere => ours.settled_at = Some(day().end()),
                        NotPaidHere => (ours.status, ours.settled_at) = (RefundStatus::Processing, Option::None),
                        // Another payment's: a number that is used twice.
                        Held => line.out_trade_no = trade_number(PaymentId::random()),
                        _ => {}
                    }
                    expected.extend(found.into_iter().map(|kind| (kind, line.out_trade_no.clone())));
                    if injury == Held {
                        expected.push((Kind::RefundMissingAtProvider, trade_number(ours.payment)));
                    }
                    if injury != NotHere { books.refunds.push(ours) }
                    match injury {
                        NotThere => {}
                        AnotherDayThere => others.push(line),
                        _ => lines.push(line),
                    }
                }
            }
            let report = Report::of(day(), &books, &lines, &others);
            expected.sort();
            prop_assert_eq!(kinds(&report), expected);
            let agrees = report.differences.is_empty();
            prop_assert!(!agrees || report.ours == report.theirs, "without a difference the sums are the same");
        }
    }
}
