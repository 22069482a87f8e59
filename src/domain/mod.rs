//! What an order is and what may become of it. Pure: no clock, no I/O, nothing async; everything here can be tested
//! without a server.

pub mod country;
pub mod fault;
pub mod intent;
pub mod key;
pub mod priority;
pub mod webhook;
