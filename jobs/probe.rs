//! A job that proves itself: it writes a line into a ledger that no unique key protects, and misbehaves as it is told.
//!
//! Only in builds for `scripts/prove` (cargo feature `proof`). It asks no provider; what stands for the outside is a wait,
//! and for an answer a random reference, so that a call made twice leaves two different receipts.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Called, Job, Loaded, Rules};
use crate::ids::{JobId, random_hex};
use crate::job::{Class, Failure, Lane, Limits, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::store::effects::{self, NewEffect, Proof};
use crate::store::{Tx, probe};

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Ends in its load.
    Note,
    /// Calls for so many milliseconds, and ends in its settle.
    Call(u64),
    /// The same, as an outside mutation with its effect, key and receipt.
    Mutate(u64),
    /// Its data is refused by Postgres, in its load.
    Refuse,
    /// Fails for good, in its call.
    Fail,
    /// Panics in its call.
    Panic,
    /// Ends the process in its load.
    AbortInLoad,
    /// Ends the process in its call.
    Abort,
    /// Its call never ends.
    Hang,
    /// Its call takes memory until the process has none left.
    Fill,
}

/// A probe.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What it is about: two probes of one subject are never in one transaction.
    pub subject: Uuid,
    /// How it behaves.
    pub act: Act,
}

/// What a probe calls with.
#[derive(Clone, Debug)]
pub struct Question {
    run: i32,
    effect: Option<String>,
}

impl Payload for Probe {
    const KIND: &'static str = "probe";
    const LANE: Lane = Lane::Housekeeping;
    const LIMITS: Limits = Limits {
        attempts: 3,
        // Short, so that a proof sees a hung call end.
        deadline: Duration::from_secs(10),
        max_age: Duration::from_hours(24),
        slice: 256,
        settle: 256,
        calls: 256,
    };

    fn subject(&self) -> Uuid {
        self.subject
    }
}

/// Memory is taken in pieces of so many bytes, and no further than this many pieces: a process without a limit of its own
/// must not take the machine along.
const PIECE: usize = 64 << 20;
const PIECES: usize = 64;

impl Job for Probe {
    type Plan = Question;
    type Receipt = String;

    async fn load(
        jobs: &[Loaded<Self>],
        tx: &mut Tx,
        _rules: &Rules,
    ) -> Result<Vec<Step<Question>>, Failure> {
        let ids: Vec<JobId> = jobs.iter().map(|loaded| loaded.id).collect();
        let runs = probe::runs(tx, &ids).await?;
        // What the worker raises it to, in this transaction.
        let run = |id| runs.get(&id).map_or(1, |run| run + 1);
        let (mut steps, mut lines, mut effects) = (Vec::with_capacity(jobs.len()), Vec::new(), Vec::new());
        for Loaded { id, job, .. } in jobs {
            let name = matches!(job.act, Act::Mutate(_)).then(|| format!("probe:{id}"));
            match job.act {
                Act::Note | Act::Refuse => {
                    lines.push((*id, run(*id), job.act == Act::Refuse));
                    steps.push(Step::Done);
                    continue;
                }
                Act::AbortInLoad => std::process::abort(),
                Act::Mutate(_)
                | Act::Call(_)
                | Act::Fail
                | Act::Panic
                | Act::Abort
                | Act::Hang
                | Act::Fill => {}
            }
            effects.extend(name.clone().map(|name| NewEffect {
                name,
                request: serde_json::json!({}),
                job: *id,
            }));
            steps.push(Step::Call(Question { run: run(*id), effect: name }));
        }
        effects::begin(tx, &effects).await?;
        probe::note(tx, "done", &lines).await?;
        Ok(steps)
    }

    async fn call(&self, _plan: &Question, _to: &Providers) -> Result<String, Failure> {
        match self.act {
            Act::Call(ms) | Act::Mutate(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Act::Fail => return Err(Failure::new(Class::Permanent, "told_to_fail", "as it was told")),
            Act::Panic => {
                #[expect(clippy::panic, reason = "that is what it is for")]
                {
                    panic!("as it was told");
                }
            }
            Act::Abort => std::process::abort(),
            Act::Hang => std::future::pending::<()>().await,
            Act::Fill => fill(),
            Act::Note | Act::Refuse | Act::AbortInLoad => {}
        }
        Ok(random_hex::<8>())
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let lines: Vec<_> = back.iter().map(|called| (called.loaded.id, called.plan.run, false)).collect();
        probe::note(tx, "done", &lines).await?;
        Ok(back.iter().map(|_| Verdict::Done).collect())
    }

    async fn buried(&self, id: JobId, _failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        Ok(probe::note(tx, "buried", &[(id, 0, false)]).await?)
    }

    fn effect(plan: &Question) -> Option<&str> {
        plan.effect.as_deref()
    }

    fn proof(plan: &Question, receipt: &String) -> Option<Proof> {
        plan.effect.clone().map(|effect| Proof {
            effect,
            provider_ref: receipt.clone(),
            receipt: serde_json::json!({ "run": plan.run }),
        })
    }
}

/// Takes memory, and uses it, until there is none or the bound is reached; then the process ends either way.
fn fill() {
    let mut taken = Vec::new();
    for _ in 0..PIECES {
        taken.push(vec![1_u8; PIECE]);
    }
    drop(taken);
    std::process::abort();
}
