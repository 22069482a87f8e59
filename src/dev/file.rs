//! `.orderfleet/dev.toml`: where this folder's fleet runs, and its secrets. Written by `dev`, read by every other command
//! that is run in this folder without `--config`. Readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use toml::{Table, Value};

use super::DevArguments;
use super::samples;
use super::servers::Servers;
use crate::config::{Need, Settings, Sources, load, load_for};
use crate::ids::random_hex;
use crate::roles::CommandError;

/// Names in the environment that a private server replaces.
const SERVERS: [&str; 4] =
    ["DATABASE_URL", "REDIS_URL", "ORDERFLEET__POSTGRES__URL", "ORDERFLEET__REDIS__URL"];

/// Says where the private servers are, in place of what the environment says.
pub(super) fn point_at(sources: &mut Sources, servers: &Servers) {
    sources.environment.retain(|(name, _)| !SERVERS.contains(&name.as_str()));
    sources.environment.push(("DATABASE_URL".to_owned(), servers.database_url().expose_secret().to_owned()));
    sources.environment.push(("REDIS_URL".to_owned(), servers.redis_url().expose_secret().to_owned()));
}

/// The settings of this run; writes them where other commands find them.
pub(super) fn settings(
    arguments: &DevArguments,
    config: Option<PathBuf>,
    servers: Option<&Servers>,
) -> Result<Settings, CommandError> {
    let path = arguments.folder.join("dev.toml");
    let mut sources = Sources::here(config);
    let file = sources.file.take();
    if let Some(servers) = servers {
        point_at(&mut sources, servers);
    }
    // What was chosen for the last run (secrets above all) is kept; what the environment says wins over it.
    let before =
        fs::read_to_string(&path).ok().and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
    let asked = load(&Sources { file, dev_file: None, environment: sources.environment.clone() })?;
    let mut table = chosen(&before, &asked, &sources, &arguments.folder);
    if servers.is_none() {
        table.remove("postgres");
        table.remove("redis");
    }
    write(&path, &toml::to_string(&table).unwrap_or_default())?;
    sources.dev_file = Some(path);
    Ok(load_for(&sources, Need::ALL)?)
}

/// Addresses as asked for, secrets of the last run or new ones, and providers: the sandbox, where the environment names
/// no real one.
fn chosen(before: &Table, asked: &Settings, sources: &Sources, folder: &Path) -> Table {
    let kept = |section: &str, key: &str, prefix: &str| -> Value {
        let known = before.get(section).and_then(|section| section.get(key));
        known.cloned().unwrap_or_else(|| Value::String(format!("{prefix}{}", random_hex::<24>())))
    };
    let named =
        |name: &str| sources.environment.iter().any(|(known, value)| known == name && !value.is_empty());
    let text = |value: String| Value::String(value);
    let sandbox = asked.sandbox.address;
    let mut table = Table::new();
    table.insert("intake".into(), section([("address", text(asked.intake.address.to_string()))]));
    let ops =
        [("address", text(asked.ops.address.to_string())), ("tenant", text(samples::TENANT.to_owned()))];
    table.insert("ops".into(), section(ops));
    table.insert("security".into(), section([("secret", kept("security", "secret", ""))]));
    table.insert(
        "sandbox".into(),
        section([
            ("address", text(sandbox.to_string())),
            ("smtp_address", text(asked.sandbox.smtp_address.to_string())),
            ("stripe_webhook_url", text(format!("http://{}/webhooks/stripe", asked.intake.address))),
            ("easypost_webhook_url", text(format!("http://{}/webhooks/easypost", asked.intake.address))),
            ("wallet_webhook_url", text(format!("http://{}/webhooks/payments/wallet", asked.intake.address))),
            ("truth_file", text(folder.join("sandbox.jsonl").display().to_string())),
        ]),
    );
    table.insert("postgres".into(), section([("url", text(asked.postgres.url.expose_secret().to_owned()))]));
    table.insert("redis".into(), section([("url", text(asked.redis.url.expose_secret().to_owned()))]));
    if !named("STRIPE_SECRET_KEY") {
        let secrets = Value::Array(vec![kept_first(before, "stripe", "whsec_")]);
        table.insert(
            "stripe".into(),
            section([
                ("secret_key", kept("stripe", "secret_key", "sk_test_")),
                ("webhook_secrets", secrets),
                ("api_base", text(format!("http://{sandbox}/"))),
            ]),
        );
    }
    if !named("STRIPE_SECRET_KEY") {
        // The stand-in bears what the machine bears.
        table.insert("calls".into(), section([("stripe", section([("a_second", Value::Integer(0))]))]));
    }
    if !named("EASYPOST_API_KEY") {
        let secrets = Value::Array(vec![kept_first(before, "easypost", "")]);
        table.insert(
            "easypost".into(),
            section([
                ("api_key", kept("easypost", "api_key", "EZTK")),
                ("webhook_secrets", secrets),
                ("api_base", text(format!("http://{sandbox}/v2"))),
            ]),
        );
    }
    if !named("SMTP_URL") {
        table.insert(
            "smtp".into(),
            section([("url", text(format!("smtp://{}", asked.sandbox.smtp_address)))]),
        );
    }
    table
}

fn kept_first(before: &Table, name: &str, prefix: &str) -> Value {
    let known = before.get(name).and_then(|section| section.get("webhook_secrets")?.get(0));
    known.cloned().unwrap_or_else(|| Value::String(format!("{prefix}{}", random_hex::<24>())))
}

fn section<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The file of the web tier's key.
pub(super) const WEB_KEY: &str = "api-key";
/// The file of the staff's key.
pub(super) const STAFF_KEY: &str = "ops-key";

/// The API key of this folder's fleet, if it has one.
#[must_use]
pub fn read_key(folder: &Path) -> Option<String> {
    kept_key(folder, WEB_KEY)
}

/// The key in one of these files.
pub(super) fn kept_key(folder: &Path, name: &str) -> Option<String> {
    let key = fs::read_to_string(folder.join(name)).ok()?;
    Some(key.trim().to_owned()).filter(|key| !key.is_empty())
}

pub(super) fn keep_key(folder: &Path, name: &str, key: &str) -> Result<(), CommandError> {
    write(&folder.join(name), key)
}

/// Writes a file that only its owner can read.
fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    let failed = |error| CommandError::Io(path.display().to_string(), error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
