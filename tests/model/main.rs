//! The rules of orders, payments, refunds and reservations, played through to the end in every order in which things can
//! happen: messages that come twice or late, answers that are lost, functions that die between two writes, buyers who pay
//! when nobody expects it.
//!
//! The rules are the functions that production calls; what is modelled is what lies around them (`market.rs`) and what
//! must be true (`properties.rs`).

#![expect(clippy::indexing_slicing, reason = "what fails here fails a test")]

mod market;
mod properties;
mod rules;
mod world;

use std::time::Instant;

use market::{Bounds, Market};
use stateright::{Checker, HasDiscoveries, Model};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// One order, paid in two attempts, every message twice.
const PAYING: Bounds = Bounds {
    buyers: 1,
    pieces: 1,
    tries: 1,
    attempts: 2,
    duplicates: true,
    notices: false,
    wrongs: false,
    hard_refunds: false,
    asking_back: false,
    moments: &[0, 30 * MINUTE, 90 * DAY],
};

/// One order, paid in one attempt in which everything can go wrong and of which money is asked back; what people are told
/// is delivered like the rest.
const GOING_WRONG: Bounds = Bounds {
    attempts: 1,
    duplicates: false,
    notices: true,
    wrongs: true,
    hard_refunds: true,
    asking_back: true,
    ..PAYING
};

/// Two buyers of the last piece, who repeat their orders under their keys: early, a moment before their leases end, and
/// then.
const COMPETING: Bounds = Bounds {
    buyers: 2,
    tries: 2,
    attempts: 1,
    duplicates: false,
    moments: &[0, 15 * MINUTE - 1, 15 * MINUTE, 30 * MINUTE, 45 * MINUTE, 90 * DAY],
    ..PAYING
};

#[test]
fn paying() {
    explore(PAYING);
}

#[test]
fn going_wrong() {
    explore(GOING_WRONG);
}

#[test]
fn competing() {
    explore(COMPETING);
}

fn explore(bounds: Bounds) {
    let since = Instant::now();
    let checker = Market::new(bounds)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    eprintln!(
        "{} states ({} steps, depth {}) in {:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        since.elapsed()
    );
    for (name, path) in checker.discoveries() {
        eprintln!("BROKEN: {name}");
        eprintln!("{:#?}", path.last_state());
        for (_, step) in path.into_vec() {
            eprintln!("  {step:?}");
        }
    }
    checker.assert_properties();
}
