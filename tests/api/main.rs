//! Black-box tests of the whole system over HTTP and events: the real binaries on a local platform of their own, or on the
//! deployment that `CFMP_BASE_URL` names (tests that look inside the platform are passed over there).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here fails a test"
)]
#![expect(
    clippy::float_arithmetic,
    reason = "the store tells consumed units as fractions, and nothing here is money"
)]
#![expect(
    unreachable_pub,
    reason = "nothing outside this binary can reach it, whatever it says"
)]

mod authorisation;
mod bad_input;
mod crashes;
mod dead_letters;
mod described;
mod development;
mod documentation;
mod edge;
mod golden;
mod inside;
mod notifications;
mod order_lists;
mod order_statistics;
mod orders;
mod payment_records;
mod payments;
mod permissions;
mod privacy;
mod products;
mod providers;
mod purchase;
mod push;
mod races;
mod reconciliation;
mod refunds;
mod restart;
mod sample_events;
mod security;
mod soak;
mod template;
mod users;
mod world;
