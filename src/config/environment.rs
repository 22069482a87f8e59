//! The environment: the only file that reads it, apart from what the command line takes from there.
//!
//! Every setting has a name of ours, `ORDERFLEET__SECTION__KEY`; some also have the name that everybody uses for them.
//! Two underscores, because Kubernetes sets `ORDERFLEET_PORT` and more of that form by itself for a service of our name.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use toml::Value;

use super::load::Sources;

/// What the names of ours begin with.
const PREFIX: &str = "ORDERFLEET__";
/// Written by `orderfleet dev` for the commands that look at the running dev fleet.
const DEV_FILE: &str = ".orderfleet/dev.toml";
/// The names that everybody uses, and the settings that they stand for.
const USUAL: [(&str, &str); 10] = [
    ("DATABASE_URL", "postgres.url"),
    ("REDIS_URL", "redis.url"),
    ("STRIPE_SECRET_KEY", "stripe.secret_key"),
    ("STRIPE_WEBHOOK_SECRET", "stripe.webhook_secrets"),
    ("STRIPE_API_BASE", "stripe.api_base"),
    ("EASYPOST_API_KEY", "easypost.api_key"),
    ("EASYPOST_WEBHOOK_SECRET", "easypost.webhook_secrets"),
    ("EASYPOST_API_BASE", "easypost.api_base"),
    ("SMTP_URL", "smtp.url"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
];

impl Sources {
    /// What this process was given: the file named by `--config`, or else what `orderfleet dev` left in the working
    /// folder, and the environment.
    #[must_use]
    pub fn here(config: Option<PathBuf>) -> Self {
        // Not `vars`, which ends the process at a name that is not Unicode; such a name is none of ours.
        let ours = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| is_ours(name))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        let dev_file = Path::new(DEV_FILE).is_file().then(|| PathBuf::from(DEV_FILE));
        Self { file: config, dev_file, environment: ours.collect() }
    }
}

/// Whoever is at the terminal, as the record of what operators did has them: by the name that they give, else the one who
/// became root, rather than root.
#[must_use]
pub fn operator(given: Option<String>) -> String {
    let known: HashMap<OsString, OsString> = std::env::vars_os().collect();
    let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(|name| known.get(OsStr::new(name)));
    let mut names = names.map(|name| name.to_string_lossy().trim().to_owned());
    let name = given.or_else(|| names.find(|name| !name.is_empty()));
    format!("operator {}", name.as_deref().unwrap_or("unnamed"))
}

/// Whether a name of the environment means a setting, be it one that there is or not.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || USUAL.iter().any(|(usual, _)| *usual == name)
}

/// The setting of a usual name.
pub(super) fn usual(name: &str) -> Option<&'static str> {
    USUAL.iter().find(|(usual, _)| *usual == name).map(|(_, setting)| *setting)
}

/// The usual name of a setting; else none.
pub(super) fn usual_name(setting: &str) -> Option<&'static str> {
    USUAL.iter().find(|(_, known)| *known == setting).map(|(name, _)| *name)
}

/// The name of ours for a setting: `lanes.payments-in.slice` is `ORDERFLEET__LANES__PAYMENTS_IN__SLICE`.
pub(super) fn name_of(setting: &str) -> String {
    format!("{PREFIX}{}", setting.to_uppercase().replace('-', "_").replace('.', "__"))
}

/// A text of the environment as a value of the default's type; else what was wanted.
pub(super) fn parse(text: &str, default: &Value) -> Result<Value, &'static str> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err("must be valid UTF-8");
    }
    match default {
        Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| "must be a whole number"),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).map_err(|_| "must be true or false"),
        Value::Array(_) => list(text).map(Value::Array),
        Value::String(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_) => {
            Ok(Value::String(text.to_owned()))
        }
    }
}

/// `a, b` or `["a", "b"]`. A blank between two commas is kept: whoever wrote it has to see it refused.
fn list(text: &str) -> Result<Vec<Value>, &'static str> {
    let text = text.trim();
    if text.starts_with('[') {
        let texts: Vec<String> = serde_json::from_str(text)
            .map_err(|_| "must be a list of texts in JSON, or texts with commas between")?;
        return Ok(texts.into_iter().map(Value::String).collect());
    }
    let parts = text.split(',').filter(|_| !text.is_empty());
    Ok(parts.map(|part| Value::String(part.trim().to_owned())).collect())
}
