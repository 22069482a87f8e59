//! Orderfleet: a queue-driven background worker fleet for shops.

pub mod config;
pub mod domain;
pub mod ids;
pub mod job;
pub mod provider;
pub mod signature;
pub mod time;
pub mod wording;
