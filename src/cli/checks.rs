//! `orderfleet audit` and `orderfleet doctor`.

use std::process::ExitCode;
use std::time::Duration;

use super::{CliError, say, say_json, store};
use crate::audit::{self, Scope, Truth};
use crate::config::Settings;
use crate::ops::doctor;
use crate::sandbox::look;

/// The longest look at the sandbox's truth.
const LOOK: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct AuditArguments {
    /// Also check what holds only once nothing is under way.
    #[arg(long)]
    quiescent: bool,
    #[arg(long)]
    json: bool,
}

pub(super) async fn audit(arguments: AuditArguments, settings: &Settings) -> Result<ExitCode, CliError> {
    let report = examine(settings, arguments.quiescent).await?;
    if arguments.json {
        say_json(&report);
    } else {
        say(audit::render(&report).trim_end());
    }
    Ok(if report.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs every invariant; the sandbox's truth is compared where the providers are the sandbox.
pub(crate) async fn examine(settings: &Settings, quiescent: bool) -> Result<audit::Report, CliError> {
    let truth = match look::truth(&settings.stripe.api_base, LOOK).await {
        Some(json) => Some(Truth::read(&json).map_err(|error| {
            CliError::Refused(format!("the sandbox's truth could not be read: {error}; is it of this version?"))
        })?),
        None => None,
    };
    audit::run(&store(settings)?, Scope { quiescent, truth }).await.map_err(CliError::Store)
}

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    #[arg(long)]
    json: bool,
}

pub(super) async fn doctor(arguments: DoctorArguments, settings: &Settings) -> Result<ExitCode, CliError> {
    let report = doctor::examine(settings).await;
    if arguments.json {
        say_json(&report);
    } else {
        say(doctor::render(&report).trim_end());
    }
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
