//! The front door of functions that nobody waits for: they read a queue, a table's stream, or run on a schedule.
//!
//! An operation is written for one message, one change or one run; the doors lift it into the batches that Lambda
//! delivers, report only what failed, and log each outcome once.
//!
//! Failed messages are reported one by one, which works because template.yaml sets `ReportBatchItemFailures` on every
//! source (a test sees to it).

mod attended;
mod door;
mod failure;
mod publisher;
mod queue;
mod schedule;
mod stream;

pub use attended::{ATTENDED, Attendance, Attended};
pub use aws_lambda_events::sqs::SqsMessage;
pub use failure::{EventError, Retry};
pub use publisher::{Announcement, Publisher};
pub use queue::{Delivery, open_messages, open_queue};
pub use schedule::{Sweep, open_schedule, sweep};
pub use stream::{Change, open_stream, open_stream_batches};

use std::pin::Pin;

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
