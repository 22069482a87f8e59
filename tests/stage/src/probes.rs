//! Jobs that prove themselves, and the ledger that tells what became of each.
//!
//! The ledger is append-only and no unique key protects it: a job that was done twice stands in it twice. Each line holds
//! the run that its worker believed in and the run that stood then, so that a late write shows too.

use orderfleet::ids::random_bytes;
use uuid::Uuid;

use crate::fleet::Fleet;

const LEDGER: &str = "
    create table if not exists probe_ledger (
      line bigint generated always as identity, job uuid not null, run int not null, standing int,
      phase text not null, at timestamptz not null default clock_timestamp());
    create index if not exists probe_ledger_job on probe_ledger (job);
    create table if not exists probe_jobs (job uuid primary key, act jsonb not null, run_at timestamptz not null);
    select 0::bigint";

/// What became of the probes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Inserted, by a transaction of their own: accepted.
    pub accepted: i64,
    /// Done at least once.
    pub done: i64,
    /// Lines beyond the first of a job that was done: each is work done twice.
    pub doubled: i64,
    /// Given up, with a dead letter.
    pub buried: i64,
    /// Lines written under a run that was overtaken.
    pub late: i64,
    /// Neither done nor buried, and no row that would bring them back: lost.
    pub lost: i64,
    /// Rows that are still open.
    pub open: i64,
    /// Lines written before the job was due.
    pub early: i64,
}

impl Fleet {
    /// Makes the ledger. Call it once, before the first probe.
    pub async fn lay_ledger(&self) {
        self.count(LEDGER).await;
    }

    /// Inserts probes, each a job row in one transaction, as any transaction of the product would; workers relay them.
    /// `act` is JSON as the kind writes it; `due` an interval from now, `'0'` for at once. Answers how many were accepted.
    pub async fn insert_probes(&self, count: u64, act: &str, due: &str) -> i64 {
        let seed = Uuid::from_bytes(random_bytes::<16>());
        self.count(&format!(
            "with fresh as (
               select gen_random_uuid() as id, now() + interval '{due}' as due from generate_series(1, {count})),
             made as (
               insert into jobs (id, kind, lane, band, payload, run_at, caused_by)
               select id, 'probe', 'housekeeping', 2,
                      jsonb_build_object('subject', id, 'act', '{act}'::jsonb), due, 'proof:{seed}' from fresh
               returning id, payload -> 'act' as act, run_at),
             kept as (insert into probe_jobs select id, act, run_at from made returning 1)
             select count(*) from kept"
        ))
        .await
    }

    /// Counts everything.
    pub async fn tally(&self) -> Tally {
        let n = async |statement: &str| self.count(statement).await;
        Tally {
            accepted: n("select count(*) from probe_jobs").await,
            done: n("select count(distinct job) from probe_ledger where phase = 'done'").await,
            doubled: n("select count(*) - count(distinct job) from probe_ledger where phase = 'done'").await,
            buried: n("select count(distinct job) from probe_ledger where phase = 'buried'").await,
            late: n("select count(*) from probe_ledger
                      where phase = 'done' and (standing is null or (standing <> run and standing <> run - 1))")
            .await,
            lost: n("select count(*) from probe_jobs as p
                      where not exists (select from probe_ledger as l where l.job = p.job)
                        and not exists (select from jobs as j where j.id = p.job)")
            .await,
            open: n("select count(*) from jobs where kind = 'probe'").await,
            early: n("select count(*) from probe_ledger join probe_jobs using (job) where at < run_at").await,
        }
    }
}

impl Fleet {
    /// Rows of jobs that are not done.
    pub async fn open_jobs(&self) -> i64 {
        self.count("select count(*) from jobs").await
    }

    /// The same, without those that were born for a later time (ends of holds, looks at a provider) that has not come.
    pub async fn open_work(&self) -> i64 {
        self.count(
            "select count(*) from jobs
              where run_at <= clock_timestamp() or due_at - created_at < interval '50 seconds'",
        )
        .await
    }

    /// What is laid to jobs of the probes' lane: their strikes (deaths), and how many of them are suspects.
    pub async fn suspicions(&self) -> (i64, i64) {
        let records = self.redis(&["HVALS", "{of:housekeeping:0}:t"]).await;
        let records: Vec<String> = redis::from_redis_value(records).unwrap();
        // token | deliveries | strikes | stage | overran
        let field =
            |record: &String, at| record.split('|').nth(at).and_then(|field| field.parse::<i64>().ok());
        let strikes = records.iter().filter_map(|record| field(record, 2)).sum();
        let suspects = records.iter().filter_map(|record| field(record, 3)).map(|stage| stage.min(1)).sum();
        (strikes, suspects)
    }

    /// Jobs in workers' hands, in the lanes of wishes and of probes; none while Redis is away.
    pub async fn leased(&self) -> i64 {
        let mut leased = 0;
        for lane in ["intents", "housekeeping"] {
            if let redis::Value::Int(count) = self.redis(&["ZCARD", &format!("{{of:{lane}:0}}:l")]).await {
                leased += count;
            }
        }
        leased
    }

    /// Commits of the whole database so far, as Postgres counts them. Backends tell them when they are idle for a moment.
    pub async fn commits(&self) -> i64 {
        self.count("select xact_commit from pg_stat_database where datname = current_database()").await
    }
}
