//! A slice's transaction, run until it is written or nothing more can be hoped for.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::ids::jitter;
use crate::job::{Class, Failure};
use crate::jobs::Job;
use crate::time::Stopwatch;
use crate::worker::load::Outcome;
use crate::worker::phase::is_postgres;

/// Runs of one slice's transaction that Postgres asked to be tried again, before its jobs are handed back.
const TRIES: u32 = 4;
/// The shortest pause that lets another slice's commit through.
const MOMENT: Duration = Duration::from_millis(20);

/// Runs a slice's transaction until it is written: again where Postgres asked for that or, for as long as `patience`
/// lasts, is away; and carefully where some job's data was refused or some job's code panicked.
pub(super) async fn in_transaction<J: Job>(
    step: impl Fn(bool) -> JoinHandle<Result<Outcome<J>, Failure>>,
    jobs: usize,
    patience: Duration,
) -> Result<Outcome<J>, Failure> {
    let watch = Stopwatch::start();
    let mut careful = false;
    let mut tries = 0;
    loop {
        // Aborted with whoever waits for it: a load that came through after its job was handed back would overtake its successor.
        let step = AbortOnDropHandle::new(step(careful));
        let failure = match step.await.unwrap_or_else(|error| Err(panicked(&error))) {
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        tries += 1;
        if is_postgres(&failure) {
            if watch.elapsed() < patience {
                sleep(MOMENT.mul_f64(10.0 * (1.0 + jitter()))).await;
            } else if tries >= TRIES || failure.code == "postgres_unreachable" {
                return Err(failure);
            } else {
                // Two slices that met: apart by a jittered moment.
                sleep(MOMENT.mul_f64(jitter() * f64::from(tries))).await;
            }
        } else if careful {
            return Err(failure);
        } else {
            tracing::warn!(
                jobs,
                code = failure.code,
                detail = failure.detail,
                "a slice was refused: it is bisected"
            );
            careful = true;
        }
    }
}

fn panicked(error: &JoinError) -> Failure {
    Failure::new(Class::Data, "panicked", if error.is_panic() { "a job's code panicked" } else { "aborted" })
}
