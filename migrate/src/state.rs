//! What a migration remembers on this machine, in one SQLite file: which rows were taken and as what, and what was found.
//!
//! A batch is noted here after it was written there. So whoever is killed writes at most one batch again, which changes
//! nothing. The file holds what the quarantine file holds, and besides that nothing personal: fingerprints are keyed with the
//! older system's SECRET_KEY.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use crate::identity::Entity;
use crate::rules::{Finding, Kind};

/// Why the state can not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite.
    #[error("the state in {} can not be kept: {source}; is the disk full? Nothing is lost: run it again", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A file beside it.
    #[error("{} can not be written: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It belongs to another migration.
    #[error("the state in {} belongs to another migration ({known}, not {given}); choose another --state", path.display())]
    Another {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        known: String,
        /// Whose it should be.
        given: String,
    },
    /// Somebody else works with it.
    #[error("another run works with the state in {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

/// An item that was written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Which table there.
    pub table: Table,
    /// Its key there.
    pub key: String,
    /// Whose it is: buyer of an order, user of anything else; and the seller.
    pub owners: (String, String),
    /// The item as JSON, where something is derived from it; empty otherwise.
    pub record: String,
    /// Keyed fingerprint of all of it, sealed parts included.
    pub print: [u8; 16],
}

/// The tables there that rows go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Accounts.
    Users,
    /// Products.
    Products,
    /// What users keep an eye on.
    Collections,
    /// Orders.
    Orders,
    /// Payments.
    Payments,
    /// Refunds.
    Refunds,
    /// What orders hold.
    Reservations,
    /// Notifications.
    Notifications,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 8] = [
        Self::Users,
        Self::Products,
        Self::Collections,
        Self::Orders,
        Self::Payments,
        Self::Refunds,
        Self::Reservations,
        Self::Notifications,
    ];

    /// Its name, for people and in the state.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Products => "products",
            Self::Collections => "collections",
            Self::Orders => "orders",
            Self::Payments => "payments",
            Self::Refunds => "refunds",
            Self::Reservations => "reservations",
            Self::Notifications => "notifications",
        }
    }
}

/// A difference between what the source adds up to and what was written, which a finding or the switch explains.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Share {
    /// Day on which it was placed or opened.
    pub day: String,
    /// Whose.
    pub user: String,
    /// Number of its status in the older systems.
    pub status: i64,
    /// Fen.
    pub fen: i64,
}

/// What became of one row, with everything that goes with it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Which table of the source.
    pub entity: Entity,
    /// Which row.
    pub id: u64,
    /// Fingerprint of the row and of how it was judged.
    pub print: [u8; 16],
    /// What was written.
    pub written: Vec<Written>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether it waits for the switch.
    pub held_back: bool,
    /// What changed of the sums, by the entity that is summed: what the source has, and what was written.
    pub moves: Vec<(Entity, u64, Option<Share>, Option<Share>)>,
}

/// Findings of one kind.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Tally {
    /// Table of the source.
    pub table: String,
    /// The kind.
    pub kind: String,
    /// The rule by which it was treated.
    pub rule: String,
    /// How many rows.
    pub rows: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// The state.
