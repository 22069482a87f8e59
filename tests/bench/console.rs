//! The operators' side of a big shop: a million orders and a hundred thousand dead letters, and how long each page of the
//! console takes, how heavy it is, and what a look at the metrics costs.
//!
//! The history is the proofs' own; more dead letters are written beside its own, of forty causes and on many days. Pages are
//! asked for as a browser asks, one after the other, beside a worker that works. Then a group of five hundred among them is
//! found, tried dry and replayed by the forms of those pages.

use std::collections::BTreeMap;
use std::time::Duration;

use orderfleet::time::Stopwatch;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use stage::fleet::{Fleet, Setup, free};
use stage::process::{Process, until, with};
use stage::report::{Op, Report, quantile};

use crate::plan::Plan;

/// Milliseconds that a page may take, the slowest hundredth apart.
const PAGE: f64 = 100.0;
/// Bytes of a page with all that it loads.
const WEIGHT: f64 = 150.0 * 1024.0;
/// Milliseconds for `/metrics`, every time.
const METRICS: f64 = 20.0;
/// Seconds to find, try dry and replay a group of five hundred.
const GROUP: f64 = 3.0;
/// Letters of that group.
const POISONED: i64 = 500;
/// What every page loads beside itself.
const ASSETS: [&str; 3] = ["/assets/console.css", "/assets/console.js", "/assets/icon.svg"];
/// Longer than a worker's last look at its lanes holds: what Prometheus asks finds nothing kept.
const COLD: Duration = Duration::from_millis(5_200);

/// Letters {first} to {last}: of forty causes, one after the other in time, about the orders of the history.
const LETTERS: &str = "
    insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, order_id, caused_by, died_at,
                              replayed_at, replayed_by)
    select history_id(at, 11, n), history_id(at, 12, n), kind, 'mail', 2, jsonb_build_object('communication', 'com_' || n), 5, code,
           'what the provider said of letter ' || n, kind || ':' || code, o.id, 'bench', at, case when n % 10 = 0 then at end,
           case when n % 10 = 0 then 'bench' end
      from (select n, now() - interval '30 days' + n * interval '20 s' as at, 'email' as kind, 'cause_' || n % 40 as code
              from generate_series({first}::bigint, {last}::bigint) n) as l
      left join orders o on o.order_number = 'H-' || n * 7 % {orders}";
/// Holds whose ends died of one cause: what a replay has to lock, and its job finds nothing to do.
const POISON: &str = "
    insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, order_id, caused_by, died_at)
    select history_id(at, 13, n), history_id(at, 14, n), 'reservation-expiry', 'expiry', 2,
           jsonb_build_object('order', public_id('ord', o.id), 'epoch', 1), 5, 'poison', 'poison', 'reservation-expiry:poison', o.id,
           'bench', at
      from (select n, now() - interval '3 hours' + n * interval '1 s' as at from generate_series(1, {poisoned}) n) as l
      join orders o on o.order_number = 'H-' || n * 19";

/// Fills, looks, replays.
pub(crate) async fn run(plan: Plan, report: &mut Report) {
    let (orders, letters): (u64, u64) = plan.sized((10_000, 2_000), (1_000_000, 100_000));
    let desk = free();
    let setup = Setup::default().set("ops.address", desk).set("ops.tenant", "shop");
    let mut fleet = Fleet::set_up(setup).await;
    fill(&fleet, orders, letters, report).await;
    let mut side = Process::start("ops", fleet.folder.path(), with(fleet.command(), ["ops"]));
    side.says("the operators' side listens").await;
    let health = free().port().to_string();
    let worker = fleet.working(&["--health-port", &health]).await;
    let visitor = Visitor::sign_in(&fleet, format!("http://{desk}")).await;
    // The overview has looked once.
    until("a look at the lanes", async || visitor.get("/").await.1.contains("/lanes/mail").then_some(()))
        .await;

    visitor.pages(&fleet, plan.sized(20, 300), report).await;
    metrics(&format!("http://127.0.0.1:{health}/metrics"), plan.sized(4, 30), report).await;
    visitor.group(report).await;
    drop((worker, side));
    fleet.end().await;
}

