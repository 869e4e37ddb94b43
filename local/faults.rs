//! The one place that every AWS call and every HTTP call between functions passes, before and after it is carried out.
//!
//! Nothing is broken on purpose yet: every call proceeds. Switches that kill, delay, drop or repeat belong here and
//! nowhere else.

/// A call that is about to be made, or was made.
#[derive(Debug, Clone)]
pub struct CallSite {
    /// Logical id of the calling function.
    pub function: String,
    /// `dynamodb:PutItem`, `http:POST /api/...`.
    pub target: String,
    /// ARN, table or route that is called.
    pub resource: String,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out, or its answer delivered, as if nobody watched.
    Proceed,
}

/// The faults of one platform. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults {}

impl Faults {
    /// Asked before a call is carried out.
    #[expect(clippy::unused_async, reason = "a delay is one of the faults that belong here")]
    pub async fn before(&self, _site: &CallSite) -> Verdict {
        Verdict::Proceed
    }

    /// Asked when a call was carried out and its answer is about to be delivered.
    #[expect(clippy::unused_async, reason = "a delay is one of the faults that belong here")]
    pub async fn after(&self, _site: &CallSite, _status: u16) -> Verdict {
        Verdict::Proceed
    }
}
