//! The older systems' databases: reading them, a batch at a time, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kernel::Timestamp;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, SslOpts, Value};
use uuid::Uuid;

use crate::identity::{self, Entity};
use crate::legacy::{Collection, Item, Notification, Order, Payment, Product, User, When};

/// Which of the older systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// The Django monolith: one database.
    Monolith,
    /// The split services: `cfmp_order`, `cfmp_payment`, `cfmp_notification`, or all in the one that the URL names.
    Split,
}

impl System {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Monolith => "monolith",
            Self::Split => "split",
        }
    }
}

/// How the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// TLS, with a certificate of a public authority, or of the one in this file.
    Verified(Option<PathBuf>),
    /// None: for a server on this machine, or behind a tunnel.
    Off,
}

/// Why the source can not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The URL is none.
    #[error("--from must be a URL such as mysql://reader@db.example.edu:3306/cfmp: {0}")]
    Url(String),
    /// No connection.
    #[error("the server {server} can not be reached: {reason}; look at host, port, firewall, and --tls")]
    Unreachable {
        /// Host and port.
        server: String,
        /// The client's words.
        reason: String,
    },
    /// Not let in.
    #[error("the server {server} refuses the user {user}: {reason}; look at the password file and the grants")]
    Refused {
        /// Host and port.
        server: String,
        /// The user.
        user: String,
        /// The server's words.
        reason: String,
    },
    /// The tables are others than they should be.
    #[error("the tables are not those of the {system}: {}; is --source right, and was the schema changed?", .faults.join("; "))]
    Schema {
        /// Which system was expected.
        system: &'static str,
        /// What is missing or different.
        faults: Vec<String>,
    },
    /// Reading failed.
    #[error("the source can not be read: {0}; run it again, it goes on where it was")]
    Read(String),
}

impl From<mysql_async::Error> for SourceError {
    fn from(error: mysql_async::Error) -> Self {
        Self::Read(error.to_string())
    }
}

/// The source.
#[derive(Debug)]
pub struct Source {
    conn: Conn,
    opts: Opts,
    system: System,
    database: Option<String>,
    /// Optional tables that are there.
    extras: BTreeSet<&'static str>,
    /// The moment as of which orders count as waiting; see [`Source::held_since`].
    held_since: Timestamp,
}

/// The kinds of types that a column may have.
const WHOLE: &[&str] = &["tinyint", "smallint", "mediumint", "int", "bigint"];
const TEXT: &[&str] = &["char", "varchar", "tinytext", "text", "mediumtext", "longtext"];
const JSON: &[&str] = &["json", "longtext", "text", "mediumtext"];
const MONEY: &[&str] = &["decimal"];
const DATE: &[&str] = &["datetime", "timestamp"];
const UUID: &[&str] = &["char", "varchar", "uuid"];

type Columns = &'static [(&'static str, &'static [&'static str])];

const ORDER: Columns = &[
    ("order_id", WHOLE),
    ("total_amount", MONEY),
    ("status", WHOLE),
    ("created_at", DATE),
    ("updated_at", DATE),
    ("payment_method", WHOLE),
    ("payment_time", DATE),
    ("remark", TEXT),
    ("cancel_reason", TEXT),
    ("shipping_name", TEXT),
    ("shipping_phone", TEXT),
    ("shipping_address", TEXT),
    ("shipping_postal_code", TEXT),
];
const PAYMENT: Columns = &[
    ("payment_id", WHOLE),
    ("amount", MONEY),
    ("payment_method", WHOLE),
    ("status", WHOLE),
    ("created_at", DATE),
    ("paid_at", DATE),
    ("expires_at", DATE),
    ("transaction_id", &["bigint", "varchar", "char"]),
    ("payment_subject", TEXT),
];
const NOTIFICATION: Columns = &[
    ("id", WHOLE),
    ("type", WHOLE),
    ("title", TEXT),
    ("content", TEXT),
    ("read", WHOLE),
    ("created_at", DATE),
    ("related_id", TEXT),
    ("related_data", JSON),
];

