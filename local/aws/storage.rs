//! The SQLite file with everything durable that is not a table: queued messages, stream positions, mails.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        message_id TEXT NOT NULL,
        body TEXT NOT NULL,
        attributes TEXT NOT NULL,
        sent_ms INTEGER NOT NULL,
        visible_ms INTEGER NOT NULL,
        receive_count INTEGER NOT NULL DEFAULT 0,
        first_received_ms INTEGER,
        receipt TEXT,
        retry_ms INTEGER,
        source TEXT
    );
    CREATE INDEX IF NOT EXISTS messages_by_visibility ON messages (queue, visible_ms, id);
    CREATE INDEX IF NOT EXISTS messages_by_receipt ON messages (receipt) WHERE receipt IS NOT NULL;
    CREATE TABLE IF NOT EXISTS positions (
        mapping TEXT PRIMARY KEY,
        sequence_number TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS mails (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        mail TEXT NOT NULL
    );
";

/// How much has to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Whatever was answered survives the end of the process, `kill -9` included.
    Kept,
    /// The data goes with the process.
    Forgotten,
}

/// The file. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Storage {
    connection: Arc<Mutex<Connection>>,
}

impl Storage {
    /// Opens the file, and creates what is missing in it.
    pub fn open(file: &Path, durability: Durability) -> Result<Self, rusqlite::Error> {
        Self::with_schema(file, durability, SCHEMA)
    }

    /// Opens a file with other tables than AWS's.
    pub(crate) fn with_schema(file: &Path, durability: Durability, schema: &str) -> Result<Self, rusqlite::Error> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // The write-ahead log reaches the operating system before a call is answered: the end of the process loses
        // nothing. Only the end of the machine could, and that is not what a local platform protects against.
        let synchronous = if durability == Durability::Kept {
            "NORMAL"
        } else {
            "OFF"
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch(schema)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Carries out `work` wholly or not at all.
    pub fn transaction<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outcome = work(&transaction)?;
        transaction.commit()?;
        Ok(outcome)
    }

    /// Reads.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, rusqlite::Error> {
        work(&self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
