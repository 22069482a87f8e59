//! What the settings of a configured payment provider or mail service must be, so that they fit together.
//!
//! A provider that can't be believed, or whose messages can't be read, would be found out by the first customer who paid.

use secrecy::ExposeSecret;

use super::is_web;
use crate::config::faults::Fault;
use crate::config::{
    Algorithm, ConfirmBy, MailReadingSettings, PageSettings, PaymentProviderSettings, Place, ReadingSettings,
    Settings, SignatureSettings, StatusSettings,
};

/// Names that mean something else: a provider with its own code, the pattern, and what needs no provider.
const TAKEN: [&str; 8] =
    ["any", "stripe", "easypost", "manual", "cash_on_delivery", "smtp", "postgres", "redis"];
/// The longest name: it stands in paths, rows and metrics.
const LONGEST_NAME: usize = 32;
/// The longest call: the kind that asks has 20 s for one and its transactions.
const LONGEST_CALL: u64 = 8_000;

/// What is wrong with a provider's name.
pub(in crate::config) fn provider_name(name: &str) -> Result<(), &'static str> {
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
    if TAKEN.contains(&name) {
        return Err("is the name of something else: choose another for the provider");
    }
    if !is_plain || !(1..=LONGEST_NAME).contains(&name.len()) {
        return Err("a provider's name has up to 32 small letters, digits, - and _");
    }
    Ok(())
}

pub(super) fn faults(settings: &Settings, faults: &mut Vec<Fault>) {
    for (name, provider) in &settings.payment_providers {
        let mut judge = Judge { section: "payment_providers", name, faults };
        judge.provider(provider);
        judge.page(&provider.page);
        judge.signature(&provider.signature);
        judge.fields(&provider.signature);
        judge.reading("event", &provider.event);
        judge.status(&provider.status);
    }
    for (name, provider) in &settings.mail_providers {
        let mut judge = Judge { section: "mail_providers", name, faults };
        judge.signature(&provider.signature);
        judge.fields(&provider.signature);
        judge.mail(&provider.event);
    }
}

