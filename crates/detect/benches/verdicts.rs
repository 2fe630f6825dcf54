//! Verdicts per second on typical web_connectivity measurements held in memory, with a hash of the answer.

fn main() {}