/// Tables and columns that have to be there.
fn needed(system: System) -> Vec<(&'static str, Vec<Columns>)> {
    match system {
        System::Monolith => vec![
            (
                "user",
                vec![&[
                    ("user_id", WHOLE),
                    ("username", TEXT),
                    ("password", TEXT),
                    ("email", TEXT),
                    ("created_at", DATE),
                    ("status", WHOLE),
                    ("privilege", WHOLE),
                    ("avatar", TEXT),
                    ("address", TEXT),
                ]],
            ),
            (
                "product",
                vec![&[
                    ("product_id", WHOLE),
                    ("user", WHOLE),
                    ("title", TEXT),
                    ("description", TEXT),
                    ("price", MONEY),
                    ("status", WHOLE),
                    ("created_at", DATE),
                    ("function", WHOLE),
                    ("visit_count", WHOLE),
                    ("rating_avg", MONEY),
                ]],
            ),
            (
                "product_media",
                vec![&[("product_id", WHOLE), ("media", TEXT), ("is_main", WHOLE)]],
            ),
            ("order", vec![ORDER, &[("buyer_id", WHOLE)]]),
            (
                "order_item",
                vec![&[
                    ("id", WHOLE),
                    ("order_id", WHOLE),
                    ("product_id", WHOLE),
                    ("price", MONEY),
                    ("quantity", WHOLE),
                ]],
            ),
            ("payment", vec![PAYMENT, &[("order_id", WHOLE), ("user_id", WHOLE)]]),
            ("notification", vec![NOTIFICATION, &[("user_id", WHOLE)]]),
        ],
        System::Split => vec![
            (
                "order",
                vec![
                    ORDER,
                    &[("order_uuid", UUID), ("buyer_uuid", UUID), ("seller_uuid", UUID)],
                ],
            ),
            (
                "order_item",
                vec![&[
                    ("id", WHOLE),
                    ("order_id", WHOLE),
                    ("product_uuid", UUID),
                    ("product_name", TEXT),
                    ("product_price", MONEY),
                    ("product_image", TEXT),
                    ("quantity", WHOLE),
                ]],
            ),
            (
                "payment",
                vec![
                    PAYMENT,
                    &[("payment_uuid", UUID), ("order_uuid", UUID), ("user_uuid", UUID)],
                ],
            ),
            (
                "notification",
                vec![
                    NOTIFICATION,
                    &[("notification_uuid", UUID), ("user_uuid", UUID), ("read_at", DATE)],
                ],
            ),
        ],
    }
}

/// Tables that are taken, or told of, where they are.
const EXTRAS: [(&str, &[&str]); 9] = [
    ("messages", &["message_id", "title", "content", "created_at"]),
    ("user_messages", &["id", "user_id", "messages_id"]),
    ("category", &["category_id", "name"]),
    ("product_categories", &["product_id", "category_id"]),
    ("collection", &["collection_id", "user_id", "product_id", "created_at"]),
    ("product_review", &["product_id"]),
    ("security_policy", &["policy_id", "policy_name"]),
    ("risk_assessment", &["id"]),
    ("captcha", &[]),
];

