//! The intake over real sockets, with a Redis of its own for each test and without Postgres.

mod document;
mod house;
mod intents;
mod limits;
mod outcomes;
mod webhooks;
