//! A trade at a company, and the money that goes back: the whole machine, without keys, network or clock.
//!
//! Amounts are fen, times milliseconds since 1970 by the platform's clock.

use serde::{Deserialize, Serialize};

use super::moment::DAY_MS;
use super::switches::Fate;

/// How long after a payment money can go back at either company.
const REFUND_PERIOD_MS: i64 = 365 * DAY_MS;

/// Whose trade it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Company {
    /// Alipay.
    Alipay,
    /// WeChat Pay.
    WechatPay,
}

impl Company {
    /// Its name in the ledger and in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alipay => "alipay",
            Self::WechatPay => "wechat_pay",
        }
    }
}

/// Where the buyer meets the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// Alipay's `page.pay`.
    Page,
    /// Alipay's `wap.pay`, WeChat Pay's `h5`.
    MobilePage,
    /// Alipay's `precreate`, WeChat Pay's `native`.
    QrCode,
    /// WeChat Pay's `jsapi`.
    InApp,
}

/// What a merchant asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) out_trade_no: String,
    pub(super) way: Way,
    pub(super) title: String,
    pub(super) amount_fen: i64,
    pub(super) notify_url: Option<String>,
    pub(super) return_url: Option<String>,
    /// What the merchant wants to read again in notifications.
    pub(super) attach: Option<String>,
    /// WeChat Pay's name for the buyer, where the merchant said it.
    pub(super) openid: Option<String>,
    /// From when on it can not be paid any more.
    pub(super) expires_ms: i64,
}

impl Wish {
    /// Whether a second request means the same trade.
    fn is_like(&self, other: &Wish) -> bool {
        let essence = |wish: &Wish| (wish.way, wish.title.clone(), wish.amount_fen, wish.openid.clone());
        essence(self) == essence(other)
    }
}

/// A trade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trade {
    pub(super) company: Company,
    /// The company's number of it.
    pub(super) trade_no: String,
    /// What its payment page is known by.
    pub(super) token: String,
    pub(super) wish: Wish,
    pub(super) created_ms: i64,
    pub(super) state: State,
    pub(super) refunds: Vec<Refund>,
}

/// What happened to it last, apart from refunds and the passing of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum State {
    /// A code was made that nobody has scanned yet. Its merchant is told that there is no such trade.
    Prepared,
    /// The buyer may pay.
    Waiting,
    /// He did.
    Paid { at_ms: i64 },
    /// The merchant closed it.
    Closed { at_ms: i64 },
}

/// How it stands at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// Not known to its merchant yet.
    Prepared,
    /// To be paid.
    Waiting,
    /// Paid; some of it may have gone back.
    Paid,
    /// Paid, and all of it went back.
    Returned,
    /// Paid so long ago that nothing can go back any more.
    Finished,
    /// Closed, or not paid in time.
    Closed,
}

/// Money that goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refund {
    /// The merchant's number.
    pub(super) refund_no: String,
    /// The company's.
    pub(super) refund_id: String,
    pub(super) amount_fen: i64,
    pub(super) reason: Option<String>,
    pub(super) notify_url: Option<String>,
    pub(super) requested_ms: i64,
    pub(super) outcome: Outcome,
}

/// What became of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It is being processed until then, and then done, or stuck.
    Processing { until_ms: i64, abnormal: bool },
    /// The buyer has the money.
    Succeeded { at_ms: i64 },
    /// It is stuck; a person has to look at it.
    Abnormal { at_ms: i64 },
}

/// A wish for money back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefundWish {
    pub(super) refund_no: String,
    pub(super) refund_id: String,
    pub(super) amount_fen: i64,
    pub(super) reason: Option<String>,
    pub(super) notify_url: Option<String>,
}

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is no such trade")]
    Unknown,
    #[error("the trade is paid")]
    Paid,
    #[error("the trade is closed")]
    Closed,
    #[error("the trade is not paid")]
    NotPaid,
    #[error("the trade is over for good")]
    Finished,
    #[error("nothing would go back")]
    Nothing,
    #[error("more than was paid would go back")]
    TooMuch,
    #[error("the number was used for something else")]
    Different,
    #[error("the seller has not enough money here")]
    NoMoney,
}

