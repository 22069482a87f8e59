//! What a value must be, beyond its type: each rule with its reason, because an operator will want to break it.
//!
//! Rules look at values alone and need no service; what only a server can tell is `doctor`'s. A rule must never quote
//! what was given.

use secrecy::{ExposeSecret, SecretString};
use toml::Value;

use super::faults::{Fault, closest};
use super::load::Values;
use super::{MOST_PARTITIONS, RedisMode, RedisSettings, Settings};

mod ops;
mod payments;

pub(super) use payments::provider_name;

/// Where 0 says something: no extension, no waiting, no limit, no grace, any free port, no end.
const ZERO_IS_MEANT: [&str; 20] = [
    "shipping.insure_from_cents",
    "redis.wait_replicas",
    "orders.max_extensions",
    "intake.max_wait_seconds",
    "intake.customer_attempts",
    "intake.address_attempts",
    "worker.grace_ms",
    "worker.health_port",
    "worker.audit_hour",
    "intake.health_port",
    "alerts.stock_low",
    "orders.complete_days",
    "ops.health_port",
    "retention.dead_letters_days",
    "retention.actions_days",
    "retention.inbox_days",
    "retention.communications_days",
    "retention.intents_days",
    "retention.orders_days",
    "orders.settling_seconds",
];
/// Limits of the whole fleet: 0 is none.
const LIMITS: [&str; 4] = [".fleet_concurrency", ".fleet_rate", ".a_second", ".at_once"];
/// The store's bound on savepoints and the queue's on one script call are both this many jobs.
pub(super) const LARGEST_SLICE: usize = 256;
/// A guessable secret is none; `openssl rand -base64 24` already gives as many letters.
pub(super) const SHORTEST_SECRET: usize = 32;
/// Seconds that clocks may be apart for customers' tokens: five minutes, which is what log-ins allow themselves at most.
const LONGEST_LEEWAY: i64 = 300;
/// The longest that a loop of the queue may wait, in milliseconds: its pulse is looked at (see `queue::pulse`).
const LONGEST_TURN: u64 = 5_000;
/// The longest that a hold may be extended by, for a customer at their bank's page: nobody stays there for an hour.
const LONGEST_EXTENSION: u64 = 2_700;
/// The longest that a hold may wait for a provider that is away: others wait for the pieces meanwhile.
const LONGEST_GRACE: u64 = 840;
/// The longest that a bank may be waited for: its expiry (`max_age` of fifteen days from its first deadline) asks until then.
const LONGEST_SETTLING: u64 = 14 * 86_400;
/// The longest calls that fit into the deadlines of the kinds that make them, and why.
const LONGEST_CALLS: [(&str, u64, &str); 3] = [
    ("stripe.timeout_ms", 8_000, "a payment has 20 s for two calls and its transactions"),
    ("easypost.timeout_ms", 15_000, "a label has 75 s for four calls and its transactions"),
    (
        "smtp.timeout_ms",
        8_000,
        "a mail has 30 s for three stages: reach the server, introduce the mail, hand it over",
    ),
];

/// Days until a buyer is asked how it was, at most.
const LONGEST_SURVEY: u64 = 365;
/// Mails that a shop sends only where it wants to.
const MORE_MAILS: [&str; 4] =
    ["order_received", "payment_confirmation", "processing_update", "satisfaction_survey"];

/// Everything that is wrong with these settings.
pub(super) fn faults(settings: &Settings, values: &Values) -> Vec<Fault> {
    let mut faults = Vec::new();
    not_positive(values, &mut faults);
    times(settings, values, &mut faults);
    sizes(settings, &mut faults);
    lanes(settings, &mut faults);
    addresses(settings, &mut faults);
    secrets(settings, &mut faults);
    customer_tokens(settings, &mut faults);
    payments::faults(settings, &mut faults);
    ops::faults(settings, &mut faults);
    shop(settings, &mut faults);
    faults
}

fn not_positive(values: &Values, faults: &mut Vec<Fault>) {
    for (setting, value) in values {
        let Some(number) = value.as_integer() else { continue };
        let zero_is_meant =
            ZERO_IS_MEANT.contains(&setting.as_str()) || LIMITS.iter().any(|limit| setting.ends_with(limit));
        if zero_is_meant && number < 0 {
            faults.push(Fault::new(setting, "must be 0 or more"));
        } else if !zero_is_meant && number < 1 {
            faults.push(Fault::new(setting, "must be 1 or more"));
        }
    }
}

