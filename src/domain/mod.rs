//! What an order, its money and its parcels *are*: pure rules, with no I/O, no clock and no await in them.
//!
//! Everything here is a function of its arguments, so that each rule is tested without a service and means the same in
//! a worker, a sweep and an audit. Nothing here may know a provider's client, a table or a queue.

pub mod backoff;
pub mod catalogue;
pub mod command;
pub mod country;
pub mod coupon;
pub mod dispute;
pub mod event;
pub mod fault;
pub mod intent;
pub mod key;
pub mod mail_news;
pub mod money;
pub mod notice;
pub mod offer;
pub mod order;
pub mod payment;
pub mod pricing;
pub mod priority;
pub mod refund;
pub mod shipment;
pub mod stock;
mod table;
pub mod told;
pub mod webhook;
