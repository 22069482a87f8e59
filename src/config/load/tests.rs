//! What a configuration may be, and that everything wrong with one is said at once and no secret ever.

use std::collections::BTreeSet;
use std::io::Write as _;

use secrecy::ExposeSecret;

use super::*;
use crate::job::Lane;

/// Stands wherever a secret may stand, on a right line or on a wrong one.
const SECRET: &str = "sk_live_never_to_be_printed_0123456789";

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { environment, ..Sources::default() }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_file(text: &str) -> Result<Settings, ConfigError> {
    let file = file(text);
    load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() })
}

/// `setting: what` of every fault.
fn told(error: &ConfigError) -> Vec<String> {
    error.faults().iter().map(|fault| format!("{}: {}", fault.setting, fault.what)).collect()
}

/// The one fault of a file.
fn fault(text: &str) -> String {
    let faults = told(&load_file(text).unwrap_err());
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.into_iter().next().unwrap()
}

#[test]
fn every_default_loads_and_breaks_no_rule() {
    let settings = load(&Sources::default()).unwrap();
    assert_eq!(settings.queue.lease_ms, 4_000);
    let mut lanes: Vec<&str> = Lane::ALL.into_iter().map(Lane::name).collect();
    lanes.sort_unstable();
    assert_eq!(settings.lanes.keys().collect::<Vec<_>>(), lanes, "a lane without settings would never run");
    assert_eq!(rules::LARGEST_SLICE, crate::store::MAX_SLICE);
}

#[test]
fn the_example_for_production_loads_and_sets_all_that_is_needed() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/production.example.toml");
    let sources = Sources { file: Some(example.into()), ..Sources::default() };
    load_for(&sources, Need::ALL).unwrap();
}

