//! Orderfleet: a queue-driven background worker fleet for shops.

pub mod config;
pub mod ids;
pub mod job;
pub mod sandbox;
pub mod time;
