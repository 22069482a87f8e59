//! What only the tables tell, for whoever reads `/metrics`. With a hundred thousand dead letters a look takes longer than a
//! reader should wait: nobody does, not even the first.

use std::time::Duration;

use tokio::sync::Mutex;

use super::float;
use crate::job::Lane;
use crate::store::stuck::REASONS;
use crate::store::{Store, Stored};
use crate::time::Stopwatch;

/// Between two looks at what changes slowly, and costs a scan of all that is open.
const SLOW: Duration = Duration::from_mins(1);
/// One look, at most: a Postgres that is silent longer leaves the figures as they are. The lanes are looked at as often.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at the tables.
pub(super) struct Tables {
    pub(super) store: Store,
    pub(super) lanes: Vec<Lane>,
    pub(super) late_label: Duration,
    pub(super) goes_on: bool,
    /// When it last looked at what changes slowly; held while it looks at anything.
    pub(super) slowly: Mutex<Option<Stopwatch>>,
}

impl Tables {
    /// Brings their gauges up to date.
    pub(super) async fn refresh(&self) {
        let mut slowly = self.slowly.lock().await;
        let is_due = slowly.is_none_or(|watch| watch.elapsed() >= SLOW);
        let look = async {
            self.look_at_letters().await?;
            if is_due { self.look_slowly().await } else { Ok(()) }
        };
        if is_due {
            *slowly = Some(Stopwatch::start());
        }
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the gauges of tables keep their last figures"),
            Err(_) => tracing::debug!("Postgres is silent: the gauges of tables keep their last figures"),
        }
    }

    async fn look_at_letters(&self) -> Stored<()> {
        let dead = self.store.dead_by_lane().await?;
        for lane in &self.lanes {
            let letters = dead.get(lane.name()).copied().unwrap_or_default();
            metrics::gauge!("orderfleet_lane_dead_letters", "lane" => lane.name()).set(float(letters));
        }
        Ok(())
    }

    async fn look_slowly(&self) -> Stored<()> {
        let stuck = self.store.stuck(self.late_label, self.goes_on, 1).await?;
        for reason in REASONS {
            let of = stuck.iter().find(|stuck| stuck.reason == reason).map_or(0, |stuck| stuck.of);
            metrics::gauge!("orderfleet_stuck", "reason" => reason)
                .set(float(u64::try_from(of).unwrap_or_default()));
        }
        metrics::gauge!("orderfleet_stock_sold_out_articles")
            .set(float(self.store.sold_out_articles().await?));
        Ok(())
    }
}
