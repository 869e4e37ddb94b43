//! DynamoDB: an embedded store in a SQLite file, with its tables, streams and expiry.
//!
//! The store's own server listens on a private port and answers the calls; the platform checks and records them on
//! their way there. Streams are read in the process.
//!
//! The store numbers the records of a stream by looking for the greatest number so far. Without an index that takes
//! longer with every record, so one is created, and consumed records are trimmed. The newest record of a table always
//! stays: its number is where the next one comes from.

pub mod access;
pub mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dynoxide::storage_backend::{Clock, SystemClock};
use dynoxide::{Database, DynoxideError};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use self::tables::{TableError, request};
use super::storage::Durability;
use crate::clock::PlatformClock;
use crate::template::model::Table;

const STREAM_INDEX: &str = "CREATE INDEX IF NOT EXISTS _stream_records_by_number
    ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";

/// What the store adds to the numbers of its file before it shows them.
const SHOWN_NUMBERS_FROM: u128 = 100_000_000_000_000_000_000;

/// Most records that one read of a stream brings.
pub const MOST_RECORDS: usize = 1000;
/// How the targets of the Streams API begin.
pub const STREAMS_API: &str = "DynamoDBStreams_";

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A table could not be brought to its definition.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The store refused or failed.
    #[error("the store failed: {0}")]
    Store(#[from] DynoxideError),
    /// Its file could not be used.
    #[error("the store's file failed: {0}")]
    File(#[from] rusqlite::Error),
    /// Its server could not be started or reached.
    #[error("the store's server failed: {0}")]
    Server(String),
}

/// The tables. Clones share them.
#[derive(Clone)]
pub struct Store {
    database: Database,
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    shared: Arc<Shared>,
}

struct Shared {
    file: PathBuf,
    /// A connection of our own to the same file, for what the store's interface does not offer.
    beside: Mutex<Connection>,
    writes: BTreeMap<String, watch::Sender<u64>>,
    /// ARNs of the streams by table.
    streams: BTreeMap<String, String>,
    expiring: BTreeSet<String>,
    clock: PlatformClock,
    _stop: oneshot::Sender<()>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("file", &self.shared.file)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `file`, brings its tables to their definitions and serves it.
    pub fn open(
        file: &Path,
        durability: Durability,
        tables: &BTreeMap<String, Table>,
        clock: PlatformClock,
    ) -> Result<Self, StoreError> {
        let path = file
            .to_str()
            .ok_or_else(|| StoreError::Server(format!("{} is not UTF-8", file.display())))?;
        let database = Database::new(path)?;
        // These two are the store's only way to say how hard it writes: the first never waits for the disk, the
        // second waits as seldom as a file that survives the end of the process allows.
        match durability {
            Durability::Forgotten => database.enable_bulk_loading()?,
            Durability::Kept => database.disable_bulk_loading()?,
        }
        for table in tables.values() {
            tables::apply(&database, table)?;
        }

        let beside = Connection::open(file)?;
        beside.busy_timeout(Duration::from_secs(5))?;
        beside.pragma_update(None, "synchronous", "OFF")?;
        beside.execute_batch(STREAM_INDEX)?;

        let (stop, stopped) = oneshot::channel();
        let address = serve(database.clone(), stopped)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let expiring = tables.values().filter(|table| table.ttl_attribute.is_some());
        Ok(Self {
            database,
            address,
            client: Client::builder(TokioExecutor::new()).build(connector),
            shared: Arc::new(Shared {
                file: file.to_owned(),
                beside: Mutex::new(beside),
                writes: tables
                    .values()
                    .map(|table| (table.name.clone(), watch::Sender::new(0)))
                    .collect(),
                streams: tables
                    .values()
                    .filter_map(|table| Some((table.name.clone(), table.stream_arn.clone()?)))
                    .collect(),
                expiring: expiring.map(|table| table.name.clone()).collect(),
                clock,
                _stop: stop,
            }),
        })
    }

    /// Passes a call on to the store as it came.
    pub async fn call(&self, headers: &HeaderMap, body: Bytes) -> Result<(StatusCode, Bytes), StoreError> {
        let failed = |error: String| StoreError::Server(error);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/", self.address));
        for name in [
            CONTENT_TYPE.as_str(),
            AUTHORIZATION.as_str(),
            "x-amz-target",
            "x-amz-date",
        ] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| failed(error.to_string()))?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    /// Tells the readers of the tables' streams that there may be something new.
    pub fn announce(&self, tables: &BTreeSet<String>) {
        for writes in tables.iter().filter_map(|table| self.shared.writes.get(table)) {
            writes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Grows with every announced write.
    pub fn activity(&self) -> u64 {
        self.shared
            .writes
            .values()
            .fold(0, |sum: u64, writes| sum.wrapping_add(*writes.borrow()))
    }

    /// Changes whenever the table was written to.
    pub fn writes(&self, table: &str) -> Option<watch::Receiver<u64>> {
        Some(self.shared.writes.get(table)?.subscribe())
    }

    /// Records of the table's stream after a position, oldest first, as Lambda shows them.
    pub async fn records(
        &self,
        table: &str,
        stream_arn: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<Value>, StoreError> {
        let iterator = json!({
            "StreamArn": stream_arn,
            "ShardId": shard(table),
            "ShardIteratorType": if after.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" },
            "SequenceNumber": after,
        });
        let database = self.database.clone();
        let records = in_background(move || {
            let iterator = database.get_shard_iterator(request(iterator).map_err(StoreError::Server)?)?;
            let read = json!({"ShardIterator": iterator.shard_iterator, "Limit": most});
            Ok(database
                .get_records(request(read).map_err(StoreError::Server)?)?
                .records)
        })
        .await?;
        let records = records.into_iter();
        Ok(records
            .filter_map(|record| self.shown(serde_json::to_value(record).ok()?, stream_arn))
            .collect())
    }

    /// ARN of the stream that a request of the Streams API is about.
    pub fn stream_of(&self, request: &Value) -> Option<String> {
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        if let Some(stream) = text("StreamArn") {
            return Some(stream.to_owned());
        }
        let iterator = text("ShardIterator")?;
        let (table, ..) = dynoxide::actions::get_shard_iterator::decode_shard_iterator(iterator)?;
        self.shared.streams.get(&table).cloned()
    }

    /// An answer of the Streams API with the platform's time: the store stamps records with the machine's.
    pub fn records_shown(&self, answer: Bytes, stream: &str) -> Bytes {
        let Ok(mut shown) = serde_json::from_slice::<Value>(&answer) else {
            return answer;
        };
        let Some(records) = shown.get_mut("Records").and_then(Value::as_array_mut) else {
            return answer;
        };
        let taken = std::mem::take(records).into_iter();
        *records = taken.filter_map(|record| self.shown(record, stream)).collect();
        Bytes::from(shown.to_string())
    }

    /// A record with the platform's time and the stream it comes from.
    fn shown(&self, mut record: Value, stream: &str) -> Option<Value> {
        // The store stamps records with the machine's time, and expiries with the platform's.
        let moved_s = if record.get("userIdentity").is_some() {
            0
        } else {
            self.moved_seconds()
        };
        let created = record.pointer_mut("/dynamodb/ApproximateCreationDateTime")?;
        *created = json!(seconds_of(created).saturating_add(moved_s));
        record["awsRegion"] = json!("us-east-1");
        record["eventSourceARN"] = json!(stream);
        Some(record)
    }

    /// How many records the table's stream holds after a position.
    pub fn count_records(&self, table: &str, after: Option<&str>) -> Result<u64, StoreError> {
        let beside = self.shared.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let count = beside
            .prepare_cached(
                "SELECT COUNT(*) FROM _stream_records
                 WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) > ?2",
            )?
            .query_row(params![table, after.map_or(0, number_in_file)], |row| row.get(0))?;
        Ok(count)
    }

    /// Deletes the records of the table's stream up to a position, except for the newest one.
    pub async fn trim(&self, table: &str, through: &str) -> Result<usize, StoreError> {
        let (shared, table, through) = (Arc::clone(&self.shared), table.to_owned(), number_in_file(through));
        in_background(move || {
            let beside = shared.beside.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(beside.execute(
                "DELETE FROM _stream_records
                 WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) <= ?2
                   AND CAST(sequence_number AS INTEGER) <
                       (SELECT MAX(CAST(sequence_number AS INTEGER)) FROM _stream_records WHERE table_name = ?1)",
                params![table, through],
            )?)
        })
        .await
    }

    /// Deletes the items whose time to live has passed by the platform's clock.
    pub async fn expire(&self) -> Result<usize, StoreError> {
        if self.shared.expiring.is_empty() {
            return Ok(0);
        }
        let shared = Arc::clone(&self.shared);
        let expired = in_background(move || {
            let path = shared.file.to_string_lossy();
            let clock = Arc::new(ExpiryClock(shared.clock.clone()));
            let storage = dynoxide::storage::Storage::new(&path)?.with_clock(clock);
            Ok(futures::executor::block_on(dynoxide::ttl::sweep_expired_items(
                &storage,
            ))?)
        })
        .await?;
        if expired > 0 {
            self.announce(&self.shared.expiring);
        }
        Ok(expired)
    }

    fn moved_seconds(&self) -> i64 {
        let machine = i64::try_from(SystemClock.now_unix_secs()).unwrap_or(i64::MAX);
        self.shared.clock.now_ms().div_euclid(1000).saturating_sub(machine)
    }
}

/// The store's server on a thread of its own: it has one connection and blocks on it.
fn serve(database: Database, stopped: oneshot::Receiver<()>) -> Result<SocketAddr, StoreError> {
    let failed = |error: std::io::Error| StoreError::Server(error.to_string());
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                let server = dynoxide::server::serve_with_shutdown(listener, database, async {
                    // Resolves when the store is dropped; nothing is ever sent.
                    let _ = stopped.await;
                });
                if let Err(error) = server.await {
                    tracing::error!(error, "the store's server ended");
                }
            });
        })
        .map_err(failed)?;
    Ok(address)
}