/// What is commented out there is an example too: it loads, with a name in the place of one.
#[test]
fn the_example_for_production_names_every_section_that_an_operator_may_want() {
    let at = |name: &str| {
        std::fs::read_to_string(format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let (example, defaults) = (at("production.example.toml"), at("default.toml"));
    let sections = |text: &str| -> BTreeSet<String> {
        let heads = text.lines().filter_map(|line| line.trim_start_matches("# ").strip_prefix('['));
        heads.map(|head| head.split(['.', ']']).next().unwrap_or_default().to_owned()).collect()
    };
    let missing: Vec<String> = sections(&defaults).difference(&sections(&example)).cloned().collect();
    assert_eq!(missing, ["queue", "sandbox"], "how leases work is nobody's to set, nor are the stand-ins");
    assert!(example.contains("[calls.easypost]"));

    let (mut text, mut is_example) = (String::new(), false);
    for line in example.lines() {
        is_example = line.starts_with("# [") || (is_example && line.starts_with("# "));
        let line = if is_example { line.trim_start_matches("# ") } else { line };
        text.push_str(&line.replace("NAME", "wallet"));
        text.push('\n');
    }
    let settings = load_file(&text).unwrap();
    assert!(
        settings.payment_providers.contains_key("wallet") && settings.mail_providers.contains_key("wallet")
    );
}

#[test]
fn the_settings_of_the_manifests_load_and_every_name_in_them_means_a_setting() {
    let deployed = |name: &str| {
        std::fs::read_to_string(format!("{}/deploy/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let manifest = deployed("kubernetes/orderfleet.yaml");
    let (_, below) = manifest.split_once("production.toml: |\n").unwrap();
    let inside = below.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: Vec<&str> = inside.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let settings = load_file(&text.join("\n")).unwrap();
    assert!(settings.worker.health_host.is_unspecified() && settings.intake.health_host.is_unspecified());

    // As they stand there, together: some are allowed only beside others. What the host gives is a secret.
    let compose = deployed("compose.yaml");
    let lines = compose.lines().filter_map(|line| line.trim_start().split_once(": "));
    let given: Vec<(&str, &str)> = lines
        .filter(|(name, _)| name.starts_with("ORDERFLEET__"))
        .map(|(name, value)| match value {
            host if host.contains('$') => (name, "a secret of at least thirty-two characters"),
            plain => (name, plain.trim_matches('"')),
        })
        .collect();
    assert!(given.len() >= 6, "{given:?}");
    load(&environment(&given)).unwrap();
}

#[test]
fn the_profiles_of_payment_providers_load_and_can_be_offered() {
    let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers.example.toml");
    let settings = load(&Sources { file: Some(profiles.into()), ..Sources::default() }).unwrap();
    let offers = crate::domain::offer::Offers::new(&settings.orders, &settings.payment_providers).unwrap();
    assert_eq!(offers.names().collect::<Vec<_>>(), ["stripe", "manual", "chapa", "esewa", "telebirr"]);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let file = file("[queue]\ndeaths = 5\n[worker]\ngrace_ms = 7\n[postgres]\nurl = \"postgres://file\"\n");
    let mut sources = environment(&[
        ("ORDERFLEET__WORKER__GRACE_MS", "8"),
        ("ORDERFLEET__POSTGRES__URL", "postgres://ours"),
        ("DATABASE_URL", "postgres://usual"),
        ("ORDERFLEET__LANES__PAYMENTS_IN__SLICE", "64"),
        ("ORDERFLEET__REDIS__REQUIRE_DURABLE", "false"),
        ("ORDERFLEET_PORT", "tcp://of-kubernetes"),
        ("RUST_LOG", "debug"),
    ]);
    sources.file = Some(file.path().to_owned());
    let settings = load(&sources).unwrap();
    assert_eq!(settings.queue.renew_ms, 1_000, "the default");
    assert_eq!(settings.queue.deaths, 5, "the file");
    assert_eq!(settings.worker.grace_ms, 8, "the environment");
    assert_eq!(settings.postgres.url.expose_secret(), "postgres://ours", "our own name");
    assert_eq!(settings.lanes["payments-in"].slice, 64);
    assert!(!settings.redis.require_durable);
}

#[test]
fn what_dev_left_is_read_only_where_no_file_is_named() {
    let (dev, own) = (file("[queue]\ndeaths = 9\n"), file("[queue]\nblock_ms = 500\n"));
    let mut sources = Sources { dev_file: Some(dev.path().to_owned()), ..Sources::default() };
    assert_eq!(load(&sources).unwrap().queue.deaths, 9);
    sources.file = Some(own.path().to_owned());
    assert_eq!(load(&sources).unwrap().queue.deaths, 3);
}

#[test]
fn lists_are_json_or_have_commas() {
    for text in [r#"["mail", "intents"]"#, "mail,intents", " mail , intents "] {
        let settings = load(&environment(&[("ORDERFLEET__WORKER__LANES", text)])).unwrap();
        assert_eq!(settings.worker.lanes, ["mail", "intents"], "{text}");
    }
    let settings = load(&environment(&[("STRIPE_WEBHOOK_SECRET", "whsec_new,whsec_old")])).unwrap();
    let secrets: Vec<_> = settings.stripe.webhook_secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["whsec_new", "whsec_old"]);
    let error = load(&environment(&[("ORDERFLEET__WORKER__LANES", "[1, 2]")])).unwrap_err();
    assert!(error.to_string().contains("worker.lanes: must be a list of texts"), "{error}");
}

#[test]
fn a_misspelt_name_is_told_with_the_one_that_was_meant() {
    assert_eq!(
        fault("[queue]\nlease_sm = 1"),
        "queue.lease_sm: no such setting. Did you mean queue.lease_ms?"
    );
    assert_eq!(
        fault("[strpe]\nsecret_key = \"\""),
        "strpe.secret_key: no such setting. Did you mean stripe.secret_key?"
    );
    assert_eq!(fault("[lanes.letters]\nslice = 1"), "lanes.letters.slice: no such setting.");
    assert_eq!(fault("[letters]"), "letters: no such setting.");
    assert_eq!(fault("queue = 3"), "queue: is a section: write [section] and its settings below");
    let error = load(&environment(&[("ORDERFLEET__SMTP__POOLS", "1")])).unwrap_err();
    assert_eq!(
        told(&error),
        ["ORDERFLEET__SMTP__POOLS: no such setting. Did you mean ORDERFLEET__SMTP__POOL?"]
    );
}

#[test]
fn a_wrong_type_is_told_with_where_it_came_from() {
    assert_eq!(fault("[queue]\ndeaths = \"3\""), "queue.deaths: must be a whole number, without quotes");
    assert_eq!(
        fault("[orders]\nauto_fulfil = 1"),
        "orders.auto_fulfil: must be true or false, without quotes"
    );
    assert!(fault("[worker]\nlanes = \"mail\"").starts_with("worker.lanes: must be a list"));
    assert!(fault("[worker]\nhealth_port = 70000").contains("u16"));
    assert!(fault("[intake]\naddress = \"here\"").contains("socket address"));
    let error = load(&environment(&[("ORDERFLEET__WORKER__GRACE_MS", "soon")])).unwrap_err().to_string();
    assert!(
        error.contains("worker.grace_ms: must be a whole number (from ORDERFLEET__WORKER__GRACE_MS in"),
        "{error}"
    );
    let named = file("[worker]\ngrace_ms = true");
    let sources = Sources { file: Some(named.path().to_owned()), ..Sources::default() };
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.contains(&format!("(from {})", named.path().display())), "{error}");
}

#[test]
fn each_rule_is_kept() {
    for (text, setting, why) in [
        ("[queue]\nrenew_ms = 1334", "queue.renew_ms", "two lost renewals"),
        ("[queue]\nbatch = 257", "queue.batch", "at most 256"),
        ("[lanes.mail]\nslice = 257", "lanes.mail.slice", "at most 256"),
        ("[lanes.mail]\nconcurrency = 0", "lanes.mail.concurrency", "1 or more"),
        ("[orders]\nmax_extensions = -1", "orders.max_extensions", "0 or more"),
        ("[orders]\nreservation_seconds = 1801", "orders.reservation_seconds", "max_hold_seconds (1800)"),
        ("[orders]\nmax_hold_seconds = 3601", "orders.max_hold_seconds", "at most 2700 more"),
        ("[redis]\nresponse_timeout_ms = 2001", "redis.response_timeout_ms", "half of"),
        ("[postgres]\nlock_timeout_ms = 4000", "postgres.lock_timeout_ms", "shorter than"),
        ("[stripe]\ntimeout_ms = 8001", "stripe.timeout_ms", "two calls"),
        ("[easypost]\ntimeout_ms = 15001", "easypost.timeout_ms", "four calls"),
        ("[smtp]\ntimeout_ms = 8001", "smtp.timeout_ms", "three stages"),
        ("[lanes.mail]\npartitions = 0", "lanes.mail.partitions", "1 or more"),
        ("[lanes.mail]\npartitions = 17", "lanes.mail.partitions", "at most 16"),
        ("[lanes.mail]\npartitions = 3\nfleet_concurrency = 2", "lanes.mail.fleet_concurrency", "share"),
        ("[ops]\naddress = \"0.0.0.0:9090\"", "ops.address", "ops.tls_in_front = true"),
        ("[ops]\naddress = \"[::]:9090\"", "ops.address", "ops.tls_in_front = true"),
        ("[ops]\ntls_in_front = true", "ops.trusted_proxies", "lock everybody out"),
        ("[retention]\nactions_days = 364", "retention.actions_days", "365 or more"),
        ("[retention]\norders_days = 1", "retention.orders_days", "365 or more"),
        ("[orders]\nsettling_seconds = 1209601", "orders.settling_seconds", "at most 1209600"),
        ("[orders]\ndeclined = \"drop\"", "orders.declined", "keep, release or cancel"),
        ("[ops]\ntenant = \"\"", "ops.tenant", "the tenant of the keys"),
        ("[worker]\nlanes = [\"mial\"]", "worker.lanes", "Did you mean mail?"),
        ("[worker]\nlanes = [\"everything\"]", "worker.lanes", "payments-out"),
        ("[stripe]\napi_base = \"api.stripe.com\"", "stripe.api_base", "must be a URL"),
        ("[easypost]\napi_base = \"https:///v2\"", "easypost.api_base", "must be a URL"),
        ("[stripe]\napi_base = \"https://key@host\"", "stripe.api_base", "no login"),
        ("[postgres]\nurl = \"mysql://host\"", "postgres.url", "postgres://"),
        ("[postgres]\nschema = \"a, b\"", "postgres.schema", "one name"),
        ("[redis]\nprefix = \"{of}\"", "redis.prefix", "inside"),
        ("[redis]\nmode = \"three\"", "redis.mode", "single, cluster or sentinel"),
        ("[redis]\nurl = \"redis://:a,b@one:1,two:2\"", "redis.url", "set redis.mode"),
        ("[redis]\nmode = \"cluster\"\nurl = \"redis+unix:///r\"", "redis.url", "no socket"),
        ("[redis]\nmode = \"sentinel\"", "redis.sentinel_master", "sentinel monitor"),
        ("[redis]\nwait_ms = 2000", "redis.wait_ms", "response_timeout_ms (2000)"),
        ("[ship_from]\ncountry = \"usa\"", "ship_from.country", "two-letter"),
        ("[ship_from]\ncity = \" \"", "ship_from.city", "blank"),
        ("[shop]\nmail_from = \"The Shop\"", "shop.mail_from", "address"),
        ("[shop]\nmail_from = \"The Shop <@x.org>\"", "shop.mail_from", "address"),
        ("[shop]\nmail_domain = \"a@b\"", "shop.mail_domain", "domain"),
        ("[stripe]\nwebhook_secrets = [\"whsec_1\", \" \"]", "stripe.webhook_secrets", "blank secret"),
        ("[security]\nsecret = \"thirty-one letters, one too few\"", "security.secret", "32 letters"),
        ("[customer_tokens]\nleeway_seconds = 301", "customer_tokens.leeway_seconds", "0 to 300"),
        ("[customer_tokens]\nhs256_secrets = [\"short\"]", "customer_tokens.hs256_secrets", "32 letters"),
        ("[customer_tokens]\nrs256_public_keys = [\"key\"]", "customer_tokens.rs256_public_keys", "PEM"),
    ] {
        let fault = fault(text);
        assert!(fault.starts_with(&format!("{setting}: ")) && fault.contains(why), "{text}: {fault}");
    }
    load_file("[worker]\ngrace_ms = 0\nhealth_port = 0\n[orders]\nmax_extensions = 0").unwrap();
}

#[test]
fn every_fault_is_named_at_once_and_each_role_s_missing_ones_too() {
    let file = file("[queue]\nlease_sm = 1\ndeaths = 0\nbatch = \"x\"\n[shop]\nmail_from = \"x\"\n");
    let mut sources =
        environment(&[("ORDERFLEET__ORDERS__AUTO_FULFIL", "yes"), ("EASYPOST_WEBHOOK_SECRET", "a,,b")]);
    sources.file = Some(file.path().to_owned());
    let error = load_for(&sources, Need::ALL).unwrap_err();
    let mut named: Vec<_> = error.faults().iter().map(|fault| fault.setting.as_str()).collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(
        named,
        [
            "easypost.api_key",
            "easypost.webhook_secrets",
            "orders.auto_fulfil",
            "postgres.url",
            "queue.batch",
            "queue.deaths",
            "queue.lease_sm",
            "redis.url",
            "security.secret",
            "shop.mail_from",
            "smtp.url",
            "stripe.secret_key",
            "stripe.webhook_secrets",
        ]
    );
}

#[test]
fn what_is_missing_is_told_with_how_to_set_it() {
    let settings = load(&Sources::default()).unwrap();
    assert_eq!(
        told(&settings.require(&[Need::StripeWebhook, Need::Secret]).unwrap_err()),
        [
            "stripe.webhook_secrets: empty. Set STRIPE_WEBHOOK_SECRET (whsec_…) or [stripe] webhook_secrets in your \
             configuration file.",
            "security.secret: empty. Set ORDERFLEET__SECURITY__SECRET (openssl rand -base64 48; the same in every \
             process) or [security] secret in your configuration file.",
        ]
    );
    settings.require(&[]).unwrap();
    let mut blank = settings.clone();
    blank.stripe.webhook_secrets = vec![" ".into()];
    blank.require(&[Need::StripeWebhook]).unwrap_err();
    let missing = |needs| settings.require(needs).unwrap_err().faults().len();
    assert_eq!((missing(Need::INTAKE), missing(Need::WORKER), missing(Need::OPS)), (5, 6, 3));
    for blank in ["", " ", ",", "[]", "[\"\"]"] {
        let sources = environment(&[("STRIPE_WEBHOOK_SECRET", blank)]);
        let error = load_for(&sources, &[Need::StripeWebhook]).unwrap_err();
        assert!(error.to_string().contains("from STRIPE_WEBHOOK_SECRET"), "{blank:?}: {error}");
    }
}

#[test]
fn a_file_that_is_none_is_told_by_its_line() {
    let fault = fault("[queue]\ndeaths = 3\n[queue\n");
    assert!(fault.contains("line 3 is not TOML"), "{fault}");
    let sources = Sources { file: Some("/nowhere/at.toml".into()), ..Sources::default() };
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at.toml: can't be read"), "{error}");
}

#[test]
fn no_secret_is_printed_wherever_it_was_written() {
    let settings = load(&environment(&[
        ("STRIPE_SECRET_KEY", SECRET),
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("EASYPOST_API_KEY", SECRET),
        ("EASYPOST_WEBHOOK_SECRET", SECRET),
        ("ORDERFLEET__SECURITY__SECRET", SECRET),
        ("DATABASE_URL", &format!("postgres://a:{SECRET}@host/x")),
        ("REDIS_URL", &format!("redis://:{SECRET}@host")),
        ("SMTP_URL", &format!("smtp://a:{SECRET}@host")),
    ]))
    .unwrap();
    assert!(!format!("{settings:?}").contains(SECRET));

    for name in load(&Sources::default()).map(|_| Draft::of_defaults().defaults).unwrap().keys() {
        for value in [format!("\"{SECRET}\""), format!("[\"{SECRET}\", 1]"), SECRET.to_owned()] {
            let (section, key) = name.rsplit_once('.').unwrap();
            if let Err(error) = load_file(&format!("[{section}]\n{key} = {value}\n")) {
                assert!(!format!("{error} {error:?}").contains(SECRET), "{name}: {error}");
            }
        }
        if let Err(error) = load(&environment(&[(&name_of(name), SECRET)])) {
            assert!(!format!("{error} {error:?}").contains(SECRET), "{name}: {error}");
        }
    }
}

#[test]
fn a_payment_provider_has_the_pattern_s_settings_and_its_own() {
    let file = file("[payment_providers.wallet.signature]\nencoding = \"base64\"");
    let environment =
        environment(&[("ORDERFLEET__PAYMENT_PROVIDERS__WALLET__SIGNATURE__SECRETS", "one,two")]).environment;
    let settings = load(&Sources { file: Some(file.path().to_owned()), environment, ..Sources::default() });
    let providers = settings.unwrap().payment_providers;
    assert_eq!(providers.keys().collect::<Vec<_>>(), ["wallet"], "the pattern is none");
    let signature = &providers["wallet"].signature;
    assert_eq!((signature.encoding, signature.secrets.len()), (crate::config::Encoding::Base64, 2));
    assert_eq!(providers["wallet"].event.reference, "/reference");
    assert!(load(&Sources::default()).unwrap().payment_providers.is_empty());
}

#[test]
fn every_fault_of_a_payment_provider_is_named_at_once_and_none_with_a_secret() {
    let error = load_file(&format!(
        "[payment_providers.wallet]\nconfirm_by = \"status\"\ncurrencies = [\"birr\"]\n\
         [payment_providers.wallet.page]\nurl = \"pay.example.com\"\nform = [\"{SECRET}\", \"ref={{refrence}}\"]\n\
         [payment_providers.wallet.signature]\nsecrets = [\" \"]\nsigns = \"{{fields}}\"\ntimestamp = \"header:x-time\"\n\
         [payment_providers.wallet.event]\namount = \"amount\"\npaid = [\"OK\"]\nfailed = [\"OK\"]\n\
         [payment_providers.wallet.status]\ntimeout_ms = 60000\n\
         [payment_providers.other]\nsignature.algorithm = \"rsa-sha256\"\nsignature.secrte = \"{SECRET}\"\n\
         [payment_providers.stripe]\nconfirm_by = \"{SECRET}\""
    ));
    let error = error.unwrap_err();
    let told = told(&error);
    for (setting, what) in [
        ("wallet.status.url", "nobody to ask"),
        ("wallet.currencies", "ISO 4217"),
        ("wallet.page.url", "must be a URL"),
        ("wallet.page.form", "list of name=value"),
        ("wallet.page.form", "may have the places {reference}"),
        ("wallet.signature.secrets", "blank secret"),
        ("wallet.signature.signs", "must have {timestamp}"),
        ("wallet.signature.fields", "must name the fields"),
        ("wallet.event.amount", "JSON pointer"),
        ("wallet.event.failed", "also says paid"),
        ("wallet.status.timeout_ms", "at most 8000"),
        ("other.signature.public_keys", "public key"),
        ("other.signature.secrte", "no such setting"),
        ("stripe", "something else"),
        ("stripe.confirm_by", "webhook or status"),
        ("stripe.signature.secrets", "anybody could sign"),
    ] {
        let is_told = |fault: &&String| {
            fault.starts_with(&format!("payment_providers.{setting}: ")) && fault.contains(what)
        };
        assert_eq!(told.iter().filter(is_told).count(), 1, "{setting}: {what}: {told:#?}");
    }
    assert!(!error.to_string().contains(SECRET));
}

#[test]
fn the_pattern_of_payment_providers_is_not_to_be_changed() {
    assert!(fault("[payment_providers.any]\nconfirm_by = \"webhook\"").contains("something else"));
}
