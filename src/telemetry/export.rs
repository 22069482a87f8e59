//! Sends spans to a collector, beside the work and never in its way.
//!
//! What was recorded waits in a bounded queue and goes in batches. A collector that is slow or away costs spans, which are
//! counted, and nothing else: nobody waits for it but this task, and at the end of a process for a moment.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::otlp::{self, Resource};
use super::spans::Span;
use crate::config::TelemetrySettings;
use crate::ids::jitter;

/// Spans that wait, at most: some seconds of a busy process, in some megabytes.
const WAITING: usize = 16_384;
/// Spans in one request: 200 KB or so, a tenth of what collectors take at once.
const BATCH: usize = 512;
/// How long a batch is gathered: a process that is killed loses the spans of so long.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take for one.
const ANSWER: Duration = Duration::from_secs(5);
/// Times that a batch is sent, with this pause between: a collector restarts in seconds, and the queue holds about as long.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// How long the end of a process waits for what is left. A drain's grace leaves more than that of the 30 s that Kubernetes
/// gives.
const FLUSH: Duration = Duration::from_secs(2);

static EXPORT: OnceLock<Export> = OnceLock::new();

struct Export {
    queue: mpsc::Sender<Span>,
    percent: u64,
}

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp_endpoint: no client can be made for it: {0}")]
pub struct ExportError(#[source] reqwest::Error);

/// The export of this process; it ends with [`Exporting::finish`].
#[must_use]
#[derive(Debug, Default)]
pub struct Exporting {
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Starts it, where an endpoint is set. A second one in the same process is none: the first goes on.
pub fn start(settings: &TelemetrySettings, instance: &str) -> Result<Exporting, ExportError> {
    let exporting = Exporting::default();
    if settings.otlp_endpoint.is_empty() {
        return Ok(exporting);
    }
    let client = client()?;
    let (queue, recorded) = mpsc::channel(WAITING);
    if EXPORT.set(Export { queue, percent: settings.traced_percent }).is_ok() {
        let collector = Collector {
            client,
            url: traces(settings),
            resource: Resource { instance: instance.to_owned() },
            stop: exporting.stop.clone(),
        };
        exporting.tasks.spawn(collector.carry(recorded));
    }
    Ok(exporting)
}

/// Whether the collector of these settings takes traces: it is sent a batch of none. None where nothing is exported.
pub async fn check(settings: &TelemetrySettings) -> Option<Result<(), String>> {
    if settings.otlp_endpoint.is_empty() {
        return None;
    }
    let client = match client() {
        Ok(client) => client,
        Err(error) => return Some(Err(error.to_string())),
    };
    let resource = Resource { instance: "doctor".to_owned() };
    let none = otlp::request(&resource, &[]);
    let collector = Collector { client, url: traces(settings), resource, stop: CancellationToken::new() };
    Some(collector.post(none).await.map_err(|refusal| refusal.what))
}

fn traces(settings: &TelemetrySettings) -> String {
    format!("{}/v1/traces", settings.otlp_endpoint.trim_end_matches('/'))
}

fn client() -> Result<Client, ExportError> {
    let built = Client::builder().timeout(ANSWER).no_proxy().redirect(reqwest::redirect::Policy::none());
    built.build().map_err(ExportError)
}

impl Exporting {
    /// Sends what is left, for a moment at most. Call it when all work has ended.
    pub async fn finish(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(FLUSH, self.tasks.wait()).await.is_err() {
            tracing::warn!("the collector did not take the last spans in time: they are lost");
        }
    }
}

/// Whether spans are exported.
#[must_use]
pub fn exports() -> bool {
    EXPORT.get().is_some()
}

/// Whether a trace that begins here is exported. Without an export of our own that is left to the others.
#[must_use]
pub fn samples() -> bool {
    EXPORT.get().is_none_or(|export| {
        export.percent >= 100 || jitter() * 100.0 < f64::from(u32::try_from(export.percent).unwrap_or(100))
    })
}

/// Takes a span, or loses it where the collector can not keep up.
pub(super) fn take(span: Span) {
    if let Some(export) = EXPORT.get()
        && export.queue.try_send(span).is_err()
    {
        lost("queue_full", 1);
    }
}

fn lost(reason: &'static str, spans: usize) {
    let spans = u64::try_from(spans).unwrap_or_default();
    metrics::counter!("orderfleet_spans_dropped_total", "reason" => reason).increment(spans);
}

struct Collector {
    client: Client,
    url: String,
    resource: Resource,
    stop: CancellationToken,
}

impl Collector {
    /// Sends batches until the stop, and then what is left.
    async fn carry(self, mut recorded: mpsc::Receiver<Span>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let gathered = self.stop.run_until_cancelled(gather(&mut recorded, &mut batch)).await;
            if gathered.is_none() {
                recorded.close();
                let room = BATCH - batch.len();
                recorded.recv_many(&mut batch, room).await;
            }
            if batch.is_empty() {
                return;
            }
            self.send(&batch).await;
            batch.clear();
        }
    }

    async fn send(&self, batch: &[Span]) {
        let request = otlp::request(&self.resource, batch);
        let mut last = String::new();
        for tried in 1..=TRIES {
            match self.post(request.clone()).await {
                Ok(()) => {
                    let sent = u64::try_from(batch.len()).unwrap_or_default();
                    return metrics::counter!("orderfleet_spans_exported_total").increment(sent);
                }
                Err(refusal) => {
                    last = refusal.what;
                    if refusal.is_for_good || tried == TRIES {
                        break;
                    }
                }
            }
            if self.stop.run_until_cancelled(sleep(PAUSE.mul_f64(1.0 + jitter()))).await.is_none() {
                break;
            }
        }
        tracing::warn!(
            spans = batch.len(),
            why = last,
            "the collector did not take these spans: they are lost"
        );
        lost("not_taken", batch.len());
    }

    async fn post(&self, request: Vec<u8>) -> Result<(), Refusal> {
        let asked = self.client.post(&self.url).header(CONTENT_TYPE, "application/x-protobuf").body(request);
        let answer = asked
            .send()
            .await
            .map_err(|error| Refusal { what: error.without_url().to_string(), is_for_good: false })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        // The standard names those that are worth another try.
        let is_for_now = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(Refusal { what: status.to_string(), is_for_good: !is_for_now })
    }
}

struct Refusal {
    what: String,
    is_for_good: bool,
}

/// Waits for a first span, and then for as many as one batch holds, but not for long.
async fn gather(recorded: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
    recorded.recv_many(batch, BATCH).await;
    let until = Instant::now() + GATHER;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        match timeout_at(until, recorded.recv_many(batch, room)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::{DefaultBodyLimit, State};
    use axum::routing::post;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::telemetry::TraceContext;
    use crate::telemetry::spans::{Side, finished};

    /// Answers in turn, and how many spans each request had.
    type Told = Arc<Mutex<(Vec<StatusCode>, Vec<usize>)>>;

    async fn collector(answers: &[StatusCode]) -> (String, Told, AbortOnDropHandle<()>) {
        let told = Told::new(Mutex::new((answers.to_vec(), Vec::new())));
        let take = async |State(told): State<Told>, body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let mut told = told.lock().unwrap();
            told.1.push(request.resource_spans[0].scope_spans[0].spans.len());
            if told.0.is_empty() { StatusCode::OK } else { told.0.remove(0) }
        };
        let routes = Router::new().route("/v1/traces", post(take)).layer(DefaultBodyLimit::max(1 << 24));
        let routes = routes.with_state(Arc::clone(&told));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let serving = TaskTracker::new().spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (url, told, AbortOnDropHandle::new(serving))
    }

    async fn carried(spans: usize, answers: &[StatusCode]) -> Vec<usize> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, told, _serving) = collector(answers).await;
        let (queue, recorded) = mpsc::channel(WAITING);
        for _ in 0..spans {
            queue.try_send(finished(TraceContext::begin(true), "a", Side::Inside)).unwrap();
        }
        let stop = CancellationToken::new();
        stop.cancel();
        let resource = Resource { instance: "here".to_owned() };
        Collector { client: client().unwrap(), url, resource, stop }.carry(recorded).await;
        told.lock().unwrap().1.clone()
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_is_sent_in_batches() {
        assert_eq!(carried(1_200, &[]).await, [512, 512, 176]);
    }

    #[tokio::test]
    async fn what_is_refused_is_lost_and_the_next_batch_goes_on() {
        assert_eq!(carried(600, &[StatusCode::BAD_REQUEST]).await, [512, 88]);
    }
}
