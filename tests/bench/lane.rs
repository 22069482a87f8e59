//! Our side: jobs as a client pushes them, and a lane under apalis whose handler does nothing.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::*;
use orderfleet::ids::JobId;
use orderfleet::job::{Band, Lane};
use orderfleet::queue::{Copy, FleetLimits, LaneWork, Opening, Origin, Outcomes, Queue, Slice};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A kind that every lane here knows. It is one with a short code in the envelope, as all kinds of the product have.
const KIND: &str = "email";
/// Every job here belongs to a trace, as all jobs of an order do.
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A job that is due at once.
pub(crate) fn copy(lane: Lane, body: Vec<u8>) -> Copy {
    Copy {
        id: JobId::new(),
        kind: KIND.to_owned(),
        lane,
        band: Band::Normal,
        origin: Origin::Row,
        attempts: 0,
        delay: Duration::ZERO,
        body,
        traceparent: TRACE.parse().ok(),
    }
}

/// A lane's worker. Its handler is given the deliveries and where they end.
pub(crate) fn work<H>(queue: &Queue, lane: Lane, hands: usize, slice: usize, stop: &Stop, handler: H)
where
    H: Fn(&mut Slice, &Outcomes) + Clone + Send + Sync + 'static,
{
    let (backend, outcomes) = queue.lane(LaneWork {
        lane,
        concurrency: hands,
        slice,
        fleet: FleetLimits::default(),
        worker: "bench".to_owned(),
        host: "here".to_owned(),
        deadline_of: Arc::new(|_| Duration::from_mins(1)),
        knows_kind: Arc::new(|_| true),
        reads: Arc::new(|_, _| true),
        opening: Arc::new(|| Opening::Open),
        stop: stop.token.clone(),
    });
    let worker = WorkerBuilder::new(format!("bench-{lane}")).backend(backend).concurrency(hands).build(
        move |mut slice: Slice| {
            handler(&mut slice, &outcomes);
            std::future::ready(())
        },
    );
    let stopped = stop.token.clone();
    stop.tasks.spawn(async move {
        let signal = async move {
            stopped.cancelled().await;
            Ok::<(), std::io::Error>(())
        };
        worker.run_until(signal).await.unwrap();
    });
}

/// Ends what [`work`] started.
#[derive(Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Stop {
    /// Waits until every lane has drained: each outcome is in Redis then.
    pub(crate) async fn drain(self, queue: Queue) {
        self.token.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        queue.close().await;
    }
}