#[derive(Debug)]
pub struct State {
    db: Connection,
    folder: PathBuf,
    path: PathBuf,
    _lock: std::fs::File,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS rows (entity TEXT, id INTEGER, print BLOB NOT NULL, held_back INTEGER NOT NULL,
        PRIMARY KEY (entity, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS written (tab TEXT, key TEXT, entity TEXT, id INTEGER, owner TEXT, owner2 TEXT, record TEXT,
        print BLOB NOT NULL, PRIMARY KEY (tab, key)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS written_row ON written (entity, id);
    CREATE INDEX IF NOT EXISTS written_owner ON written (tab, owner);
    CREATE INDEX IF NOT EXISTS written_owner2 ON written (tab, owner2);
    CREATE TABLE IF NOT EXISTS findings (entity TEXT, id TEXT, kind TEXT, rule TEXT, detail TEXT, lost TEXT, row INTEGER,
        PRIMARY KEY (entity, id, kind)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS findings_row ON findings (entity, row);
    CREATE TABLE IF NOT EXISTS moves (entity TEXT, id INTEGER, side INTEGER, day TEXT, user TEXT, status INTEGER, fen INTEGER,
        parent TEXT, row INTEGER, PRIMARY KEY (entity, id, side)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS moves_row ON moves (parent, row);
    CREATE TABLE IF NOT EXISTS names (name BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS names_id ON names (id);
    CREATE TABLE IF NOT EXISTS derived (name TEXT PRIMARY KEY, print BLOB NOT NULL) WITHOUT ROWID;
";

impl State {
    /// Opens the state in `folder`, for the migration that `identity` names, and keeps others out.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(folder: &Path, identity: &str) -> Result<Self, StateError> {
        let path = folder.join("state.sqlite");
        let file = |source| StateError::File {
            path: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(file)?;
        let lock = private(&folder.join("lock")).map_err(file)?;
        lock.try_lock().map_err(|_| StateError::Busy { path: path.clone() })?;
        drop(private_append(&path).map_err(file)?);
        let store = |source| StateError::Store {
            path: path.clone(),
            source,
        };
        let db = Connection::open(&path).map_err(store)?;
        db.pragma_update(None, "journal_mode", "WAL").map_err(store)?;
        db.pragma_update(None, "synchronous", "NORMAL").map_err(store)?;
        db.pragma_update(None, "cache_size", -32_000).map_err(store)?;
        db.execute_batch(SCHEMA).map_err(store)?;
        let state = Self {
            db,
            folder: folder.to_owned(),
            path,
            _lock: lock,
        };
        match state.meta("identity")? {
            Some(known) if known != identity => Err(StateError::Another {
                path: state.path,
                known,
                given: identity.to_owned(),
            }),
            Some(_) => Ok(state),
            None => {
                state.set_meta("identity", identity)?;
                Ok(state)
            }
        }
    }

    /// Opens the state in `folder`, whichever migration it is of.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn reopen(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join("state.sqlite");
        let known = Connection::open(&path)
            .and_then(|db| {
                db.query_row("SELECT value FROM meta WHERE name = 'identity'", [], |row| {
                    row.get::<_, String>(0)
                })
            })
            .map_err(|source| StateError::Store { path, source })?;
        Self::open(folder, &known)
    }

    /// Its folder, where the files for people are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn store(&self, source: rusqlite::Error) -> StateError {
        StateError::Store {
            path: self.path.clone(),
            source,
        }
    }

    /// Something that was kept under a name.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn meta(&self, name: &str) -> Result<Option<String>, StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT value FROM meta WHERE name = ?")
            .map_err(|e| self.store(e))?;
        query
            .query_row([name], |row| row.get(0))
            .optional()
            .map_err(|e| self.store(e))
    }

    /// Keeps something under a name.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn set_meta(&self, name: &str, value: &str) -> Result<(), StateError> {
        let written = self
            .db
            .execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", [name, value]);
        written.map(drop).map_err(|e| self.store(e))
    }

    /// Whether a row was judged as this fingerprint says.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn is_done(&self, entity: Entity, id: u64, print: &[u8; 16]) -> Result<bool, StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT print FROM rows WHERE entity = ? AND id = ?")
            .map_err(|e| self.store(e))?;
        let known: Option<Vec<u8>> = query
            .query_row(params![entity.table(), signed(id)], |row| row.get(0))
            .optional()
            .map_err(|e| self.store(e))?;
        Ok(known.as_deref() == Some(print.as_slice()))
    }

    /// Notes a batch: all of it, or nothing. What was noted about its rows before is replaced.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn note(&mut self, batch: &[Judged]) -> Result<(), StateError> {
        let path = self.path.clone();
        let store = |source| StateError::Store {
            path: path.clone(),
            source,
        };
        let all = self.db.transaction().map_err(store)?;
        for judged in batch {
            note(&all, judged).map_err(store)?;
        }
        all.commit().map_err(store)
    }

    /// Whether a name belongs to this row: it does, or it is taken now. Names are kept as fingerprints.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn take_name(&self, name: &[u8; 16], id: u64) -> Result<bool, StateError> {
        let mut take = self
            .db
            .prepare_cached(
                "INSERT INTO names VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET id = MIN(id, ?2) RETURNING id",
            )
            .map_err(|e| self.store(e))?;
        let owner: i64 = take
            .query_row(params![name.as_slice(), signed(id)], |row| row.get(0))
            .map_err(|e| self.store(e))?;
        Ok(owner == signed(id))
    }