fn times(settings: &Settings, values: &Values, faults: &mut Vec<Fault>) {
    let Settings { postgres, redis, queue, orders, worker, .. } = settings;
    let lease = queue.lease_ms;
    let mut demand = |holds: bool, setting: &str, what: String| {
        if !holds {
            faults.push(Fault::new(setting, what));
        }
    };
    demand(
        queue.renew_ms.saturating_mul(3) <= lease,
        "queue.renew_ms",
        format!(
            "must be at most a third of queue.lease_ms ({lease}): a lease has to survive two lost renewals"
        ),
    );
    demand(
        redis.response_timeout_ms.saturating_mul(2) <= lease,
        "redis.response_timeout_ms",
        format!(
            "must be at most half of queue.lease_ms ({lease}): a silent Redis has to be noticed while the lease holds"
        ),
    );
    for (setting, ms) in [("queue.renew_ms", queue.renew_ms), ("queue.block_ms", queue.block_ms)] {
        let why = "a loop that does not turn for longer is taken for one that stands still";
        demand(ms <= LONGEST_TURN, setting, format!("must be at most {LONGEST_TURN}: {why}"));
    }
    demand(
        redis.wait_ms < redis.response_timeout_ms,
        "redis.wait_ms",
        format!(
            "must be shorter than redis.response_timeout_ms ({}): a late replica is no silent Redis",
            redis.response_timeout_ms
        ),
    );
    demand(
        worker.audit_hour <= 24,
        "worker.audit_hour",
        "must be an hour of the day, 0 to 23; or 24 for never".to_owned(),
    );
    let why = "whoever waits for the database has to know in time to hand the job back";
    for (setting, ms) in [
        ("postgres.acquire_timeout_ms", postgres.acquire_timeout_ms),
        ("postgres.lock_timeout_ms", postgres.lock_timeout_ms),
    ] {
        demand(ms < lease, setting, format!("must be shorter than queue.lease_ms ({lease}): {why}"));
    }
    let percent = settings.telemetry.traced_percent;
    let what = "must be 1 to 100: no traces at all is an empty telemetry.otlp_endpoint".to_owned();
    demand(percent <= 100, "telemetry.traced_percent", what);
    for (setting, longest, why) in LONGEST_CALLS {
        let given = values.get(setting).and_then(Value::as_integer).unwrap_or_default();
        let holds = u64::try_from(given).unwrap_or_default() <= longest;
        demand(holds, setting, format!("must be at most {longest}: {why}"));
    }
    demand(
        orders.reservation_seconds <= orders.max_hold_seconds,
        "orders.reservation_seconds",
        format!("must be at most orders.max_hold_seconds ({})", orders.max_hold_seconds),
    );
    demand(
        orders.max_hold_seconds.saturating_sub(orders.reservation_seconds) <= LONGEST_EXTENSION,
        "orders.max_hold_seconds",
        format!(
            "must be at most {LONGEST_EXTENSION} more than orders.reservation_seconds ({}): nobody is at their bank's page for \
             longer, and a bank's own days are orders.settling_seconds",
            orders.reservation_seconds
        ),
    );
    demand(
        orders.settlement_grace_seconds <= LONGEST_GRACE,
        "orders.settlement_grace_seconds",
        format!("must be at most {LONGEST_GRACE}: others wait for the pieces meanwhile"),
    );
    demand(
        orders.settling_seconds <= LONGEST_SETTLING,
        "orders.settling_seconds",
        format!("must be at most {LONGEST_SETTLING}: after fifteen days a hold's expiry is given up"),
    );
}

fn sizes(settings: &Settings, faults: &mut Vec<Fault>) {
    let slices = settings.lanes.iter().map(|(lane, set)| (format!("lanes.{lane}.slice"), set.slice));
    for (setting, jobs) in slices.chain([("queue.batch".to_owned(), settings.queue.batch)]) {
        if jobs > LARGEST_SLICE {
            let what = format!(
                "must be at most {LARGEST_SLICE}: more keep Redis busy for one script, and Postgres for one transaction"
            );
            faults.push(Fault::new(setting, what));
        }
    }
}

fn lanes(settings: &Settings, faults: &mut Vec<Fault>) {
    for (lane, set) in &settings.lanes {
        if set.partitions > MOST_PARTITIONS {
            let what = format!("must be at most {MOST_PARTITIONS}: every worker looks at each of them");
            faults.push(Fault::new(format!("lanes.{lane}.partitions"), what));
        }
        let jobs = usize::try_from(set.fleet_concurrency).unwrap_or(usize::MAX);
        if jobs > 0 && jobs < set.partitions {
            let what = format!(
                "must be at least lanes.{lane}.partitions ({}), or 0: each partition has its share, and needs one",
                set.partitions
            );
            faults.push(Fault::new(format!("lanes.{lane}.fleet_concurrency"), what));
        }
    }
    let known = || settings.lanes.keys().map(String::as_str);
    for lane in settings.worker.lanes.iter().filter(|lane| !settings.lanes.contains_key(*lane)) {
        let all: Vec<&str> = known().collect();
        let what = match closest(lane, known()) {
            Some(near) => format!("has a lane that there is not. Did you mean {near}?"),
            None => format!("has a lane that there is not. There are {}", all.join(", ")),
        };
        faults.push(Fault::new("worker.lanes", what));
    }
}

