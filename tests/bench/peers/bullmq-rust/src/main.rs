//! The side of BullMQ's official Rust crate in `scripts/bench queue`; `../bullmq/driver.js` is its elder sister and says
//! what is measured.
//!
//! `REDIS_URL=… bench-bullmq-rust JOBS BODY_BYTES BATCH BATCHES_IN_FLIGHT CONCURRENCY`

use std::error::Error;
use std::time::Instant;

use bullmq::options::RedisConnectionOptions;
use bullmq::queue::BulkJob;
use bullmq::types::RemoveOnFinish;
use bullmq::worker::{CancellationToken, WorkerEvent};
use bullmq::{Job, JobOptions, Queue, QueueOptions, Worker, WorkerOptions};
use serde_json::Value;

type Done<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let &[jobs, bytes, batch, in_flight, concurrency] = numbers.as_slice() else {
        return Err("JOBS BODY_BYTES BATCH BATCHES_IN_FLIGHT CONCURRENCY".into());
    };
    let connection = RedisConnectionOptions { url: std::env::var("REDIS_URL")?, ..Default::default() };
    let push_seconds = push(&connection, jobs, bytes, batch, in_flight).await?;
    let work_seconds = work(&connection, jobs, concurrency).await?;
    let version = "bullmq-official 1.4.4";
    println!(
        "{}",
        serde_json::json!({ "push_seconds": push_seconds, "work_seconds": work_seconds, "version": version })
    );
    // The worker's own end may wait for what it listens to.
    std::process::exit(0)
}

async fn push(
    connection: &RedisConnectionOptions,
    jobs: usize,
    bytes: usize,
    batch: usize,
    in_flight: usize,
) -> Done<f64> {
    let options = QueueOptions { connection: connection.clone(), ..Default::default() };
    let queue = Queue::with_options("bench", options).await?;
    let data = Value::String("x".repeat(bytes - 2));
    let since = Instant::now();
    let mut left = jobs;
    while left > 0 {
        let mut calls = Vec::with_capacity(in_flight);
        while left > 0 && calls.len() < in_flight {
            let count = batch.min(left);
            left -= count;
            let remove = || JobOptions::default().remove_on_complete(RemoveOnFinish::Bool(true));
            let many = (0..count).map(|_| BulkJob::with_options("job", &data, remove())).collect();
            calls.push(queue.add_bulk(many));
        }
        for added in futures::future::join_all(calls).await {
            added?;
        }
    }
    Ok(since.elapsed().as_secs_f64())
}

async fn work(connection: &RedisConnectionOptions, jobs: usize, concurrency: usize) -> Done<f64> {
    let options = WorkerOptions {
        connection: connection.clone(),
        concurrency,
        autorun: false,
        remove_on_complete: Some(RemoveOnFinish::Bool(true)),
        ..Default::default()
    };
    let nothing = async |_: Job, _: CancellationToken| Ok(Value::Null);
    let worker = Worker::with_options("bench", move |job, token| nothing(job, token), options).await?;
    let since = Instant::now();
    worker.run().await?;
    let mut completed = 0;
    while completed < jobs {
        match worker.next_event().await {
            Some(WorkerEvent::Completed { .. }) => completed += 1,
            Some(WorkerEvent::Failed { error, .. } | WorkerEvent::Error(error)) => return Err(error.into()),
            Some(_) => {}
            None => return Err("the worker ended".into()),
        }
    }
    Ok(since.elapsed().as_secs_f64())
}
