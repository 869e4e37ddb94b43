//! `verify`: whether what is here is what was there.
//!
//! Four questions, each asked in another way, so that a mistake in one is seen by another:
//! rows (every row of the source is noted as judged, as it is now), items (every item here is what was noted as written, none
//! is missing, none is more), sums (SQL's own sums by day, user and status, with what findings explain, are the sums of the
//! items here), and whole orders (what the API answers their buyers, against what the older system's tables say).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use kernel::{BuyerId, Money, Timestamp, UserId};
use keys::Privilege;
use keys::user_token::UserTokens;
use orders::order::Order;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_client::Connection;
use tables::{Place, Scanned, TableError};

use crate::convert::MovedUser;
use crate::fernet::Field;
use crate::identity::Entity;
use crate::legacy;
use crate::progress::Progress;
use crate::rules::Kind;
use crate::run::{self, Run, RunError};
use crate::source::System;
use crate::state::{Share, Table, Written, short};
use crate::target::{Target, TargetError};

/// Rows that are read at once.
const BATCH: usize = 500;
/// Longest wait for an answer of the API.
const PATIENCE: Duration = Duration::from_secs(20);
/// Differences that are told of each check; their number is told in any case.
const SHOWN: usize = 10;

/// The answer to one question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// The question.
    pub what: String,
    /// What was counted on both sides.
    pub figures: String,
    /// Whether both sides are the same, as far as findings do not explain it.
    pub is_good: bool,
}

/// All answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// When, in milliseconds.
    pub at: i64,
    /// The answers.
    pub checks: Vec<Check>,
    /// What is different, some of it of each question.
    pub differences: Vec<String>,
    /// Orders and fen by month, on both sides: for the report.
    pub months: Vec<(String, u64, i64, u64, i64)>,
}

impl Verdict {
    /// Whether nothing is unexplained.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.is_good)
    }

    fn answer(&mut self, what: impl Into<String>, figures: String, differences: Vec<String>) {
        let what = what.into();
        let is_good = differences.is_empty();
        let all = differences.len();
        self.differences.extend(
            differences
                .into_iter()
                .take(SHOWN)
                .map(|difference| format!("{what}: {difference}")),
        );
        if all > SHOWN {
            self.differences.push(format!("{what}: and {} more", all - SHOWN));
        }
        self.checks.push(Check { what, figures, is_good });
    }
}

/// Counts and sums by something.
type Sums = BTreeMap<String, (i64, i64)>;

/// The sums of one side, by day and status, by user, and by month.
#[derive(Debug, Default, PartialEq, Eq)]
struct Books {
    days: Sums,
    users: Sums,
}

impl Books {
    fn enter(&mut self, share: &Share, count: i64, fen: i64) {
        for (sums, key) in [
            (&mut self.days, format!("{} status {}", share.day, share.status)),
            (&mut self.users, share.user.clone()),
        ] {
            let entry = sums.entry(key).or_default();
            entry.0 += count;
            entry.1 += fen;
        }
    }

    fn total(&self) -> (i64, i64) {
        self.days
            .values()
            .fold((0, 0), |sum, entry| (sum.0 + entry.0, sum.1 + entry.1))
    }

    fn months(&self) -> Sums {
        let mut months = Sums::new();
        for (day, (count, fen)) in &self.days {
            let entry = months.entry(day.chars().take(7).collect()).or_default();
            entry.0 += count;
            entry.1 += fen;
        }
        months
    }
}

fn differences(there: &Sums, here: &Sums) -> Vec<String> {
    let keys: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let none = (0, 0);
    keys.into_iter()
        .filter_map(|key| {
            let (before, after) = (there.get(key).unwrap_or(&none), here.get(key).unwrap_or(&none));
            (before != after).then(|| {
                format!(
                    "{key}: {} rows, {} fen there; {} rows, {} fen here",
                    before.0, before.1, after.0, after.1
                )
            })
        })
        .collect()
}

