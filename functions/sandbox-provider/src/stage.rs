//! Where the sandbox may stand.

use cloud::StartError;
use cloud::settings::{SettingError, Settings};

/// Refuses to start in production, whatever the template says: there, its trades would pay orders with nothing.
///
/// # Errors
/// [`StartError`]: `STAGE` is missing or `production`.
pub fn refuse_production(settings: &Settings) -> Result<(), StartError> {
    Ok(allowed(&settings.required("STAGE")?)?)
}

fn allowed(stage: &str) -> Result<(), SettingError> {
    match stage {
        "production" => Err(SettingError::Wrong {
            name: "STAGE",
            reason: "the sandbox provider takes no real money and does not run in production".to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_run_in_production() {
        assert!(allowed("production").is_err());
        assert_eq!(allowed("local"), Ok(()));
        assert_eq!(allowed("staging"), Ok(()));
    }
}
