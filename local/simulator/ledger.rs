//! What the companies know: trades, notifications and switches, in a SQLite file of their own.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::SimulatorError;
use super::keys::digits;
use super::moment::{self, HOUR_MS};
use super::switches::{Operation, Spoiling, Switches};
use super::trade::{Company, Outcome, Refund, Refusal, State, Trade, Wish};
use crate::aws::storage::{Durability, Storage};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS trades (
        company TEXT NOT NULL,
        out_trade_no TEXT NOT NULL,
        trade_no TEXT NOT NULL UNIQUE,
        token TEXT NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL,
        settles_ms INTEGER,
        trade TEXT NOT NULL,
        PRIMARY KEY (company, out_trade_no)
    );
    CREATE INDEX IF NOT EXISTS trades_by_settlement ON trades (settles_ms) WHERE settles_ms IS NOT NULL;
    CREATE TABLE IF NOT EXISTS notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        company TEXT NOT NULL,
        out_trade_no TEXT NOT NULL,
        notice TEXT NOT NULL,
        state TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        due_ms INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS notices_by_time ON notices (due_ms) WHERE state IN ('waiting', 'held');
    CREATE TABLE IF NOT EXISTS tries (
        notice INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        status INTEGER,
        answer TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS switches (
        out_trade_no TEXT PRIMARY KEY,
        switches TEXT NOT NULL
    ) WITHOUT ROWID;
";
/// The switches that are nobody's own.
const EVERYONES: &str = "";
/// A notification that waits for another one of its trade leaves at the latest after this long.
const HELD_MS: i64 = HOUR_MS;
/// What is kept of an answer to a notification.
const ANSWER_LIMIT: usize = 500;

/// What a merchant is notified of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) company: Company,
    pub(super) out_trade_no: String,
    /// Stays the same however often it is sent.
    pub(super) notify_id: String,
    pub(super) notify_url: String,
    pub(super) happened_ms: i64,
    pub(super) news: News,
}

/// The news itself, as it was when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub(super) enum News {
    /// The buyer has paid.
    Paid,
    /// A refund ended.
    Refund {
        refund_no: String,
        /// What had gone back of the trade by then, this refund included.
        returned_fen: i64,
    },
}

/// A notice to be sent, with its number here and how often it was tried.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) id: i64,
    pub(super) tries: u32,
    pub(super) notice: Notice,
}

/// One try to deliver a notice.
#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) at_ms: i64,
    /// `first`, `copy`, `probe`, `again`.
    pub(super) kind: &'static str,
    /// `None` when nothing came back.
    pub(super) status: Option<u16>,
    pub(super) answer: String,
    pub(super) confirmed: bool,
}

/// What making a trade came to.
#[derive(Debug, Clone)]
pub(super) enum Made {
    /// It is there, now or already before.
    Trade(Box<Trade>),
    /// Its number belongs to a trade with which this can not be done.
    Refused(Refusal),
}

/// The file. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    storage: Storage,
}

type Sql<T> = Result<T, rusqlite::Error>;

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Sql<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}

fn written(value: &impl Serialize) -> Sql<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

impl Ledger {
    pub(super) fn open(file: &Path, durability: Durability) -> Result<Self, SimulatorError> {
        Ok(Self {
            storage: Storage::with_schema(file, durability, SCHEMA)?,
        })
    }