fn addresses(settings: &Settings, faults: &mut Vec<Fault>) {
    let Settings { postgres, redis, smtp, stripe, easypost, sandbox, shop, .. } = settings;
    let servers: [(&str, &SecretString, &[&str]); 3] = [
        ("postgres.url", &postgres.url, &["postgres://", "postgresql://"]),
        ("redis.url", &redis.url, &["redis://", "rediss://", "redis+unix://", "unix://"]),
        ("smtp.url", &smtp.url, &["smtp://", "smtps://"]),
    ];
    for (setting, url, schemes) in servers {
        let url = url.expose_secret();
        if !url.is_empty() && !schemes.iter().any(|scheme| url.starts_with(scheme)) {
            faults.push(Fault::new(setting, format!("must begin with {}", schemes.join(" or "))));
        }
    }
    nodes(redis, faults);
    let pages = [
        ("stripe.api_base", &stripe.api_base),
        ("easypost.api_base", &easypost.api_base),
        ("shop.order_url", &shop.order_url),
        ("sandbox.stripe_webhook_url", &sandbox.stripe_webhook_url),
        ("sandbox.easypost_webhook_url", &sandbox.easypost_webhook_url),
        ("sandbox.wallet_webhook_url", &sandbox.wallet_webhook_url),
    ];
    for (setting, url) in pages {
        if !is_web(url) {
            faults.push(Fault::new(
                setting,
                "must be a URL: https:// (or http://), a host, and no login before it",
            ));
        }
    }
    let endpoint = &settings.telemetry.otlp_endpoint;
    if !endpoint.is_empty() && !is_web(endpoint) {
        let what = "must be a URL, http:// or https:// and a host: the collector's port for OTLP over HTTP, mostly 4318; or empty";
        faults.push(Fault::new("telemetry.otlp_endpoint", what));
    }
    let is_name = |name: &str, more: &str| {
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
    };
    if !is_name(&postgres.schema, "_") {
        faults.push(Fault::new("postgres.schema", "must be one name of ASCII letters, digits and _"));
    }
    if !is_name(&redis.prefix, "-_.:") {
        faults.push(Fault::new(
            "redis.prefix",
            "must be of ASCII letters, digits and -_.: (it stands inside { })",
        ));
    }
}

fn nodes(redis: &RedisSettings, faults: &mut Vec<Fault>) {
    let url = redis.url.expose_secret();
    let is_socket = url.contains("unix:");
    let has_many = url.rsplit('@').next().is_some_and(|hosts| hosts.contains(','));
    let mut demand = |holds: bool, setting: &str, what: &str| {
        if !holds {
            faults.push(Fault::new(setting, what));
        }
    };
    match redis.mode {
        RedisMode::Single => demand(
            is_socket || !has_many,
            "redis.url",
            "names several hosts: set redis.mode to cluster or sentinel, or leave one",
        ),
        RedisMode::Cluster => demand(!is_socket, "redis.url", "must name hosts: a cluster has no socket"),
        RedisMode::Sentinel => {
            demand(!is_socket, "redis.url", "must name hosts: Sentinels have no socket");
            demand(
                !redis.sentinel_master.trim().is_empty(),
                "redis.sentinel_master",
                "must be set where redis.mode is sentinel: the name in `sentinel monitor NAME …`",
            );
        }
    }
}

fn is_web(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && !host.starts_with(':') && !host.contains('@') && !url.contains(char::is_whitespace)
}

fn secrets(settings: &Settings, faults: &mut Vec<Fault>) {
    let Settings { stripe, easypost, security, .. } = settings;
    for (setting, secrets) in [
        ("stripe.webhook_secrets", &stripe.webhook_secrets),
        ("easypost.webhook_secrets", &easypost.webhook_secrets),
    ] {
        if secrets.iter().any(|secret| secret.expose_secret().trim().is_empty()) {
            let what =
                "has a blank secret: anybody could sign with it. Remove it, or set the one that was meant";
            faults.push(Fault::new(setting, what));
        }
    }
    let length = security.secret.expose_secret().trim().chars().count();
    if (1..SHORTEST_SECRET).contains(&length) {
        let what = format!("must have {SHORTEST_SECRET} letters or more: openssl rand -base64 48");
        faults.push(Fault::new("security.secret", what));
    }
}

