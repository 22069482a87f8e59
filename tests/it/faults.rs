//! Faults with real processes: the built binary, killed, stopped and cut off while orders are on their way.
//!
//! Every test ends with the same question: did each order come to its end once? The demonstration asks it of the tables,
//! of the audit and of the sandbox, which keeps books of its own. Figures are printed; nothing is asserted about time, and
//! every wait has a bound that is far above what it takes.

mod commands;
mod dev;
mod outages;
mod workers;
