//! Streams of the tables of payments and refunds: announces what changed.

use std::process::ExitCode;

use payments::announcements;

fn main() -> ExitCode {
    event_function::open_stream(announcements::of)
}
