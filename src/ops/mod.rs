//! What operators ask of a fleet and do about it: the answers in words and as data, and the [`desk`], which serves both to
//! whoever is not at a terminal. It must never print a secret.

pub mod actions;
pub mod controls;
pub mod customers;
pub mod dead_letters;
pub mod desk;
pub mod doctor;
pub mod queues;
pub mod stuck;
pub mod why;
pub mod workers;
