//! The one test binary: behaviour, against real servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say so, and these are no test functions to clippy"
)]

mod actions;
mod alerts;
mod archive;
mod audit;
mod buried;
mod cancellations;
mod carriers;
mod chromium;
mod configured_payments;
mod console;
mod counterparty;
mod coupons;
mod currencies;
mod database;
mod dead_letters;
mod desk;
mod disputes;
mod doctor;
mod evidence;
mod expiry;
mod faults;
mod house;
mod intake;
mod labels;
mod lapse;
mod lost_webhooks;
mod mail_servers;
mod mail_sink;
mod mails;
mod nightly;
mod order_views;
mod orders;
mod parcels;
mod pay_again;
mod payment_sync;
mod payments;
mod personal_data;
mod plans;
mod providers;
mod refunds;
mod relabel;
mod rights;
mod servers;
mod settling;
mod shared;
mod status;
mod stock;
mod stripe_refunds;
mod stuck;
mod three_d_secure;
mod timelines;
mod tokens;
mod traces;
mod twice;
