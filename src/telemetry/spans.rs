//! Spans: what a piece of work was, when, under which other one, and how it ended.
//!
//! Each is made when it is over, and then belongs to the exporter; while it runs it is a name and a beginning. All work of an
//! order stands right under the request that wished for it, not under the work that caused it: a process that is killed takes
//! its last second of spans with it, and nothing else may lose its place by that. What may stand in a span is what may stand
//! in a log: ids, codes, counts. With the export off, or a trace that is not sampled, nothing here does anything.

use std::borrow::Cow;

use super::{TraceContext, export};
use crate::time::{Clock, Stopwatch};

/// What a span was, to the one on its other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A step of our own.
    Inside,
    /// Somebody asked us.
    Server,
    /// We asked somebody.
    Client,
    /// We put a job into the queue.
    Producer,
    /// We worked a job out of the queue.
    Consumer,
}

/// What is said of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// An id, a name, a code.
    Text(Cow<'static, str>),
    /// A count.
    Number(i64),
}

impl From<&'static str> for Said {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Said {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// When something began.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// Nanoseconds since 1970.
    unix: u64,
    watch: Stopwatch,
}

impl Since {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { unix: Clock::real().unix_nanos(), watch: Stopwatch::start() }
    }
}

/// A span that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    context: TraceContext,
    parent: Option<[u8; 8]>,
    since: Since,
}

impl Begun {
    /// One that has its name already, under a span of somebody else's or none.
    #[must_use]
    pub fn named(context: TraceContext, parent: Option<TraceContext>) -> Option<Self> {
        is_wanted(context).then(|| Self {
            context,
            parent: parent.map(TraceContext::span_id),
            since: Since::now(),
        })
    }

    /// One below this, where there is one.
    #[must_use]
    pub fn under(parent: Option<TraceContext>) -> Option<Self> {
        let parent = parent.filter(|parent| is_wanted(*parent))?;
        Some(Self::since(parent, Since::now()))
    }

    /// A step of this one that began before it had a name: one transaction is a step of many jobs.
    #[must_use]
    pub fn step(&self, since: Since) -> Self {
        Self::since(self.context, since)
    }

    fn since(parent: TraceContext, since: Since) -> Self {
        Self { context: parent.child(), parent: Some(parent.span_id()), since }
    }

    /// What the next span below it stands under.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// The same span below another one, maybe of another trace.
    #[must_use]
    pub const fn moved(self, parent: TraceContext) -> Self {
        Self { context: self.context.in_trace_of(parent), parent: Some(parent.span_id()), ..self }
    }

    /// It is over.
    #[must_use]
    pub fn end(self, name: impl Into<Cow<'static, str>>, side: Side) -> Span {
        let took = u64::try_from(self.since.watch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Span {
            context: self.context,
            parent: self.parent,
            link: None,
            name: name.into(),
            side,
            from: self.since.unix,
            until: self.since.unix.saturating_add(took),
            failure: None,
            said: Vec::new(),
        }
    }
}

/// Whether spans of this trace are exported here. If not, no name is drawn and no clock is read.
#[must_use]
pub fn is_wanted(trace: TraceContext) -> bool {
    export::exports() && trace.is_sampled()
}

/// A span that is over.
#[derive(Clone, Debug)]
pub struct Span {
    pub(super) context: TraceContext,
    pub(super) parent: Option<[u8; 8]>,
    /// What it also came of, in another trace.
    pub(super) link: Option<TraceContext>,
    pub(super) name: Cow<'static, str>,
    pub(super) side: Side,
    /// Nanoseconds since 1970.
    pub(super) from: u64,
    pub(super) until: u64,
    /// The code of what went wrong.
    pub(super) failure: Option<Cow<'static, str>>,
    pub(super) said: Vec<(&'static str, Said)>,
}

impl Span {
    /// With this said of it.
    #[must_use]
    pub fn with(mut self, name: &'static str, said: impl Into<Said>) -> Self {
        self.said.push((name, said.into()));
        self
    }

    /// The same, where there is something to say.
    #[must_use]
    pub fn with_some(self, name: &'static str, said: Option<impl Into<Said>>) -> Self {
        match said {
            Some(said) => self.with(name, said),
            None => self,
        }
    }

    /// It did not end well, for this code.
    #[must_use]
    pub fn failed(mut self, code: Option<impl Into<Cow<'static, str>>>) -> Self {
        self.failure = code.map(Into::into);
        self
    }

    /// It also came of this one.
    #[must_use]
    pub fn linked(mut self, other: Option<TraceContext>) -> Self {
        self.link = other;
        self
    }

    /// Hands it to the exporter; never waits.
    pub fn record(self) {
        export::take(self);
    }
}

/// A span that is over, as tests want one.
#[cfg(test)]
pub(super) fn finished(context: TraceContext, name: &'static str, side: Side) -> Span {
    Begun { context, parent: None, since: Since::now() }.end(name, side)
}

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// Runs something under this span: what it asks of others stands below it.
pub async fn within<T>(context: Option<TraceContext>, work: impl Future<Output = T>) -> T {
    CURRENT.scope(context, work).await
}

/// Begins a span below the one that runs here, where one does.
#[must_use]
pub fn below_current() -> Option<Begun> {
    CURRENT.try_with(|context| Begun::under(*context)).ok().flatten()
}
