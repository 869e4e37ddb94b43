//! What can be made to go wrong, for all trades or for one.

use serde::{Deserialize, Serialize};

/// What goes otherwise than usual. In JSON every member may be left out; what is left out goes as usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Milliseconds by which notifications leave later, by the platform's clock.
    pub late_ms: u32,
    /// Copies of a notification that arrive at the same moment as its first try.
    pub copies: u8,
    /// The notification of the payment leaves after the next one of its trade, or after an hour where there is none.
    pub reordered: bool,
    /// The notification of the payment leaves once money went back.
    pub after_refund: bool,
    /// Notifications are never sent.
    pub lost: bool,
    /// Notifications are signed with a stranger's key.
    pub forged: bool,
    /// Before a notification comes a probe whose signature begins with `WECHATPAY/SIGNTEST/`. WeChat Pay only.
    pub sign_test: bool,
    /// Notifications name a key that nobody knows. WeChat Pay only.
    pub unknown_serial: bool,
    /// Notifications bear the time of an hour ago. WeChat Pay only: Alipay's have no time that is checked.
    pub stale_timestamp: bool,
    /// Notifications state this total, in fen.
    pub wrong_amount_fen: Option<i64>,
    /// Notifications state another app.
    pub wrong_app: bool,
    /// Notifications state another merchant.
    pub wrong_merchant: bool,
    /// Whether a refund of a part is notified of.
    pub partial_refund_notification: bool,
    /// Which key WeChat Pay signs with when the caller does not say which one he knows.
    pub signed_by: SignedBy,
    /// Whether refusals bear no signature, where they otherwise would. WeChat Pay only.
    pub unsigned_refusals: bool,
    /// What happens to answers.
    pub answer: Spoiling,
    /// Which calls' answers; all of them when left out.
    pub answer_to: Option<Operation>,
    /// How many answers; all of them when left out.
    pub answer_times: Option<u32>,
    /// How long an answer hangs, in milliseconds of real time.
    pub hang_ms: u32,
    /// What becomes of refunds.
    pub refund: Fate,
    /// How long a slow refund is being processed, in milliseconds by the platform's clock.
    pub refund_ms: u32,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            late_ms: 0,
            copies: 0,
            reordered: false,
            after_refund: false,
            lost: false,
            forged: false,
            sign_test: false,
            unknown_serial: false,
            stale_timestamp: false,
            wrong_amount_fen: None,
            wrong_app: false,
            wrong_merchant: false,
            partial_refund_notification: true,
            signed_by: SignedBy::default(),
            unsigned_refusals: false,
            answer: Spoiling::default(),
            answer_to: None,
            answer_times: None,
            // Longer than any caller should wait.
            hang_ms: 60_000,
            refund: Fate::default(),
            refund_ms: 600_000,
        }
    }
}

/// One of WeChat Pay's two ways to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedBy {
    /// Now one, now the other.
    #[default]
    Alternating,
    /// The key named `PUB_KEY_ID_...`.
    PublicKey,
    /// The platform certificate.
    Certificate,
}

/// What happens to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spoiling {
    /// It arrives.
    #[default]
    None,
    /// The work is done, and the connection breaks.
    Lost,
    /// The work is done, and the answer comes too late.
    Hanging,
    /// Nothing is done, and the answer is a server's error.
    ServerError,
    /// The work is done, and the answer bears no signature.
    Unsigned,
    /// The work is done, and the answer is signed by a stranger.
    WronglySigned,
    /// The work is done, and the signature is a deliberate probe. WeChat Pay only; at Alipay it is a stranger's.
    SignTest,
}

/// What a merchant calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Making a trade.
    Create,
    /// Asking about a trade.
    Query,
    /// Closing a trade.
    Close,
    /// Giving money back.
    Refund,
    /// Asking about a refund.
    QueryRefund,
    /// Fetching a statement.
    Statement,
}

/// What becomes of a refund that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is done: at once at Alipay, a moment after the answer at WeChat Pay.
    #[default]
    Done,
    /// It is processed for a while.
    Slow,
    /// It is refused: the seller has not enough money there.
    Refused,
    /// It gets stuck and needs a person. WeChat Pay only; Alipay refuses it.
    Abnormal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_goes_as_usual_and_what_is_misspelt_is_refused() {
        let switches: Switches = serde_json::from_str(r#"{"copies": 2, "answer": "lost"}"#).unwrap();
        assert_eq!(
            switches,
            Switches {
                copies: 2,
                answer: Spoiling::Lost,
                ..Switches::default()
            }
        );
        assert!(serde_json::from_str::<Switches>(r#"{"copy": 2}"#).is_err());
    }
}
