//! Orderfleet: a queue-driven background worker fleet for shops.

pub mod config;
pub mod dev;
pub mod ids;
pub mod job;
pub mod time;
