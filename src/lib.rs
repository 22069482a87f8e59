//! Orderfleet: a queue-driven background worker fleet for shops.

pub mod audit;
pub mod auth;
pub mod config;
pub mod dev;
pub mod domain;
pub mod ids;
pub mod job;
pub mod provider;
pub mod queue;
pub mod relay;
pub mod sandbox;
pub mod seal;
pub mod signature;
pub mod store;
pub mod time;
pub mod wording;
pub mod worker;

#[path = "../jobs/mod.rs"]
pub mod jobs;
