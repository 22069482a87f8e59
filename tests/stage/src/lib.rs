//! The stage: what tests, proofs and benches stand on.
//!
//! Real processes of the built binary ([`process`]), set up by its own commands around private servers ([`fleet`]), jobs
//! that write themselves into a ledger which no unique key protects ([`probes`]), and the one line of JSON that a proof or
//! a bench ends with ([`report`]). Nothing here knows a proof. It panics where a test would: who stands on it is one.

pub mod door;
pub mod driver;
pub mod figures;
pub mod fleet;
pub mod history;
pub mod holds;
pub mod probes;
pub mod process;
pub mod proxy;
pub mod redises;
pub mod report;
pub mod rounds;
mod sql;
pub mod tampered;