impl Source {
    /// Connects, and looks whether the tables are those of `system`. Nothing is ever written: the session is read-only.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn open(
        url: &str,
        password: Option<&str>,
        tls: &Tls,
        system: System,
        now: Timestamp,
    ) -> Result<Self, SourceError> {
        let given = Opts::from_url(url).map_err(|error| SourceError::Url(error.to_string()))?;
        let database = given.db_name().map(str::to_owned).filter(|name| !name.is_empty());
        if database.is_none() && system == System::Monolith {
            return Err(SourceError::Url("it names no database".to_owned()));
        }
        let ssl = match tls {
            Tls::Off => None,
            Tls::Verified(authority) => {
                let roots = authority.iter().map(|file| file.clone().into()).collect();
                Some(
                    SslOpts::default()
                        .with_root_certs(roots)
                        .with_disable_built_in_roots(authority.is_some()),
                )
            }
        };
        let mut builder = OptsBuilder::from_opts(given.clone())
            .ssl_opts(ssl)
            .prefer_socket(false)
            .setup(vec![
                "SET SESSION TRANSACTION READ ONLY",
                "SET NAMES utf8mb4",
                "SET SESSION time_zone = '+00:00'",
            ]);
        if let Some(password) = password {
            builder = builder.pass(Some(password));
        }
        let opts: Opts = builder.into();
        let server = format!("{}:{}", given.ip_or_hostname(), given.tcp_port());
        let conn = Conn::new(opts.clone()).await.map_err(|error| match error {
            mysql_async::Error::Server(refusal) => SourceError::Refused {
                server,
                user: given.user().unwrap_or_default().to_owned(),
                reason: refusal.to_string(),
            },
            other => SourceError::Unreachable {
                server,
                reason: other.to_string(),
            },
        })?;
        let mut source = Self {
            conn,
            opts,
            system,
            database,
            extras: BTreeSet::new(),
            held_since: now,
        };
        source.check_schema().await?;
        Ok(source)
    }

    /// A second connection to the same source.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn another(&self) -> Result<Self, SourceError> {
        Ok(Self {
            conn: Conn::new(self.opts.clone()).await?,
            opts: self.opts.clone(),
            system: self.system,
            database: self.database.clone(),
            extras: self.extras.clone(),
            held_since: self.held_since,
        })
    }

    /// Which system it is.
    #[must_use]
    pub fn system(&self) -> System {
        self.system
    }

    /// Pending orders placed before this moment do not hold their products any more.
    pub fn set_held_since(&mut self, at: Timestamp) {
        self.held_since = at;
    }

    /// Names the source without its user: host, port and database.
    #[must_use]
    pub fn name(&self) -> String {
        let database = self.database.as_deref().unwrap_or("cfmp_*");
        format!(
            "{} {}:{}/{database}",
            self.system.word(),
            self.opts.ip_or_hostname(),
            self.opts.tcp_port()
        )
    }

    /// The database of a table.
    fn database_of(&self, table: &str) -> String {
        match &self.database {
            Some(name) => name.clone(),
            None => match table {
                "order" | "order_item" => "cfmp_order",
                "payment" => "cfmp_payment",
                _ => "cfmp_notification",
            }
            .to_owned(),
        }
    }

    /// A table's quoted name, with its database.
    #[must_use]
    pub fn table(&self, table: &str) -> String {
        format!("`{}`.`{table}`", self.database_of(table).replace('`', "``"))
    }

    async fn check_schema(&mut self) -> Result<(), SourceError> {
        let mut found: BTreeMap<(String, String), BTreeMap<String, String>> = BTreeMap::new();
        let rows: Vec<(String, String, String, String)> = self
            .conn
            .query("SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns")
            .await?;
        for (schema, table, column, kind) in rows {
            found
                .entry((schema, table))
                .or_default()
                .insert(column, kind.to_ascii_lowercase());
        }
        let mut faults = Vec::new();
        for (table, groups) in needed(self.system) {
            let database = self.database_of(table);
            let Some(columns) = found.get(&(database.clone(), table.to_owned())) else {
                faults.push(format!("the table {database}.{table} is missing, or may not be read"));
                continue;
            };
            for (column, kinds) in groups.iter().copied().flatten() {
                match columns.get(*column) {
                    None => faults.push(format!("{table}.{column} is missing")),
                    Some(kind) if !kinds.contains(&kind.as_str()) => {
                        faults.push(format!(
                            "{table}.{column} is of type {kind}, not {}",
                            kinds.first().unwrap_or(&"")
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        if !faults.is_empty() {
            return Err(SourceError::Schema {
                system: self.system.word(),
                faults,
            });
        }
        for (table, columns) in EXTRAS {
            let there = found.get(&(self.database_of(table), table.to_owned()));
            if there.is_some_and(|there| columns.iter().all(|column| there.contains_key(*column))) {
                self.extras.insert(table);
            }
        }
        Ok(())
    }

    /// Whether an optional table is there.
    #[must_use]
    pub fn has(&self, table: &str) -> bool {
        self.extras.contains(table)
    }

    /// Rows of a table.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn count(&mut self, table: &str) -> Result<u64, SourceError> {
        let query = format!("SELECT COUNT(*) FROM {}", self.table(table));
        Ok(self.conn.query_first(query).await?.unwrap_or(0))
    }

    /// The rows of a query of the verification, as texts.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn texts(&mut self, query: &str) -> Result<Vec<Vec<Option<String>>>, SourceError> {
        let rows: Vec<Row> = self.conn.query(query).await?;
        Ok(rows
            .into_iter()
            .map(|row| row.unwrap().iter().map(text_of).collect())
            .collect())
    }

    async fn rows(&mut self, query: String, params: impl Into<Params> + Send) -> Result<Vec<Fields>, SourceError> {
        let rows: Vec<Row> = self.conn.exec(query, params).await?;
        Ok(rows.into_iter().map(Fields).collect())
    }

    /// Encrypted-looking fields, some of the oldest and some of the newest.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn tokens(&mut self) -> Result<Vec<String>, SourceError> {
        if self.system == System::Split {
            return Ok(Vec::new());
        }
        let table = self.table("order");
        let mut tokens = Vec::new();
        for direction in ["ASC", "DESC"] {
            let query = format!(
                "SELECT shipping_name, shipping_phone FROM {table} \
                 WHERE shipping_name LIKE 'gAAAAA%' OR shipping_phone LIKE 'gAAAAA%' ORDER BY order_id {direction} LIMIT 200"
            );
            for fields in self.rows(query, ()).await? {
                tokens.extend(
                    [fields.text("shipping_name"), fields.text("shipping_phone")]
                        .into_iter()
                        .flatten(),
                );
            }
        }
        Ok(tokens)
    }

    /// Accounts after the one with the id `after`.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn users(&mut self, after: u64, limit: usize) -> Result<Vec<User>, SourceError> {
        let query = format!(
            "SELECT user_id, username, password, email, created_at, status, privilege, avatar, address FROM {} \
             WHERE user_id > ? ORDER BY user_id LIMIT {limit}",
            self.table("user")
        );
        let rows = self.rows(query, (after,)).await?;
        Ok(rows
            .iter()
            .map(|row| User {
                id: row.id("user_id"),
                username: row.text("username").unwrap_or_default(),
                password: row.text("password").unwrap_or_default(),
                email: row.text("email").unwrap_or_default(),
                created_at: row.when("created_at"),
                status: row.whole("status").unwrap_or(0),
                privilege: row.whole("privilege").unwrap_or(0),
                avatar: row.text("avatar"),
                address: row.text("address"),
            })
            .collect())
    }

    /// Products after the one with the id `after`.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn products(&mut self, after: u64, limit: usize) -> Result<Vec<Product>, SourceError> {
        let (product, user, item, order) = (
            self.table("product"),
            self.table("user"),
            self.table("order_item"),
            self.table("order"),
        );
        let reviews = match self.has("product_review") {
            true => format!(
                "(SELECT COUNT(*) FROM {} r WHERE r.product_id = p.product_id)",
                self.table("product_review")
            ),
            false => "0".to_owned(),
        };
        let since = sql_moment(self.held_since);
        let query = format!(
            "SELECT p.product_id, u.user_id AS seller_id, u.username AS seller_name, p.title, p.description, p.price, p.status, \
             p.created_at, p.`function`, p.visit_count, p.rating_avg, {reviews} AS reviews, \
             EXISTS(SELECT 1 FROM {item} i JOIN {order} o ON o.order_id = i.order_id WHERE i.product_id = p.product_id \
               AND (o.status = 1 OR (o.status = 0 AND o.created_at > '{since}'))) AS held \
             FROM {product} p LEFT JOIN {user} u ON u.user_id = p.`user` \
             WHERE p.product_id > ? ORDER BY p.product_id LIMIT {limit}"
        );
        let rows = self.rows(query, (after,)).await?;
        let ids: Vec<u64> = rows.iter().map(|row| row.id("product_id")).collect();
        let (mut media, mut categories) = (BTreeMap::<u64, Vec<String>>::new(), BTreeMap::<u64, Vec<String>>::new());
        if !ids.is_empty() {
            let query = format!(
                "SELECT product_id, media FROM {} WHERE product_id IN ({}) ORDER BY product_id, is_main DESC, media_id",
                self.table("product_media"),
                list(&ids)
            );
            for row in self.rows(query, ()).await? {
                if let Some(name) = row.text("media").filter(|name| !name.is_empty()) {
                    media.entry(row.id("product_id")).or_default().push(name);
                }
            }
        }
        if !ids.is_empty() && self.has("category") && self.has("product_categories") {
            let query = format!(
                "SELECT pc.product_id, c.name FROM {} pc JOIN {} c ON c.category_id = pc.category_id \
                 WHERE pc.product_id IN ({}) ORDER BY pc.product_id, c.category_id",
                self.table("product_categories"),
                self.table("category"),
                list(&ids)
            );
            for row in self.rows(query, ()).await? {
                categories
                    .entry(row.id("product_id"))
                    .or_default()
                    .extend(row.text("name"));
            }
        }
        Ok(rows
            .iter()
            .map(|row| {
                let id = row.id("product_id");
                let seller = row.whole("seller_id").and_then(|seller| u64::try_from(seller).ok());
                Product {
                    id,
                    seller: seller
                        .map(|seller| (Entity::User.uuid(seller), row.text("seller_name").unwrap_or_default())),
                    title: row.text("title").unwrap_or_default(),
                    description: row.text("description").unwrap_or_default(),
                    price: row.fen("price"),
                    status: row.whole("status").unwrap_or(-1),
                    created_at: row.when("created_at"),
                    function: row.whole("function").unwrap_or(0),
                    visit_count: row.id("visit_count"),
                    rating: (
                        row.fen("rating_avg")
                            .and_then(|fen| u64::try_from(fen / 10).ok())
                            .unwrap_or(0),
                        row.id("reviews"),
                    ),
                    media: media.remove(&id).unwrap_or_default(),
                    categories: categories.remove(&id).unwrap_or_default(),
                    held: row.whole("held") == Some(1),
                }
            })
            .collect())
    }

    /// Orders after the one with the id `after`, with their items and payments.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn orders(&mut self, after: u64, limit: usize) -> Result<Vec<Order>, SourceError> {
        self.orders_where(&format!("o.order_id > {after} ORDER BY o.order_id LIMIT {limit}"))
            .await
    }

    /// The orders with these ids.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn these_orders(&mut self, ids: &[u64]) -> Result<Vec<Order>, SourceError> {
        match ids.is_empty() {
            true => Ok(Vec::new()),
            false => {
                self.orders_where(&format!("o.order_id IN ({}) ORDER BY o.order_id", list(ids)))
                    .await
            }
        }
    }

    async fn orders_where(&mut self, condition: &str) -> Result<Vec<Order>, SourceError> {
        let own = "o.order_id, o.total_amount, o.status, o.created_at, o.updated_at, o.payment_method, o.payment_time, o.remark, \
            o.cancel_reason, o.shipping_name, o.shipping_phone, o.shipping_address, o.shipping_postal_code";
        let order = self.table("order");
        let query = match self.system {
            System::Monolith => format!(
                "SELECT {own}, o.buyer_id, b.user_id AS found_buyer FROM {order} o \
                 LEFT JOIN {} b ON b.user_id = o.buyer_id WHERE {condition}",
                self.table("user")
            ),
            System::Split => {
                format!("SELECT {own}, o.order_uuid, o.buyer_uuid, o.seller_uuid FROM {order} o WHERE {condition}")
            }
        };
        let rows = self.rows(query, ()).await?;
        let ids: Vec<u64> = rows.iter().map(|row| row.id("order_id")).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let uuids: BTreeMap<u64, Uuid> = rows
            .iter()
            .map(|row| {
                let id = row.id("order_id");
                (id, row.uuid("order_uuid").unwrap_or_else(|| Entity::Order.uuid(id)))
            })
            .collect();
        let mut items = self.items_of(&ids).await?;
        let mut payments = self.payments_of(&ids, &rows).await?;
        let too_late = self.too_late(&ids).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let id = row.id("order_id");
                let (buyer, buyer_key, seller) = match self.system {
                    System::Monolith => (
                        row.whole("found_buyer")
                            .and_then(|id| u64::try_from(id).ok())
                            .map(|id| Entity::User.uuid(id)),
                        row.text("buyer_id").unwrap_or_default(),
                        None,
                    ),
                    System::Split => (
                        row.uuid("buyer_uuid"),
                        row.text("buyer_uuid").unwrap_or_default(),
                        row.uuid("seller_uuid"),
                    ),
                };
                Order {
                    id,
                    uuid: uuids.get(&id).copied().unwrap_or_else(|| Entity::Order.uuid(id)),
                    buyer,
                    buyer_key,
                    total: row.fen("total_amount"),
                    status: row.whole("status").unwrap_or(-1),
                    created_at: row.when("created_at"),
                    created_day: row.day("created_at"),
                    updated_at: row.when("updated_at"),
                    method: row.whole("payment_method"),
                    payment_time: row.when("payment_time"),
                    remark: row.text("remark"),
                    cancel_reason: row.text("cancel_reason"),
                    name: row.text("shipping_name"),
                    phone: row.text("shipping_phone"),
                    address: row.text("shipping_address"),
                    postal_code: row.text("shipping_postal_code"),
                    seller,
                    names_seller: self.system == System::Split,
                    has_products: self.system == System::Monolith,
                    items: items.remove(&id).unwrap_or_default(),
                    payments: payments.remove(&id).unwrap_or_default(),
                    too_late: too_late.contains(&id),
                }
            })
            .collect())
    }

    async fn items_of(&mut self, ids: &[u64]) -> Result<BTreeMap<u64, Vec<Item>>, SourceError> {
        let ids = list(ids);
        let item = self.table("order_item");
        let query = match self.system {
            System::Monolith => format!(
                "SELECT i.id, i.order_id, i.price, i.quantity, p.product_id AS found, s.user_id AS seller, p.title, \
                 (SELECT m.media FROM {} m WHERE m.product_id = p.product_id ORDER BY m.is_main DESC, m.media_id LIMIT 1) AS image \
                 FROM {item} i LEFT JOIN {} p ON p.product_id = i.product_id LEFT JOIN {} s ON s.user_id = p.`user` \
                 WHERE i.order_id IN ({ids}) ORDER BY i.order_id, i.id",
                self.table("product_media"),
                self.table("product"),
                self.table("user")
            ),
            System::Split => format!(
                "SELECT i.id, i.order_id, i.product_price AS price, i.quantity, i.product_uuid, i.product_name AS title, \
                 i.product_image AS image FROM {item} i WHERE i.order_id IN ({ids}) ORDER BY i.order_id, i.id"
            ),
        };
        let mut items = BTreeMap::<u64, Vec<Item>>::new();
        for row in self.rows(query, ()).await? {
            let derived = |name: &str, entity: Entity| {
                row.whole(name)
                    .and_then(|id| u64::try_from(id).ok())
                    .map(|id| entity.uuid(id))
            };
            items.entry(row.id("order_id")).or_default().push(Item {
                id: row.id("id"),
                product: row.uuid("product_uuid").or_else(|| derived("found", Entity::Product)),
                seller: derived("seller", Entity::User),
                title: row.text("title").unwrap_or_default(),
                image: row.text("image").unwrap_or_default(),
                price: row.fen("price"),
                quantity: row.whole("quantity").unwrap_or(0),
            });
        }
        Ok(items)
    }

    async fn payments_of(
        &mut self,
        ids: &[u64],
        orders: &[Fields],
    ) -> Result<BTreeMap<u64, Vec<Payment>>, SourceError> {
        let own = "p.payment_id, p.amount, p.payment_method, p.status, p.created_at, p.paid_at, p.expires_at, p.transaction_id, \
            p.payment_subject";
        let table = self.table("payment");
        let query = match self.system {
            System::Monolith => format!(
                "SELECT {own}, p.order_id, p.user_id FROM {table} p WHERE p.order_id IN ({}) ORDER BY p.payment_id",
                list(ids)
            ),
            System::Split => {
                let texts = orders.iter().filter_map(|row| row.uuid("order_uuid"));
                let texts: Vec<String> = texts
                    .flat_map(|uuid| [format!("'{}'", uuid.simple()), format!("'{uuid}'")])
                    .collect();
                if texts.is_empty() {
                    return Ok(BTreeMap::new());
                }
                format!(
                    "SELECT {own}, p.payment_uuid, p.order_uuid, p.user_uuid FROM {table} p WHERE p.order_uuid IN ({}) \
                     ORDER BY p.payment_id",
                    texts.join(",")
                )
            }
        };
        let numbers: BTreeMap<Uuid, u64> = orders
            .iter()
            .filter_map(|row| Some((row.uuid("order_uuid")?, row.id("order_id"))))
            .collect();
        let mut payments = BTreeMap::<u64, Vec<Payment>>::new();
        for row in self.rows(query, ()).await? {
            let order = match self.system {
                System::Monolith => Some(row.id("order_id")),
                System::Split => row.uuid("order_uuid").and_then(|uuid| numbers.get(&uuid).copied()),
            };
            if let Some(order) = order {
                payments.entry(order).or_default().push(payment(&row, self.system));
            }
        }
        Ok(payments)
    }

    /// Which of these orders wait for a payment of what is sold, or of what an older order waits for.
    async fn too_late(&mut self, ids: &[u64]) -> Result<BTreeSet<u64>, SourceError> {
        if self.system == System::Split {
            return Ok(BTreeSet::new());
        }
        let (order, item, product) = (self.table("order"), self.table("order_item"), self.table("product"));
        let since = sql_moment(self.held_since);
        let query = format!(
            "SELECT DISTINCT o.order_id FROM {order} o JOIN {item} i ON i.order_id = o.order_id \
             JOIN {product} p ON p.product_id = i.product_id \
             WHERE o.order_id IN ({}) AND o.status = 0 AND o.created_at > '{since}' AND (p.status <> 0 OR i.quantity > 1 OR EXISTS( \
               SELECT 1 FROM {item} i2 JOIN {order} o2 ON o2.order_id = i2.order_id WHERE i2.product_id = i.product_id \
               AND o2.order_id <> o.order_id \
               AND (o2.status = 1 OR (o2.status = 0 AND o2.created_at > '{since}' AND o2.order_id < o.order_id))))",
            list(ids)
        );
        Ok(self
            .rows(query, ())
            .await?
            .iter()
            .map(|row| row.id("order_id"))
            .collect())
    }

    /// Notifications after the one with the id `after`.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn notifications(&mut self, after: u64, limit: usize) -> Result<Vec<Notification>, SourceError> {
        let own = "n.id, n.type, n.title, n.content, n.`read`, n.created_at, n.related_id, n.related_data";
        let table = self.table("notification");
        let query = match self.system {
            System::Monolith => format!(
                "SELECT {own}, u.user_id AS found FROM {table} n LEFT JOIN {} u ON u.user_id = n.user_id \
                 WHERE n.id > ? ORDER BY n.id LIMIT {limit}",
                self.table("user")
            ),
            System::Split => format!(
                "SELECT {own}, n.user_uuid, n.read_at FROM {table} n WHERE n.id > ? ORDER BY n.id LIMIT {limit}"
            ),
        };
        let rows = self.rows(query, (after,)).await?;
        Ok(rows
            .iter()
            .map(|row| Notification {
                id: row.id("id"),
                user: row.uuid("user_uuid").or_else(|| {
                    row.whole("found")
                        .and_then(|id| u64::try_from(id).ok())
                        .map(|id| Entity::User.uuid(id))
                }),
                kind: row.whole("type").unwrap_or(-1),
                title: row.text("title").unwrap_or_default(),
                content: row.text("content").unwrap_or_default(),
                read: row.whole("read") == Some(1),
                created_at: row.when("created_at"),
                read_at: row.when("read_at"),
                related_id: row.text("related_id"),
                related_data: row.text("related_data"),
            })
            .collect())
    }

    /// Messages of the market as users got them, after the one with the id `after`.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn user_messages(&mut self, after: u64, limit: usize) -> Result<Vec<Notification>, SourceError> {
        if !self.has("messages") || !self.has("user_messages") {
            return Ok(Vec::new());
        }
        let query = format!(
            "SELECT um.id, m.title, m.content, m.created_at, u.user_id AS found FROM {} um \
             LEFT JOIN {} m ON m.message_id = um.messages_id LEFT JOIN {} u ON u.user_id = um.user_id \
             WHERE um.id > ? ORDER BY um.id LIMIT {limit}",
            self.table("user_messages"),
            self.table("messages"),
            self.table("user")
        );
        let rows = self.rows(query, (after,)).await?;
        Ok(rows
            .iter()
            .map(|row| Notification {
                id: row.id("id"),
                user: row
                    .whole("found")
                    .and_then(|id| u64::try_from(id).ok())
                    .map(|id| Entity::User.uuid(id)),
                kind: 1,
                title: row.text("title").unwrap_or_default(),
                content: row.text("content").unwrap_or_default(),
                // The monolith kept no such mark of messages; they are old.
                read: true,
                created_at: row.when("created_at"),
                read_at: When::Null,
                related_id: None,
                related_data: None,
            })
            .collect())
    }

    /// What users keep an eye on, after the one with the id `after`.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn collections(&mut self, after: u64, limit: usize) -> Result<Vec<Collection>, SourceError> {
        if !self.has("collection") {
            return Ok(Vec::new());
        }
        let query = format!(
            "SELECT c.collection_id, c.created_at, u.user_id AS found_user, p.product_id AS found_product FROM {} c \
             LEFT JOIN {} u ON u.user_id = c.user_id LEFT JOIN {} p ON p.product_id = c.product_id \
             WHERE c.collection_id > ? ORDER BY c.collection_id LIMIT {limit}",
            self.table("collection"),
            self.table("user"),
            self.table("product")
        );
        let rows = self.rows(query, (after,)).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let derived = |name: &str, entity: Entity| {
                    row.whole(name)
                        .and_then(|id| u64::try_from(id).ok())
                        .map(|id| entity.uuid(id))
                };
                Collection {
                    id: row.id("collection_id"),
                    user: derived("found_user", Entity::User),
                    product: derived("found_product", Entity::Product),
                    created_at: row.when("created_at"),
                }
            })
            .collect())
    }

    /// Items and payments whose order is not there: which table, which row, and of payments the amount, the day and the status.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn orphans(&mut self) -> Result<Vec<(Entity, u64, Option<Payment>)>, SourceError> {
        let (order, item, payment_table) = (self.table("order"), self.table("order_item"), self.table("payment"));
        let items = format!(
            "SELECT i.id FROM {item} i LEFT JOIN {order} o ON o.order_id = i.order_id WHERE o.order_id IS NULL ORDER BY i.id"
        );
        let on = match self.system {
            System::Monolith => "o.order_id = p.order_id",
            System::Split => "o.order_uuid = p.order_uuid",
        };
        let payments = format!(
            "SELECT p.* FROM {payment_table} p LEFT JOIN {order} o ON {on} WHERE o.order_id IS NULL ORDER BY p.payment_id"
        );
        let mut found = Vec::new();
        for row in self.rows(items, ()).await? {
            found.push((Entity::OrderItem, row.id("id"), None));
        }
        let system = self.system;
        for row in self.rows(payments, ()).await? {
            found.push((Entity::Payment, row.id("payment_id"), Some(payment(&row, system))));
        }
        Ok(found)
    }

    /// Rows that nothing here corresponds to: which table, which row, and what it is called.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub async fn strangers(&mut self) -> Result<Vec<(Entity, u64, String)>, SourceError> {
        let mut found = Vec::new();
        for (table, key, name, entity) in [
            ("security_policy", "policy_id", "policy_name", Entity::SecurityPolicy),
            ("risk_assessment", "id", "id", Entity::RiskAssessment),
        ] {
            if self.has(table) {
                let query = format!(
                    "SELECT {key} AS id, {name} AS name FROM {} ORDER BY {key}",
                    self.table(table)
                );
                for row in self.rows(query, ()).await? {
                    found.push((entity, row.id("id"), row.text("name").unwrap_or_default()));
                }
            }
        }
        if self.has("product_review") {
            let count = self.count("product_review").await?;
            if count > 0 {
                found.push((
                    Entity::ProductReview,
                    count,
                    "so many reviews; their stars are counted".to_owned(),
                ));
            }
        }
        Ok(found)
    }
}