async fn fill(fleet: &Fleet, orders: u64, letters: u64, report: &mut Report) {
    let since = Stopwatch::start();
    fleet.write_history(0, orders).await;
    let letters = LETTERS.replace("{first}", "0").replace("{last}", &(letters - 1).to_string());
    let poison = POISON.replace("{poisoned}", &POISONED.to_string());
    let statements =
        [letters.replace("{orders}", &orders.to_string()), poison, "vacuum (analyze)".to_owned()];
    fleet.as_replica(&statements).await;
    report.count("orders", orders);
    report.count("dead_letters", fleet.count("select count(*) from dead_letters").await);
    report
        .count("stuck", fleet.count("select count(*) from order_exceptions where state <> 'resolved'").await);
    report.figure("filled_in_seconds", since.elapsed().as_secs_f64());
    report.progress("filled");
}

/// A manager's browser.
struct Visitor {
    client: Client,
    url: String,
    cookie: String,
}

impl Visitor {
    async fn sign_in(fleet: &Fleet, url: String) -> Self {
        let arguments = ["keys", "create", "--name", "bench", "--role", "manager", "--tenant", "shop"];
        let made = stage::fleet::answer(&mut with(fleet.command(), arguments));
        let key = made.lines().nth(1).unwrap().to_owned();
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        let mut visitor = Self { client, url, cookie: String::new() };
        let answer = visitor.post("/sign-in", &[("key", &key)]).await;
        assert_eq!(answer.status(), 303, "nobody is let in");
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
        cookie.clone_into(&mut visitor.cookie);
        visitor
    }

