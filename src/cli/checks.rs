//! `orderfleet audit` and `orderfleet doctor`.

use std::process::ExitCode;

use crate::audit;
use crate::config::{Need, Settings};
use crate::ops::doctor;
use crate::roles::{self, CommandError};
use crate::terminal::{say, say_json};

#[derive(Debug, clap::Args)]
pub(super) struct AuditArguments {
    /// Also check what holds only once nothing is under way.
    #[arg(long)]
    quiescent: bool,
    #[arg(long)]
    json: bool,
}

pub(super) async fn audit(arguments: AuditArguments, settings: &Settings) -> Result<ExitCode, CommandError> {
    let report = roles::examine(settings, arguments.quiescent).await?;
    if arguments.json {
        say_json(&report);
    } else {
        say(audit::render(&report).trim_end());
    }
    Ok(if report.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    #[arg(long)]
    json: bool,
}

pub(super) async fn doctor(
    arguments: DoctorArguments,
    settings: &Settings,
) -> Result<ExitCode, CommandError> {
    let report = doctor::examine(settings, Need::ALL).await;
    if arguments.json {
        say_json(&report);
    } else {
        say(doctor::render(&report).trim_end());
    }
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