fn payment(row: &Fields, system: System) -> Payment {
    let id = row.id("payment_id");
    Payment {
        id,
        uuid: row.uuid("payment_uuid").unwrap_or_else(|| Entity::Payment.uuid(id)),
        user_key: match system {
            System::Monolith => row.text("user_id"),
            System::Split => row.text("user_uuid"),
        }
        .unwrap_or_default(),
        amount: row.fen("amount"),
        method: row.whole("payment_method").unwrap_or(-1),
        status: row.whole("status").unwrap_or(-1),
        created_at: row.when("created_at"),
        created_day: row.day("created_at"),
        paid_at: row.when("paid_at"),
        expires_at: row.when("expires_at"),
        transaction: row.text("transaction_id").filter(|number| !number.is_empty()),
        subject: row.text("payment_subject").unwrap_or_default(),
    }
}

/// The password in a file, without the line's end.
///
/// # Errors
/// It can not be read.
pub fn password_in(file: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(file).map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
}

/// A row whose columns are read by their names.
struct Fields(Row);

impl Fields {
    fn value(&self, name: &str) -> Option<&Value> {
        let at = self
            .0
            .columns_ref()
            .iter()
            .position(|column| column.name_str() == name)?;
        self.0.as_ref(at).filter(|value| !matches!(value, Value::NULL))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.value(name).and_then(text_of)
    }

