//! This system's tables, as a migration writes and reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use cloud::settings::Settings;
use cloud::{Cloud, StartError};
use kernel::Clock;
use keys::Seed;
use notifications::table::ImportNotifications;
use orders::delivery::Seal;
use orders::table::ImportOrders;
use payments::table::ImportPayments;
use products::table::ImportProducts;
use tables::{Import, Imported, TableError};
use tokio::time::Instant;
use users::address::AddressSeal;
use users::table::ImportUsers;

/// Where data goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// The platform that runs on this machine with `cargo run -- --migration`.
    Local,
    /// A deployment: credentials of its `MigrationRole` in the environment, its settings in a file.
    Aws,
}

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The settings can not be read.
    #[error("the settings in {} can not be read: {source}; they are the stack's output MigrationSettings", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It takes a file.
    #[error("--to aws needs --settings FILE: the stack's output MigrationSettings")]
    NoSettings,
    /// A setting or a secret is missing or wrong.
    #[error("{0}; is the platform running with --migration, or the stack deployed with Migration=on?")]
    Start(#[from] StartError),
    /// A table does not answer, or refuses.
    #[error("{0}; run it again, it goes on where it was")]
    Table(#[from] TableError),
    /// A secret is not what it should be.
    #[error("the sealing secret is not usable: {0}")]
    Seed(#[from] keys::SeedError),
    /// Personal data can not be sealed.
    #[error("personal data of {0} can not be sealed")]
    Sealing(String),
}

/// Names of tables on the local platform: those of the template.
const LOCAL_TABLES: [(&str, &str); 14] = [
    ("COLLECTIONS_TABLE", "CollectionsTable"),
    ("INBOXES_TABLE", "InboxesTable"),
    ("LOGINS_TABLE", "LoginsTable"),
    ("NOTIFICATIONS_TABLE", "NotificationsTable"),
    ("ORDER_PAYMENTS_TABLE", "OrderPaymentsTable"),
    ("ORDER_STATISTICS_TABLE", "OrderStatisticsTable"),
    ("ORDERS_TABLE", "OrdersTable"),
    ("PAYMENT_COUNTS_TABLE", "PaymentCountsTable"),
    ("PAYMENTS_TABLE", "PaymentsTable"),
    ("PENDING_CLAIMS_TABLE", "PendingClaimsTable"),
    ("PRODUCTS_TABLE", "ProductsTable"),
    ("REFUNDS_TABLE", "RefundsTable"),
    ("RESERVATIONS_TABLE", "ReservationsTable"),
    ("USERS_TABLE", "UsersTable"),
];
/// Secrets on the local platform.
const LOCAL_SECRETS: [(&str, &str); 2] = [
    ("SEALING_SECRET", "SealingSecret"),
    ("USER_TOKEN_SECRET", "UserTokenSecret"),
];
/// What comes from the environment on AWS.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
];

/// The tables, their keys, and how fast they are written.
#[derive(Debug)]
pub struct Target {
    /// Accounts.
    pub users: ImportUsers,
    /// Products.
    pub products: ImportProducts,
    /// Orders.
    pub orders: ImportOrders,
    /// Payments.
    pub payments: ImportPayments,
    /// Notifications.
    pub notifications: ImportNotifications,
    /// Seals orders.
    pub order_seal: Seal,
    /// Seals addresses.
    pub address_seal: AddressSeal,
    cloud: Cloud,
    throttle: Throttle,
}

impl Target {
    /// Opens the tables, and makes sure that they and the secrets are there, before anything is written.
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn open(
        place: Place,
        endpoint: &str,
        settings: Option<&Path>,
        writes_per_second: Option<u32>,
    ) -> Result<Self, TargetError> {
        let settings = match place {
            Place::Local => local(endpoint),
            Place::Aws => deployed(settings.ok_or(TargetError::NoSettings)?)?,
        };
        let cloud = Cloud::with(Settings::given(settings))?;
        let seed: Seed = cloud.secret("SEALING_SECRET").await?;
        let target = Self {
            users: ImportUsers::from_env(&cloud)?,
            products: ImportProducts::from_env(&cloud)?,
            orders: ImportOrders::from_env(&cloud)?,
            payments: ImportPayments::from_env(&cloud)?,
            notifications: ImportNotifications::from_env(&cloud)?,
            order_seal: Seal::derive(&seed)?,
            address_seal: AddressSeal::derive(&seed)?,
            throttle: Throttle::new(writes_per_second),
            cloud,
        };
        // A table that is not there, or may not be read, is told of now.
        tokio::try_join!(
            async { target.users.page(None).await.map(drop) },
            async { target.products.page(None).await.map(drop) },
            async { target.orders.page(None).await.map(drop) },
            async { target.payments.page(None).await.map(drop) },
            async { target.notifications.page(None).await.map(drop) },
        )?;
        Ok(target)
    }

    /// The seed of users' tokens: `verify` asks the API as the owners of some orders.
    ///
    /// # Errors
    /// [`TargetError::Start`].
    pub async fn user_token_seed(&self) -> Result<Seed, TargetError> {
        Ok(self.cloud.secret("USER_TOKEN_SECRET").await?)
    }

    /// The clock by which the system there lives.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.cloud.clock()
    }

    /// Writes some items, in their turn, and again while the tables have no room.
    ///
    /// # Errors
    /// [`TargetError::Table`] once they have had no room for a minute.
    pub async fn write(&self, imports: &[Import]) -> Result<Vec<Imported>, TargetError> {
        let mut pause = Duration::from_millis(100);
        loop {
            self.throttle.turn(imports.len()).await;
            match tables::import(imports).await {
                Err(TableError::Unavailable { .. }) if pause < Duration::from_secs(30) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                outcome => return Ok(outcome?),
            }
        }
    }
}

