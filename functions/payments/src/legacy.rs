//! The older system, as a provider: it took the payments that were imported, and takes nothing any more.
//!
//! It has no interface. What has to go back of its payments, a person gives back where the money was taken, so a refund is
//! refused with these words, and waits for that person with an alarm, as any other refund that a provider refuses.

use async_trait::async_trait;
use http_function::{HeaderMap, StatusCode};
use kernel::Timestamp;

use crate::payment::Payment;
use crate::provider::{
    Acknowledgement, CallbackError, Channel, Closing, Handled, Making, News, Offer, Payer, Provider, ProviderName,
    Queried, Refunding, Silence,
};
use crate::refund::Refund;
use crate::statement::{Day, Stated};

/// Why a refund of an imported payment waits for a person.
pub const BY_HAND: &str = "taken by the older system: a person gives it back there";

/// The older system.
#[derive(Debug, Clone, Copy)]
pub struct Legacy;

#[async_trait]
impl Provider for Legacy {
    fn name(&self) -> ProviderName {
        ProviderName::Legacy
    }

    fn channels(&self) -> &[Channel] {
        &[]
    }

    fn offers_last(&self, _: Channel) -> bool {
        true
    }

    fn ready_offer(&self, _: &Payment) -> Option<Offer> {
        None
    }

    async fn create(&self, _: &Payment, _: &Payer) -> Making {
        Making::Rejected("the older system takes no payments".to_owned())
    }

    async fn query(&self, _: &Payment) -> Queried {
        Queried::NotFound
    }

    async fn close(&self, _: &Payment) -> Closing {
        Closing::Closed
    }

    async fn refund(&self, _: &Refund) -> Refunding {
        Refunding::Rejected(BY_HAND.to_owned())
    }

    async fn query_refund(&self, _: &Refund) -> Refunding {
        Refunding::NotFound
    }

    async fn statement(&self, _: Day) -> Stated {
        Stated::Unknown(Silence("the older system makes no statements".to_owned()))
    }

    fn parse_callback(&self, _: &HeaderMap, _: &[u8], _: Timestamp) -> Result<News, CallbackError> {
        Err(CallbackError::NotGenuine("the older system does not call back"))
    }

    fn ack(&self, _: Handled) -> Acknowledgement {
        Acknowledgement {
            status: StatusCode::BAD_REQUEST,
            content_type: "text/plain",
            text: "fail",
        }
    }
}
