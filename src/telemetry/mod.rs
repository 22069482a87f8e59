//! How the fleet is watched: readiness and metrics.

pub mod health;
