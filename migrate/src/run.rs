//! `plan` and `copy`: the whole source, a batch at a time, through the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kernel::{Timestamp, UserId};
use notifications::inbox::Inbox;
use notifications::notification::{Kind as NoticeKind, Notification};
use orders::order::{Order, Party, State as OrderState, TIME_TO_PAY};
use orders::statistics::{Account, Figures};
use orders::table::OrderRecord;
use payments::payment::Payment;
use payments::status::Shown;
use payments::table::{Counts, PaymentRecord, RefundRecord};
use products::product::Product;
use products::stock::Reservation;
use serde::{Deserialize, Serialize};
use tables::{IMPORTED_AT_ONCE, Import, Imported};
use uuid::Uuid;

use crate::convert::{self, Context, Converted, MovedOrder, MovedUser, Names};
use crate::fernet::{Field, SecretKey};
use crate::identity::{self, Entity};
use crate::legacy;
use crate::progress::Progress;
use crate::rules::{Finding, Kind, Notes, Rule, Rules};
use crate::source::{Source, SourceError, System};
use crate::state::{Judged, Share, State, StateError, Table, Tally, Written};
use crate::target::{Target, TargetError};

/// Rows that are read at once.
const BATCH: usize = 500;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// This machine.
    #[error(transparent)]
    State(#[from] StateError),
    /// This system's tables.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The key is not the one that encrypted.
    #[error("the SECRET_KEY opens none of {0} encrypted fields: it is not the key of this source. Nothing was written")]
    WrongKey(usize),
    /// A person has to decide first.
    #[error("decide first, nothing was written: {}", .0.join("; "))]
    Undecided(Vec<String>),
    /// A file of the run can not be written.
    #[error("{what} can not be written: {source}")]
    File {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
}

/// What a run works with.
#[derive(Debug)]
pub struct Run {
    /// The older system.
    pub source: Source,
    /// Its key.
    pub key: SecretKey,
    /// The rules.
    pub rules: Rules,
    /// What is remembered.
    pub state: State,
    /// When it began.
    pub now: Timestamp,
    /// Whether orders under way stay behind.
    pub ahead: bool,
    /// What comes before names of pictures.
    pub media: String,
    /// Writes at the same time.
    pub at_once: usize,
}

/// What a plan says.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Plan {
    /// The rules by which it was made.
    pub rules: String,
    /// When, in milliseconds.
    pub at: i64,
    /// Rows of every table, and what becomes of them.
    pub tables: Vec<Planned>,
    /// What is dirty.
    pub tallies: Vec<Tally>,
    /// What becomes of statuses: table, status in the source, status here, rows.
    pub statuses: Vec<(String, String, String, u64)>,
}

/// What becomes of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Planned {
    /// Its name in the source.
    pub table: String,
    /// What it becomes.
    pub becomes: String,
    /// Its rows.
    pub rows: u64,
    /// Those that are taken.
    pub taken: u64,
    /// Those that wait for the switch.
    pub held_back: u64,
    /// Those that are left out.
    pub left_out: u64,
}

/// What a copy did.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Copied {
    /// When it began, in milliseconds.
    pub at: i64,
    /// Seconds that it took.
    pub seconds: u64,
    /// Whether orders under way stayed behind.
    pub ahead: bool,
    /// Rows read.
    pub read: u64,
    /// Rows that were new or had changed.
    pub changed: u64,
    /// Items written.
    pub written: u64,
    /// Rows that a person has to decide about.
    pub undecided: u64,
    /// Memory at most, in KiB.
    pub memory_kib: u64,
    /// Seconds of each stage.
    pub stages: Vec<(String, u64, u64)>,
}

/// A row with what becomes of it.
struct Work<T> {
    judged: Judged,
    item: Option<T>,
}

/// What goes on during a pass over the source.
struct Pass<'a> {
    target: Option<&'a Target>,
    plan: BTreeMap<Entity, Planned>,
    tallies: BTreeMap<(Entity, Kind, Rule), (u64, Vec<String>)>,
    statuses: BTreeMap<(Entity, String, String), u64>,
    list: Option<io::BufWriter<std::fs::File>>,
    copied: Copied,
}

/// Names are asked for in the order of ids, so the oldest account has them.
struct StateNames<'a> {
    state: &'a State,
    key: &'a SecretKey,
    failed: Option<StateError>,
}

impl StateNames<'_> {
    fn take(&mut self, id: u64, kind: &str, name: &str) -> bool {
        let print = self.key.fingerprint(format!("{kind}:{name}").as_bytes());
        match self.state.take_name(&print, id) {
            Ok(taken) => taken,
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }
}

impl Names for StateNames<'_> {
    fn may_have_email(&mut self, id: u64, email: &str) -> bool {
        self.take(id, "email", email)
    }

    fn may_have_name(&mut self, id: u64, name: &str) -> bool {
        self.take(id, "name", name)
    }
}