/// Compares both sides.
///
/// # Errors
/// [`RunError`]: that a side can not be read is no verdict.
pub async fn verify(
    run: &mut Run,
    target: &Target,
    api: Option<&str>,
    samples: usize,
    seed: u64,
) -> Result<Verdict, RunError> {
    run.check_key().await?;
    let mut verdict = Verdict {
        at: run.now.millis(),
        ..Verdict::default()
    };
    let ids = rows(run, &mut verdict).await?;
    let (orders, payments) = items(run, target, &mut verdict).await?;
    derived(run, target, &mut verdict).await?;
    sums(run, &mut verdict, &orders, &payments).await?;
    match api {
        Some(api) => whole_orders(run, target, &mut verdict, api, &sampled(ids, samples, seed)).await?,
        None => verdict.answer("whole orders", "not compared: no --api".to_owned(), Vec::new()),
    }
    let json = serde_json::to_string(&verdict).unwrap_or_default();
    run.state.set_meta("verdict", &json)?;
    run.state.write_file("verify.json", &json)?;
    Ok(verdict)
}

/// Every row of the source is noted as it is now; answers the ids of all orders.
async fn rows(run: &mut Run, verdict: &mut Verdict) -> Result<Vec<u64>, RunError> {
    run.prepare(false)?;
    let mut orders = Vec::new();
    let entities = match run.source.system() {
        System::Monolith => vec![
            Entity::User,
            Entity::Product,
            Entity::Collection,
            Entity::Order,
            Entity::Notification,
            Entity::UserMessage,
        ],
        System::Split => vec![Entity::Order, Entity::Notification],
    };
    for entity in entities {
        let (mut after, mut read, mut found) = (0, 0_u64, Vec::new());
        loop {
            let prints = run.prints(entity, after, BATCH).await?;
            let Some((last, _)) = prints.last() else { break };
            let present: Vec<u64> = prints.iter().map(|(id, _)| *id).collect();
            for gone in run.state.gone(entity, after, *last, &present)? {
                found.push(format!(
                    "{} {gone} was moved and is not in the source any more",
                    entity.table()
                ));
            }
            for (id, print) in &prints {
                let is_held_back = || run.state.is_done(entity, *id, &[0; 16]);
                let is_judged = run.state.is_done(entity, *id, print)? || run.ahead && is_held_back()?;
                if !is_judged {
                    found.push(format!("{} {id} is new or has changed: copy again", entity.table()));
                }
            }
            read += u64::try_from(prints.len()).unwrap_or(0);
            after = *last;
            if entity == Entity::Order {
                orders.extend(present);
            }
        }
        if read == 0 && run.state.rows(entity)?.0 == 0 {
            continue;
        }
        let (judged, held_back) = run.state.rows(entity)?;
        let figures = format!("{read} in the source, {judged} judged, {held_back} wait for the switch");
        verdict.answer(format!("rows of {}", entity.table()), figures, found);
    }
    Ok(orders)
}

/// Compares every item of a table with what was noted.
struct Compared {
    table: Table,
    count: u64,
    sum: u64,
    extra: u64,
    found: Vec<String>,
}

impl Compared {
    fn of(table: Table) -> Self {
        Self {
            table,
            count: 0,
            sum: 0,
            extra: 0,
            found: Vec::new(),
        }
    }

    fn take(&mut self, run: &Run, written: &Written) -> Result<(), RunError> {
        match run.state.print_of(self.table, &written.key)? {
            None => self.extra += 1,
            Some(print) => {
                self.count += 1;
                self.sum = self.sum.wrapping_add(short(&written.print));
                if print != written.print {
                    self.found.push(format!("{} is not as it was written", written.key));
                }
            }
        }
        Ok(())
    }

    fn answer(mut self, run: &Run, verdict: &mut Verdict, changed_here: bool) -> Result<(), RunError> {
        let (count, sum) = run.state.checksum(self.table)?;
        if count != self.count {
            self.found
                .push(format!("{} items were written, {} of them are here", count, self.count));
        }
        if changed_here {
            // Told of as findings, by their rows.
            self.found
                .retain(|difference| !difference.ends_with("is not as it was written"));
        } else if sum != self.sum && self.found.is_empty() {
            self.found.push("the checksums differ".to_owned());
        }
        let figures = format!(
            "{count} written, checksum {sum:016x}; {} here, checksum {:016x}; {} more that were not moved",
            self.count, self.sum, self.extra
        );
        verdict.answer(format!("items of {}", self.table.word()), figures, self.found);
        Ok(())
    }
}

