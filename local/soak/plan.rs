//! What a soak does, and what goes wrong in it: all of it from one number.
//!
//! Each order draws for itself: the first hundred of a thousand are those of a soak of a hundred.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fastrand::Rng;

use crate::Providers;
use crate::faults::{Ambush, Fault};
use crate::purchases::{Act, Trouble, Wish};

/// Keep the draws apart.
const STORIES: u64 = 0x7374_6f72_6965_7300;
const KILLS: u64 = 0x6b69_6c6c_7300;
/// Orders back, in which somebody may want the same goods.
const NEIGHBOURS: u32 = 6;
/// One minute in so many has a whole platform killed.
const MINUTES_PER_KILL: u32 = 16;
/// Real milliseconds into such a minute, at most.
const LATEST_KILL_MS: u32 = 1_500;
/// Passages that a fault lets by at most before it strikes: about what one order causes in a minute.
const MOST_PASSAGES: u32 = 45;
/// Faults by how often they are drawn. What hangs costs seconds each time.
const FAULTS: [(Fault, u32); 9] = [
    (Fault::KillBefore, 15),
    (Fault::KillAfter, 20),
    (Fault::Fail, 20),
    (Fault::LoseAnswer, 16),
    (Fault::Twice, 9),
    (Fault::TwiceAtOnce, 9),
    (Fault::Late, 4),
    (Fault::Overtaken, 5),
    (Fault::Hang, 2),
];

/// What happens around one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Its number in the soak.
    pub number: u32,
    /// Which of the buyers.
    pub buyer: u32,
    /// Which of the sellers.
    pub seller: u32,
    /// The order whose goods these are: its own, or those that somebody else wants as well.
    pub goods: u32,
    /// What its people want, and in which minute.
    pub wish: Wish,
    /// What goes wrong at the simulated providers.
    pub trouble: Trouble,
    /// What goes wrong in the platform: from which minute on a fault lies in wait. It strikes whoever comes by.
    pub ambushes: Vec<(u32, Ambush)>,
    /// In which minute a service tells the buyer something.
    pub notice: Option<u32>,
    /// Whether the buyer has a page open that hears of news at once.
    pub listens: bool,
}

/// `kill -9` of the whole platform, which is then started again on its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// In which minute.
    pub minute: u32,
    /// How many milliseconds of real time after its beginning.
    pub after_ms: u32,
}

/// A whole soak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// By which it can be made again.
    pub seed: u64,
    /// How many orders were drawn.
    pub orders: u32,
    /// Who plays the providers.
    pub providers: Providers,
    /// The orders, by their numbers.
    pub stories: Vec<Story>,
    /// When the platform is killed.
    pub kills: Vec<Kill>,
}

impl Plan {
    /// The plan of a seed. The seed decides who plays the providers as well: one in four soaks has the sandbox.
    #[must_use]
    pub fn draw(seed: u64, orders: u32, providers: Option<Providers>) -> Plan {
        let providers = providers.unwrap_or(if seed.is_multiple_of(4) {
            Providers::Sandbox
        } else {
            Providers::Simulated
        });
        let mut stories: Vec<Story> = Vec::new();
        for number in 0..orders {
            let story = Story::draw(seed, number, providers, &stories);
            stories.push(story);
        }
        let mut plan = Plan {
            seed,
            orders,
            providers,
            stories,
            kills: Vec::new(),
        };
        plan.kills = (1..=plan.last_minute())
            .filter_map(|minute| {
                let mut rng = rng(seed ^ KILLS, minute);
                let after_ms = rng.u32(0..LATEST_KILL_MS);
                (rng.u32(0..MINUTES_PER_KILL) == 0).then_some(Kill { minute, after_ms })
            })
            .collect();
        plan
    }

    /// The last minute in which somebody wants something.
    #[must_use]
    pub fn last_minute(&self) -> u32 {
        let acts = self.stories.iter().flat_map(|story| &story.wish.acts);
        acts.map(|(minute, _)| *minute).max().unwrap_or(0)
    }

