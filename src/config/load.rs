//! Reads the settings: the defaults, then one file, then the environment; each over the one before.
//!
//! The file of defaults is also the list of what can be set and of each setting's type, so there is no second list to
//! fall behind. Each given value is first tried alone, over the defaults: what can't be taken is named and left out, and
//! the rest is judged all the same. That is how one start names every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::environment::{is_ours, name_of, parse, usual};
use super::faults::{ConfigError, Fault, Origin};
use super::needs::{self, Need};
use super::{Settings, rules};

/// Where the providers are that the shop names itself, each by a section of its own.
const NAMED: [&str; 2] = ["payment_providers.", "mail_providers."];
/// The section that says what each of them may set, and its defaults.
const PATTERN: &str = "any";

/// Every setting with its default.
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that the operator named.
    pub file: Option<PathBuf>,
    /// What `orderfleet dev` left; read only where no file was named.
    pub dev_file: Option<PathBuf>,
    /// Names and values; a later one wins, except that a name of ours wins over a usual one. Names that mean no setting
    /// are passed over.
    pub environment: Vec<(String, String)>,
}

/// The settings, or everything that is wrong with them. What a role can't do without is asked by [`load_for`].
pub fn load(sources: &Sources) -> Result<Settings, ConfigError> {
    load_for(sources, &[])
}

/// The settings, or everything that is wrong with them and everything that is missing for these `needs`.
pub fn load_for(sources: &Sources, needs: &[Need]) -> Result<Settings, ConfigError> {
    let mut draft = Draft::of_defaults();
    if let Some(path) = sources.file.as_ref().or(sources.dev_file.as_ref()) {
        draft.read_file(path);
    }
    draft.read_environment(&sources.environment);
    let Draft { values, origins, mut faults, .. } = draft;
    let settings = match settings(&values) {
        Ok(settings) => settings,
        Err(error) => {
            faults.push(Fault::new("config/default.toml", error));
            return Err(ConfigError::of(faults));
        }
    };
    let origin = |fault: Fault| {
        let origin = origins.get(&fault.setting).cloned();
        fault.from(origin)
    };
    faults.extend(rules::faults(&settings, &values).into_iter().map(origin));
    faults.extend(needs::missing(&settings, needs).into_iter().map(origin));
    if faults.is_empty() { Ok(settings) } else { Err(ConfigError::of(faults)) }
}

/// Values by the names of their settings, `section.key`.
pub(super) type Values = BTreeMap<String, Value>;

/// Settings in the making.
struct Draft {
    defaults: Values,
    values: Values,
    origins: BTreeMap<String, Origin>,
    faults: Vec<Fault>,
}

impl Draft {
    fn of_defaults() -> Self {
        let mut draft = Self {
            defaults: Values::new(),
            values: Values::new(),
            origins: BTreeMap::new(),
            faults: Vec::new(),
        };
        match DEFAULTS.parse::<Table>() {
            Ok(table) => flatten("", table, &mut draft.defaults),
            Err(error) => draft.faults.push(Fault::new("config/default.toml", error.message())),
        }
        draft.values = draft.defaults.clone();
        draft
    }