    fn whole(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Int(number) => Some(*number),
            Value::UInt(number) => i64::try_from(*number).ok(),
            other => text_of(other)?.parse().ok(),
        }
    }

    fn id(&self, name: &str) -> u64 {
        self.whole(name).and_then(|id| u64::try_from(id).ok()).unwrap_or(0)
    }

    fn uuid(&self, name: &str) -> Option<Uuid> {
        identity::given(&self.text(name)?)
    }

    fn fen(&self, name: &str) -> Option<i64> {
        fen(&self.text(name)?)
    }

    fn when(&self, name: &str) -> When {
        match self.value(name) {
            None => When::Null,
            Some(value) => match moment(value) {
                Some(at) => When::At(at),
                None => When::Never(text_of(value).unwrap_or_default()),
            },
        }
    }

    /// The day of a date, as `DATE_FORMAT(..., '%Y-%m-%d')` writes it.
    fn day(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::Date(year, month, day, ..)) => format!("{year:04}-{month:02}-{day:02}"),
            Some(other) => text_of(other).unwrap_or_default().chars().take(10).collect(),
            None => String::new(),
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Date(year, month, day, hour, minute, second, micros) => Some(format!(
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}"
        )),
        Value::Float(_) | Value::Double(_) | Value::Time(..) => Some(value.as_sql(true)),
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    let Value::Date(year, month, day, hour, minute, second, micros) = value else {
        return None;
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
        .parse()
        .ok()
}