    /// The same with these orders only, and without kills of the platform. Goods that nobody would put up now are put
    /// up for the first who wants them.
    #[must_use]
    pub fn only(mut self, numbers: &BTreeSet<u32>) -> Plan {
        self.stories.retain(|story| numbers.contains(&story.number));
        self.kills.clear();
        let mut first: BTreeMap<u32, u32> = BTreeMap::new();
        for story in &mut self.stories {
            story.goods = *first.entry(story.goods).or_insert(story.number);
        }
        self
    }

    /// The same with nothing going wrong in the platform, and the providers as they are.
    #[must_use]
    pub fn unbroken(mut self) -> Plan {
        self.kills.clear();
        for story in &mut self.stories {
            story.ambushes.clear();
        }
        self
    }
}

impl Story {
    /// The order `number` of the soak `seed`, whose earlier ones are given.
    fn draw(seed: u64, number: u32, providers: Providers, earlier: &[Story]) -> Story {
        let mut wish = Wish::draw(seed, number);
        let mut rng = rng(seed ^ STORIES, number);
        // There are more people the longer it goes on; everybody has several orders.
        let (mut buyer, mut seller) = (rng.u32(0..number / 5 + 4), rng.u32(0..number / 8 + 2));
        let mut goods = number;
        if rng.u32(0..10) < 7 {
            one_piece(&mut wish);
        }
        let neighbour = rng.u32(1..=NEIGHBOURS);
        if rng.u32(0..5) == 0
            && let Some(other) = number.checked_sub(neighbour)
            && let Some(other) = earlier.iter().find(|story| story.number == other)
        {
            (goods, seller) = (other.goods, other.seller);
            one_piece(&mut wish);
            wish.price_fen = other.wish.price_fen;
            wish.stock = other.wish.stock;
            ask_less(&mut wish);
            // Who orders what he has ordered already is led to his pending order.
            let has_ordered = |buyer| earlier.iter().any(|story| (story.goods, story.buyer) == (goods, buyer));
            while has_ordered(buyer) {
                buyer += 1;
            }
        }
        let trouble = Trouble::draw(seed, number, wish.total_fen(), providers);
        let start = wish.acts.first().map_or(0, |(minute, _)| *minute);
        let faults = match rng.u32(0..10) {
            0..3 => 0,
            3..6 => 1,
            6..8 => 2,
            _ => 3,
        };
        let ambushes = (0..faults).map(|place| {
            let minute = start + rng.u32(0..8);
            let ambush = Ambush {
                passages: rng.u32(0..MOST_PASSAGES),
                fault: fault(&mut rng),
                label: format!("order {number} fault {place}"),
            };
            (minute, ambush)
        });
        let ambushes = ambushes.collect();
        Story {
            number,
            buyer,
            seller,
            goods,
            wish,
            trouble,
            ambushes,
            notice: (rng.u32(0..4) == 0).then(|| start + rng.u32(0..5)),
            listens: rng.u32(0..4) == 0,
        }
    }
}

/// One piece, and no more of them.
fn one_piece(wish: &mut Wish) {
    (wish.quantity, wish.stock) = (1, 1);
    ask_less(wish);
}

