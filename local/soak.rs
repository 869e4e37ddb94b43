//! The soak: orders by the hundred, decided by one number, on a platform in which everything goes wrong at once: faults of
//! the providers, faults at every call, delivery and answer, and kills of the whole platform. In the end time passes until
//! nothing is unfinished, and everything has to be as it should be. The same people under a steady load are in [`load`].

mod chart;
mod host;
pub mod load;
mod measure;
mod people;
pub mod plan;
mod report;
mod verdict;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use self::host::HostError;
use self::host::{Host, Recipe};
use self::measure::Journal;
pub use self::measure::{Gauge, Latency, Operation, Trend};
use self::people::{People, Shown};
use self::plan::{Kill, Plan, Story};
pub use self::report::Outcome;
pub use self::verdict::Failure;
use crate::books::BooksError;
use crate::faults::{Ambush, Strike};
use crate::purchases::{AFTERWARDS, Desk, Person, Purchase, RunError, USER_TOKEN_SECRET};
use crate::template::TemplateError;
use crate::template::model::Template;
use crate::{Providers, root};

/// Purchases that people go on with at the same time.
const AT_ONCE: usize = 3;
const MINUTE_MS: u64 = 60_000;
/// Minutes that what failed gets at most, once all time has passed, for its next tries.
const MOST_MINUTES: u32 = 3_000;

/// How a platform is had.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The executable `cfmp`.
    pub program: PathBuf,
    /// The folder of the functions' executables.
    pub functions: PathBuf,
    /// Another template than the workspace's.
    pub template: Option<PathBuf>,
}

/// What is run.
#[derive(Debug, Clone)]
pub struct Soak {
    /// Decides everything.
    pub seed: u64,
    /// How many orders.
    pub orders: u32,
    /// Who plays the providers, where the seed is not to decide it.
    pub providers: Option<Providers>,
    /// Only these of the orders; all where it is empty.
    pub only: BTreeSet<u32>,
    /// Whether nothing goes wrong in the platform.
    pub unbroken: bool,
}