impl Trade {
    /// How it stands.
    pub(super) fn standing(&self, now_ms: i64) -> Standing {
        match self.state {
            State::Prepared | State::Waiting if now_ms >= self.wish.expires_ms => {
                // Nobody scanned it: its merchant never hears of it.
                if self.state == State::Prepared {
                    Standing::Prepared
                } else {
                    Standing::Closed
                }
            }
            State::Prepared => Standing::Prepared,
            State::Waiting => Standing::Waiting,
            State::Closed { .. } => Standing::Closed,
            State::Paid { .. } if self.returned_fen() >= self.wish.amount_fen => Standing::Returned,
            State::Paid { at_ms } if now_ms >= at_ms.saturating_add(REFUND_PERIOD_MS) => Standing::Finished,
            State::Paid { .. } => Standing::Paid,
        }
    }

    /// When it was paid.
    pub(super) fn paid_ms(&self) -> Option<i64> {
        match self.state {
            State::Paid { at_ms } => Some(at_ms),
            _ => None,
        }
    }

    /// How much went back for good.
    pub(super) fn returned_fen(&self) -> i64 {
        let done = |refund: &&Refund| matches!(refund.outcome, Outcome::Succeeded { .. });
        self.refunds.iter().filter(done).map(|refund| refund.amount_fen).sum()
    }

    /// How much went back or is on its way.
    pub(super) fn reserved_fen(&self) -> i64 {
        self.refunds.iter().map(|refund| refund.amount_fen).sum()
    }

