//! A lane as apalis sees it: a backend whose task is a claimed slice.
//!
//! `Kind = Ephemeral`: decoding is done before a slice gets here, so that a bad payload is buried instead of ending the
//! worker. Its error type has no value: whatever Redis does, a worker goes on. Apalis's `concurrency` layer must be
//! [`LaneWork::concurrency`]; outcomes are given to [`super::Outcomes`], never judged from the handler's result.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::RandomId;
use apalis_core::worker::context::WorkerContext;
use futures::task::AtomicWaker;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;

use super::FleetLimits;
use super::slice::Slice;
use crate::job::Lane;

/// How a worker works one lane.
#[derive(Clone)]
pub struct LaneWork {
    /// Which lane.
    pub lane: Lane,
    /// Slices in hand at once.
    pub concurrency: usize,
    /// Jobs in a slice, at most.
    pub slice: usize,
    /// What the whole fleet may do here, unless an operator has set something else.
    pub fleet: FleetLimits,
    /// The worker's name: unique for each start of a process, the same for all of its lanes.
    pub worker: String,
    /// The machine that it runs on, for operators.
    pub host: String,
    /// A kind's deadline: renewal of its lease stops there.
    pub deadline_of: Arc<dyn Fn(&str) -> Duration + Send + Sync>,
    /// Whether this worker knows a kind; what it does not know is parked.
    pub knows_kind: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Whether this worker knows a kind and can read such fields: what is parked is taken back by one that can.
    pub reads: Arc<Reads>,
    /// Whether the worker wants jobs of this lane now: what all of them need outside may be away.
    pub opening: Arc<dyn Fn() -> Opening + Send + Sync>,
    /// Cancelled when the worker is to drain: nothing new is taken, what was not started is handed back.
    pub stop: CancellationToken,
}

/// Says whether a kind's fields can be read, by the kind's name and their bytes.
type Reads = dyn Fn(&str, &[u8]) -> bool + Send + Sync;

/// Whether a worker wants jobs of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// As many as it has hands for.
    Open,
    /// One, to find out whether what it needs is back.
    One,
    /// None until then.
    Shut(Instant),
}

/// Slices that were claimed and not yet asked for. Never more than there are free hands.
#[derive(Default)]
pub(super) struct Shelf {
    slices: std::sync::Mutex<(VecDeque<Slice>, bool)>,
    waker: AtomicWaker,
}

impl Shelf {
    /// Gives the slice back once it is closed.
    pub(super) fn put(&self, slice: Slice) -> Result<(), Slice> {
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        if slices.1 {
            return Err(slice);
        }
        slices.0.push_back(slice);
        drop(slices);
        self.waker.wake();
        Ok(())
    }

    /// Takes nothing more in, and gives back what is left, the first claimed first.
    pub(super) fn close(&self) -> Vec<Slice> {
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        slices.1 = true;
        let left = slices.0.drain(..).collect();
        drop(slices);
        self.waker.wake();
        left
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Option<Slice>> {
        self.waker.register(cx.waker());
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        match slices.0.pop_front() {
            Some(slice) => Poll::Ready(Some(slice)),
            None if slices.1 => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// The backend of one lane, for apalis's `WorkerBuilder`.
pub struct LaneBackend {
    shelf: Arc<Shelf>,
    stop: CancellationToken,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for LaneBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneBackend").finish_non_exhaustive()
    }
}

impl LaneBackend {
    /// Of slices that come by the shelf until `stop`; `closing` is all that is to be done then.
    pub(super) fn new(
        shelf: Arc<Shelf>,
        stop: CancellationToken,
        closing: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { shelf, stop, closing: Box::pin(closing) }
    }
}

impl Drop for LaneBackend {
    fn drop(&mut self) {
        // A worker that ended by itself takes nothing more.
        self.stop.cancel();
    }
}

impl Backend for LaneBackend {
    type Task = Task<Slice>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Slice>, Infallible>>> {
        self.shelf.poll(cx).map(|slice| slice.map(|slice| Ok(TaskBuilder::new(slice).build())))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.closing.as_mut().poll(cx).map(Ok)
    }
}

impl BackendConfig for LaneBackend {
    type Args = Slice;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