/// Every page of a table.
async fn each<T>(
    what: &str,
    page: impl AsyncFn(Option<Place>) -> Result<Scanned<T>, TableError>,
    mut take: impl FnMut(T) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut progress = Progress::of(what, 0);
    let mut from = None;
    loop {
        let Scanned { items, next } = page(from).await.map_err(TargetError::from)?;
        progress.add(items.len());
        for item in items {
            take(item)?;
        }
        match next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    progress.end();
    Ok(())
}

async fn items(run: &mut Run, target: &Target, verdict: &mut Verdict) -> Result<(Books, Books), RunError> {
    let run: &Run = run;
    let changed_here = run
        .state
        .tallies()?
        .iter()
        .any(|tally| tally.kind == Kind::ChangedHere.word());
    let (mut orders, mut payments) = (Books::default(), Books::default());
    if run.source.system() == System::Monolith {
        let mut compared = Compared::of(Table::Users);
        let seal = &target.address_seal;
        each(
            "users here",
            async |from| target.users.page(from).await,
            |user| {
                let address = seal.open(user.id, user.address.as_ref());
                let address = address.map_err(|_| TargetError::Sealing(format!("the user {}", user.id)))?;
                compared.take(run, &run::written_user(&run.key, &MovedUser { user, address }))
            },
        )
        .await?;
        compared.answer(run, verdict, changed_here)?;
        let mut compared = Compared::of(Table::Products);
        each(
            "products here",
            async |from| target.products.page(from).await,
            |product| compared.take(run, &run::written_product(&run.key, &product)),
        )
        .await?;
        compared.answer(run, verdict, changed_here)?;
        let mut compared = Compared::of(Table::Reservations);
        each(
            "reservations here",
            async |from| target.products.reservations_page(from).await,
            |reservation| compared.take(run, &run::written_reservation(&run.key, &reservation)),
        )
        .await?;
        compared.answer(run, verdict, changed_here)?;
    }
    let mut compared = Compared::of(Table::Orders);
    let seal = &target.order_seal;
    each(
        "orders here",
        async |from| target.orders.page(from).await,
        |order: Order| {
            let particulars = seal.open(order.id, &order.particulars);
            let particulars = particulars.map_err(|_| TargetError::Sealing(format!("the order {}", order.id)))?;
            if order.legacy_id.is_some() {
                let share = run::order_share(&order);
                orders.enter(&share, 1, share.fen);
            }
            compared.take(run, &run::written_of_order(&run.key, &order, &particulars))
        },
    )
    .await?;
    compared.answer(run, verdict, changed_here)?;
    let mut compared = Compared::of(Table::Payments);
    each(
        "payments here",
        async |from| target.payments.page(from).await,
        |payment| {
            if payment.provider == payments::provider::ProviderName::Legacy {
                let share = run::moved_payment_share(&payment);
                payments.enter(&share, 1, share.fen);
            }
            compared.take(run, &run::written_payment(&run.key, &payment))
        },
    )
    .await?;
    compared.answer(run, verdict, changed_here)?;
    let mut compared = Compared::of(Table::Refunds);
    each(
        "refunds here",
        async |from| target.payments.refunds_page(from).await,
        |refund| compared.take(run, &run::written_refund(&run.key, &refund)),
    )
    .await?;
    compared.answer(run, verdict, changed_here)?;
    let mut compared = Compared::of(Table::Notifications);
    each(
        "notifications here",
        async |from| target.notifications.page(from).await,
        |notification| compared.take(run, &run::written_notification(&run.key, &notification)),
    )
    .await?;
    compared.answer(run, verdict, changed_here)?;
    Ok((orders, payments))
}

/// Counters, counts and inboxes are what the rows amount to.
async fn derived(run: &mut Run, target: &Target, verdict: &mut Verdict) -> Result<(), RunError> {
    let run: &Run = run;
    let now = run.now;
    let (mut seen, mut found) = (0, Vec::new());
    each(
        "counters here",
        async |from| target.orders.figures_page(from).await,
        |(account, figures)| {
            let as_seller = account.role == orders::order::Party::Seller;
            let rows = run
                .state
                .written_of(Table::Orders, as_seller, &account.user.to_string())?;
            if rows.is_empty() {
                return Ok(());
            }
            seen += 1;
            let (_, expected) = run::figures_of(account.user, as_seller, &rows, now);
            if expected.statistics(now) != figures.statistics(now) {
                found.push(format!("{} as {}", account.user, account.role.word()));
            }
            Ok(())
        },
    )
    .await?;
    let mut expected = 0;
    for second in [false, true] {
        let mut after = String::new();
        loop {
            let owners = run.state.owners(Table::Orders, second, &after, BATCH)?;
            let Some(last) = owners.last() else { break };
            after = last.clone();
            expected += owners.len();
        }
    }
    if seen != expected {
        found.push(format!("{expected} accounts have orders, {seen} have counters"));
    }
    verdict.answer("counters of orders", format!("{expected} expected, {seen} here"), found);

    let (mut seen, mut found) = (0_u64, Vec::new());
    each(
        "counts here",
        async |from| target.payments.counts_page(from).await,
        |(user, counts)| {
            let rows = run.state.written_of(Table::Payments, false, &user.to_string())?;
            if !rows.is_empty() {
                seen += 1;
                if run::counts_of(&rows) != counts {
                    found.push(user.to_string());
                }
            }
            Ok(())
        },
    )
    .await?;
    verdict.answer("counts of payments", format!("of {seen} users"), found);

    let (mut seen, mut found, mut after) = (0_u64, Vec::new(), String::new());
    loop {
        let owners = run.state.owners(Table::Notifications, false, &after, BATCH)?;
        let Some(last) = owners.last() else { break };
        after = last.clone();
        for owner in owners {
            let Ok(user) = owner.parse::<UserId>() else { continue };
            let rows = run.state.written_of(Table::Notifications, false, &owner)?;
            let here = target.notifications.inbox_of(user).await.map_err(TargetError::from)?;
            seen += 1;
            if run::inbox_of(user, &rows).tallies != here.tallies {
                found.push(owner);
            }
        }
    }
    verdict.answer("inboxes", format!("of {seen} users"), found);
    Ok(())
}

/// SQL's own sums, with what findings explain, are the sums of the items here.
async fn sums(run: &mut Run, verdict: &mut Verdict, orders: &Books, payments: &Books) -> Result<(), RunError> {
    let system = run.source.system();
    let (buyer, user) = match system {
        System::Monolith => ("buyer_id", "user_id"),
        System::Split => ("buyer_uuid", "user_uuid"),
    };
    for (entity, table, key, amount, here) in [
        (Entity::Order, "order", buyer, "total_amount", orders),
        (Entity::Payment, "payment", user, "amount", payments),
    ] {
        let from = run.source.table(table);
        let query = format!(
            "SELECT DATE_FORMAT(created_at, '%Y-%m-%d'), {key}, status, COUNT(*), CAST(SUM(COALESCE({amount}, 0)) AS CHAR) \
             FROM {from} GROUP BY 1, 2, 3"
        );
        let mut there = Books::default();
        for row in run.source.texts(&query).await? {
            let mut columns = row.into_iter().map(Option::unwrap_or_default);
            let (day, user, status) = (
                columns.next().unwrap_or_default(),
                columns.next().unwrap_or_default(),
                columns.next().unwrap_or_default(),
            );
            let (count, sum) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
            let share = Share {
                day,
                user: run::user_of(system, &user),
                status: status.parse().unwrap_or(-1),
                fen: 0,
            };
            there.enter(&share, count.parse().unwrap_or(0), fen(&sum));
        }
        let raw = there.total();
        let mut explained = 0;
        for (side, sign) in [(0, -1), (1, 1)] {
            for (share, count) in run.state.moves(entity, side)? {
                let count = i64::try_from(count).unwrap_or(0);
                explained += if side == 0 { count } else { 0 };
                there.enter(&share, sign * count, sign * share.fen);
            }
        }
        for sums in [&mut there.days, &mut there.users] {
            sums.retain(|_, entry| *entry != (0, 0));
        }
        let (expected, total) = (there.total(), here.total());
        let figures = format!(
            "{} rows, {} fen in the source; {explained} explained; {} rows, {} fen expected; {} rows, {} fen here",
            raw.0, raw.1, expected.0, expected.1, total.0, total.1
        );
        verdict.answer(
            format!("money of {table} by day and status"),
            figures,
            differences(&there.days, &here.days),
        );
        let figures = format!("{} users expected, {} here", there.users.len(), here.users.len());
        verdict.answer(
            format!("money of {table} by user"),
            figures,
            differences(&there.users, &here.users),
        );
        if entity == Entity::Order {
            let (before, after) = (there.months(), here.months());
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            verdict.months = keys
                .into_iter()
                .map(|key| {
                    let of = |sums: &Sums| sums.get(key).copied().unwrap_or_default();
                    let ((a, b), (c, d)) = (of(&before), of(&after));
                    (
                        key.clone(),
                        u64::try_from(a).unwrap_or(0),
                        b,
                        u64::try_from(c).unwrap_or(0),
                        d,
                    )
                })
                .collect();
        }
    }
    Ok(())
}

/// Fen of SQL's sum, which may be larger than one amount can be.
fn fen(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "00"));
    let decimals: String = decimals.chars().chain("00".chars()).take(2).collect();
    let whole: i64 = whole.parse().unwrap_or(0);
    sign * (whole * 100 + decimals.parse::<i64>().unwrap_or(0))
}