/// Name of the one shard that a table's stream has.
pub fn shard(table: &str) -> String {
    dynoxide::streams::shard_id(table)
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError::Server(error.to_string())))
}

fn number_in_file(shown: &str) -> i64 {
    let number = shown.parse::<u128>().unwrap_or(0).saturating_sub(SHOWN_NUMBERS_FROM);
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whole seconds of a JSON number that the store writes as a float.
fn seconds_of(number: &Value) -> i64 {
    let text = number.to_string();
    text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0)
}

/// The platform's clock as the store's expiry wants it.
struct ExpiryClock(PlatformClock);

impl Clock for ExpiryClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.0.now_ms().div_euclid(1000)).unwrap_or(0)
    }

    fn now_unix_secs_f64(&self) -> f64 {
        Duration::from_secs(self.now_unix_secs()).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        store: Store,
        folder: tempfile::TempDir,
    }

    fn tables() -> BTreeMap<String, Table> {
        let table = Table {
            logical_id: "OrdersTable".to_owned(),
            name: "orders".to_owned(),
            arn: access::table_arn("orders"),
            stream_arn: Some(STREAM.to_owned()),
            definition: json!({
                "TableName": "orders",
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"}
            }),
            ttl_attribute: Some("expires_at".to_owned()),
        };
        BTreeMap::from([(table.logical_id.clone(), table)])
    }

    const STREAM: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/1";

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let clock = PlatformClock::open(folder.path().join("offset")).unwrap();
        let store = Store::open(&folder.path().join("store.sqlite"), Durability::Kept, &tables(), clock).unwrap();
        World { store, folder }
    }

    async fn put(store: &Store, item: Value) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/x-amz-json-1.0".parse().unwrap());
        headers.insert("x-amz-target", "DynamoDB_20120810.PutItem".parse().unwrap());
        headers.insert("x-amz-date", "20260101T000000Z".parse().unwrap());
        let authorization = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/dynamodb/aws4_request, \
            SignedHeaders=host, Signature=0";
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        let body = json!({"TableName": "orders", "Item": item}).to_string();
        let (status, body) = store.call(&headers, body.into()).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body:?}");
    }

    #[tokio::test]
    async fn records_have_the_shape_that_lambda_shows() {
        let world = world();
        put(&world.store, json!({"id": {"S": "1"}, "state": {"S": "new"}})).await;
        put(&world.store, json!({"id": {"S": "1"}, "state": {"S": "paid"}})).await;
        let records = world.store.records("orders", STREAM, None, 10).await.unwrap();
        let record = &records[1];
        assert_eq!(records[0]["eventName"], "INSERT");
        assert_eq!(record["eventName"], "MODIFY");
        assert_eq!(record["eventSource"], "aws:dynamodb");
        assert_eq!(record["awsRegion"], "us-east-1");
        assert_eq!(record["eventSourceARN"], STREAM);
        assert_eq!(record["eventVersion"], "1.1");
        assert_eq!(record["dynamodb"]["Keys"], json!({"id": {"S": "1"}}));
        assert_eq!(record["dynamodb"]["OldImage"]["state"], json!({"S": "new"}));
        assert_eq!(record["dynamodb"]["NewImage"]["state"], json!({"S": "paid"}));
        assert_eq!(record["dynamodb"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
        assert!(record["dynamodb"]["ApproximateCreationDateTime"].is_i64());
        assert!(record["eventID"].is_string() && record["dynamodb"]["SizeBytes"].is_i64());

        let after = records[0]["dynamodb"]["SequenceNumber"].as_str();
        assert_eq!(world.store.records("orders", STREAM, after, 10).await.unwrap().len(), 1);
        assert_eq!(world.store.count_records("orders", after).unwrap(), 1);
        assert_eq!(world.store.count_records("orders", None).unwrap(), 2);
    }

    #[tokio::test]
    async fn trimming_keeps_the_newest_record_so_that_numbers_go_on() {
        let world = world();
        for id in ["1", "2", "3"] {
            put(&world.store, json!({"id": {"S": id}})).await;
        }
        let number = |record: &Value| record["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned();
        let records = world.store.records("orders", STREAM, None, 10).await.unwrap();
        let newest = number(records.last().unwrap());
        assert_eq!(world.store.trim("orders", &newest).await.unwrap(), 2);
        put(&world.store, json!({"id": {"S": "4"}})).await;
        let next = world.store.records("orders", STREAM, Some(&newest), 10).await.unwrap();
        assert_eq!(next.len(), 1);
        assert!(number(&next[0]) > newest);
    }

    #[tokio::test]
    async fn items_expire_by_the_platforms_clock_and_the_stream_says_so() {
        let world = world();
        let clock = world.store.shared.clock.clone();
        let in_an_hour = clock.now_ms() / 1000 + 3600;
        put(
            &world.store,
            json!({"id": {"S": "1"}, "expires_at": {"N": in_an_hour.to_string()}}),
        )
        .await;
        assert_eq!(world.store.expire().await.unwrap(), 0);
        clock.advance(3_700_000).unwrap();
        assert_eq!(world.store.expire().await.unwrap(), 1);
        let records = world.store.records("orders", STREAM, None, 10).await.unwrap();
        assert_eq!(records[1]["eventName"], "REMOVE");
        assert_eq!(records[1]["userIdentity"]["principalId"], "dynamodb.amazonaws.com");
        let created = records[1]["dynamodb"]["ApproximateCreationDateTime"].as_i64().unwrap();
        assert!((created - clock.now_ms() / 1000).abs() < 60);
    }

    #[tokio::test]
    async fn items_and_records_survive_a_restart() {
        let World { store, folder } = world();
        put(&store, json!({"id": {"S": "1"}})).await;
        drop(store);
        let clock = PlatformClock::open(folder.path().join("offset")).unwrap();
        let again = Store::open(&folder.path().join("store.sqlite"), Durability::Kept, &tables(), clock).unwrap();
        assert_eq!(again.records("orders", STREAM, None, 10).await.unwrap().len(), 1);
    }
}
