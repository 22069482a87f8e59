//! Empties personal data when its time is over, and deletes what ended years ago, a piece at a time, as long as this worker lives.
//!
//! Every worker comes by, and whoever is there first takes the next piece: no leader. It never hurries: a table that was never
//! swept is swept in hours, and nobody notices.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::RetentionSettings;
use crate::ids::jitter;
use crate::store::retention::Subject;
use crate::store::{Store, Stored};

/// Between two rounds: what is kept for months is not missed by an hour.
const ROUND: Duration = Duration::from_mins(10);
/// Between two pieces of one round: a tenth of the time that orders have to themselves is left to them many times over.
const PAUSE: Duration = Duration::from_millis(100);
/// Seconds of a day.
const DAY: u64 = 86_400;
/// Pieces of one subject in a round, at most, so that a worker that drains is not waited for.
const PIECES: usize = 600;

/// Sweeps until `stop`.
pub(super) async fn keep(store: Store, settings: RetentionSettings, stop: CancellationToken) {
    // Workers that start together do not come by together.
    while stop.run_until_cancelled(sleep(ROUND.mul_f64(0.5 + jitter()))).await.is_some() {
        for subject in Subject::ALL {
            match Box::pin(stop.run_until_cancelled(round(&store, subject, &settings))).await {
                Some(Ok(0)) => {}
                Some(Ok(rows)) => {
                    tracing::info!(subject = subject.name(), rows, "what was kept long enough is emptied");
                }
                Some(Err(error)) => {
                    tracing::warn!(subject = subject.name(), %error, "not swept: tried again later");
                }
                None => return,
            }
        }
    }
}

/// Empties what is old enough, up to a bound. Answers how many rows; none of what is kept for ever.
pub async fn round(store: &Store, subject: Subject, settings: &RetentionSettings) -> Stored<u64> {
    let days = match subject {
        Subject::Inbox => settings.inbox_days,
        Subject::Communications => settings.communications_days,
        Subject::Intents => settings.intents_days,
        Subject::DeadLetters => settings.dead_letters_days,
        Subject::Actions => settings.actions_days,
        Subject::Orders => settings.orders_days,
    };
    if days == 0 {
        return Ok(0);
    }
    let keep = Duration::from_secs(days.saturating_mul(DAY));
    let mut rows = 0;
    for _ in 0..PIECES {
        let swept = store.within(store.sweep(subject, keep)).await?;
        rows += swept.rows;
        if swept.rows > 0 {
            metrics::counter!("orderfleet_retention_emptied_total", "subject" => subject.name())
                .increment(swept.rows);
            sleep(PAUSE).await;
        }
        if !swept.is_more {
            break;
        }
    }
    Ok(rows)
}
