//! Stream of the orders table: announces every change of an order. The outbox of OrderService.

use std::process::ExitCode;

fn main() -> ExitCode {
    event_function::open_stream(orders::announcements::of)
}
