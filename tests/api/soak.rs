//! A short soak: what `cargo run -- soak` does by the hundred.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cfmp::Providers;
use cfmp::cargo_build::{self, Profile};
use cfmp::soak::load::Load;
use cfmp::soak::{Ground, Soak};

use crate::inside::{is_elsewhere, template_that_loses_stock};

fn ground(template: Option<PathBuf>) -> Ground {
    let binaries = cargo_build::build(cfmp::root(), Profile::OWN).unwrap();
    Ground {
        program: env!("CARGO_BIN_EXE_cfmp").into(),
        functions: binaries["create-order"].parent().unwrap().to_owned(),
        template,
    }
}

fn soak(seed: u64, orders: u32) -> Soak {
    Soak {
        seed,
        orders,
        providers: None,
        only: BTreeSet::new(),
        unbroken: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_wrong_at_once_and_everything_ends_well() {
    if is_elsewhere() {
        return;
    }
    let soak = soak(1, 25);
    let outcome = soak.run(&ground(None), &|_| {}).await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}\n{}", soak.command(&soak.only)));
    assert!(outcome.is_clean(), "{outcome}");
    assert!(outcome.kills > 0, "{outcome}");
    let struck: u64 = outcome.faults.values().map(|(_, struck)| struck).sum();
    assert!(struck > 10 && outcome.sites.len() > 5, "{outcome}");
    for end in ["completed", "cancelled"] {
        assert!(outcome.ends.get(end).is_some_and(|count| *count > 3), "{outcome}");
    }
    let page = outcome.page().unwrap();
    assert!(page.contains("<polyline") && page.contains("Everything is as it should be."));
    for foreign in ["<script", "src=", "href=", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

/// Both are run by what they print: orders, acts, faults, kills.
#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [1, 4] {
        let history = soak(seed, 100).plan().to_string();
        assert_eq!(history, soak(seed, 100).plan().to_string());
        assert_ne!(history, soak(seed + 2, 100).plan().to_string());
        assert!(history.starts_with(&format!("seed {seed}, 100 orders")));
    }
    let providers = |seed| soak(seed, 1).plan().providers;
    assert_eq!([1, 4].map(providers), [Providers::Simulated, Providers::Sandbox]);
}

/// A soak that always ends well would show nothing: here nobody returns the stock of cancelled orders.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_loses_something_fails_the_soak_and_says_how_to_see_it_again() {
    if is_elsewhere() {
        return;
    }
    let (_folder, file) = template_that_loses_stock();
    // Two of these expire: what is called off sooner is given back by the sweeper, whose lease has not ended then.
    let soak = Soak {
        unbroken: true,
        providers: Some(Providers::Sandbox),
        ..soak(20, 4)
    };
    let outcome = soak.run(&ground(Some(file)), &|_| {}).await.unwrap();
    let said = outcome.to_string();
    assert!(said.contains("still reserved by a cancelled order"), "{said}");
    let number = outcome.failures.iter().find_map(|failure| failure.number).unwrap();
    let shortest = outcome.shortest.unwrap();
    let begins = "cargo run -- soak --seed 20 --orders 4 --providers sandbox --unbroken --only ";
    let only: Vec<&str> = shortest.strip_prefix(begins).unwrap().split(',').collect();
    assert!(only.contains(&number.to_string().as_str()), "{shortest}");
    // The trace: what was wanted, and what was asked.
    let trace = &outcome.traces[0];
    assert!(trace.contains(" wants ") && trace.contains("Expires"), "{trace}");
    assert!(trace.contains("order: 201"), "{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_tells_how_long_everything_took() {
    if is_elsewhere() {
        return;
    }
    let load = Load {
        seed: 4,
        rate: 6,
        minutes: 1,
        speed: 6,
        faults: true,
        providers: Providers::Sandbox,
    };
    let outcome = load.run(&ground(None), &|_| {}).await.unwrap();
    assert!(outcome.is_clean(), "{outcome}");
    let under = outcome.load.as_ref().unwrap();
    assert_eq!(under.begun.0, 6);
    assert!(under.begun.1 >= 10_000, "a minute at speed six");
    assert!(outcome.operations["order"].latency.count > 0, "{outcome}");
    assert!(outcome.to_string().contains("orders begun in"), "{outcome}");
    assert!(!outcome.gauges.is_empty());
}
