//! The life of one function instance.

use std::pin::Pin;
use std::process::ExitCode;

use lambda_runtime::tracing;

/// From the start of an instance to its end.
pub type Life = Pin<Box<dyn Future<Output = Result<(), lambda_runtime::Error>>>>;

/// Lives: sets up the log, and runs `life` on this thread until the Lambda service ends it. A failure to start is logged
/// in one line that names what has to be mended, and the exit code is 1.
pub fn run(life: Life) -> ExitCode {
    tracing::init_default_subscriber();
    let lived = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(life));
    match lived {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(reason = %error, "the function can not start");
            ExitCode::FAILURE
        }
    }
}