    async fn get(&self, path: &str) -> (f64, String) {
        let request = self.client.get(format!("{}{path}", self.url)).header(COOKIE, &self.cookie);
        let since = Stopwatch::start();
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let page = answer.text().await.unwrap();
        (since.elapsed().as_secs_f64() * 1_000.0, page)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(format!("{}{path}", self.url)).header(COOKIE, &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.unwrap()
    }

    /// Every page, round after round, so that whatever the machine does meanwhile falls on all of them.
    async fn pages(&self, fleet: &Fleet, rounds: usize, report: &mut Report) {
        let pages = pages(fleet).await;
        let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut weights: BTreeMap<&str, usize> = BTreeMap::new();
        for _ in 0..rounds {
            for (name, path) in &pages {
                let (ms, page) = self.get(path).await;
                times.entry(name).or_default().push(ms);
                weights.insert(name, page.len());
            }
        }
        let mut beside = 0;
        for asset in ASSETS {
            beside += self.get(asset).await.1.len();
        }
        report.count("page_requests", rounds * pages.len());
        report.count("assets_bytes", beside);
        let (mut slowest, mut heaviest) = (0.0_f64, 0);
        for (name, mut times) in times {
            let p99 = quantile(&mut times, 0.99);
            report.figure(&format!("{name}_p50_ms"), quantile(&mut times, 0.5));
            report.figure(&format!("{name}_p99_ms"), p99);
            report.count(&format!("{name}_bytes"), weights[name]);
            slowest = slowest.max(p99);
            heaviest = heaviest.max(weights[name] + beside);
        }
        report.bar("slowest_page_p99_ms", slowest, Op::AtMost, PAGE);
        report.bar("heaviest_page_bytes", f64::from(u32::try_from(heaviest).unwrap()), Op::AtMost, WEIGHT);
    }

    /// The clicks of somebody who is paged: the groups, a dry run of one, its replay.
    async fn group(&self, report: &mut Report) {
        let since = Stopwatch::start();
        let (_, groups) = self.get("/dead").await;
        let token =
            groups.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let fingerprint = "reservation-expiry:poison";
        assert!(groups.contains(fingerprint), "the group is not among those shown");
        let act = async |what: &str| {
            let fields = [("csrf", token.as_str()), ("fingerprint", fingerprint), ("do", what)];
            let answer = self.post("/dead/act", &fields).await;
            assert_eq!(answer.status(), 200, "{what}");
            answer.text().await.unwrap()
        };
        act("rehearse").await;
        report.figure("group_found_and_tried_seconds", since.elapsed().as_secs_f64());
        let done = act("replay").await;
        let replayed = done.split(" replayed</h1>").next().and_then(|text| text.rsplit('>').next());
        report.exactly("group_replayed_letters", replayed.unwrap().parse().unwrap_or(-1), POISONED);
        report.bar("group_replayed_seconds", since.elapsed().as_secs_f64(), Op::AtMost, GROUP);
    }
}

/// Every page there is, by a name for its figures; searches that find nothing among all that there is, too.
async fn pages(fleet: &Fleet) -> Vec<(&'static str, String)> {
    let one = async |sql: &str| fleet.select::<String>(sql).await;
    let order = one("select id::text from orders where order_number = 'H-5000'").await;
    let order = orderfleet::ids::OrderId::from(order.parse::<uuid::Uuid>().unwrap());
    let bad = one("select order_id::text from order_exceptions order by id limit 1").await;
    let bad = orderfleet::ids::OrderId::from(bad.parse::<uuid::Uuid>().unwrap());
    let letter = one("select id::text from dead_letters where kind = 'email' and replayed_at is null order by id offset 1000 limit 1").await;
    let letter = orderfleet::ids::DeadLetterId::from(letter.parse::<uuid::Uuid>().unwrap());
    let job = one("select id::text from jobs limit 1").await;
    let job = orderfleet::ids::JobId::from(job.parse::<uuid::Uuid>().unwrap());
    let pages = [
        ("overview", "/".to_owned()),
        ("lane", "/lanes/mail".to_owned()),
        ("job", format!("/jobs/{job}")),
        ("doctor", "/doctor".to_owned()),
        ("settings", "/settings".to_owned()),
        ("dead_groups", "/dead".to_owned()),
        ("dead_groups_of_a_lane", "/dead?lane=shipping".to_owned()),
        ("dead_list", "/dead/list".to_owned()),
        ("dead_list_deep", format!("/dead/list?after={letter}")),
        ("dead_list_of_a_group", "/dead/list?fingerprint=email%3Acause_7".to_owned()),
        ("dead_list_of_the_rarest", "/dead/list?fingerprint=reservation-expiry%3Apoison".to_owned()),
        ("dead_list_of_none", "/dead/list?kind=none".to_owned()),
        ("dead_list_dropped", "/dead/list?state=dropped".to_owned()),
        ("dead_list_of_an_order", format!("/dead/list?order={order}&state=any")),
        ("dead_letter", format!("/dead/{letter}")),
        ("orders", "/orders".to_owned()),
        ("orders_of_a_status", "/orders?status=exception".to_owned()),
        ("orders_of_nobody", "/orders?text=nobody+at+all".to_owned()),
        ("orders_by_number", "/orders?text=H-5000".to_owned()),
        ("orders_of_a_day", "/orders?created_until=2026-01-01".to_owned()),
        ("order", format!("/orders/{order}")),
        ("order_with_an_exception", format!("/orders/{bad}")),
        ("stuck", "/stuck".to_owned()),
        ("actions", "/actions".to_owned()),
        ("sign_in", "/sign-in".to_owned()),
    ];
    pages.into()
}

/// As Prometheus asks: after a while, so that nothing is kept.
async fn metrics(url: &str, looks: usize, report: &mut Report) {
    let client = Client::builder().no_proxy().build().unwrap();
    let mut times = Vec::with_capacity(looks);
    let mut lines = 0;
    for _ in 0..looks {
        tokio::time::sleep(COLD).await;
        let since = Stopwatch::start();
        let told = client.get(url).send().await.unwrap().text().await.unwrap();
        times.push(since.elapsed().as_secs_f64() * 1_000.0);
        lines = told.lines().filter(|line| !line.starts_with('#')).count();
    }
    report.count("metrics_series", lines);
    report.figure("metrics_p50_ms", quantile(&mut times, 0.5));
    report.bar("metrics_slowest_ms", quantile(&mut times, 1.0), Op::AtMost, METRICS);
}