    /// Makes a trade, or finds the same one again.
    pub(super) fn make(&self, company: Company, wish: Wish, state: State, now_ms: i64) -> Result<Made, SimulatorError> {
        Ok(self.storage.transaction(|transaction| {
            if let Some(mut known) = find(transaction, company, &wish.out_trade_no)? {
                return Ok(match known.meets(&wish, now_ms) {
                    Err(refusal) => Made::Refused(refusal),
                    Ok(()) => {
                        // The later request's addresses count. Its end does not: one that is counted from the request
                        // would move whenever a link is followed again.
                        known.wish = Wish {
                            expires_ms: known.wish.expires_ms,
                            ..wish
                        };
                        if state == State::Waiting {
                            known.state = state;
                        }
                        save(transaction, &known)?;
                        Made::Trade(Box::new(known))
                    }
                });
            }
            let trade_no = match company {
                Company::Alipay => format!("{}22001{}", moment::compact_day(now_ms), digits(15)),
                Company::WechatPay => format!("4200{}{}", moment::compact_day(now_ms), digits(16)),
            };
            let trade = Trade {
                company,
                trade_no,
                token: Uuid::new_v4().simple().to_string(),
                wish,
                created_ms: now_ms,
                state,
                refunds: Vec::new(),
            };
            save(transaction, &trade)?;
            Ok(Made::Trade(Box::new(trade)))
        })?)
    }

    pub(super) fn find(&self, company: Company, out_trade_no: &str) -> Result<Option<Trade>, SimulatorError> {
        Ok(self
            .storage
            .read(|connection| find(connection, company, out_trade_no))?)
    }

    /// By the company's own number.
    pub(super) fn numbered(&self, company: Company, trade_no: &str) -> Result<Option<Trade>, SimulatorError> {
        let query = "SELECT trade FROM trades WHERE company = ?1 AND trade_no = ?2";
        Ok(self
            .storage
            .read(|connection| one(connection, query, [company.name(), trade_no]))?)
    }

    /// By what its page is known by.
    pub(super) fn at_page(&self, company: Company, token: &str) -> Result<Option<Trade>, SimulatorError> {
        let query = "SELECT trade FROM trades WHERE company = ?1 AND token = ?2";
        Ok(self
            .storage
            .read(|connection| one(connection, query, [company.name(), token]))?)
    }

    /// All trades, in the order in which they were made.
    pub(super) fn trades(&self) -> Result<Vec<Trade>, SimulatorError> {
        Ok(self.storage.read(|connection| {
            let mut query = connection.prepare("SELECT trade FROM trades ORDER BY created_ms, rowid")?;
            let texts = query.query_map([], |row| row.get::<_, String>(0))?;
            texts.map(|text| read(&text?)).collect()
        })?)
    }

    /// Changes a trade as `work` says, and sends what it wants to be sent. A refusal changes nothing.
    pub(super) fn change<T>(
        &self,
        company: Company,
        out_trade_no: &str,
        work: impl FnOnce(&mut Trade) -> Result<(T, Vec<Notice>), Refusal>,
    ) -> Result<Result<(Trade, T), Refusal>, SimulatorError> {
        Ok(self.storage.transaction(|transaction| {
            let Some(mut trade) = find(transaction, company, out_trade_no)? else {
                return Ok(Err(Refusal::Unknown));
            };
            match work(&mut trade) {
                Err(refusal) => Ok(Err(refusal)),
                Ok((outcome, notices)) => {
                    save(transaction, &trade)?;
                    let switches = switches(transaction, out_trade_no)?;
                    for notice in &notices {
                        enqueue(transaction, notice, &switches)?;
                    }
                    Ok(Ok((trade, outcome)))
                }
            }
        })?)
    }

    /// Ends the refunds of all trades that have been processed long enough.
    pub(super) fn settle(&self, now_ms: i64) -> Result<(), SimulatorError> {
        Ok(self.storage.transaction(|transaction| {
            let mut query =
                transaction.prepare("SELECT trade FROM trades WHERE settles_ms <= ?1 ORDER BY settles_ms")?;
            let trades: Vec<Trade> = query
                .query_map([now_ms], |row| row.get::<_, String>(0))?
                .map(|text| read(&text?))
                .collect::<Sql<_>>()?;
            for mut trade in trades {
                let switches = switches(transaction, &trade.wish.out_trade_no)?;
                let notices = settled(&mut trade, switches.partial_refund_notification, now_ms);
                for notice in &notices {
                    enqueue(transaction, notice, &switches)?;
                }
                save(transaction, &trade)?;
                if notices.is_empty() {
                    // Nobody hears of this refund; what waited for it waits no longer.
                    release(transaction, trade.company, &trade.wish.out_trade_no, i64::MAX, now_ms)?;
                }
            }
            Ok(())
        })?)
    }