/// Some of the ids, as a number decides.
fn sampled(mut ids: Vec<u64>, count: usize, seed: u64) -> Vec<u64> {
    let mut chance = fastrand::Rng::with_seed(seed);
    chance.shuffle(&mut ids);
    ids.truncate(count);
    ids.sort_unstable();
    ids
}

/// What the API answers to the buyers of some orders, against what the older system's tables say, without the code that
/// converts. Orders whose rows have findings are known to differ, and only have to be there or not.
async fn whole_orders(
    run: &mut Run,
    target: &Target,
    verdict: &mut Verdict,
    api: &str,
    ids: &[u64],
) -> Result<(), RunError> {
    let tokens = UserTokens::derive(&target.user_token_seed().await?).map_err(TargetError::from)?;
    let client = Connection::to_the_web_as("migrate");
    let (mut compared, mut explained, mut found) = (0, 0, Vec::new());
    for some in ids.chunks(BATCH) {
        for row in run.source.these_orders(some).await? {
            let Some(buyer) = row.buyer else {
                explained += 1;
                continue;
            };
            let user = UserId::from(BuyerId::from(buyer));
            let now = target.clock().now();
            let token = tokens
                .issue(user, "migrate", Privilege::Member, now)
                .map_err(TargetError::from)?;
            let stranger = tokens
                .issue(UserId::random(), "migrate", Privilege::Member, now)
                .map_err(TargetError::from)?;
            let address = format!("{api}/api/orders/{}/", row.id);
            let (status, answer) = ask(&client, &address, &token).await;
            let is_known_to_differ = run.is_found(Entity::Order, row.id)?;
            let is_held_back = run.ahead && status == 404;
            match status {
                200 if is_known_to_differ => explained += 1,
                404 if is_known_to_differ || is_held_back => explained += 1,
                200 => {
                    compared += 1;
                    found.extend(
                        whole(run, &row, &answer)
                            .into_iter()
                            .map(|what| format!("order {}: {what}", row.id)),
                    );
                    let (of_stranger, _) = ask(&client, &address, &stranger).await;
                    if of_stranger != 404 {
                        found.push(format!("order {}: a stranger is answered {of_stranger}", row.id));
                    }
                    if !row.payments.is_empty() {
                        let address = format!("{api}/api/payment/{}/", row.id);
                        let (status, payment) = ask(&client, &address, &token).await;
                        let amounts: Vec<String> = row.payments.iter().map(|payment| money(payment.amount)).collect();
                        let amount = payment["data"]["amount"].as_str().unwrap_or_default().to_owned();
                        if status != 200 || !amounts.contains(&amount) {
                            found.push(format!("payment of order {}: {status}, amount {amount:?}", row.id));
                        }
                    }
                }
                other => found.push(format!("order {}: the API answers {other}", row.id)),
            }
        }
    }
    let figures = format!(
        "{} drawn, {compared} compared member by member, {explained} explained by findings",
        ids.len()
    );
    verdict.answer("whole orders", figures, found);
    Ok(())
}

