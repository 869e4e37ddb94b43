//! Accounts and products to play with, in an empty store.

use crate::Platform;

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A request was not answered as it should be.
    #[error("{request}: {answer}")]
    Refused {
        /// The request.
        request: String,
        /// What came back.
        answer: String,
    },
}

pub(crate) async fn set_up(_platform: &Platform) -> Result<(), DemoError> {
    Ok(())
}
