//! Orderfleet: a queue-driven background worker fleet for shops.

pub mod auth;
pub mod config;
pub mod domain;
pub mod ids;
pub mod intake;
pub mod job;
pub mod queue;
pub mod seal;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod time;
