//! Orderfleet: a queue-driven background worker fleet for shops. This is its map, for the one who changes it.
//!
//! `src/` says how the fleet runs; `jobs/` says what it does, one file for each kind of job, mounted here. A job needs
//! to know nothing of queues, and the queue knows no kind: that is why both can be changed alone.
//!
//! # How a job lives
//!
//! ```text
//! intake ──push──► queue ──claim──► worker: load (tx) ─► call (no tx) ─► settle (tx) ──finish──► gone
//!                    ▲                        └──────────────┬─────────────┘
//!                    └──────── relay, reaper ◄──────── rows of `jobs` (one commit with what caused them)
//! ```
//!
//! Redis carries, Postgres decides. The laws that follow from it, and that no change may break:
//!
//! 1. **Outbox.** Work that a transaction wants done is a row of `jobs`, inserted in that commit. Nothing but the
//!    intake pushes what has no row; its jobs get theirs when they are loaded, unless they end there.
//! 2. **Relay.** The process that wrote rows pushes them right after the commit, and every worker sweeps for rows that
//!    nobody marked. Pushing twice is harmless: the queue knows the id, and load decides.
//! 3. **Fence.** Load raises `jobs.run` and commits before any call; settle writes only where it still holds that run.
//!    A worker that was overtaken writes nothing but its receipt. The queue's lease token guards Redis alone.
//! 4. **No call in a transaction.** What has the transaction has no provider, and what has the provider has no
//!    transaction.
//! 5. **Effects.** A row with the frozen request and its key stands before every outside mutation, and its receipt
//!    after it, whatever became of the order. What may have happened is looked up before it is done again.
//! 6. **Burial is a settle.** A job that is given up tells the world so (`buried`), and becomes a dead letter, in one
//!    commit. A person's replay takes back what was told, in the commit that inserts the job's next row (`replayed`).
//! 7. **Reaper.** A row that was pushed and that the queue no longer knows is pushed again: a wiped Redis loses
//!    no row.
//! 8. **One lock order**, everywhere: job rows by id, inbox by event, effects by name, intents, orders by cart and id,
//!    payments (disputes under them), refunds by id, reservations by id, stock by article, coupons by code, as late as
//!    possible. Many rows are written in the order of the key that others conflict on. One exception: a slice of intents
//!    has its stock and coupons before it writes its intents and orders ([`jobs::order_intent`] says why).
//!
//! # The rooms, from top to bottom
//!
//! A room uses those below it, never those above or beside it; `tests/tidy.rs` holds the walls.
//!
//! | floor | rooms |
//! |---|---|
//! | commands | [`cli`]; [`demo`], a small web tier; [`dev`], everything on one machine; [`roles`], which hands each role its settings |
//! | roles | [`intake`], HTTP in; [`worker`], the lanes; [`sandbox`], the counterparty; [`ops`], what operators ask and do |
//! | what it does | [`jobs`] |
//! | carriers | [`relay`], rows to queue; [`audit`], what must be true of the tables |
//! | the three outsides | [`queue`], all Redis; [`store`], all SQL; [`provider`], all calls. None knows another |
//! | contract | [`job`]: kind, lane, limits, failure, and what follows from it |
//! | rules | [`domain`], pure: money, orders, payments, parcels, notices; no clock, no input or output |
//! | tools | [`signature`], [`auth`], [`seal`], [`wording`] |
//! | watching | [`telemetry`]: logs, metrics, and the trace that each piece of work belongs to |
//! | ground | [`config`], [`ids`], [`time`], [`terminal`]: the only readers of the environment, of randomness and of the clock; [`proof`], where proofs can stop a process |
//!
//! # Where to begin
//!
//! A new kind of job: [`jobs`]. A new setting: `config/default.toml`, then [`config`]. A new table or column:
//! `migrations/`, then [`store`]. A new route: [`intake`], and `config/openapi.json`, which is compared with it. A new
//! invariant: [`audit`]. `scripts/test` is the judge of all of them.

// The futures of three clients at once (`doctor`), as a handler's, lie deeper than the usual 128 types.
#![recursion_limit = "256"]

pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dev;
pub mod domain;
pub mod ids;
pub mod intake;
pub mod job;
pub mod ops;
pub mod proof;
pub mod provider;
pub mod queue;
pub mod relay;
pub mod roles;
pub mod sandbox;
pub mod seal;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod terminal;
pub mod time;
pub mod wording;
pub mod worker;

#[path = "../jobs/mod.rs"]
pub mod jobs;