    fn read_file(&mut self, path: &Path) {
        let fault = |what: String| Fault::new(path.display().to_string(), what);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.faults.push(fault(format!("can't be read: {error}"))),
        };
        let table: Table = match text.parse() {
            Ok(table) => table,
            // Their own words quote the line, which may hold a secret.
            Err(error) => return self.faults.push(fault(not_toml(&text, &error))),
        };
        let mut given = Values::new();
        flatten("", table, &mut given);
        for within in NAMED {
            self.name_providers(within, &given, path);
        }
        for (setting, value) in given {
            self.take(&setting, value, Origin::File(path.to_owned()));
        }
    }

    /// Gives each provider that a file names the settings of the pattern: from then on they are settings like all others,
    /// also for the environment.
    fn name_providers(&mut self, within: &str, given: &Values, path: &Path) {
        let inside = given.keys().filter_map(|setting| setting.strip_prefix(within)?.split('.').next());
        let names: BTreeSet<&str> = inside.collect();
        let pattern = format!("{within}{PATTERN}.");
        let defaults: Vec<(String, Value)> = self
            .defaults
            .iter()
            .filter_map(|(setting, value)| Some((setting.strip_prefix(&pattern)?.to_owned(), value.clone())))
            .collect();
        for name in names {
            if let Err(what) = rules::provider_name(name) {
                let origin = Some(Origin::File(path.to_owned()));
                self.faults.push(Fault::new(format!("{within}{name}"), what).from(origin));
            }
            for (setting, value) in &defaults {
                let setting = format!("{within}{name}.{setting}");
                self.defaults.insert(setting.clone(), value.clone());
                self.values.insert(setting, value.clone());
            }
        }
    }

    fn read_environment(&mut self, environment: &[(String, String)]) {
        let ours: BTreeMap<String, String> =
            self.defaults.keys().map(|setting| (name_of(setting), setting.clone())).collect();
        let (usual_names, own_names): (Vec<_>, Vec<_>) =
            environment.iter().filter(|(name, _)| is_ours(name)).partition(|(name, _)| usual(name).is_some());
        for (name, text) in usual_names.into_iter().chain(own_names) {
            let origin = Origin::Environment(name.clone());
            let setting = usual(name).or_else(|| ours.get(&name.to_uppercase()).map(String::as_str));
            let Some((setting, default)) = setting.and_then(|setting| self.defaults.get_key_value(setting))
            else {
                self.faults.push(Fault::unknown(name, ours.keys().map(String::as_str)));
                continue;
            };
            match parse(text, default) {
                Ok(value) => self.take(&setting.clone(), value, origin),
                Err(wanted) => self.faults.push(Fault::new(setting, wanted).from(Some(origin))),
            }
        }
    }

    /// Takes a value over the one before, unless it can't be one of this setting.
    fn take(&mut self, setting: &str, value: Value, origin: Origin) {
        let fault = match self.defaults.get(setting) {
            Some(default) => self.unfit(setting, &value, default),
            None => self.misnamed(setting, &value),
        };
        if let Some(fault) = fault {
            self.faults.push(fault.from(Some(origin)));
        } else if self.defaults.contains_key(setting) {
            self.values.insert(setting.to_owned(), value);
            self.origins.insert(setting.to_owned(), origin);
        }
    }

    /// What is wrong with a name that is no setting: nothing, if it is an empty section.
    fn misnamed(&self, setting: &str, value: &Value) -> Option<Fault> {
        let within = format!("{setting}.");
        if !self.defaults.keys().any(|known| known.starts_with(&within)) {
            return Some(Fault::unknown(setting, self.defaults.keys().map(String::as_str)));
        }
        let what = "is a section: write [section] and its settings below";
        (!value.is_table()).then(|| Fault::new(setting, what))
    }

    /// Why a value can't be one of this setting, were it the only one given.
    fn unfit(&self, setting: &str, value: &Value, default: &Value) -> Option<Fault> {
        if !value.same_type(default) {
            return Some(Fault::new(setting, format!("must be {}", wanted(default))));
        }
        if value.as_array().is_some_and(|list| !list.iter().all(Value::is_str)) {
            return Some(Fault::new(setting, "must be a list of texts, each in quotes"));
        }
        let mut alone = self.defaults.clone();
        alone.insert(setting.to_owned(), value.clone());
        settings(&alone).err().map(|error| Fault::new(setting, error))
    }
}

fn wanted(default: &Value) -> &'static str {
    match default {
        Value::Integer(_) => "a whole number, without quotes",
        Value::Boolean(_) => "true or false, without quotes",
        Value::Array(_) => "a list, as in [\"one\", \"two\"]",
        Value::String(_) => "a text, in quotes",
        Value::Float(_) => "a number",
        Value::Datetime(_) => "a time",
        Value::Table(_) => "a section",
    }
}

fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("line {line} is not TOML: {}", error.message().replace('\n', ", "))
}

/// A table's values by their whole names. An empty table counts as a value, so that its name is judged too.
fn flatten(within: &str, table: Table, values: &mut Values) {
    for (key, value) in table {
        let name = if within.is_empty() { key } else { format!("{within}.{key}") };
        if let Value::Table(table) = value {
            if table.is_empty() {
                values.insert(name, Value::Table(table));
            } else {
                flatten(&name, table, values);
            }
        } else {
            values.insert(name, value);
        }
    }
}

/// The settings of these values; else what is wrong, in words that quote no text.
fn settings(values: &Values) -> Result<Settings, String> {
    let mut root = Table::new();
    for (name, value) in values {
        let mut table = &mut root;
        let (sections, key) = name.rsplit_once('.').unwrap_or(("", name));
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let Some(inner) = entry.as_table_mut() else { return Err(format!("{section} is no section")) };
            table = inner;
        }
        table.insert(key.to_owned(), value.clone());
    }
    let mut settings =
        Settings::deserialize(Value::Table(root)).map_err(|error| error.message().to_owned())?;
    settings.payment_providers.remove(PATTERN);
    settings.mail_providers.remove(PATTERN);
    Ok(settings)
}

#[cfg(test)]
mod tests;