    /// What is due and not among those under way.
    pub(super) fn due(&self, now_ms: i64, under_way: &[i64]) -> Result<Vec<Due>, SimulatorError> {
        Ok(self.storage.read(|connection| {
            let mut query = connection.prepare(
                "SELECT id, tries, notice FROM notices WHERE state IN ('waiting', 'held') AND due_ms <= ?1 ORDER BY id",
            )?;
            let rows = query.query_map([now_ms], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
            let mut due = Vec::new();
            for row in rows {
                let (id, tries, notice) = row?;
                if !under_way.contains(&id) {
                    due.push(Due {
                        id,
                        tries,
                        notice: read(&notice)?,
                    });
                }
            }
            Ok(due)
        })?)
    }

    /// How many notices and settlements are due.
    pub(super) fn count_due(&self, now_ms: i64) -> Result<usize, SimulatorError> {
        Ok(self.storage.read(|connection| {
            let count = "SELECT (SELECT count(*) FROM notices WHERE state IN ('waiting', 'held') AND due_ms <= ?1)
                              + (SELECT count(*) FROM trades WHERE settles_ms <= ?1)";
            connection.query_row(count, [now_ms], |row| row.get(0))
        })?)
    }

    /// When there is something to do after `now_ms`.
    pub(super) fn next_ms(&self, now_ms: i64) -> Result<Option<i64>, SimulatorError> {
        Ok(self.storage.read(|connection| {
            let next = "SELECT min(at) FROM (
                SELECT min(due_ms) AS at FROM notices WHERE state IN ('waiting', 'held') AND due_ms > ?1
                UNION ALL SELECT min(settles_ms) FROM trades WHERE settles_ms > ?1)";
            connection.query_row(next, [now_ms], |row| row.get(0))
        })?)
    }