/// Fen of a decimal text with two decimals at most, digit by digit.
fn fen(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let decimals = match decimals.len() {
        0 => "00".to_owned(),
        1 => format!("{decimals}0"),
        2 => decimals.to_owned(),
        _ => return None,
    };
    let whole: i64 = whole.parse().ok()?;
    let decimals: i64 = decimals.parse().ok()?;
    whole.checked_mul(100)?.checked_add(decimals)?.checked_mul(sign)
}

fn sql_moment(at: Timestamp) -> String {
    at.to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

fn list(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_fen_to_the_last_digit() {
        for (text, expected) in [
            ("19.90", Some(1990)),
            ("0.01", Some(1)),
            ("99999999.99", Some(9_999_999_999)),
            ("-0.50", Some(-50)),
            ("-3.00", Some(-300)),
            ("7", Some(700)),
            ("7.5", Some(750)),
            ("1.005", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(fen(text), expected, "{text}");
        }
    }

    #[test]
    fn dates_are_utc_and_impossible_ones_are_none() {
        let at = moment(&Value::Date(2026, 1, 1, 0, 0, 0, 123_456));
        assert_eq!(at.map(Timestamp::millis), Some(1_767_225_600_123));
        for value in [
            Value::Date(0, 0, 0, 0, 0, 0, 0),
            Value::Date(2026, 2, 30, 0, 0, 0, 0),
            Value::Int(1),
        ] {
            assert_eq!(moment(&value), None);
        }
        assert_eq!(
            sql_moment(Timestamp::from_millis(1_767_225_600_123)),
            "2026-01-01 00:00:00.123"
        );
    }
}
