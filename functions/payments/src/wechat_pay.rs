//! skeleton
use async_trait::async_trait;
use cloud::{Cloud, StartError};
use http_function::{HeaderMap, StatusCode};
use kernel::Timestamp;

use crate::payment::Payment;
use crate::provider::*;
use crate::refund::Refund;

/// skeleton
pub struct WechatPay {}

impl WechatPay {
    /// skeleton
    pub async fn from_env(_cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {})
    }
}

#[async_trait]
impl Provider for WechatPay {
    fn name(&self) -> ProviderName {
        ProviderName::WechatPay
    }
    fn channels(&self) -> &[Channel] {
        &[Channel::QrCode]
    }
    fn ready_offer(&self, _payment: &Payment) -> Option<Offer> {
        None
    }
    async fn create(&self, _payment: &Payment, _payer: &Payer) -> Making {
        Making::Unknown(Silence("skeleton".into()))
    }
    async fn query(&self, _payment: &Payment) -> Queried {
        Queried::NotFound
    }
    async fn close(&self, _payment: &Payment) -> Closing {
        Closing::NotFound
    }
    async fn refund(&self, _refund: &Refund) -> Refunding {
        Refunding::NotFound
    }
    async fn query_refund(&self, _refund: &Refund) -> Refunding {
        Refunding::NotFound
    }
    fn parse_callback(&self, _headers: &HeaderMap, _body: &[u8], _now: Timestamp) -> Result<News, CallbackError> {
        Err(CallbackError::NotGenuine("skeleton"))
    }
    fn ack(&self, _handled: Handled) -> Acknowledgement {
        Acknowledgement {
            status: StatusCode::OK,
            content_type: "text/plain",
            text: "",
        }
    }
}