    /// Keeps what the tries of a notice came to, and lets go what waited for it. It is due again at `again_ms`, or never.
    pub(super) fn tried(
        &self,
        due: &Due,
        tries: &[Try],
        again_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<(), SimulatorError> {
        Ok(self.storage.transaction(|transaction| {
            for one in tries {
                let answer: String = one.answer.chars().take(ANSWER_LIMIT).collect();
                transaction.execute(
                    "INSERT INTO tries (notice, at_ms, kind, status, answer) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![due.id, one.at_ms, one.kind, one.status, answer],
                )?;
            }
            let state = match again_ms {
                _ if tries.iter().any(|one| one.confirmed) => "confirmed",
                Some(_) => "waiting",
                None => "given up",
            };
            transaction.execute(
                "UPDATE notices SET state = ?2, tries = tries + 1, due_ms = ?3 WHERE id = ?1",
                params![due.id, state, again_ms.unwrap_or(now_ms)],
            )?;
            release(
                transaction,
                due.notice.company,
                &due.notice.out_trade_no,
                due.id,
                now_ms,
            )
        })?)
    }

    /// The switches of one trade: its own where it has some.
    pub(super) fn switches(&self, out_trade_no: &str) -> Result<Switches, SimulatorError> {
        Ok(self.storage.read(|connection| switches(connection, out_trade_no))?)
    }

    /// Sets the switches of one trade, or everyone's.
    pub(super) fn set_switches(&self, out_trade_no: Option<&str>, switches: &Switches) -> Result<(), SimulatorError> {
        let text = serde_json::to_string(switches)?;
        self.storage.transaction(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO switches (out_trade_no, switches) VALUES (?1, ?2)",
                params![out_trade_no.unwrap_or(EVERYONES), text],
            )
        })?;
        Ok(())
    }

    /// All switches that were set.
    pub(super) fn all_switches(&self) -> Result<Value, SimulatorError> {
        let rows = self.storage.read(|connection| {
            let mut query = connection.prepare("SELECT out_trade_no, switches FROM switches ORDER BY out_trade_no")?;
            let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.map(|row| row.and_then(|(number, text)| Ok((number, read::<Value>(&text)?))))
                .collect::<Sql<Vec<_>>>()
        })?;
        let (everyones, own): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(number, _)| number == EVERYONES);
        let everyones = everyones.into_iter().next().map(|(_, switches)| switches);
        let own: serde_json::Map<String, Value> = own.into_iter().collect();
        Ok(json!({ "all": everyones.unwrap_or(serde_json::to_value(Switches::default())?), "trades": own }))
    }

    /// What happens to the answer of one call. One that is spoiled a number of times only counts down.
    pub(super) fn spoiling(
        &self,
        out_trade_no: &str,
        operation: Operation,
    ) -> Result<(Spoiling, Switches), SimulatorError> {
        Ok(self.storage.transaction(|transaction| {
            let mut found = switches(transaction, out_trade_no)?;
            let meant = found.answer_to.is_none_or(|one| one == operation) && found.answer_times != Some(0);
            if !meant {
                return Ok((Spoiling::None, found));
            }
            let answer = found.answer;
            if answer != Spoiling::None
                && let Some(times) = found.answer_times
            {
                found.answer_times = Some(times - 1);
                transaction.execute(
                    "UPDATE switches SET switches = ?2 WHERE out_trade_no = (
                        SELECT max(out_trade_no) FROM switches WHERE out_trade_no IN ('', ?1))",
                    params![out_trade_no, written(&found)?],
                )?;
            }
            Ok((answer, found))
        })?)
    }

    /// All notifications with their tries, oldest first; of one trade if its number is given.
    pub(super) fn notifications(&self, out_trade_no: Option<&str>) -> Result<Value, SimulatorError> {
        let notices = self.storage.read(|connection| {
            let mut query = connection.prepare(
                "SELECT id, notice, state, due_ms FROM notices WHERE ?1 IS NULL OR out_trade_no = ?1 ORDER BY id",
            )?;
            let mut tries =
                connection.prepare("SELECT at_ms, kind, status, answer FROM tries WHERE notice = ?1 ORDER BY rowid")?;
            let rows = query.query_map(params![out_trade_no], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            })?;
            let mut notices = Vec::new();
            for row in rows {
                let (id, notice, state, due_ms) = row?;
                let tries: Vec<Value> = tries
                    .query_map([id], |row| {
                        Ok(json!({
                            "at_ms": row.get::<_, i64>(0)?,
                            "kind": row.get::<_, String>(1)?,
                            "status": row.get::<_, Option<u16>>(2)?,
                            "answer": row.get::<_, String>(3)?,
                        }))
                    })?
                    .collect::<Sql<_>>()?;
                let due_ms = matches!(state.as_str(), "waiting" | "held").then_some(due_ms);
                let notice: Notice = read(&notice)?;
                notices.push(json!({
                    "company": notice.company,
                    "out_trade_no": notice.out_trade_no,
                    "news": notice.news,
                    "happened_ms": notice.happened_ms,
                    "state": state,
                    "due_ms": due_ms,
                    "tries": tries,
                }));
            }
            Ok(notices)
        })?;
        Ok(Value::Array(notices))
    }
}

/// Settles a trade's refunds, and makes the notices that follow. Alipay tells the address of the payment, and only of
/// refunds that are done; WeChat Pay the address that came with the refund, if one did.
pub(super) fn settled(trade: &mut Trade, of_parts: bool, now_ms: i64) -> Vec<Notice> {
    let mut returned_fen = trade.returned_fen();
    let settled = trade.settle(now_ms);
    let mut notices = Vec::new();
    for refund in settled {
        let done = matches!(refund.outcome, Outcome::Succeeded { .. });
        if done {
            returned_fen += refund.amount_fen;
        }
        let heard = match trade.company {
            Company::Alipay => done.then(|| trade.wish.notify_url.clone()).flatten(),
            Company::WechatPay => refund.notify_url.clone(),
        };
        let whole = returned_fen >= trade.wish.amount_fen;
        if let Some(notify_url) = heard.filter(|_| whole || of_parts) {
            notices.push(notice_of_refund(trade, &refund, notify_url, returned_fen, now_ms));
        }
    }
    notices
}

