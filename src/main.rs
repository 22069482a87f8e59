//! Parses the role and calls it.

fn main() {}
