//! What can go wrong with dead letters, and how each audience is told.

use event_function::EventError;
use http_function::Problem;
use kernel::LetterId;
use tables::TableError;

use crate::letter::LetterError;

/// A refusal or failure of what administers the system.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is no such letter.
    #[error("there is no such letter")]
    NotFound,
    /// The letter does not allow it.
    #[error(transparent)]
    Letter(#[from] LetterError),
    /// Others change the letter again and again.
    #[error("the letter {0} is being changed by others")]
    ChangedMeanwhile(LetterId),
    /// The consumer could not handle the letter again.
    #[error("the letter {id} could not be handled: {cause}")]
    RedriveFailed {
        /// The letter.
        id: LetterId,
        /// The consumer's words.
        cause: String,
    },
    /// A message of a queue, or of a function, that is in no directory.
    #[error("a dead letter of {0} belongs to no consumer that is known here")]
    UnknownConsumer(String),
    /// A consumer that is not deployed.
    #[error("the consumer {0} is not deployed")]
    NotDeployed(crate::consumer::Consumer),
    /// A message that no queue or stream writes.
    #[error("a dead letter is not as Lambda and SQS write them: {0}")]
    Malformed(String),
    /// A stream can not be read.
    #[error("the stream does not answer: {0}")]
    Stream(String),
    /// A consumer can not be reached.
    #[error("the consumer does not answer: {0}")]
    Consumer(String),
    /// A table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A request that does not parse, or comes from the wrong kind of caller.
    #[error("refused")]
    Call(Problem),
}

impl From<Problem> for RootError {
    fn from(problem: Problem) -> Self {
        Self::Call(problem)
    }
}

impl From<RootError> for Problem {
    fn from(error: RootError) -> Self {
        match error {
            RootError::NotFound => Self::not_found("dead letter"),
            RootError::Letter(LetterError::UnderWay(_)) => Self::conflict(
                "redrive-under-way",
                "Somebody redrives this letter at this moment. Look again in half a minute.",
            ),
            RootError::Letter(LetterError::Closed { status, .. }) => {
                Self::conflict("letter-closed", "Somebody has seen to this letter already.")
                    .with("status", status.word())
            }
            RootError::Letter(LetterError::Lost(_)) => Self::conflict(
                "letter-lost",
                "The stream had forgotten the change before it could be kept. See to it by hand, and discard the letter.",
            ),
            RootError::ChangedMeanwhile(_) => Self::conflict(
                "changed-meanwhile",
                "The letter was changed just now. Look again and repeat.",
            ),
            RootError::RedriveFailed { cause, .. } => Self::conflict(
                "redrive-failed",
                "The function could not handle the letter again. It goes on waiting.",
            )
            .with("cause", cause),
            RootError::Consumer(_) | RootError::Stream(_) => Self::unavailable(error),
            RootError::UnknownConsumer(_) | RootError::NotDeployed(_) | RootError::Malformed(_) => {
                Self::internal(error)
            }
            RootError::Table(error) => error.into(),
            RootError::Call(problem) => problem,
        }
    }
}

impl From<RootError> for EventError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::Table(error) => error.into(),
            RootError::Stream(_) | RootError::Consumer(_) | RootError::ChangedMeanwhile(_) => Self::again(error),
            other => Self::never(other),
        }
    }
}
