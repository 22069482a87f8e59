//! What operators ask of a fleet, and its answers in words and as data. It must never print a secret.

pub mod customers;
pub mod dead_letters;
pub mod doctor;
pub mod queues;
pub mod stuck;
pub mod why;
pub mod workers;