/// The status and the JSON of an answer; status 0 where there was none.
async fn ask(client: &Connection, address: &str, token: &str) -> (u16, Value) {
    let headers = [(header::AUTHORIZATION, format!("Bearer {token}"))];
    match client
        .send(Method::GET, address, &headers, Bytes::new(), PATIENCE)
        .await
    {
        Ok(answer) => (
            answer.status.as_u16(),
            serde_json::from_slice(&answer.body).unwrap_or_default(),
        ),
        Err(_) => (0, Value::Null),
    }
}

fn money(fen: Option<i64>) -> String {
    fen.and_then(|fen| Money::from_fen(fen).ok())
        .map(|money| money.to_string())
        .unwrap_or_default()
}

/// Where an answer is not what the row says.
fn whole(run: &Run, row: &legacy::Order, answer: &Value) -> Vec<String> {
    let order = &answer["data"];
    let open = |field: &Option<String>| match field.as_deref().map(|text| run.key.read(text)) {
        Some(Field::Plain(text)) => text.trim().to_owned(),
        Some(Field::Sealed) | None => String::new(),
    };
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::seconds);
    let shown = |name: &str| order[name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let text = |name: &str| order[name].as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    let mut same = |what: &str, is_same: bool| {
        if !is_same {
            found.push(format!("{what} differs"));
        }
    };
    same("order_uuid", text("order_uuid") == row.uuid.to_string());
    same("status", order["status"].as_i64() == Some(row.status));
    same("total_amount", text("total_amount") == money(row.total));
    same(
        "buyer_uuid",
        Some(text("buyer_uuid")) == row.buyer.map(|uuid| uuid.to_string()),
    );
    let seller = row.seller.or_else(|| row.items.first().and_then(|item| item.seller));
    same(
        "seller_uuid",
        Some(text("seller_uuid")) == seller.map(|uuid| uuid.to_string()),
    );
    same(
        "created_at",
        seconds(shown("created_at")) == seconds(row.created_at.moment()),
    );
    same("shipping_name", text("shipping_name") == open(&row.name));
    same("shipping_phone", text("shipping_phone") == open(&row.phone));
    same("shipping_address", text("shipping_address") == open(&row.address));
    same(
        "remark",
        text("remark") == row.remark.as_deref().unwrap_or_default().trim(),
    );
    same(
        "payment_method",
        order["payment_method"].as_i64() == row.method || row.status != 0,
    );
    let products = order["products"].as_array().cloned().unwrap_or_default();
    same("the number of products", products.len() == row.items.len());
    for (product, item) in products.iter().zip(&row.items) {
        let is_same = product["product_uuid"].as_str().map(str::to_owned) == item.product.map(|uuid| uuid.to_string())
            && product["price"].as_str() == Some(money(item.price).as_str())
            && product["quantity"].as_i64() == Some(item.quantity)
            && product["product_name"].as_str() == Some(item.title.trim());
        same("a product", is_same);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_fen_to_the_last_digit() {
        for (text, expected) in [
            ("0.00", 0),
            ("1234567890.05", 123_456_789_005),
            ("-1.50", -150),
            ("7", 700),
            ("", 0),
        ] {
            assert_eq!(fen(text), expected, "{text}");
        }
    }

    #[test]
    fn the_same_number_draws_the_same_orders() {
        let ids: Vec<u64> = (0..1000).collect();
        let drawn = sampled(ids.clone(), 20, 7);
        assert_eq!(drawn, sampled(ids.clone(), 20, 7));
        assert_ne!(drawn, sampled(ids, 20, 8));
        assert_eq!(drawn.len(), 20);
    }

    #[test]
    fn a_difference_is_told_with_both_sides() {
        let sums = |count, fen| Sums::from([("2026-01-01 status 1".to_owned(), (count, fen))]);
        assert!(differences(&sums(1, 5), &sums(1, 5)).is_empty());
        assert_eq!(differences(&sums(1, 5), &sums(1, 6)).len(), 1);
        assert_eq!(differences(&sums(1, 5), &Sums::new()).len(), 1);
        assert_eq!(differences(&Sums::new(), &sums(1, 5)).len(), 1);
    }
}
