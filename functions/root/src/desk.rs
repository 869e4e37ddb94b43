//! What is needed to have a letter's consumer go through it again.

use cloud::{Cloud, StartError};

use crate::consumers::Consumers;
use crate::table::Letters;

/// The letters, and who reads them.
#[derive(Debug)]
pub struct Desk {
    /// The table.
    pub letters: Letters,
    /// The functions.
    pub consumers: Consumers,
}

impl Desk {
    /// Reads the settings of both.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            letters: Letters::from_env(cloud)?,
            consumers: Consumers::from_env(cloud)?,
        })
    }
}