struct Judge<'a> {
    section: &'static str,
    name: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl Judge<'_> {
    fn demand(&mut self, holds: bool, setting: &str, what: &str) {
        if !holds {
            self.faults.push(Fault::new(format!("{}.{}.{setting}", self.section, self.name), what));
        }
    }

    fn provider(&mut self, provider: &PaymentProviderSettings) {
        let is_code = |code: &String| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        let what = "must be ISO 4217 codes in capitals, such as ETB";
        self.demand(provider.currencies.iter().all(is_code), "currencies", what);
        let can_ask = provider.confirm_by == ConfirmBy::Webhook || provider.can_be_asked();
        self.demand(can_ask, "status.url", "must be set where confirm_by is status: there is nobody to ask");
    }

    fn page(&mut self, page: &PageSettings) {
        let places = ["reference", "amount", "currency", "order", "signature"];
        self.demand(page.url.is_empty() || is_web(&page.url), "page.url", "must be a URL: https://, a host");
        self.places("page.url", &page.url, &places);
        self.places("page.signs", &page.signs, &places[..4]);
        let is_pair = |line: &String| line.split_once('=').is_some_and(|(name, _)| !name.is_empty());
        self.demand(page.form.iter().all(is_pair), "page.form", "must be a list of name=value");
        for line in &page.form {
            self.places("page.form", line, &places);
        }
        let wants = std::iter::once(&page.url).chain(&page.form).any(|text| text.contains("{signature}"));
        self.demand(!wants || !page.signs.is_empty(), "page.signs", "must say what {signature} is made of");
    }

    fn signature(&mut self, signature: &SignatureSettings) {
        let is_blank = |text: &str| text.trim().is_empty();
        match signature.algorithm {
            Algorithm::HmacSha256 => {
                let what = "must have the provider's webhook secret: without one anybody could sign";
                self.demand(!signature.secrets.is_empty(), "signature.secrets", what);
                let blank = signature.secrets.iter().any(|secret| is_blank(secret.expose_secret()));
                let what = "has a blank secret: anybody could sign with it. Remove it, or set the one that was meant";
                self.demand(!blank, "signature.secrets", what);
            }
            Algorithm::RsaSha256 | Algorithm::RsaPssSha256 => {
                let is_set = !signature.public_keys.is_empty()
                    && !signature.public_keys.iter().any(|key| is_blank(key));
                self.demand(is_set, "signature.public_keys", "must have the provider's public key, in PEM");
            }
        }
        self.places("signature.signs", &signature.signs, &["body", "timestamp", "fields"]);
        let says = |place: &str| signature.signs.contains(place);
        let what = "must have {body} or {fields}: what is not signed is anybody's";
        self.demand(says("{body}") || says("{fields}"), "signature.signs", what);
        let signs_time = says("{timestamp}") || matches!(signature.timestamp, None | Some(Place::Field(_)));
        let what =
            "must have {timestamp} where timestamp is a header: a time that is not signed proves nothing";
        self.demand(signs_time, "signature.signs", what);
        let has_time = signature.timestamp.is_some() || !says("{timestamp}");
        self.demand(
            has_time,
            "signature.timestamp",
            "must say where {timestamp} is: header:NAME or field:/POINTER",
        );
    }

    fn fields(&mut self, signature: &SignatureSettings) {
        if !signature.signs.contains("{fields}") {
            return;
        }
        let is_unclear = signature.fields.is_empty() == signature.fields_named_by.is_empty();
        let what = "must name the fields, or fields_named_by has to say where they are named; and not both";
        self.demand(!is_unclear, "signature.fields", what);
        self.pointer("signature.fields_named_by", &signature.fields_named_by, true);
        let what =
            "must name what has to be signed where the message chooses: a short list would forge the rest";
        let is_open = !signature.fields_named_by.is_empty() && signature.fields_required.is_empty();
        self.demand(!is_open, "signature.fields_required", what);
        self.places("signature.pair", &signature.pair, &["name", "value"]);
        self.demand(signature.pair.contains("{value}"), "signature.pair", "must have {value}");
    }

    fn reading(&mut self, section: &str, reading: &ReadingSettings) {
        for (key, pointer, may_be_empty) in [
            ("id", &reading.id, true),
            ("reference", &reading.reference, false),
            ("status", &reading.status, false),
            ("amount", &reading.amount, false),
            ("currency", &reading.currency, true),
        ] {
            self.pointer(&format!("{section}.{key}"), pointer, may_be_empty);
        }
        let setting = format!("{section}.paid");
        self.demand(!reading.paid.is_empty(), &setting, "must name the word for a payment that is paid");
        let both = reading.paid.iter().any(|word| reading.failed.contains(word));
        self.demand(!both, &format!("{section}.failed"), "has a word that also says paid");
    }

    fn mail(&mut self, reading: &MailReadingSettings) {
        for (key, pointer, may_be_empty) in [
            ("event.id", &reading.id, true),
            ("event.list", &reading.list, true),
            ("event.kind", &reading.kind, false),
            ("event.message_id", &reading.message_id, true),
            ("event.recipient", &reading.recipient, true),
        ] {
            self.pointer(key, pointer, may_be_empty);
        }
        let names_one = !(reading.message_id.is_empty() && reading.recipient.is_empty());
        self.demand(
            names_one,
            "event.message_id",
            "must be set, or event.recipient: which mail does it tell of?",
        );
        let tells = !(reading.bounced.is_empty() && reading.complained.is_empty());
        self.demand(
            tells,
            "event.bounced",
            "must name the words for a bounce, or event.complained for a complaint",
        );
    }

    fn status(&mut self, status: &StatusSettings) {
        self.demand(
            status.url.is_empty() || is_web(&status.url),
            "status.url",
            "must be a URL: https://, a host",
        );
        self.places("status.url", &status.url, &["reference", "amount", "currency"]);
        let what = "must be at most 8000: a payment's look has 20 s for its call and its transactions";
        self.demand(status.timeout_ms <= LONGEST_CALL, "status.timeout_ms", what);
        if !status.url.is_empty() {
            self.reading("status", &status.answer);
        }
    }

    fn pointer(&mut self, setting: &str, pointer: &str, may_be_empty: bool) {
        let holds = pointer.starts_with('/') || (may_be_empty && pointer.is_empty());
        self.demand(holds, setting, "must be a JSON pointer, such as /data/amount");
    }

    /// Every `{word}` of a template must be one of these.
    fn places(&mut self, setting: &str, template: &str, known: &[&str]) {
        let mut opened = template.split('{');
        let plain = opened.next().unwrap_or_default();
        let are_known = !plain.contains('}')
            && opened.all(|part| part.split_once('}').is_some_and(|(name, _)| known.contains(&name)));
        let what = format!("may have the places {{{}}}, and no other brace", known.join("}, {"));
        self.demand(are_known, setting, &what);
    }
}
