//! Orderfleet: a queue-driven background worker fleet for shops.

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
