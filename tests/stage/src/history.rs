//! A shop with a history: orders that ended in every way, as many as a proof or a bench wants, in tables that the audit
//! calls clean. Set-based SQL writes them, because the fleet itself would take an hour for a million.

use futures::future::join_all;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::fleet::Fleet;
use crate::sql::PUBLIC_ID;

const ORDERS: &str = include_str!("history.sql");
/// Orders written by one transaction.
const CHUNK: u64 = 20_000;
/// Connections that write.
const WRITERS: u64 = 2;
/// Articles that the history sells.
const ARTICLES: u64 = 5_000;

/// The articles, of which there is enough for ever; and ids as the product makes them: sorted by their time, where `kind`
/// tells those of one order apart.
const SHELVES: &str = "
    create or replace function history_id(at timestamptz, kind integer, n bigint) returns uuid immutable parallel safe
      language sql as $$
        select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(kind), 3, '0')
                || '8' || lpad(to_hex(n), 15, '0'))::uuid $$;
    insert into skus (sku, name, weight_g, length_mm, width_mm, height_mm, hs_code, origin, customs_description)
      select 'HISTORY-' || lpad(n::text, 4, '0'), 'Suit', 400, 300, 200, 30, '6203.11', 'US', 'suit'
        from generate_series(0, {articles} - 1) as n on conflict do nothing;
    insert into stock (sku, on_hand) select sku, 1000000 from skus where sku like 'HISTORY-%' on conflict do nothing;
    insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved)
      select sku, 'main', 'receipt', 'history', 1000000, 0 from skus where sku like 'HISTORY-%' on conflict do nothing;";

/// Stock rows follow their ledger; then the tables are as a running database leaves them: vacuumed and known.
const LEDGER: &str = "
    update stock s set on_hand = m.on_hand, reserved = m.reserved, version = version + 1
      from (select sku, location, sum(delta_on_hand)::bigint as on_hand, sum(delta_reserved)::bigint as reserved
              from stock_movements where sku like 'HISTORY-%' group by sku, location) as m
     where m.sku = s.sku and m.location = s.location";

impl Fleet {
    /// Writes orders `from` to `to - 1` of the history into the fleet's database, which never had them before.
    pub async fn write_history(&self, from: u64, to: u64) {
        write(self.servers.database_url().expose_secret(), from, to).await;
    }

    /// Runs each of these in a transaction of its own, without triggers and foreign keys: what is spoilt on purpose must not
    /// be refused.
    pub async fn as_replica(&self, statements: &[String]) {
        as_replica(self.servers.database_url().expose_secret(), statements).await;
    }
}

/// Writes orders `from` to `to - 1` of the history into a migrated database, which never had them before.
pub async fn write(url: &str, from: u64, to: u64) {
    let before = format!("{PUBLIC_ID}{}", SHELVES.replace("{articles}", &ARTICLES.to_string()));
    as_replica(url, &[before]).await;
    let share = (to - from).div_ceil(WRITERS);
    let parts = (0..WRITERS).map(|writer| {
        let (begin, end) = (from + writer * share, (from + (writer + 1) * share).min(to));
        let chunks = (begin..end).step_by(usize::try_from(CHUNK).unwrap());
        chunks.map(|first| orders(first, (first + CHUNK).min(end) - 1)).collect::<Vec<_>>()
    });
    join_all(parts.map(async |chunks| as_replica(url, &chunks).await)).await;
    // One statement each: a vacuum runs in no transaction.
    as_replica(url, &[LEDGER.to_owned(), "vacuum (analyze)".to_owned(), "checkpoint".to_owned()]).await;
}

/// Runs statements whose last one answers nothing of interest.
pub async fn run(url: &str, statements: &str) {
    as_replica(url, &[statements.to_owned()]).await;
}

/// The history brings its own events, and needs nobody to compare them.
async fn as_replica(url: &str, statements: &[String]) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let mode = "set session_replication_role = replica; set synchronous_commit = off; set client_min_messages = warning";
    sqlx::raw_sql(mode).execute(&mut connection).await.unwrap();
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

fn orders(first: u64, last: u64) -> String {
    let sizes = [("{first}", first), ("{last}", last), ("{articles}", ARTICLES)];
    sizes.iter().fold(ORDERS.to_owned(), |sql, (name, value)| sql.replace(name, &value.to_string()))
}
