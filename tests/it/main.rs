//! The one test binary: behaviour, against real servers.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say so, and these are no test functions to clippy"
)]

mod audit;
mod doctor;
mod faults;
mod intake;
mod servers;