    /// The refund with this number.
    pub(super) fn refund_named(&self, refund_no: &str) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.refund_no == refund_no)
    }

    /// Whether a request for a trade under the same number means this one and can be answered as the first one was.
    pub(super) fn meets(&self, wish: &Wish, now_ms: i64) -> Result<(), Refusal> {
        match self.standing(now_ms) {
            Standing::Paid | Standing::Returned | Standing::Finished => Err(Refusal::Paid),
            Standing::Closed => Err(Refusal::Closed),
            Standing::Prepared | Standing::Waiting if self.wish.is_like(wish) => Ok(()),
            Standing::Prepared | Standing::Waiting => Err(Refusal::Different),
        }
    }

    /// The buyer opens the page or scans the code.
    pub(super) fn open(&mut self, now_ms: i64) -> Result<(), Refusal> {
        if now_ms >= self.wish.expires_ms && matches!(self.state, State::Prepared | State::Waiting) {
            return Err(Refusal::Closed);
        }
        if self.state == State::Prepared {
            self.state = State::Waiting;
        }
        Ok(())
    }

    /// The buyer pays.
    pub(super) fn pay(&mut self, now_ms: i64) -> Result<(), Refusal> {
        match self.standing(now_ms) {
            Standing::Waiting => {
                self.state = State::Paid { at_ms: now_ms };
                Ok(())
            }
            Standing::Prepared => Err(Refusal::Unknown),
            Standing::Closed => Err(Refusal::Closed),
            Standing::Paid | Standing::Returned | Standing::Finished => Err(Refusal::Paid),
        }
    }

    /// The merchant closes it.
    pub(super) fn close(&mut self, now_ms: i64) -> Result<(), Refusal> {
        match self.standing(now_ms) {
            Standing::Waiting => {
                self.state = State::Closed { at_ms: now_ms };
                Ok(())
            }
            Standing::Prepared => Err(Refusal::Unknown),
            Standing::Closed => Err(Refusal::Closed),
            Standing::Paid | Standing::Returned | Standing::Finished => Err(Refusal::Paid),
        }
    }

    /// Takes a wish for money back. Says whether it is new; under a known number it is the same one. It is processed at
    /// least until `until_ms`.
    pub(super) fn refund(&mut self, wish: RefundWish, fate: Fate, until_ms: i64, now_ms: i64) -> Result<bool, Refusal> {
        if let Some(known) = self.refund_named(&wish.refund_no) {
            return if known.amount_fen == wish.amount_fen {
                Ok(false)
            } else {
                Err(Refusal::Different)
            };
        }
        match self.standing(now_ms) {
            Standing::Prepared => return Err(Refusal::Unknown),
            Standing::Waiting => return Err(Refusal::NotPaid),
            Standing::Closed => return Err(Refusal::Closed),
            Standing::Finished => return Err(Refusal::Finished),
            Standing::Returned => return Err(Refusal::TooMuch),
            Standing::Paid => {}
        }
        if wish.amount_fen <= 0 {
            return Err(Refusal::Nothing);
        }
        if fate == Fate::Refused {
            return Err(Refusal::NoMoney);
        }
        if self.reserved_fen().saturating_add(wish.amount_fen) > self.wish.amount_fen {
            return Err(Refusal::TooMuch);
        }
        self.refunds.push(Refund {
            refund_no: wish.refund_no,
            refund_id: wish.refund_id,
            amount_fen: wish.amount_fen,
            reason: wish.reason,
            notify_url: wish.notify_url,
            requested_ms: now_ms,
            outcome: Outcome::Processing {
                until_ms,
                abnormal: fate == Fate::Abnormal,
            },
        });
        Ok(true)
    }

    /// Ends the refunds that have been processed long enough, and returns them in the order of their requests.
    pub(super) fn settle(&mut self, now_ms: i64) -> Vec<Refund> {
        let mut settled = Vec::new();
        for refund in &mut self.refunds {
            if let Outcome::Processing { until_ms, abnormal } = refund.outcome
                && until_ms <= now_ms
            {
                refund.outcome = if abnormal {
                    Outcome::Abnormal { at_ms: now_ms }
                } else {
                    Outcome::Succeeded { at_ms: now_ms }
                };
                settled.push(refund.clone());
            }
        }
        settled
    }

    /// When the next refund is to be settled.
    pub(super) fn settles_ms(&self) -> Option<i64> {
        let until = |refund: &Refund| match refund.outcome {
            Outcome::Processing { until_ms, .. } => Some(until_ms),
            _ => None,
        };
        self.refunds.iter().filter_map(until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES: i64 = 1_000;

    fn trade(state: State) -> Trade {
        Trade {
            company: Company::Alipay,
            trade_no: "2026".to_owned(),
            token: "token".to_owned(),
            wish: Wish {
                out_trade_no: "order_1".to_owned(),
                way: Way::QrCode,
                title: "Lamp".to_owned(),
                amount_fen: 1_000,
                notify_url: None,
                return_url: None,
                attach: None,
                openid: None,
                expires_ms: EXPIRES,
            },
            created_ms: 0,
            state,
            refunds: Vec::new(),
        }
    }

    fn back(refund_no: &str, amount_fen: i64) -> RefundWish {
        RefundWish {
            refund_no: refund_no.to_owned(),
            refund_id: "r".to_owned(),
            amount_fen,
            reason: None,
            notify_url: None,
        }
    }

    fn returned(amount_fen: i64) -> Trade {
        let mut trade = trade(State::Paid { at_ms: 10 });
        trade.refund(back("all", amount_fen), Fate::Done, 20, 20).unwrap();
        trade.settle(20);
        trade
    }

    /// Every standing with every verb. A new standing breaks this until someone decides.
    #[test]
    fn what_can_be_done_depends_on_how_the_trade_stands() {
        let late = 10 + REFUND_PERIOD_MS;
        let cases = [
            (trade(State::Prepared), 50, Standing::Prepared),
            (trade(State::Prepared), EXPIRES, Standing::Prepared),
            (trade(State::Waiting), 50, Standing::Waiting),
            (trade(State::Waiting), EXPIRES, Standing::Closed),
            (trade(State::Closed { at_ms: 20 }), 50, Standing::Closed),
            (trade(State::Paid { at_ms: 10 }), 50, Standing::Paid),
            (trade(State::Paid { at_ms: 10 }), late, Standing::Finished),
            (returned(400), 50, Standing::Paid),
            (returned(1_000), 50, Standing::Returned),
        ];
        for (trade, now, standing) in cases {
            assert_eq!(trade.standing(now), standing);
            let (pay, close, refund) = match standing {
                Standing::Prepared => (Err(Refusal::Unknown), Err(Refusal::Unknown), Err(Refusal::Unknown)),
                Standing::Waiting => (Ok(()), Ok(()), Err(Refusal::NotPaid)),
                Standing::Closed => (Err(Refusal::Closed), Err(Refusal::Closed), Err(Refusal::Closed)),
                Standing::Paid => (Err(Refusal::Paid), Err(Refusal::Paid), Ok(true)),
                Standing::Returned => (Err(Refusal::Paid), Err(Refusal::Paid), Err(Refusal::TooMuch)),
                Standing::Finished => (Err(Refusal::Paid), Err(Refusal::Paid), Err(Refusal::Finished)),
            };
            assert_eq!(trade.clone().pay(now), pay, "{standing:?}");
            assert_eq!(trade.clone().close(now), close, "{standing:?}");
            assert_eq!(
                trade.clone().refund(back("new", 1), Fate::Done, now, now),
                refund,
                "{standing:?}"
            );
        }
    }

    #[test]
    fn a_code_can_be_opened_until_it_runs_out() {
        let mut prepared = trade(State::Prepared);
        assert_eq!(prepared.clone().open(EXPIRES), Err(Refusal::Closed));
        prepared.open(EXPIRES - 1).unwrap();
        assert_eq!(prepared.standing(EXPIRES - 1), Standing::Waiting);
        assert_eq!(prepared.standing(EXPIRES), Standing::Closed);
    }

    #[test]
    fn refunds_never_exceed_what_was_paid_even_while_they_are_processed() {
        let mut trade = trade(State::Paid { at_ms: 10 });
        assert_eq!(trade.refund(back("1", 600), Fate::Slow, 500, 20), Ok(true));
        assert_eq!(trade.refund(back("2", 401), Fate::Done, 20, 20), Err(Refusal::TooMuch));
        assert_eq!(trade.refund(back("2", 400), Fate::Done, 20, 20), Ok(true));
        assert_eq!(
            trade.refund(back("1", 600), Fate::Done, 20, 20),
            Ok(false),
            "the same one again"
        );
        assert_eq!(
            trade.refund(back("1", 500), Fate::Done, 20, 20),
            Err(Refusal::Different)
        );
        assert_eq!(trade.settles_ms(), Some(20));
        assert_eq!(trade.settle(20).len(), 1);
        assert_eq!((trade.returned_fen(), trade.reserved_fen()), (400, 1_000));
        assert_eq!(trade.settles_ms(), Some(500));
        trade.settle(500);
        assert_eq!((trade.standing(500), trade.settles_ms()), (Standing::Returned, None));
    }

    #[test]
    fn a_refund_can_be_refused_or_get_stuck() {
        let mut trade = trade(State::Paid { at_ms: 10 });
        assert_eq!(
            trade.refund(back("1", 100), Fate::Refused, 20, 20),
            Err(Refusal::NoMoney)
        );
        assert_eq!(trade.refund(back("1", 100), Fate::Abnormal, 20, 20), Ok(true));
        assert_eq!(
            trade.settle(30).first().unwrap().outcome,
            Outcome::Abnormal { at_ms: 30 }
        );
        assert_eq!(trade.returned_fen(), 0);
    }

    #[test]
    fn a_number_means_one_trade() {
        let waiting = trade(State::Waiting);
        let mut other = waiting.wish.clone();
        assert_eq!(waiting.meets(&other, 50), Ok(()));
        other.amount_fen = 999;
        assert_eq!(waiting.meets(&other, 50), Err(Refusal::Different));
        assert_eq!(waiting.meets(&waiting.wish, EXPIRES), Err(Refusal::Closed));
        assert_eq!(returned(400).meets(&waiting.wish, 50), Err(Refusal::Paid));
    }
}
