//! The house's tables, read from outside: rows as JSON, what is left undone, what was given up, the audit.

use std::collections::BTreeMap;
use std::time::Duration;

use orderfleet::audit::{self, Scope, Truth};
use orderfleet::config::PostgresSettings;
use orderfleet::ids::OrderId;
use orderfleet::job::Lane;
use orderfleet::sandbox::look;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::{House, LOOK, PATIENCE};

/// Jobs that are due later than this are no part of what a test waits for: deadlines of orders.
const FAR: &str = "interval '90 seconds'";

pub(super) async fn open(settings: &PostgresSettings) -> PgConnection {
    PgConnection::connect(settings.url.expose_secret()).await.unwrap()
}

impl House {
    /// The rows of a query, each as an object.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Value> {
        let sql = format!("select coalesce(json_agg(found), '[]')::text from ({sql}) found");
        let mut books = self.books.lock().await;
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(&mut *books).await.unwrap();
        serde_json::from_str(row.get(0)).unwrap()
    }

    /// The only value of a query.
    pub(crate) async fn value(&self, sql: &str) -> Value {
        let rows = self.rows(sql).await;
        let [Value::Object(row)] = rows.as_slice() else { panic!("not one row: {rows:?}") };
        row.values().next().unwrap().clone()
    }

    /// How many rows of a table, with a condition after its name where it has one.
    pub(crate) async fn count(&self, from: &str) -> i64 {
        self.value(&format!("select count(*) from {from}")).await.as_i64().unwrap()
    }

    /// What waits for days is due.
    pub(crate) async fn some_days_pass(&self) {
        self.execute("update jobs set run_at = now(), relayed_at = null where kind = 'order-completion'")
            .await
            .unwrap();
    }

    /// Waits until so many rows are there.
    pub(crate) async fn until_count(&self, from: &str, count: i64) {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if self.count(from).await == count {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("never {count} of {from}");
    }

    /// An order's hold is over, once nothing else is left to do.
    pub(crate) async fn end_hold(&self, order: OrderId) {
        self.settled().await;
        self.hurry_hold(order).await;
    }

    /// An order's hold is over now.
    pub(crate) async fn hurry_hold(&self, order: OrderId) {
        let due = format!(
            "update reservations set expires_at = clock_timestamp() where state = 'active' and order_id = '{}';
             update jobs set run_at = now(), relayed_at = null where kind = 'reservation-expiry' and payload ->> 'order' = '{order}'",
            order.uuid()
        );
        self.execute(&due).await.unwrap();
    }

    /// All holds are over at one instant.
    pub(crate) async fn end_holds(&self) {
        self.settled().await;
        let due = "update reservations set expires_at = clock_timestamp() where state = 'active';
                   update jobs set run_at = now(), relayed_at = null where kind = 'reservation-expiry'";
        self.execute(due).await.unwrap();
    }

    /// Redis forgets all that it knew of this house.
    pub(crate) async fn forget(&self) {
        let client = redis::Client::open(self.settings.redis.url.expose_secret()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let script = "local all = redis.call('KEYS', '*' .. ARGV[1] .. ':*')
                      for _, key in ipairs(all) do redis.call('DEL', key) end return #all";
        let forgotten: i64 = redis::Script::new(script)
            .arg(&self.settings.redis.prefix)
            .invoke_async(&mut connection)
            .await
            .unwrap();
        assert!(forgotten > 0, "it knew something");
    }

    /// An order can no longer be paid.
    pub(crate) async fn end_payable(&self, order: OrderId) {
        let due = format!(
            "update orders set payable_until = now() where id = '{}';
             update jobs set run_at = now(), relayed_at = null where kind = 'order-lapse' and payload ->> 'order' = '{order}'",
            order.uuid()
        );
        self.execute(&due).await.unwrap();
    }

    /// Carries out a statement, or says with which code the database refused it.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), String> {
        let mut books = self.books.lock().await;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *books).await;
        done.map(drop).map_err(|error| match error.as_database_error() {
            Some(refused) => format!("{} {}", refused.code().unwrap_or_default(), refused.message()),
            None => panic!("{error}"),
        })
    }

    /// Every table with a fingerprint of all that it holds; but for exemplars, which a worker keeps when it comes to that.
    pub(crate) async fn dump(&self) -> BTreeMap<String, Value> {
        let tables =
            self.rows("select tablename from pg_tables where schemaname = 'public' and tablename <> 'exemplars' order by 1").await;
        let mut dump = BTreeMap::new();
        for table in tables.iter().filter_map(|table| table["tablename"].as_str()) {
            let sql = format!(
                "select count(*) as rows, md5(string_agg(t::text, '|' order by t::text)) from {table} t"
            );
            dump.insert(table.to_owned(), self.rows(&sql).await.remove(0));
        }
        dump
    }

    /// What was given up, by kind.
    pub(crate) async fn dead_letters(&self) -> Vec<Value> {
        self.rows("select kind, code, detail, attempts, payload from dead_letters order by kind, died_at")
            .await
    }

    /// Waits until nothing is left undone: no job but those of far deadlines, no copy waiting or in anybody's hands.
    pub(crate) async fn settled(&self) {
        let mut left = String::new();
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            left = self.left().await;
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("left undone: {left}");
    }

    async fn left(&self) -> String {
        let mut left = String::new();
        // Copies first: a job that is done between the two looks has left its rows by then.
        for lane in Lane::ALL {
            let depth = self.queue.depth(lane).await.unwrap();
            if depth.waiting() + depth.leased + depth.dead + depth.parked > 0 {
                left = format!("{left}{lane}: {depth:?}\n");
            }
        }
        let sql = format!(
            "select kind, attempts, payload, run_at - now() as due from jobs where run_at < now() + {FAR}"
        );
        for row in self.rows(&sql).await {
            left = format!("{left}{row}\n");
        }
        left
    }

    /// Every invariant holds, of the tables and against what the sandbox holds for true.
    pub(crate) async fn audit(&self, compares: bool) {
        let truth = match look::truth(&self.settings.stripe.api_base, Duration::from_secs(20)).await {
            Some(truth) if compares => Some(Truth::read(truth.to_string().as_bytes()).unwrap()),
            Some(_) => None,
            None => panic!("the sandbox does not answer"),
        };
        let report = audit::run(&self.store, Scope { quiescent: true, truth }).await.unwrap();
        assert_eq!(report.violations, 0, "{}", audit::render(&report));
    }
}
