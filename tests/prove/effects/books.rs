//! The sandbox's books beside ours: what was asked of it, before anything was taken for a repetition, and what it did.

use std::collections::{BTreeMap, HashSet};

use orderfleet::ids::EffectId;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::storm::world::World;

/// Both books, read once all is quiet.
pub(super) struct Books {
    truth: Value,
    requests: Vec<Asked>,
}

/// A raw request that changes something, and what names it: its idempotency key, the mail's Message-ID, or its path where
/// the provider knows no key.
struct Asked {
    path: String,
    name: Option<String>,
}

/// What we asked for, by the same names.
struct Ours {
    /// Every name under which something may have been asked for.
    names: HashSet<String>,
    /// Effects with a receipt, each with the names under which it was asked for.
    done: Vec<(String, Vec<String>)>,
}

impl Books {
    /// Reads the sandbox's.
    pub(super) async fn open(world: &World) -> Self {
        let truth = world.outside(Method::GET, "/_sandbox/truth", String::new()).await.unwrap();
        let all = world.outside(Method::GET, "/_sandbox/truth?kind=requests", String::new()).await.unwrap();
        Self { truth, requests: all.as_array().unwrap().iter().filter_map(asked).collect() }
    }

    /// Raw requests that change something.
    pub(super) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Things there, and things here.
    pub(super) async fn sides(&self, world: &World) -> Vec<(&'static str, i64, i64)> {
        let there = |kind: &str, is_ours: fn(&Value) -> bool| {
            let all = self.truth[kind].as_array().unwrap().iter().filter(|one| is_ours(one));
            i64::try_from(all.count()).unwrap()
        };
        let mails: HashSet<&str> =
            self.each("mails").filter_map(|mail| mail["message_id"].as_str()).collect();
        vec![
            (
                "payments",
                there("payments", |_| true),
                world.count("select count(*) from payments where provider_payment_id is not null").await,
            ),
            (
                // Staff also give money back at the provider's own page.
                "refunds",
                there("refunds", |refund| refund["metadata"]["refund_id"].is_string()),
                world
                    .count("select count(*) from refunds where provider_refund_id is not null and origin <> 'external'")
                    .await,
            ),
            ("labels", there("labels", |_| true), world.count("select count(*) from labels").await),
            (
                "mails",
                i64::try_from(mails.len()).unwrap(),
                world.count("select count(*) from communications where state = 'sent'").await,
            ),
        ]
    }

    /// What must not be, each with its offenders.
    pub(super) async fn faults(&self, world: &World) -> Vec<(&'static str, Vec<String>)> {
        let ours = Ours::of(world).await;
        let strangers = self.requests.iter().filter(|asked| match &asked.name {
            Some(name) => !ours.names.contains(name),
            // Only people send these without a key: a refund at the provider's page.
            None => asked.path != "/v1/refunds",
        });
        let asked: HashSet<&str> = self.requests.iter().filter_map(|asked| asked.name.as_deref()).collect();
        let unasked =
            ours.done.iter().filter(|(_, names)| !names.iter().any(|name| asked.contains(name.as_str())));
        vec![
            ("payments_opened_twice", self.twice("payments", |payment| &payment["metadata"]["payment_id"])),
            ("refunds_made_twice", self.twice("refunds", |refund| &refund["metadata"]["refund_id"])),
            ("labels_bought_twice", self.twice("labels", |label| &label["reference"])),
            (
                "requests_of_nobody",
                strangers.map(|asked| format!("{} {:?}", asked.path, asked.name)).collect(),
            ),
            ("effects_done_that_nobody_asked_for", unasked.map(|(effect, _)| effect.clone()).collect()),
        ]
    }

    /// Accepted mails beyond the first of each.
    pub(super) fn second_copies(&self) -> usize {
        let mails: Vec<&str> = self.each("mails").filter_map(|mail| mail["message_id"].as_str()).collect();
        mails.len() - mails.iter().collect::<HashSet<_>>().len()
    }

    fn each(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.truth[kind].as_array().unwrap().iter()
    }

    /// What has the same name as another of its kind.
    fn twice(&self, kind: &str, name: impl Fn(&Value) -> &Value) -> Vec<String> {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.each(kind).filter_map(|one| name(one).as_str()) {
            *count.entry(name).or_default() += 1;
        }
        count.into_iter().filter(|(_, n)| *n > 1).map(|(name, n)| format!("{name}: {n} times")).collect()
    }
}

/// A request that changes something outside; buyers' own, and a shipment that is merely made known, cost nothing.
fn asked(request: &Value) -> Option<Asked> {
    let text = |field: &str| request[field].as_str().map(str::to_owned);
    let (method, path) = (text("method")?, text("path")?);
    let changes = match request["provider"].as_str()? {
        "stripe" => method == "POST" && !path.ends_with("/confirm"),
        "easypost" => method == "POST" && (path.ends_with("/buy") || path.ends_with("/refund")),
        "smtp" => method == "DATA",
        _ => false,
    };
    let name = text("idempotency_key").or_else(|| path.starts_with("/v2/").then(|| path.clone()));
    changes.then_some(Asked { path, name })
}

impl Ours {
    async fn of(world: &World) -> Self {
        let mut ours = Self { names: HashSet::new(), done: Vec::new() };
        for row in world.rows("select name, id, n, state, request from effects").await {
            let (effect, names) = (row["name"].as_str().unwrap(), names(&row));
            // A payment may turn out to be closed, or captured, before anybody asked for it.
            let is_asked_for =
                ["pay_create:", "refund:", "mail:"].iter().any(|kind| effect.starts_with(kind));
            if row["state"] == "done" && (is_asked_for || effect.ends_with(":buy")) {
                ours.done.push((effect.to_owned(), names.clone()));
            }
            ours.names.extend(names);
        }
        ours
    }
}

/// The names under which an effect may have been asked for, from its frozen request and its keys so far.
fn names(effect: &Value) -> Vec<String> {
    let (name, request) = (effect["name"].as_str().unwrap(), &effect["request"]);
    let shipment = || format!("/v2/shipments/{}", request["shipment"].as_str().unwrap_or_default());
    if name.starts_with("mail:") {
        return vec![request["message_id"].as_str().unwrap().to_owned()];
    }
    if name.ends_with(":buy") {
        return vec![shipment() + "/buy"];
    }
    if name.starts_with("label_void:") {
        return vec![shipment() + "/refund"];
    }
    let id = EffectId::from(effect["id"].as_str().unwrap().parse::<Uuid>().unwrap());
    (1..=effect["n"].as_i64().unwrap()).map(|n| format!("{id}-{n}")).collect()
}
