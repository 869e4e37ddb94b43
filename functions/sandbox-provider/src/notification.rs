//! Telling the merchant what became of a trade.

use std::time::Duration;

use bytes::Bytes;
use cloud::{Cloud, StartError};
use http::header::CONTENT_TYPE;
use http_function::{Method, StatusCode};
use kernel::Clock;
use service_client::{Connection, Header};

use crate::error::SandboxError;
use crate::merchant;
use crate::signature::{SIGNATURE, Signatures, TIMESTAMP};
use crate::table::Trades;
use crate::trade::Trade;

/// The merchant gets this long to answer.
const LIMIT: Duration = Duration::from_millis(3_000);
/// The only text that confirms.
const CONFIRMED: &[u8] = b"success";

/// Sends notifications and keeps account of them.
#[derive(Debug)]
pub struct Notifier {
    connection: Connection,
    clock: Clock,
}

impl Notifier {
    /// A notifier.
    ///
    /// # Errors
    /// None; like its siblings.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            connection: Connection::new(cloud),
            clock: cloud.clock().clone(),
        })
    }

    /// Sends the notification that `trade` owes, once, and notes whether the merchant confirmed it.
    ///
    /// # Errors
    /// [`SandboxError::Table`]: it stays owed.
    pub async fn notify(&self, trades: &Trades, signatures: &Signatures, trade: &Trade) -> Result<(), SandboxError> {
        let confirmed = self.send(signatures, trade).await;
        let noted = trades.change(&trade.order.out_trade_no, |trade| {
            Ok(trade.notified(confirmed, self.clock.now()))
        });
        if let Some(trade) = noted.await?
            && !confirmed
            && trade.owed.is_none()
        {
            tracing::error!(trade = trade.trade_no, "the merchant never confirmed; it has to ask");
        }
        Ok(())
    }

    async fn send(&self, signatures: &Signatures, trade: &Trade) -> bool {
        let body = merchant::report(trade).to_string();
        let timestamp = self.clock.now().millis().to_string();
        let signature = signatures.sign_notification(&timestamp, &body);
        let headers: [Header; 3] = [
            (CONTENT_TYPE, "application/json".to_owned()),
            (http::HeaderName::from_static(TIMESTAMP), timestamp),
            (http::HeaderName::from_static(SIGNATURE), signature),
        ];
        let url = &trade.order.notify_url;
        match self
            .connection
            .send(Method::POST, url, &headers, Bytes::from(body), LIMIT)
            .await
        {
            Ok(answer) if answer.status == StatusCode::OK && answer.body.as_ref() == CONFIRMED => true,
            Ok(answer) => {
                tracing::warn!(
                    trade = trade.trade_no,
                    status = answer.status.as_u16(),
                    "a notification was not confirmed"
                );
                false
            }
            Err(error) => {
                tracing::warn!(trade = trade.trade_no, cause = %error, "a notification did not arrive");
                false
            }
        }
    }
}
