//! What operators ask of a fleet, and its answers in words and as data. It must never print a secret.

pub mod doctor;