fn notice_of_refund(trade: &Trade, refund: &Refund, notify_url: String, returned_fen: i64, now_ms: i64) -> Notice {
    let news = News::Refund {
        refund_no: refund.refund_no.clone(),
        returned_fen,
    };
    notice(trade, notify_url, news, now_ms)
}

/// The notice of a payment, if anyone wants to hear of it.
pub(super) fn notice_of_payment(trade: &Trade, now_ms: i64) -> Option<Notice> {
    let notify_url = trade.wish.notify_url.clone()?;
    Some(notice(trade, notify_url, News::Paid, now_ms))
}

fn notice(trade: &Trade, notify_url: String, news: News, now_ms: i64) -> Notice {
    Notice {
        company: trade.company,
        out_trade_no: trade.wish.out_trade_no.clone(),
        notify_id: Uuid::new_v4().to_string(),
        notify_url,
        happened_ms: now_ms,
        news,
    }
}

fn one<P: rusqlite::Params>(connection: &Connection, query: &str, parameters: P) -> Sql<Option<Trade>> {
    let text = connection
        .query_row(query, parameters, |row| row.get::<_, String>(0))
        .optional()?;
    text.map(|text| read(&text)).transpose()
}

fn find(connection: &Connection, company: Company, out_trade_no: &str) -> Sql<Option<Trade>> {
    let query = "SELECT trade FROM trades WHERE company = ?1 AND out_trade_no = ?2";
    one(connection, query, [company.name(), out_trade_no])
}

fn save(transaction: &Transaction<'_>, trade: &Trade) -> Sql<()> {
    transaction.execute(
        "INSERT INTO trades (company, out_trade_no, trade_no, token, created_ms, settles_ms, trade)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (company, out_trade_no) DO UPDATE SET settles_ms = excluded.settles_ms, trade = excluded.trade",
        params![
            trade.company.name(),
            trade.wish.out_trade_no,
            trade.trade_no,
            trade.token,
            trade.created_ms,
            trade.settles_ms(),
            written(trade)?,
        ],
    )?;
    Ok(())
}

fn switches(connection: &Connection, out_trade_no: &str) -> Sql<Switches> {
    // A trade's own number sorts after the empty one.
    let query = "SELECT switches FROM switches WHERE out_trade_no IN ('', ?1) ORDER BY out_trade_no DESC LIMIT 1";
    let text = connection
        .query_row(query, [out_trade_no], |row| row.get::<_, String>(0))
        .optional()?;
    text.map_or_else(|| Ok(Switches::default()), |text| read(&text))
}

fn enqueue(transaction: &Transaction<'_>, notice: &Notice, switches: &Switches) -> Sql<()> {
    let paid = notice.news == News::Paid;
    let (state, after_ms) = match switches {
        switches if switches.lost => ("lost", 0),
        switches if paid && switches.after_refund => ("held", i64::MAX),
        switches if paid && switches.reordered => ("held", HELD_MS),
        switches => ("waiting", i64::from(switches.late_ms)),
    };
    transaction.execute(
        "INSERT INTO notices (company, out_trade_no, notice, state, due_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            notice.company.name(),
            notice.out_trade_no,
            written(notice)?,
            state,
            notice.happened_ms.saturating_add(after_ms),
        ],
    )?;
    Ok(())
}

/// Lets go the notices of a trade that are held and older than the one with the number `before`.
fn release(transaction: &Transaction<'_>, company: Company, out_trade_no: &str, before: i64, now_ms: i64) -> Sql<()> {
    transaction.execute(
        "UPDATE notices SET state = 'waiting', due_ms = ?4
         WHERE state = 'held' AND company = ?1 AND out_trade_no = ?2 AND id < ?3",
        params![company.name(), out_trade_no, before, now_ms],
    )?;
    Ok(())
}