/// Why it came to no end. That something is wrong is no error but an [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    /// There is no platform.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The people.
    #[error(transparent)]
    People(#[from] RunError),
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// The data folder.
    #[error("the data can not be kept: {0}")]
    Folder(#[from] std::io::Error),
    /// There is no key for tokens.
    #[error("no tokens: {0}")]
    Tokens(String),
    /// The report.
    #[error("the report can not be written: {0}")]
    Page(#[from] askama::Error),
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The platform and its people are being prepared.
    Preparing,
    /// So many of so many orders are through; more in words.
    Going(u64, u64, String),
    /// Everybody is through; so many of so many steps of time have passed.
    Passing(u64, u64),
    /// It is being looked at.
    Looking,
}

/// Something that a service tells somebody.
#[derive(Debug, Clone)]
struct Notice {
    number: u32,
    minute: u32,
    to: String,
    /// By which it is known again.
    about: String,
    is_taken: bool,
}

/// A platform with its people, and everything that is noted.
struct Stage {
    host: Arc<Host>,
    desk: Arc<Desk>,
    journal: Journal,
    template: Template,
    people: People,
    shown: Shown,
    notices: Mutex<Vec<Notice>>,
    strikes: Mutex<Vec<(u64, Strike)>>,
    tasks: Vec<JoinHandle<()>>,
    pages: Vec<JoinHandle<()>>,
    /// Goes with it.
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn open(ground: &Ground, providers: Providers, stories: &[Story], seed: u64) -> Result<Stage, SoakError> {
        let folder = tempfile::Builder::new().prefix("cfmp-soak-").tempdir()?;
        let recipe = Recipe {
            program: ground.program.clone(),
            functions: ground.functions.clone(),
            template: ground.template.clone(),
            providers,
            folder: folder.path().to_owned(),
        };
        let host = Arc::new(Host::start(recipe).await?);
        let file = ground.template.clone().unwrap_or_else(|| root().join("template.yaml"));
        let template = Template::read(&file, host.base_url())?;
        let journal = Journal::begin();
        let observer = journal.clone();
        let desk = Desk::at(
            host.base_url(),
            host.simulator().as_deref(),
            host.clock().clone(),
            &user_secret(&host)?,
        )?;
        let desk = Arc::new(desk.observed(Box::new(move |asked| observer.note(asked))));
        let names = stories.iter().flat_map(|story| [buyer(story), seller(story)]);
        let people = people::register(&host, names.collect()).await?;
        let notices = stories.iter().filter_map(|story| {
            Some(Notice {
                number: story.number,
                minute: story.notice?,
                to: buyer(story),
                about: Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{seed} {}", story.number).as_bytes()).to_string(),
                is_taken: false,
            })
        });
        let mut stage = Stage {
            desk,
            people,
            shown: Shown::default(),
            notices: Mutex::new(notices.collect()),
            strikes: Mutex::default(),
            tasks: vec![journal.watch(&host)],
            pages: Vec::new(),
            journal,
            template,
            host,
            _folder: folder,
        };
        stage.open_pages(stories);
        Ok(stage)
    }

    fn open_pages(&mut self, stories: &[Story]) {
        let Some(api) = &self.template.sockets else { return };
        let url = format!("{}/{}", self.host.base_url().replacen("http", "ws", 1), api.stage);
        let names: BTreeSet<String> = stories.iter().filter(|story| story.listens).map(buyer).collect();
        for person in names.iter().filter_map(|name| self.people.get(name)) {
            let (desk, shown) = (Arc::clone(&self.desk), Arc::clone(&self.shown));
            let page = people::listen(desk, url.clone(), person.clone(), shown);
            self.pages.push(page);
        }
    }

    /// A purchase of this story, between its people.
    fn purchase(&self, seed: u64, story: &Story) -> Result<Purchase, SoakError> {
        let person = |name: String| -> Result<Person, SoakError> {
            let known = self.people.get(&name).cloned();
            known.ok_or_else(|| SoakError::Tokens(format!("{name} has no account")))
        };
        let between = (person(buyer(story))?, person(seller(story))?);
        let (wish, trouble) = (story.wish.clone(), story.trouble.clone());
        Ok(Purchase::between(seed, between, story.goods, wish, trouble))
    }

    fn notices(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strikes(&self) -> MutexGuard<'_, Vec<(u64, Strike)>> {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> BTreeSet<(String, String)> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a fault lie in wait.
    async fn lie_in_wait(&self, ambush: &Ambush) -> Result<(), SoakError> {
        let ambush = json!(ambush);
        let told = self
            .host
            .with(async |operator| operator.post("/_local/faults/ambushes", &ambush).await);
        told.await?;
        Ok(())
    }

    /// Notes which faults have struck.
    async fn collect_strikes(&self) -> Result<(), SoakError> {
        let told = self
            .host
            .with(async |operator| operator.post("/_local/faults/strikes", &json!({})).await)
            .await?["strikes"]
            .take();
        let struck: Vec<Strike> = serde_json::from_value(told).map_err(HostError::from)?;
        let at_ms = self.journal.now_ms();
        self.strikes().extend(struck.into_iter().map(|strike| (at_ms, strike)));
        Ok(())
    }

    /// Services tell what is due; what is not taken on is told again in the next minute.
    async fn tell(&self, minute: u32) -> Result<(), SoakError> {
        let due: Vec<Notice> = {
            let notices = self.notices();
            let due = notices
                .iter()
                .filter(|notice| !notice.is_taken && notice.minute <= minute);
            due.cloned().collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        let path = "/_local/service-token?service=order-service";
        let token = self.host.with(async |operator| operator.get(path).await).await?;
        let token = token["token"].as_str().unwrap_or_default();
        for notice in due {
            let Some(person) = self.people.get(&notice.to) else {
                continue;
            };
            if self.desk.tell(token, notice.number, person, &notice.about).await? {
                let mut notices = self.notices();
                for told in notices.iter_mut().filter(|told| told.about == notice.about) {
                    told.is_taken = true;
                }
            }
        }
        Ok(())
    }

    /// One minute: what is due by then is done, until only time brings about more. Then the minute is over.
    async fn live_through(
        &self,
        purchases: &mut [Purchase],
        minute: u32,
        kill: Option<&Kill>,
    ) -> Result<(), SoakError> {
        let acting = async {
            stream::iter(purchases.iter_mut().filter(|purchase| purchase.is_due(minute)))
                .map(Ok)
                .try_for_each_concurrent(AT_ONCE, |purchase| purchase.go_on(&self.desk, minute))
                .await?;
            self.tell(minute).await
        };
        let killing = async {
            if let Some(kill) = kill {
                tokio::time::sleep(Duration::from_millis(kill.after_ms.into())).await;
                self.collect_strikes().await?;
                self.host.kill().await?;
            }
            Ok(())
        };
        futures::try_join!(acting, killing)?;
        self.host.rest().await?;
        self.collect_strikes().await?;
        Ok(self.host.advance(MINUTE_MS).await?)
    }

    /// Time passes, until nothing is unfinished. Answers how many messages were given up and put back.
    async fn live_on(&mut self, tell: &dyn Fn(Progress)) -> Result<u64, SoakError> {
        for page in self.pages.drain(..) {
            page.abort();
        }
        let all: u32 = AFTERWARDS.iter().map(|(steps, _)| steps).sum();
        let mut passed = 0;
        for (steps, ms) in AFTERWARDS {
            for _ in 0..steps {
                self.host.advance(ms).await?;
                self.host.rest().await?;
                passed += 1;
                tell(Progress::Passing(passed, all.into()));
            }
        }
        self.finish().await?;
        self.collect_strikes().await?;
        let put_back = self.put_dead_letters_back().await?;
        if put_back > 0 {
            self.finish().await?;
        }
        Ok(put_back)
    }

    /// What failed and waits for its next try gets it.
    async fn finish(&self) -> Result<(), SoakError> {
        for _ in 0..MOST_MINUTES {
            let (pending, idle) = self.host.pending().await?;
            if idle && pending.is_idle() {
                return Ok(());
            }
            self.host.advance(MINUTE_MS).await?;
            self.host.rest().await?;
        }
        let (pending, _) = self.host.pending().await?;
        Err(HostError::Restless(format!("{pending:?}")).into())
    }

    /// An administrator's answer to dead letters: once more.
    async fn put_dead_letters_back(&self) -> Result<u64, SoakError> {
        let listed = self
            .host
            .with(async |operator| operator.get("/_local/dead-letters").await)
            .await?;
        let letters = listed["dead_letters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut put_back = 0;
        for letter in letters.iter().filter_map(|letter| letter["id"].as_str()) {
            self.desk.redrive(letter).await?;
            put_back += 1;
        }
        Ok(put_back)
    }

    /// Whether somebody has not done all that he wanted, or a service not told all that it had to tell.
    fn is_unfinished(&self, purchases: &[Purchase]) -> bool {
        let is_told = self.notices().iter().all(|notice| notice.is_taken);
        purchases.iter().any(|purchase| !purchase.is_done()) || !is_told
    }

    async fn close(&self) {
        for task in self.tasks.iter().chain(&self.pages) {
            task.abort();
        }
        self.host.stop().await;
    }
}

fn buyer(story: &Story) -> String {
    format!("buyer-{}", story.buyer)
}

fn seller(story: &Story) -> String {
    format!("seller-{}", story.seller)
}

/// What users' tokens are signed with, as the platform keeps it.
fn user_secret(host: &Host) -> Result<String, SoakError> {
    let file = host.data().join("secrets.json");
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?).map_err(HostError::from)?;
    let secret = kept[USER_TOKEN_SECRET]["value"].as_str().map(str::to_owned);
    secret.ok_or_else(|| SoakError::Tokens(format!("{} has no {USER_TOKEN_SECRET}", file.display())))
}

impl Soak {
    /// What will be done.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let plan = Plan::draw(self.seed, self.orders, self.providers);
        let plan = if self.unbroken { plan.unbroken() } else { plan };
        if self.only.is_empty() {
            plan
        } else {
            plan.only(&self.only)
        }
    }

    /// How to do it again; only these orders, if any are named.
    #[must_use]
    pub fn command(&self, only: &BTreeSet<u32>) -> String {
        let mut command = format!("cargo run -- soak --seed {} --orders {}", self.seed, self.orders);
        match self.providers {
            Some(Providers::Sandbox) => command += " --providers sandbox",
            Some(Providers::Simulated) => command += " --providers simulated",
            None => {}
        }
        if self.unbroken {
            command += " --unbroken";
        }
        if !only.is_empty() {
            let numbers: Vec<String> = only.iter().map(u32::to_string).collect();
            command += &format!(" --only {}", numbers.join(","));
        }
        command
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`SoakError`]. What is wrong in the end is no error: see [`Outcome::failures`].
    pub async fn run(&self, ground: &Ground, tell: &dyn Fn(Progress)) -> Result<Outcome, SoakError> {
        tell(Progress::Preparing);
        let plan = self.plan();
        let mut stage = Stage::open(ground, plan.providers, &plan.stories, self.seed).await?;
        let outcome = self.play(&plan, &mut stage, tell).await;
        stage.close().await;
        outcome
    }

    async fn play(&self, plan: &Plan, stage: &mut Stage, tell: &dyn Fn(Progress)) -> Result<Outcome, SoakError> {
        let purchases = plan.stories.iter().map(|story| stage.purchase(self.seed, story));
        let mut purchases: Vec<Purchase> = purchases.collect::<Result<_, _>>()?;
        let of = u64::try_from(purchases.len()).unwrap_or(u64::MAX);
        let mut minute = 0;
        while stage.is_unfinished(&purchases) {
            let ambushes = plan.stories.iter().flat_map(|story| &story.ambushes);
            for (_, ambush) in ambushes.filter(|(from, _)| *from == minute) {
                stage.lie_in_wait(ambush).await?;
            }
            let kill = plan.kills.iter().find(|kill| kill.minute == minute);
            stage.live_through(&mut purchases, minute, kill).await?;
            let done = purchases.iter().filter(|purchase| purchase.is_done()).count();
            let said = format!("minute {minute}, {} faults struck", stage.strikes().len());
            tell(Progress::Going(u64::try_from(done).unwrap_or(of), of, said));
            minute += 1;
        }
        let put_back = stage.live_on(tell).await?;
        tell(Progress::Looking);
        let verdict = verdict::look(stage, &purchases).await?;
        Ok(Outcome::of_soak(self, plan, stage, &purchases, verdict, put_back))
    }
}