/// What the keys are worth is judged where they are read; here only what no reading would find.
fn customer_tokens(settings: &Settings, faults: &mut Vec<Fault>) {
    let tokens = &settings.customer_tokens;
    if !(0..=LONGEST_LEEWAY).contains(&tokens.leeway_seconds) {
        let what = format!("must be 0 to {LONGEST_LEEWAY}: more would keep dead tokens alive");
        faults.push(Fault::new("customer_tokens.leeway_seconds", what));
    }
    if tokens
        .hs256_secrets
        .iter()
        .any(|secret| secret.expose_secret().trim().chars().count() < SHORTEST_SECRET)
    {
        let what = format!("must have {SHORTEST_SECRET} letters or more each: openssl rand -base64 48");
        faults.push(Fault::new("customer_tokens.hs256_secrets", what));
    }
    if tokens.rs256_public_keys.iter().any(|key| !key.trim().starts_with("-----BEGIN ")) {
        let what = "must be PEM: -----BEGIN PUBLIC KEY-----, the key, -----END PUBLIC KEY-----";
        faults.push(Fault::new("customer_tokens.rs256_public_keys", what));
    }
}

fn shop(settings: &Settings, faults: &mut Vec<Fault>) {
    let Settings { ship_from, shop, .. } = settings;
    // Whether there is such a country is the domain's to know, which stands above the settings: `doctor` asks it.
    if ship_from.country.len() != 2 || !ship_from.country.chars().all(|letter| letter.is_ascii_uppercase()) {
        faults.push(Fault::new("ship_from.country", "must be a two-letter code of ISO 3166, such as US"));
    }
    for (setting, part) in [
        ("ship_from.name", &ship_from.name),
        ("ship_from.street1", &ship_from.street1),
        ("ship_from.city", &ship_from.city),
        ("shop.name", &shop.name),
    ] {
        if part.trim().is_empty() {
            faults.push(Fault::new(setting, "must not be blank"));
        }
    }
    let address = shop
        .mail_from
        .rsplit_once('<')
        .map_or(shop.mail_from.as_str(), |(_, rest)| rest.strip_suffix('>').unwrap_or_default());
    if !is_address(address) {
        faults.push(Fault::new(
            "shop.mail_from",
            "must be an address, or Name <address>, such as orders@example.com",
        ));
    }
    let is_color = shop
        .color
        .strip_prefix('#')
        .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    if !is_color {
        faults.push(Fault::new("shop.color", "must be a colour as #rrggbb, such as #1d4ed8"));
    }
    if !shop.logo_url.is_empty() && !is_web(&shop.logo_url) {
        faults.push(Fault::new("shop.logo_url", "must be a URL: https://, a host"));
    }
    let leads_there = |line: &String| {
        line.split_once('=')
            .is_some_and(|(name, url)| !name.is_empty() && is_web(url) && url.contains("{code}"))
    };
    if !shop.tracking_urls.iter().all(leads_there) {
        faults.push(Fault::new("shop.tracking_urls", "must be a list of CARRIER=https://…{code}…"));
    }
    if settings.orders.complete_days > LONGEST_SURVEY {
        faults.push(Fault::new("orders.complete_days", "must be at most 365, or 0"));
    }
    if settings.orders.survey_days > LONGEST_SURVEY {
        faults.push(Fault::new("orders.survey_days", "must be at most 365: nobody remembers longer"));
    }
    if !settings.orders.more_mails.iter().all(|kind| MORE_MAILS.contains(&kind.as_str())) {
        let what = format!("may name {}: the other kinds are always sent", MORE_MAILS.join(", "));
        faults.push(Fault::new("orders.more_mails", what));
    }
    if !settings.alerts.mail_to.iter().all(|address| is_address(address)) {
        let what = "must be a list of addresses, such as [\"oncall@example.com\"]";
        faults.push(Fault::new("alerts.mail_to", what));
    }
    if !is_domain(&shop.mail_domain) {
        faults.push(Fault::new("shop.mail_domain", "must be a domain, such as orders.example.com"));
    }
}

fn is_address(text: &str) -> bool {
    let is_whole = text.split_once('@').is_some_and(|(who, at)| !who.is_empty() && is_domain(at));
    is_whole && !text.contains(char::is_whitespace)
}

fn is_domain(name: &str) -> bool {
    !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || "@<>".contains(letter))
}