/// A part that is asked back stays a part.
fn ask_less(wish: &mut Wish) {
    let most = (wish.total_fen() - 1).max(1);
    for (_, act) in &mut wish.acts {
        if let Act::AskBack(Some(fen)) = act {
            *fen = (*fen - 1) % most + 1;
        }
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let all: u32 = FAULTS.iter().map(|(_, weight)| weight).sum();
    let mut drawn = rng.u32(0..all);
    for (fault, weight) in FAULTS {
        match drawn.checked_sub(weight) {
            Some(left) => drawn = left,
            None => return fault,
        }
    }
    Fault::KillAfter
}

fn rng(seed: u64, number: u32) -> Rng {
    // Neighbouring numbers are to have nothing in common.
    let mut numbers = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number));
    Rng::with_seed(numbers.u64(..))
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Story { number, wish, .. } = self;
        write!(
            f,
            "order {number}: buyer {} wants {} of {} from seller {} at {} fen ({:?}, {} or {})",
            self.buyer, wish.quantity, wish.stock, self.seller, wish.price_fen, wish.flow, wish.first, wish.second
        )?;
        if self.goods != *number {
            write!(f, ", the goods of order {}", self.goods)?;
        }
        if self.listens {
            write!(f, ", with a page open")?;
        }
        for (minute, act) in &wish.acts {
            write!(f, "\n  minute {minute}: {act:?}")?;
        }
        if let Some(minute) = self.notice {
            write!(f, "\n  minute {minute}: a service tells the buyer something")?;
        }
        for kind in &self.trouble.kinds {
            write!(f, "\n  at the provider: {kind}")?;
        }
        for (minute, Ambush { passages, fault, .. }) in &self.ambushes {
            write!(f, "\n  from minute {minute}: {fault} after {passages} passages")?;
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    /// The history: what is asked for, and what goes wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, orders, .. } = self;
        writeln!(f, "seed {seed}, {orders} orders, providers {:?}", self.providers)?;
        for story in &self.stories {
            writeln!(f, "{story}")?;
        }
        for Kill { minute, after_ms } in &self.kills {
            writeln!(f, "minute {minute}: the platform is killed after {after_ms} ms")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purchases::Flow;

    #[test]
    fn the_same_seed_is_the_same_history_and_a_longer_one_begins_alike() {
        let short = Plan::draw(7, 60, None);
        assert_eq!(short.to_string(), Plan::draw(7, 60, None).to_string());
        assert_ne!(short.to_string(), Plan::draw(11, 60, None).to_string());
        let long = Plan::draw(7, 200, None);
        assert_eq!(short.stories, long.stories[..60]);
        assert!(long.kills.starts_with(&short.kills));
    }

    #[test]
    fn a_long_soak_has_everything_in_it() {
        let plan = Plan::draw(1, 1_000, None);
        let flows: BTreeSet<Flow> = plan.stories.iter().map(|story| story.wish.flow).collect();
        assert_eq!(flows.len(), Flow::ALL.len());
        let ambushes = plan.stories.iter().flat_map(|story| &story.ambushes);
        let faults: BTreeSet<Fault> = ambushes.map(|(_, ambush)| ambush.fault).collect();
        assert_eq!(faults.len(), FAULTS.len());
        let several = plan.stories.iter().filter(|story| story.ambushes.len() > 1).count();
        let contested = plan.stories.iter().filter(|story| story.goods != story.number).count();
        let single = plan.stories.iter().filter(|story| story.wish.stock == 1).count();
        assert!(
            several > 300 && contested > 100 && single > 600,
            "{several} {contested} {single}"
        );
        assert!(!plan.kills.is_empty());
        assert!(plan.stories.iter().any(|story| story.notice.is_some() && story.listens));
    }

    #[test]
    fn who_wants_the_same_goods_wants_them_from_their_seller_at_their_price() {
        let plan = Plan::draw(3, 500, None);
        for story in plan.stories.iter().filter(|story| story.goods != story.number) {
            let first = plan.stories.iter().find(|first| first.number == story.goods).unwrap();
            assert_eq!(
                (story.seller, story.wish.price_fen, story.wish.stock),
                (first.seller, first.wish.price_fen, first.wish.stock)
            );
            let same = |other: &&Story| (other.goods, other.buyer) == (story.goods, story.buyer);
            assert_eq!(plan.stories.iter().filter(same).count(), 1, "{story}");
            for (_, act) in &story.wish.acts {
                if let Act::AskBack(Some(fen)) = act {
                    assert!((1..story.wish.total_fen()).contains(fen), "{story}");
                }
            }
        }
    }

    #[test]
    fn a_part_of_a_soak_has_somebody_to_put_up_what_is_sold() {
        let plan = Plan::draw(3, 500, None);
        let contested = plan.stories.iter().find(|story| story.goods != story.number).unwrap();
        let alone = plan.clone().only(&BTreeSet::from([contested.number]));
        assert_eq!(alone.stories.len(), 1);
        assert_eq!(alone.stories[0].goods, contested.number);
        assert_eq!(alone.stories[0].wish, contested.wish);
    }
}
