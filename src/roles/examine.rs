//! The audit of a running fleet, with the sandbox's truth where the providers are the sandbox.

use std::time::Duration;

use super::CommandError;
use crate::audit::{self, Scope, Truth};
use crate::config::Settings;
use crate::sandbox::look;
use crate::store::Store;

/// The longest look at the sandbox's truth.
const LOOK: Duration = Duration::from_secs(30);

/// Runs every invariant; the sandbox's truth is compared where the providers are the sandbox.
pub async fn examine(settings: &Settings, quiescent: bool) -> Result<audit::Report, CommandError> {
    let truth = match look::truth(&settings.stripe.api_base, LOOK).await {
        Some(json) => Some(Truth::read(json.to_string().as_bytes()).map_err(|error| {
            CommandError::Refused(format!(
                "the sandbox's truth could not be read: {error}; is it of this version?"
            ))
        })?),
        None => None,
    };
    audit::run(&Store::new(&settings.postgres)?, Scope { quiescent, truth })
        .await
        .map_err(CommandError::Store)
}