    /// Frees the names of a row, which is judged anew.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn free_names(&self, id: u64) -> Result<(), StateError> {
        let mut free = self
            .db
            .prepare_cached("DELETE FROM names WHERE id = ?")
            .map_err(|e| self.store(e))?;
        free.execute([signed(id)]).map(drop).map_err(|e| self.store(e))
    }

    /// Whether something derived is as this fingerprint says already.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn is_derived(&self, name: &str, print: &[u8; 16]) -> Result<bool, StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT print FROM derived WHERE name = ?")
            .map_err(|e| self.store(e))?;
        let known: Option<Vec<u8>> = query
            .query_row([name], |row| row.get(0))
            .optional()
            .map_err(|e| self.store(e))?;
        Ok(known.as_deref() == Some(print.as_slice()))
    }

    /// Notes what was derived.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn note_derived(&mut self, derived: &[(String, [u8; 16])]) -> Result<(), StateError> {
        let path = self.path.clone();
        let store = |source| StateError::Store {
            path: path.clone(),
            source,
        };
        let all = self.db.transaction().map_err(store)?;
        for (name, print) in derived {
            all.execute(
                "INSERT OR REPLACE INTO derived VALUES (?, ?)",
                params![name, print.as_slice()],
            )
            .map_err(store)?;
        }
        all.commit().map_err(store)
    }

    /// The owners of what was written into a table, after `after`; of orders, their sellers where `second`.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn owners(&self, table: Table, second: bool, after: &str, limit: usize) -> Result<Vec<String>, StateError> {
        let column = if second { "owner2" } else { "owner" };
        let index = if second { "written_owner2" } else { "written_owner" };
        let query = format!(
            "SELECT DISTINCT {column} FROM written INDEXED BY {index} WHERE tab = ? AND {column} > ? ORDER BY {column} LIMIT {limit}"
        );
        let mut query = self.db.prepare_cached(&query).map_err(|e| self.store(e))?;
        let rows = query
            .query_map([table.word(), after], |row| row.get(0))
            .map_err(|e| self.store(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.store(e))
    }

    /// What was written of one owner: key, record, fingerprint.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn written_of(
        &self,
        table: Table,
        second: bool,
        owner: &str,
    ) -> Result<Vec<(String, String, Vec<u8>)>, StateError> {
        let column = if second { "owner2" } else { "owner" };
        let index = if second { "written_owner2" } else { "written_owner" };
        let query = format!(
            "SELECT key, record, print FROM written INDEXED BY {index} WHERE tab = ? AND {column} = ? ORDER BY key"
        );
        let mut query = self.db.prepare_cached(&query).map_err(|e| self.store(e))?;
        let rows = query
            .query_map([table.word(), owner], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(|e| self.store(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.store(e))
    }

    /// The fingerprint with which an item was written.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn print_of(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT print FROM written WHERE tab = ? AND key = ?")
            .map_err(|e| self.store(e))?;
        query
            .query_row([table.word(), key], |row| row.get(0))
            .optional()
            .map_err(|e| self.store(e))
    }

    /// How many items were written into a table, and the sum of their fingerprints.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn checksum(&self, table: Table) -> Result<(u64, u64), StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT print FROM written WHERE tab = ?")
            .map_err(|e| self.store(e))?;
        let mut rows = query.query([table.word()]).map_err(|e| self.store(e))?;
        let (mut count, mut sum) = (0, 0_u64);
        while let Some(row) = rows.next().map_err(|e| self.store(e))? {
            let print: Vec<u8> = row.get(0).map_err(|e| self.store(e))?;
            count += 1;
            sum = sum.wrapping_add(short(&print));
        }
        Ok((count, sum))
    }

    /// Whether anything was found about a row.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn has_findings(&self, entity: Entity, id: u64) -> Result<bool, StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT 1 FROM findings WHERE entity = ? AND row = ?")
            .map_err(|e| self.store(e))?;
        query
            .exists(params![entity.table(), signed(id)])
            .map_err(|e| self.store(e))
    }

    /// How many rows of a table were judged, and how many of them wait for the switch.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn rows(&self, entity: Entity) -> Result<(u64, u64), StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT COUNT(*), COALESCE(SUM(held_back), 0) FROM rows WHERE entity = ?")
            .map_err(|e| self.store(e))?;
        query
            .query_row([entity.table()], |row| {
                Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
            })
            .map_err(|e| self.store(e))
    }

    /// Rows that were judged and are not among `present`, which are all there are between `from` (excluded) and `to`
    /// (included).
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn gone(&self, entity: Entity, from: u64, to: u64, present: &[u64]) -> Result<Vec<u64>, StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT id FROM rows WHERE entity = ? AND id > ? AND id <= ?")
            .map_err(|e| self.store(e))?;
        let rows = query
            .query_map(params![entity.table(), signed(from), signed(to)], |row| {
                row.get(0).map(unsigned)
            })
            .map_err(|e| self.store(e))?;
        let known: Vec<u64> = rows.collect::<Result<_, _>>().map_err(|e| self.store(e))?;
        Ok(known
            .into_iter()
            .filter(|id| present.binary_search(id).is_err())
            .collect())
    }

    /// The sums of what the source has and what was written, where they differ: of `side` 0 what the source has.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn moves(&self, entity: Entity, side: u8) -> Result<Vec<(Share, u64)>, StateError> {
        let mut query = self
            .db
            .prepare_cached(
                "SELECT day, user, status, SUM(fen), COUNT(*) FROM moves WHERE entity = ? AND side = ? GROUP BY day, user, status",
            )
            .map_err(|e| self.store(e))?;
        let rows = query
            .query_map(params![entity.table(), side], |row| {
                let share = Share {
                    day: row.get(0)?,
                    user: row.get(1)?,
                    status: row.get(2)?,
                    fen: row.get(3)?,
                };
                Ok((share, unsigned(row.get(4)?)))
            })
            .map_err(|e| self.store(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.store(e))
    }

    /// What was found, by table, kind and rule.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn tallies(&self) -> Result<Vec<Tally>, StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT entity, kind, rule, id FROM findings ORDER BY entity, kind, rule, row, id")
            .map_err(|e| self.store(e))?;
        let mut rows = query.query([]).map_err(|e| self.store(e))?;
        let mut tallies: BTreeMap<(String, String, String), Tally> = BTreeMap::new();
        while let Some(row) = rows.next().map_err(|e| self.store(e))? {
            let read = (|| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))();
            let (table, kind, rule, id): (String, String, String, String) = read.map_err(|e| self.store(e))?;
            let tally = tallies
                .entry((table.clone(), kind.clone(), rule.clone()))
                .or_insert(Tally {
                    table,
                    kind,
                    rule,
                    rows: 0,
                    examples: Vec::new(),
                });
            tally.rows += 1;
            if tally.examples.len() < 5 {
                tally.examples.push(id);
            }
        }
        Ok(tallies.into_values().collect())
    }

    /// Writes the quarantine file, a JSON object a line: whatever was left out or lost, with the reason. For its owner only.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write_quarantine(&self) -> Result<(PathBuf, u64), StateError> {
        let path = self.folder.join("quarantine.jsonl");
        let next = self.folder.join("quarantine.jsonl.next");
        let file = |source| StateError::File {
            path: path.clone(),
            source,
        };
        let mut out = io::BufWriter::new(private(&next).map_err(file)?);
        let mut lines = 0;
        self.each_finding(|finding| {
            lines += 1;
            writeln!(out, "{finding}")
        })?
        .map_err(file)?;
        out.flush().map_err(file)?;
        drop(out);
        std::fs::rename(&next, &path).map_err(file)?;
        Ok((path, lines))
    }

    /// Everything that was found, as JSON, until `take` fails.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn each_finding(
        &self,
        mut take: impl FnMut(serde_json::Value) -> io::Result<()>,
    ) -> Result<io::Result<()>, StateError> {
        let mut query = self
            .db
            .prepare_cached("SELECT entity, id, kind, rule, detail, lost FROM findings ORDER BY kind, entity, row, id")
            .map_err(|e| self.store(e))?;
        let mut rows = query.query([]).map_err(|e| self.store(e))?;
        while let Some(row) = rows.next().map_err(|e| self.store(e))? {
            let read = (|| {
                Ok::<_, rusqlite::Error>((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                ))
            })();
            let (table, id, kind, rule, detail, lost): (String, String, String, String, String, Option<String>) =
                read.map_err(|e| self.store(e))?;
            let reason = kind.parse::<Kind>().map(Kind::meaning).unwrap_or_default();
            let mut line = serde_json::json!({
                "table": table, "id": id, "kind": kind, "rule": rule, "reason": reason, "detail": detail,
            });
            if let (Some(lost), Some(line)) = (lost, line.as_object_mut()) {
                line.insert("lost".to_owned(), lost.into());
            }
            if let Err(error) = take(line) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Writes a file for people beside the state.
    ///
    /// # Errors
    /// [`StateError::File`].
    pub fn write_file(&self, name: &str, text: &str) -> Result<PathBuf, StateError> {
        let path = self.folder.join(name);
        let written = private(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| StateError::File {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

fn note(db: &rusqlite::Transaction<'_>, judged: &Judged) -> Result<(), rusqlite::Error> {
    let (entity, id) = (judged.entity.table(), signed(judged.id));
    db.prepare_cached("DELETE FROM written WHERE entity = ? AND id = ?")?
        .execute(params![entity, id])?;
    db.prepare_cached("DELETE FROM findings WHERE entity = ? AND row = ?")?
        .execute(params![entity, id])?;
    db.prepare_cached("DELETE FROM moves WHERE parent = ? AND row = ?")?
        .execute(params![entity, id])?;
    db.prepare_cached("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)")?
        .execute(params![entity, id, judged.print.as_slice(), judged.held_back])?;
    for written in &judged.written {
        db.prepare_cached("INSERT OR REPLACE INTO written VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                written.table.word(),
                written.key,
                entity,
                id,
                written.owners.0,
                written.owners.1,
                written.record,
                written.print.as_slice(),
            ])?;
    }
    for finding in &judged.findings {
        db.prepare_cached("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                finding.entity.table(),
                finding.id,
                finding.kind.word(),
                finding.rule.word(),
                finding.detail,
                finding.lost,
                id,
            ])?;
    }
    for (of, number, before, after) in &judged.moves {
        for (side, share) in [(0, before), (1, after)] {
            if let Some(share) = share {
                db.prepare_cached("INSERT OR REPLACE INTO moves VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
                    .execute(params![
                        of.table(),
                        signed(*number),
                        side,
                        share.day,
                        share.user,
                        share.status,
                        share.fen,
                        entity,
                        id,
                    ])?;
            }
        }
    }
    Ok(())
}

/// The first eight bytes of a fingerprint.
#[must_use]
pub fn short(print: &[u8]) -> u64 {
    print.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// SQLite knows signed integers only; the older systems' ids are below that.
fn signed(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn unsigned(id: i64) -> u64 {
    u64::try_from(id).unwrap_or(0)
}

/// A new file that only its owner reads.
fn private(path: &Path) -> io::Result<std::fs::File> {
    options().truncate(true).open(path)
}

fn private_append(path: &Path) -> io::Result<std::fs::File> {
    options().truncate(false).open(path)
}

fn options() -> std::fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Notes, Rules};

    fn judged(id: u64, print: u8, kinds: &[Kind]) -> Judged {
        let rules = Rules::default();
        let mut notes = Notes::about(&rules, Entity::Order, id);
        for kind in kinds {
            notes.note(*kind, "", None);
        }
        Judged {
            entity: Entity::Order,
            id,
            print: [print; 16],
            written: vec![Written {
                table: Table::Orders,
                key: format!("k{id}"),
                owners: ("buyer".into(), "seller".into()),
                record: String::new(),
                print: [print; 16],
            }],
            findings: notes.findings,
            held_back: false,
            moves: Vec::new(),
        }
    }

    #[test]
    fn a_row_that_is_judged_again_is_noted_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path(), "a").unwrap();
        state
            .note(&[judged(1, 1, &[Kind::TextTooLong]), judged(2, 1, &[])])
            .unwrap();
        state.note(&[judged(1, 2, &[Kind::SeveralSellers])]).unwrap();
        assert!(state.is_done(Entity::Order, 1, &[2; 16]).unwrap());
        assert!(!state.is_done(Entity::Order, 1, &[1; 16]).unwrap());
        assert!(!state.is_done(Entity::Payment, 1, &[2; 16]).unwrap());
        assert_eq!(state.checksum(Table::Orders).unwrap().0, 2);
        let tallies = state.tallies().unwrap();
        assert_eq!(tallies.len(), 1);
        assert_eq!(tallies[0].kind, "several-sellers");
        assert_eq!(state.gone(Entity::Order, 0, 5, &[2]).unwrap(), [1]);
        let (path, lines) = state.write_quarantine().unwrap();
        assert_eq!((lines, std::fs::read_to_string(path).unwrap().lines().count()), (1, 1));
    }

    #[test]
    fn the_oldest_row_has_a_name_however_often_it_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), "a").unwrap();
        assert!(state.take_name(&[1; 16], 5).unwrap());
        assert!(!state.take_name(&[1; 16], 6).unwrap());
        assert!(state.take_name(&[1; 16], 5).unwrap());
    }

    #[test]
    fn a_state_is_of_one_migration_and_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), "a").unwrap();
        assert!(matches!(State::open(folder.path(), "a"), Err(StateError::Busy { .. })));
        drop(state);
        assert!(matches!(
            State::open(folder.path(), "b"),
            Err(StateError::Another { .. })
        ));
        State::open(folder.path(), "a").unwrap();
    }
}
