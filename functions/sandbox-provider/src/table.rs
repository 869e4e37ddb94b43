//! The table of trades: the only file that knows its attribute names.

use cloud::{Cloud, StartError};
use kernel::{Money, Timestamp};
use serde::{Deserialize, Serialize};
use tables::{Key, Query, Table, TableError, due_shard, due_shards};

use crate::error::SandboxError;
use crate::order::{Order, TradeNumber};
use crate::trade::{Owed, Refund, Status, Trade};

#[derive(Debug, Serialize, Deserialize)]
struct TradeRecord {
    out_trade_no: String,
    trade_no: String,
    merchant: String,
    #[serde(with = "kernel::money::fen")]
    amount: Money,
    subject: String,
    method: String,
    expires_at: Timestamp,
    notify_url: String,
    return_url: String,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paid_at: Option<Timestamp>,
    #[serde(default)]
    refunds: Vec<Refund>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notifications: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    version: u64,
}

impl From<&Trade> for TradeRecord {
    fn from(trade: &Trade) -> Self {
        let order = trade.order.clone();
        let number = order.out_trade_no.as_str();
        Self {
            out_trade_no: number.to_owned(),
            due_shard: trade.owed.map(|_| due_shard(kernel::derived_uuid("trade", &[number]))),
            trade_no: trade.trade_no.clone(),
            merchant: order.merchant,
            amount: order.amount,
            subject: order.subject,
            method: order.method,
            expires_at: order.expires_at,
            notify_url: order.notify_url,
            return_url: order.return_url,
            status: trade.status,
            paid_at: trade.paid_at,
            refunds: trade.refunds.clone(),
            notifications: trade.owed.map(|owed| owed.attempts),
            due_at: trade.owed.map(|owed| owed.due_at),
            version: trade.version,
        }
    }
}

impl TryFrom<TradeRecord> for Trade {
    type Error = TableError;

    fn try_from(record: TradeRecord) -> Result<Self, TableError> {
        let corrupt = |what: &str| TableError::Corrupt {
            table: "sandbox trades".into(),
            reason: format!("the trade {} has no usable {what}", record.trade_no),
        };
        let owed = match (record.notifications, record.due_at) {
            (Some(attempts), Some(due_at)) => Some(Owed { attempts, due_at }),
            (None, None) => None,
            _ => return Err(corrupt("notification")),
        };
        if (record.status == Status::Paid) != record.paid_at.is_some() {
            return Err(corrupt("paid_at"));
        }
        Ok(Self {
            order: Order {
                out_trade_no: record.out_trade_no.parse().map_err(|_| corrupt("out_trade_no"))?,
                merchant: record.merchant,
                amount: record.amount,
                subject: record.subject,
                method: record.method,
                expires_at: record.expires_at,
                notify_url: record.notify_url,
                return_url: record.return_url,
            },
            trade_no: record.trade_no,
            status: record.status,
            paid_at: record.paid_at,
            refunds: record.refunds,
            owed,
            version: record.version,
        })
    }
}

/// Reads and changes trades.
#[derive(Debug, Clone)]
pub struct Trades {
    table: Table,
}

/// How often a change is decided anew when others keep changing the same trade.
const ATTEMPTS: usize = 8;
/// Trades of one shard that one run takes on; the rest waits for the next run, a minute later.
const DUE_AT_ONCE: i32 = 100;

fn key(number: &str) -> Key {
    Key::of("out_trade_no", number)
}

impl Trades {
    /// Reads `SANDBOX_TRADES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            table: Table::from_env(cloud, "SANDBOX_TRADES_TABLE")?,
        })
    }

    /// The trade as it is now, if there is one.
    ///
    /// # Errors
    /// [`SandboxError::Table`].
    pub async fn find(&self, number: &TradeNumber) -> Result<Option<Trade>, SandboxError> {
        let record: Option<TradeRecord> = self.table.find(&key(number.as_str())).await?;
        Ok(record.map(Trade::try_from).transpose()?)
    }

    /// The trade of an order; it comes into being here.
    ///
    /// # Errors
    /// [`SandboxError::Table`].
    pub async fn find_or_open(&self, order: &Order) -> Result<Trade, SandboxError> {
        let number = &order.out_trade_no;
        if let Some(trade) = self.find(number).await? {
            return Ok(trade);
        }
        let opened = Trade::opened(order.clone(), format!("SB{}", uuid::Uuid::new_v4().simple()));
        match self
            .table
            .insert(&key(number.as_str()), TradeRecord::from(&opened))
            .await
        {
            Ok(()) => Ok(opened),
            Err(TableError::ConditionFailed) => self.find(number).await?.ok_or(SandboxError::ChangedMeanwhile),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds the trade, lets `decide` say what becomes of it, and stores that if nobody changed it meanwhile; otherwise
    /// it is read and decided anew. `None`: there is no such trade. `decide` returning `None` changes nothing.
    ///
    /// # Errors
    /// Those of `decide`, [`SandboxError::ChangedMeanwhile`], [`SandboxError::Table`].
    pub async fn change(
        &self,
        number: &TradeNumber,
        decide: impl Fn(&Trade) -> Result<Option<Trade>, SandboxError>,
    ) -> Result<Option<Trade>, SandboxError> {
        for _ in 0..ATTEMPTS {
            let Some(trade) = self.find(number).await? else {
                return Ok(None);
            };
            let Some(next) = decide(&trade)? else {
                return Ok(Some(trade));
            };
            match self.table.replace(TradeRecord::from(&next), trade.version).await {
                Ok(()) => return Ok(Some(next)),
                Err(TableError::ConditionFailed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SandboxError::ChangedMeanwhile)
    }

    /// Trades whose notification is due at `now`.
    ///
    /// # Errors
    /// [`SandboxError::Table`].
    pub async fn due(&self, now: Timestamp) -> Result<Vec<TradeNumber>, SandboxError> {
        #[derive(Deserialize)]
        struct Due {
            out_trade_no: String,
        }
        let shards = due_shards().map(|shard| {
            self.table.query::<Due>(
                Query::partition(Some("due"), "due_shard", shard)
                    .up_to("due_at", now.millis())
                    .limit(DUE_AT_ONCE),
            )
        });
        let due = futures::future::try_join_all(shards).await?;
        Ok(due
            .into_iter()
            .flatten()
            .filter_map(|due| due.out_trade_no.parse().ok())
            .collect())
    }
}