fn local(endpoint: &str) -> BTreeMap<String, String> {
    let arn = |id: &str| format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:{id}");
    // The access key is the role's logical id: the platform allows what the template allows it.
    let fixed = [
        ("AWS_ACCESS_KEY_ID", "MigrationRole"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
    ];
    fixed
        .into_iter()
        .chain(LOCAL_TABLES)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(LOCAL_SECRETS.map(|(name, id)| (name.to_owned(), arn(id))))
        .collect()
}

fn deployed(file: &Path) -> Result<BTreeMap<String, String>, TargetError> {
    let text = std::fs::read_to_string(file).map_err(|source| TargetError::Settings {
        path: file.to_owned(),
        source,
    })?;
    let given = text.lines().filter_map(|line| line.trim().split_once('='));
    let credentials = CREDENTIALS
        .iter()
        .filter_map(|name| std::env::var(name).ok().map(|value| (*name, value)));
    Ok(given
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(credentials.map(|(name, value)| (name.to_owned(), value)))
        .collect())
}

/// Lets so many writes through in a second.
#[derive(Debug)]
struct Throttle {
    gap: Option<Duration>,
    next: Mutex<Instant>,
}

impl Throttle {
    fn new(per_second: Option<u32>) -> Self {
        Self {
            gap: per_second
                .filter(|rate| *rate > 0)
                .map(|rate| Duration::from_secs(1) / rate),
            next: Mutex::new(Instant::now()),
        }
    }

    async fn turn(&self, writes: usize) {
        if let Some(at) = self.turn_at(writes, Instant::now()) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// When so many writes, asked for at `now`, have their turn; at once where there is no limit.
    fn turn_at(&self, writes: usize, now: Instant) -> Option<Instant> {
        let gap = self.gap?;
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = (*next).max(now);
        *next = at + gap.saturating_mul(u32::try_from(writes).unwrap_or(u32::MAX));
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_written_than_was_allowed() {
        let throttle = Throttle::new(Some(50));
        let began = Instant::now();
        let turns: Vec<Instant> = (0..11).filter_map(|_| throttle.turn_at(100, began)).collect();
        let waits: Vec<u64> = turns.iter().map(|at| at.duration_since(began).as_secs()).collect();
        assert_eq!(waits, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
        // Time in which nobody wrote is no credit.
        let later = began + Duration::from_secs(60);
        assert_eq!(throttle.turn_at(100, later), Some(later));
        assert_eq!(throttle.turn_at(1, later), Some(later + Duration::from_secs(2)));
        assert_eq!(Throttle::new(None).turn_at(100, began), None);
    }

    #[test]
    fn settings_are_lines_of_the_stacks_output() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings");
        std::fs::write(&file, "ORDERS_TABLE=a-OrdersTable-1\nSEALING_SECRET=arn:aws:x\n").unwrap();
        let settings = deployed(&file).unwrap();
        assert_eq!(settings["ORDERS_TABLE"], "a-OrdersTable-1");
        assert_eq!(settings["SEALING_SECRET"], "arn:aws:x");
        assert!(deployed(&folder.path().join("none")).is_err());
    }
}
