// BullMQ's side of `scripts/bench queue`: push N jobs in bulk, work them with a processor that does nothing, and say how
// long each took. Its clock stops when its worker says that the last job is completed, as ours does when Redis has
// forgotten it. Completed jobs are removed: ours leave nothing either.
//   REDIS_URL=… node driver.js JOBS BODY_BYTES BATCH BATCHES_IN_FLIGHT CONCURRENCY
'use strict';

const { Queue, Worker } = require('bullmq');

const [jobs, bytes, batch, inFlight, concurrency] = process.argv.slice(2).map(Number);
const url = new URL(process.env.REDIS_URL);
const connection = {
  host: url.hostname,
  port: Number(url.port),
  username: url.username,
  password: decodeURIComponent(url.password),
  maxRetriesPerRequest: null,
};
const data = 'x'.repeat(bytes - 2); // with its quotes, as JSON, it has as many bytes as ours
const seconds = (since) => Number(process.hrtime.bigint() - since) / 1e9;

async function push() {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  const since = process.hrtime.bigint();
  let left = jobs;
  const pushing = Array.from({ length: inFlight }, async () => {
    while (left > 0) {
      const count = Math.min(batch, left);
      left -= count;
      await queue.addBulk(Array.from({ length: count }, () => ({ name: 'job', data, opts: { removeOnComplete: true } })));
    }
  });
  await Promise.all(pushing);
  const took = seconds(since);
  await queue.close();
  return took;
}

async function work() {
  const worker = new Worker('bench', async () => {}, { connection, concurrency, autorun: false });
  await worker.waitUntilReady();
  let completed = 0;
  const since = process.hrtime.bigint();
  await new Promise((resolve, reject) => {
    worker.on('completed', () => {
      completed += 1;
      if (completed === jobs) resolve();
    });
    worker.on('failed', (_, error) => reject(error));
    worker.run();
  });
  const took = seconds(since);
  await worker.close();
  return took;
}

(async () => {
  const push_seconds = await push();
  const work_seconds = await work();
  const version = `bullmq ${require('bullmq/package.json').version}, node ${process.versions.node}`;
  console.log(JSON.stringify({ push_seconds, work_seconds, version }));
  process.exit(0);
})();