impl Run {
    /// Looks whether the key opens what is encrypted: a wrong one is told of before anything is written.
    ///
    /// # Errors
    /// [`RunError::WrongKey`], [`RunError::Source`].
    pub async fn check_key(&mut self) -> Result<(), RunError> {
        let fields = self.source.tokens().await?;
        // Beside a token there may be plain text, which any key would read.
        let tokens: Vec<&String> = fields.iter().filter(|field| SecretKey::is_token(field)).collect();
        let opened = tokens.iter().filter(|token| self.key.read(token) != Field::Sealed);
        match (tokens.len(), opened.count()) {
            (0, _) | (_, 1..) => Ok(()),
            (all, 0) => Err(RunError::WrongKey(all)),
        }
    }

    /// Reads everything and writes nothing but the plan.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn plan(&mut self) -> Result<Plan, RunError> {
        self.check_key().await?;
        let path = self.state.folder().join("plan.jsonl");
        let list = private(&path).map_err(|source| RunError::File {
            what: path.display().to_string(),
            source,
        })?;
        let mut pass = Pass::new(None, Some(io::BufWriter::new(list)));
        self.pass(&mut pass).await?;
        if let Some(mut list) = pass.list.take() {
            list.flush().map_err(|source| RunError::File {
                what: path.display().to_string(),
                source,
            })?;
        }
        let plan = Plan {
            rules: self.rules.words(),
            at: self.now.millis(),
            tables: pass.plan.into_values().collect(),
            tallies: tallies(pass.tallies),
            statuses: pass
                .statuses
                .into_iter()
                .map(|((entity, from, to), rows)| (entity.table().to_owned(), from, to, rows))
                .collect(),
        };
        self.state
            .set_meta("plan", &serde_json::to_string(&plan).unwrap_or_default())?;
        Ok(plan)
    }

    /// Takes everything that is new or has changed. A plan comes first, if there was none by these rules.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn copy(&mut self, target: &Target) -> Result<Copied, RunError> {
        let began = std::time::Instant::now();
        self.check_key().await?;
        let known: Option<Plan> = self
            .state
            .meta("plan")?
            .and_then(|json| serde_json::from_str(&json).ok());
        let plan = match known.filter(|plan| plan.rules == self.rules.words()) {
            Some(plan) => plan,
            None => self.plan().await?,
        };
        let undecided: Vec<String> = plan
            .tallies
            .iter()
            .filter(|tally| tally.rule == Rule::Ask.word())
            .map(|tally| {
                format!(
                    "{} rows of {} are {}: --rule {}=repair or =quarantine",
                    tally.rows, tally.table, tally.kind, tally.kind
                )
            })
            .collect();
        if !undecided.is_empty() {
            return Err(RunError::Undecided(undecided));
        }
        let mut pass = Pass::new(Some(target), None);
        self.pass(&mut pass).await?;
        let at = target.clock().now();
        self.derive(target, &mut pass.copied, at).await?;
        self.state.write_quarantine()?;
        let mut copied = pass.copied;
        copied.at = self.now.millis();
        copied.ahead = self.ahead;
        copied.seconds = began.elapsed().as_secs();
        copied.memory_kib = peak_memory_kib();
        copied.undecided = self
            .state
            .tallies()?
            .iter()
            .filter(|tally| tally.rule == Rule::Ask.word())
            .map(|tally| tally.rows)
            .sum();
        let mut runs: Vec<Copied> = self
            .state
            .meta("copies")?
            .and_then(|json| serde_json::from_str(&json).ok())
            .unwrap_or_default();
        runs.push(copied.clone());
        self.state
            .set_meta("copies", &serde_json::to_string(&runs).unwrap_or_default())?;
        Ok(copied)
    }

    /// Says as of when orders count as waiting: of a plan, now; of a copy, now, and from the switch on that moment, so that
    /// nothing changes only because time passes; of a verification, as the last copy said.
    ///
    /// # Errors
    /// [`RunError::State`].
    pub fn prepare(&mut self, is_copy: bool) -> Result<(), RunError> {
        let known = |text: Option<String>| text.and_then(|millis| millis.parse().ok()).map(Timestamp::from_millis);
        let as_of = match (known(self.state.meta("switched_at")?), is_copy) {
            (Some(switched_at), _) => switched_at,
            (None, true) => {
                self.state.set_meta("as_of", &self.now.millis().to_string())?;
                if !self.ahead {
                    self.state.set_meta("switched_at", &self.now.millis().to_string())?;
                }
                self.now
            }
            (None, false) => known(self.state.meta("as_of")?).unwrap_or(self.now),
        };
        self.source.set_held_since(as_of.minus(TIME_TO_PAY));
        Ok(())
    }

    /// Whether anything was found about a row.
    ///
    /// # Errors
    /// [`RunError::State`].
    pub fn is_found(&self, entity: Entity, id: u64) -> Result<bool, RunError> {
        Ok(self.state.has_findings(entity, id)?)
    }

    /// The rows of a table after the one with the id `after`, as fingerprints.
    ///
    /// # Errors
    /// [`RunError::Source`].
    pub async fn prints(&mut self, entity: Entity, after: u64, limit: usize) -> Result<Vec<(u64, [u8; 16])>, RunError> {
        Ok(match entity {
            Entity::User => {
                let rows = self.source.users(after, limit).await?;
                rows.iter().map(|row| (row.id, self.print(row))).collect()
            }
            Entity::Product => {
                let rows = self.source.products(after, limit).await?;
                rows.iter().map(|row| (row.id, self.print(row))).collect()
            }
            Entity::Collection => {
                let rows = self.source.collections(after, limit).await?;
                rows.iter().map(|row| (row.id, self.print(row))).collect()
            }
            Entity::Order => {
                let rows = self.source.orders(after, limit).await?;
                rows.iter().map(|row| (row.id, self.print(row))).collect()
            }
            Entity::Notification => {
                let rows = self.source.notifications(after, limit).await?;
                rows.iter().map(|row| (row.id, self.print(row))).collect()
            }
            Entity::UserMessage => {
                let rows = self.source.user_messages(after, limit).await?;
                rows.iter().map(|row| (row.id, self.print(row))).collect()
            }
            Entity::OrderItem
            | Entity::Payment
            | Entity::SecurityPolicy
            | Entity::RiskAssessment
            | Entity::ProductReview => Vec::new(),
        })
    }

    async fn pass(&mut self, pass: &mut Pass<'_>) -> Result<(), RunError> {
        self.prepare(pass.target.is_some())?;
        if self.source.system() == System::Monolith {
            self.users(pass).await?;
            self.products(pass).await?;
            self.collections(pass).await?;
        }
        self.orders(pass).await?;
        self.notifications(pass, Entity::Notification).await?;
        if self.source.system() == System::Monolith {
            self.notifications(pass, Entity::UserMessage).await?;
        }
        self.leftovers(pass).await
    }

    /// The fingerprint of a row, and of the rules by which it is judged.
    fn print(&self, row: &impl std::fmt::Debug) -> [u8; 16] {
        self.key
            .fingerprint(format!("1|{}|{}|{row:?}", self.rules.words(), self.media).as_bytes())
    }

    /// Whether a row has to be judged: always for a plan; for a copy if it is new or has changed.
    fn is_new(&self, pass: &Pass<'_>, entity: Entity, id: u64, print: &[u8; 16]) -> Result<bool, RunError> {
        Ok(pass.target.is_none() || !self.state.is_done(entity, id, print)?)
    }

    fn context(&self) -> Context<'_> {
        Context {
            rules: &self.rules,
            key: &self.key,
            now: self.now,
            ahead: self.ahead,
            media: &self.media,
        }
    }

    async fn users(&mut self, pass: &mut Pass<'_>) -> Result<(), RunError> {
        let mut stage = Stage::begin(
            pass,
            Entity::User,
            "accounts, log-ins",
            self.source.count("user").await?,
        );
        let mut after = 0;
        loop {
            let rows = self.source.users(after, BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            let mut work = Vec::new();
            for row in &rows {
                let print = self.print(row);
                if !self.is_new(pass, Entity::User, row.id, &print)? {
                    continue;
                }
                self.state.free_names(row.id)?;
                let mut names = StateNames {
                    state: &self.state,
                    key: &self.key,
                    failed: None,
                };
                let converted = convert::user(row, &mut names, &self.context());
                if let Some(error) = names.failed {
                    return Err(error.into());
                }
                pass.status(
                    Entity::User,
                    row.status,
                    converted.item.as_ref().map(|moved| format!("{:?}", moved.user.status)),
                );
                work.push(judge(Entity::User, row.id, print, converted, |moved| {
                    vec![written_user(&self.key, moved)]
                }));
            }
            self.store(pass, work, write_user).await?;
            stage.add(rows.len());
        }
        stage.end(pass);
        Ok(())
    }

    async fn products(&mut self, pass: &mut Pass<'_>) -> Result<(), RunError> {
        let mut stage = Stage::begin(pass, Entity::Product, "products", self.source.count("product").await?);
        let mut after = 0;
        loop {
            let rows = self.source.products(after, BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            let mut work = Vec::new();
            for row in &rows {
                let print = self.print(row);
                if !self.is_new(pass, Entity::Product, row.id, &print)? {
                    continue;
                }
                let converted = convert::product(row, &self.context());
                pass.status(
                    Entity::Product,
                    row.status,
                    converted.item.as_ref().map(|product| format!("{:?}", product.status())),
                );
                work.push(judge(Entity::Product, row.id, print, converted, |product| {
                    vec![written_product(&self.key, product)]
                }));
            }
            self.store(pass, work, |target: &Target, product: &Product, at| {
                Ok(vec![target.products.product(product, at)?])
            })
            .await?;
            stage.add(rows.len());
        }
        stage.end(pass);
        Ok(())
    }

    async fn collections(&mut self, pass: &mut Pass<'_>) -> Result<(), RunError> {
        if !self.source.has("collection") {
            return Ok(());
        }
        let count = self.source.count("collection").await?;
        let mut stage = Stage::begin(pass, Entity::Collection, "what users keep an eye on", count);
        let mut after = 0;
        loop {
            let rows = self.source.collections(after, BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            let mut work = Vec::new();
            for row in &rows {
                let print = self.print(row);
                if self.is_new(pass, Entity::Collection, row.id, &print)? {
                    let converted = convert::collection(row, &self.context());
                    work.push(judge(
                        Entity::Collection,
                        row.id,
                        print,
                        converted,
                        |(user, product, since)| {
                            vec![Written {
                                table: Table::Collections,
                                key: format!("{user}/{product}"),
                                owners: (user.to_string(), String::new()),
                                record: String::new(),
                                print: self.key.fingerprint(format!("{user}{product}{since}").as_bytes()),
                            }]
                        },
                    ));
                }
            }
            self.store(
                pass,
                work,
                |target: &Target, item: &(UserId, kernel::ProductId, Timestamp), at| {
                    let (user, product, since) = *item;
                    Ok(vec![target.products.collection(user, product, since, at)?])
                },
            )
            .await?;
            stage.add(rows.len());
        }
        stage.end(pass);
        Ok(())
    }

    async fn orders(&mut self, pass: &mut Pass<'_>) -> Result<(), RunError> {
        let becomes = "orders, payments, refunds, ledgers, reservations, claims";
        let mut stage = Stage::begin(pass, Entity::Order, becomes, self.source.count("order").await?);
        let mut after = 0;
        let system = self.source.system();
        loop {
            let rows = self.source.orders(after, BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            let mut work = Vec::new();
            for row in &rows {
                let print = self.print(row);
                if !self.is_new(pass, Entity::Order, row.id, &print)? {
                    continue;
                }
                let converted = convert::order(row, &self.context());
                let became = match (&converted.item, converted.held_back) {
                    (Some(moved), _) => Some(moved.order.status().word().to_owned()),
                    (None, true) => Some("waits for the switch".to_owned()),
                    (None, false) => None,
                };
                pass.status(Entity::Order, row.status, became);
                let moves = moves(system, row, converted.item.as_ref());
                let mut job = judge(Entity::Order, row.id, print, converted, |moved| {
                    written_order(&self.key, moved)
                });
                job.judged.moves = moves;
                work.push(job);
            }
            self.store(pass, work, write_order).await?;
            stage.add(rows.len());
        }
        stage.end(pass);
        Ok(())
    }

    async fn notifications(&mut self, pass: &mut Pass<'_>, entity: Entity) -> Result<(), RunError> {
        let is_message = entity == Entity::UserMessage;
        if is_message && !(self.source.has("messages") && self.source.has("user_messages")) {
            return Ok(());
        }
        let mut stage = Stage::begin(
            pass,
            entity,
            "notifications, inboxes",
            self.source.count(entity.table()).await?,
        );
        let mut after = 0;
        loop {
            let rows = match is_message {
                true => self.source.user_messages(after, BATCH).await?,
                false => self.source.notifications(after, BATCH).await?,
            };
            let Some(last) = rows.last() else { break };
            after = last.id;
            let mut work = Vec::new();
            for row in &rows {
                let print = self.print(row);
                if self.is_new(pass, entity, row.id, &print)? {
                    let converted = convert::notification(row, entity, &self.context());
                    work.push(judge(entity, row.id, print, converted, |notification| {
                        vec![written_notification(&self.key, notification)]
                    }));
                }
            }
            self.store(pass, work, |target: &Target, notification: &Notification, at| {
                Ok(vec![target.notifications.notification(notification, at)?])
            })
            .await?;
            stage.add(rows.len());
        }
        stage.end(pass);
        Ok(())
    }

    /// What belongs to nothing, and what nothing here corresponds to.
    async fn leftovers(&mut self, pass: &mut Pass<'_>) -> Result<(), RunError> {
        let (orphans, strangers) = (self.source.orphans().await?, self.source.strangers().await?);
        let mut judged = Vec::new();
        let system = self.source.system();
        for (entity, id, payment) in orphans {
            let mut notes = Notes::about(&self.rules, entity, id);
            notes.leave_out(Kind::Orphan, "its order is not there");
            let share = payment.as_ref().map(|payment| payment_share(system, payment));
            judged.push(Judged {
                entity,
                id,
                print: self.print(&(id, &payment)),
                written: Vec::new(),
                findings: notes.findings,
                held_back: false,
                moves: share
                    .map(|share| (Entity::Payment, id, Some(share), None))
                    .into_iter()
                    .collect(),
            });
        }
        for (entity, id, name) in strangers {
            let mut notes = Notes::about(&self.rules, entity, id);
            notes.leave_out(Kind::NotTaken, name.clone());
            judged.push(Judged {
                entity,
                id,
                print: self.print(&(id, name)),
                written: Vec::new(),
                findings: notes.findings,
                held_back: false,
                moves: Vec::new(),
            });
        }
        for entity in [Entity::OrderItem, Entity::Payment] {
            let rows = self.source.count(entity.table()).await?;
            let left_out = judged.iter().filter(|judged| judged.entity == entity).count();
            let left_out = u64::try_from(left_out).unwrap_or(0);
            let planned = pass.planned(entity, "with their orders", rows);
            planned.left_out = left_out;
            planned.taken = rows.saturating_sub(left_out);
        }
        pass.found(judged.iter().flat_map(|judged| &judged.findings))?;
        if pass.target.is_some() {
            self.state.note(&judged)?;
        }
        Ok(())
    }

    /// Counts a batch; and writes it, and then notes it, unless this is a plan.
    async fn store<T>(
        &mut self,
        pass: &mut Pass<'_>,
        mut work: Vec<Work<T>>,
        write: impl Fn(&Target, &T, Timestamp) -> Result<Vec<Import>, TargetError>,
    ) -> Result<(), RunError> {
        pass.count(&work)?;
        let Some(target) = pass.target else { return Ok(()) };
        let at = target.clock().now();
        let (mut imports, mut rows) = (Vec::new(), Vec::new());
        for (row, job) in work.iter().enumerate() {
            if let Some(item) = &job.item {
                let of_row = write(target, item, at)?;
                rows.extend(std::iter::repeat_n(row, of_row.len()));
                imports.extend(of_row);
            }
        }
        let outcomes = self.import(target, &imports).await?;
        pass.copied.written += u64::try_from(imports.len()).unwrap_or(0);
        let changed = rows
            .into_iter()
            .zip(outcomes)
            .filter(|(_, outcome)| *outcome == Imported::ChangedHere);
        for row in changed.map(|(row, _)| row).collect::<BTreeSet<usize>>() {
            if let Some(job) = work.get_mut(row) {
                let mut notes = Notes::about(&self.rules, job.judged.entity, job.judged.id);
                notes.leave_out(Kind::ChangedHere, "");
                job.judged.findings.extend(notes.findings);
            }
        }
        let judged: Vec<Judged> = work.into_iter().map(|job| job.judged).collect();
        self.state.note(&judged)?;
        Ok(())
    }

    /// Writes items, so many at once as may be.
    async fn import(&self, target: &Target, imports: &[Import]) -> Result<Vec<Imported>, RunError> {
        let writes = imports.chunks(IMPORTED_AT_ONCE).map(|some| target.write(some));
        let outcomes: Vec<Vec<Imported>> = stream::iter(writes).buffered(self.at_once).try_collect().await?;
        Ok(outcomes.concat())
    }

    /// What is not moved but follows: counters of orders, counts of payments, inboxes. Of everybody whose rows changed.
    async fn derive(&mut self, target: &Target, copied: &mut Copied, at: Timestamp) -> Result<(), RunError> {
        for (table, second, what) in [
            (Table::Orders, false, "counters of buyers"),
            (Table::Orders, true, "counters of sellers"),
            (Table::Payments, false, "counts of payments"),
            (Table::Notifications, false, "inboxes"),
        ] {
            let began = std::time::Instant::now();
            let mut stage = Progress::of(what, 0);
            let (mut after, mut all) = (String::new(), 0);
            loop {
                let owners = self.state.owners(table, second, &after, BATCH)?;
                let Some(last) = owners.last() else { break };
                after = last.clone();
                let mut work = Vec::new();
                for owner in &owners {
                    let rows = self.state.written_of(table, second, owner)?;
                    let prints: Vec<u8> = rows.iter().flat_map(|(_, _, print)| print.iter().copied()).collect();
                    let (name, print) = (format!("{what}:{owner}"), self.key.fingerprint(&prints));
                    if !self.state.is_derived(&name, &print)? {
                        work.push((name, print, owner.clone(), rows));
                    }
                }
                let mut imports = Vec::with_capacity(work.len());
                for (_, _, owner, rows) in &work {
                    imports.extend(derive_one(target, table, second, owner, rows, at)?);
                }
                // Counters that were changed here count what is here.
                self.import(target, &imports).await?;
                copied.written += u64::try_from(imports.len()).unwrap_or(0);
                let derived: Vec<(String, [u8; 16])> =
                    work.into_iter().map(|(name, print, ..)| (name, print)).collect();
                self.state.note_derived(&derived)?;
                stage.add(owners.len());
                all += owners.len();
            }
            stage.end();
            let rows = u64::try_from(all).unwrap_or(0);
            copied.stages.push((what.to_owned(), rows, began.elapsed().as_secs()));
        }
        Ok(())
    }
}

fn derive_one(
    target: &Target,
    table: Table,
    second: bool,
    owner: &str,
    rows: &[(String, String, Vec<u8>)],
    at: Timestamp,
) -> Result<Option<Import>, TargetError> {
    let Some(user) = identity::given(owner).map(UserId::from) else {
        return Ok(None);
    };
    let import = match table {
        Table::Orders => {
            let (account, figures) = figures_of(user, second, rows, at);
            target.orders.figures(account, &figures, at)?
        }
        Table::Payments => target.payments.counts(user, counts_of(rows), at)?,
        _ => target.notifications.inbox(&inbox_of(user, rows), at)?,
    };
    Ok(Some(import))
}

/// What an account's orders amount to.
#[must_use]
pub fn figures_of(
    user: UserId,
    as_seller: bool,
    rows: &[(String, String, Vec<u8>)],
    at: Timestamp,
) -> (Account, Figures) {
    let role = if as_seller { Party::Seller } else { Party::Buyer };
    let mut figures = Figures::default();
    for (_, record, _) in rows {
        let read = serde_json::from_str::<OrderRecord>(record)
            .ok()
            .and_then(|record| Order::try_from(record).ok());
        if let Some(order) = read {
            figures.import(&order, at);
        }
    }
    (Account { user, role }, figures)
}

/// How many payments a user has.
#[must_use]
pub fn counts_of(rows: &[(String, String, Vec<u8>)]) -> Counts {
    let mut counts = Counts::default();
    for (_, record, _) in rows {
        let read = serde_json::from_str::<PaymentRecord>(record)
            .ok()
            .and_then(|record| Payment::try_from(record).ok());
        if let Some(payment) = read {
            counts.import(payment.status().shown());
        }
    }
    counts
}

/// What a user's notifications amount to.
#[must_use]
pub fn inbox_of(user: UserId, rows: &[(String, String, Vec<u8>)]) -> Inbox {
    let mut inbox = Inbox::new(user);
    for (key, record, _) in rows {
        let id = key.rsplit('/').next().and_then(|id| id.parse().ok());
        let is_unread = record == UNREAD;
        if let Some(id) = id
            && let Some(kind) = NoticeKind::of(id)
        {
            inbox.import(id, kind, is_unread);
        }
    }
    inbox
}

/// What is kept of an unread notification.
const UNREAD: &str = "unread";

impl<'a> Pass<'a> {
    fn new(target: Option<&'a Target>, list: Option<io::BufWriter<std::fs::File>>) -> Self {
        Self {
            target,
            plan: BTreeMap::new(),
            tallies: BTreeMap::new(),
            statuses: BTreeMap::new(),
            list,
            copied: Copied::default(),
        }
    }

    fn planned(&mut self, entity: Entity, becomes: &str, rows: u64) -> &mut Planned {
        self.plan.entry(entity).or_insert_with(|| Planned {
            table: entity.table().to_owned(),
            becomes: becomes.to_owned(),
            rows,
            taken: 0,
            held_back: 0,
            left_out: 0,
        })
    }

    fn status(&mut self, entity: Entity, from: i64, to: Option<String>) {
        let to = to.unwrap_or_else(|| "left out".to_owned());
        *self.statuses.entry((entity, from.to_string(), to)).or_default() += 1;
    }

    fn count<T>(&mut self, work: &[Work<T>]) -> Result<(), RunError> {
        for job in work {
            let planned = self.planned(job.judged.entity, "", 0);
            match (&job.item, job.judged.held_back) {
                (Some(_), _) => planned.taken += 1,
                (None, true) => planned.held_back += 1,
                (None, false) => planned.left_out += 1,
            }
        }
        self.copied.changed += u64::try_from(work.len()).unwrap_or(0);
        self.found(work.iter().flat_map(|job| &job.judged.findings))
    }

    fn found<'f>(&mut self, findings: impl Iterator<Item = &'f Finding>) -> Result<(), RunError> {
        for finding in findings {
            let (rows, examples) = self
                .tallies
                .entry((finding.entity, finding.kind, finding.rule))
                .or_insert_with(|| (0, Vec::new()));
            *rows += 1;
            if examples.len() < 5 {
                examples.push(finding.id.clone());
            }
            if let Some(list) = &mut self.list {
                let line = serde_json::json!({
                    "table": finding.entity.table(), "id": finding.id, "kind": finding.kind.word(),
                    "rule": finding.rule.word(), "detail": finding.detail,
                });
                writeln!(list, "{line}").map_err(|source| RunError::File {
                    what: "plan.jsonl".to_owned(),
                    source,
                })?;
            }
        }
        Ok(())
    }
}

fn tallies(found: BTreeMap<(Entity, Kind, Rule), (u64, Vec<String>)>) -> Vec<Tally> {
    found
        .into_iter()
        .map(|((entity, kind, rule), (rows, examples))| Tally {
            table: entity.table().to_owned(),
            kind: kind.word().to_owned(),
            rule: rule.word().to_owned(),
            rows,
            examples,
        })
        .collect()
}

/// One table, from its beginning to its end.
struct Stage {
    entity: Entity,
    progress: Progress,
    began: std::time::Instant,
    rows: u64,
}

impl Stage {
    fn begin(pass: &mut Pass<'_>, entity: Entity, becomes: &str, rows: u64) -> Self {
        pass.planned(entity, becomes, rows);
        Self {
            entity,
            progress: Progress::of(entity.table(), rows),
            began: std::time::Instant::now(),
            rows: 0,
        }
    }

    fn add(&mut self, rows: usize) {
        self.rows += u64::try_from(rows).unwrap_or(0);
        self.progress.add(rows);
    }

    fn end(self, pass: &mut Pass<'_>) {
        self.progress.end();
        pass.copied.read += self.rows;
        pass.copied.stages.push((
            self.entity.table().to_owned(),
            self.rows,
            self.began.elapsed().as_secs(),
        ));
    }
}

fn judge<T>(
    entity: Entity,
    id: u64,
    print: [u8; 16],
    converted: Converted<T>,
    written: impl FnOnce(&T) -> Vec<Written>,
) -> Work<T> {
    Work {
        judged: Judged {
            entity,
            id,
            // What is held back is looked at again by every run.
            print: if converted.held_back { [0; 16] } else { print },
            written: converted.item.as_ref().map(written).unwrap_or_default(),
            findings: converted.findings,
            held_back: converted.held_back,
            moves: Vec::new(),
        },
        item: converted.item,
    }
}

fn write_user(target: &Target, moved: &MovedUser, at: Timestamp) -> Result<Vec<Import>, TargetError> {
    let id = moved.user.id;
    let sealed = target
        .address_seal
        .seal(id, &moved.address)
        .map_err(|_| TargetError::Sealing(format!("the user {id}")))?;
    let user = users::user::User {
        address: sealed,
        ..moved.user.clone()
    };
    Ok(target.users.user(&user, at)?.into())
}

fn write_order(target: &Target, moved: &MovedOrder, at: Timestamp) -> Result<Vec<Import>, TargetError> {
    let id = moved.order.id;
    let sealed = target
        .order_seal
        .seal(id, &moved.particulars)
        .map_err(|_| TargetError::Sealing(format!("the order {id}")))?;
    let order = Order {
        particulars: sealed,
        ..moved.order.clone()
    };
    let mut imports = Vec::new();
    for reservation in &moved.reservations {
        imports.push(target.products.reservation(reservation, at)?);
    }
    for payment in &moved.payments {
        imports.push(target.payments.payment(payment, at)?);
    }
    for refund in &moved.refunds {
        imports.push(target.payments.refund(refund, at)?);
    }
    if let Some(head) = &moved.head {
        imports.push(target.payments.head(head, at)?);
    }
    if matches!(order.state, OrderState::PendingPayment { .. }) {
        imports.extend(target.orders.claims(&order)?);
    }
    imports.push(target.orders.order(&order, at)?);
    Ok(imports)
}

/// What is noted of an account.
#[must_use]
pub fn written_user(key: &SecretKey, moved: &MovedUser) -> Written {
    let user = &moved.user;
    let all = format!(
        "{}|{}|{}|{}|{:?}|{:?}|{:?}|{}|{}",
        user.id,
        user.username.as_str(),
        user.email.as_str(),
        user.password.as_stored(),
        user.status,
        user.privilege,
        user.avatar,
        user.created_at,
        moved.address.as_str(),
    );
    Written {
        table: Table::Users,
        key: user.id.to_string(),
        owners: (user.id.to_string(), String::new()),
        record: String::new(),
        print: key.fingerprint(all.as_bytes()),
    }
}

/// What is noted of a product.
#[must_use]
pub fn written_product(key: &SecretKey, product: &Product) -> Written {
    Written {
        table: Table::Products,
        key: product.id.to_string(),
        owners: (product.seller.id.to_string(), String::new()),
        record: String::new(),
        print: key.fingerprint(format!("{product:?}").as_bytes()),
    }
}

/// What is noted of a reservation.
#[must_use]
pub fn written_reservation(key: &SecretKey, reservation: &Reservation) -> Written {
    Written {
        table: Table::Reservations,
        key: format!("{}/{}", reservation.claim.order, reservation.claim.product),
        owners: (reservation.claim.order.to_string(), String::new()),
        record: String::new(),
        print: key.fingerprint(format!("{reservation:?}").as_bytes()),
    }
}

/// What is noted of a notification.
#[must_use]
pub fn written_notification(key: &SecretKey, notification: &Notification) -> Written {
    Written {
        table: Table::Notifications,
        key: format!("{}/{}", notification.user, notification.id),
        owners: (notification.user.to_string(), String::new()),
        record: match notification.read_at {
            Some(_) => String::new(),
            None => UNREAD.to_owned(),
        },
        print: key.fingerprint(format!("{notification:?}").as_bytes()),
    }
}

/// What is noted of an order and all that belongs to it. Its particulars are in the fingerprint only.
#[must_use]
pub fn written_order(key: &SecretKey, moved: &MovedOrder) -> Vec<Written> {
    let mut written = vec![written_of_order(key, &moved.order, &moved.particulars)];
    written.extend(moved.payments.iter().map(|payment| written_payment(key, payment)));
    written.extend(moved.refunds.iter().map(|refund| written_refund(key, refund)));
    written.extend(
        moved
            .reservations
            .iter()
            .map(|reservation| written_reservation(key, reservation)),
    );
    written
}

/// What is noted of the order itself.
#[must_use]
pub fn written_of_order(key: &SecretKey, order: &Order, particulars: &orders::delivery::Particulars) -> Written {
    let bare = Order {
        particulars: orders::delivery::SealedParticulars::from_stored(String::new()),
        ..order.clone()
    };
    let record = serde_json::to_string(&OrderRecord::from(&bare)).unwrap_or_default();
    let personal = serde_json::to_string(particulars).unwrap_or_default();
    Written {
        table: Table::Orders,
        key: order.id.to_string(),
        owners: (order.buyer.to_string(), order.seller.to_string()),
        print: key.fingerprint(format!("{record}{personal}").as_bytes()),
        record,
    }
}

/// What is noted of a payment.
#[must_use]
pub fn written_payment(key: &SecretKey, payment: &Payment) -> Written {
    let record = serde_json::to_string(&PaymentRecord::from(payment)).unwrap_or_default();
    Written {
        table: Table::Payments,
        key: payment.id.to_string(),
        owners: (payment.user.to_string(), payment.order.to_string()),
        print: key.fingerprint(record.as_bytes()),
        record,
    }
}

/// What is noted of a refund.
#[must_use]
pub fn written_refund(key: &SecretKey, refund: &payments::refund::Refund) -> Written {
    let record = serde_json::to_string(&RefundRecord::from(refund)).unwrap_or_default();
    Written {
        table: Table::Refunds,
        key: refund.id.to_string(),
        owners: (refund.user.to_string(), refund.order.to_string()),
        print: key.fingerprint(record.as_bytes()),
        record,
    }
}

/// The UUID of a user, as the source names him.
#[must_use]
pub fn user_of(system: System, key: &str) -> String {
    let uuid: Option<Uuid> = match system {
        System::Monolith => key.parse().ok().map(|id| Entity::User.uuid(id)),
        System::Split => identity::given(key),
    };
    uuid.map(|uuid| uuid.to_string()).unwrap_or_default()
}

/// The day of a moment, in UTC, as the older systems kept it.
#[must_use]
pub fn day_of(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// What a payment adds to the source's sums.
fn payment_share(system: System, payment: &legacy::Payment) -> Share {
    Share {
        day: payment.created_day.clone(),
        user: user_of(system, &payment.user_key),
        status: payment.status,
        fen: payment.amount.unwrap_or(0),
    }
}

/// The number under which the older systems knew the status of a payment.
#[must_use]
pub fn payment_number(payment: &Payment) -> i64 {
    match payment.status().shown() {
        Shown::Pending => 0,
        Shown::Processing => 1,
        Shown::Success => 2,
        Shown::Failed => 3,
        Shown::Cancelled => 4,
    }
}

/// What an order here adds to the sums.
#[must_use]
pub fn order_share(order: &Order) -> Share {
    Share {
        day: day_of(order.placed_at),
        user: order.buyer.to_string(),
        status: i64::from(order.status().number()),
        fen: order.total.fen(),
    }
}

/// What a payment here adds to the sums.
#[must_use]
pub fn moved_payment_share(payment: &Payment) -> Share {
    Share {
        day: day_of(payment.created_at),
        user: payment.user.to_string(),
        status: payment_number(payment),
        fen: payment.amount.fen(),
    }
}

/// Above all ids of payments: the payment that was made up for an order.
const MADE_UP: u64 = 1 << 62;

/// Where the sums of the source and of what is written differ because of one order.
fn moves(
    system: System,
    row: &legacy::Order,
    moved: Option<&MovedOrder>,
) -> Vec<(Entity, u64, Option<Share>, Option<Share>)> {
    let mut moves = Vec::new();
    let before = Share {
        day: row.created_day.clone(),
        user: user_of(system, &row.buyer_key),
        status: row.status,
        fen: row.total.unwrap_or(0),
    };
    let mut differs = |entity, id, before: Option<Share>, after: Option<Share>| {
        if before != after {
            moves.push((entity, id, before, after));
        }
    };
    differs(
        Entity::Order,
        row.id,
        Some(before),
        moved.map(|moved| order_share(&moved.order)),
    );
    for old in &row.payments {
        let new = moved.and_then(|moved| moved.payments.iter().find(|payment| payment.id.uuid() == old.uuid));
        differs(
            Entity::Payment,
            old.id,
            Some(payment_share(system, old)),
            new.map(moved_payment_share),
        );
    }
    let made_up = moved.into_iter().flat_map(|moved| &moved.payments);
    for payment in made_up.filter(|payment| row.payments.iter().all(|old| old.uuid != payment.id.uuid())) {
        differs(
            Entity::Payment,
            MADE_UP | row.id,
            None,
            Some(moved_payment_share(payment)),
        );
    }
    moves
}

/// The most memory that this process ever had, as Linux counts it.
#[must_use]
pub fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// A new file that only its owner reads.
fn private(path: &std::path::Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}
