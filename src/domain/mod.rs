//! What an order is and what may become of it. Pure: no clock, no I/O, nothing async; everything here can be tested
//! without a server.

pub mod backoff;
pub mod intent;
pub mod notice;
pub mod order;
pub mod payment;
pub mod pricing;
