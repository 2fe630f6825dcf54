//! From `--profile` to a box.

use anyhow::Result;
use okno_censor::{Context, Direction, Middlebox, Verdict};
use okno_wire::{Instant, PacketView};

use super::cli;
use crate::Unusable;

/// Lets everything pass.
#[derive(Debug)]
pub struct Nothing;

impl Middlebox for Nothing {
    fn on_packet(&mut self, _: Instant, _: Direction, _: &PacketView<'_>, _: &mut Context<'_>) -> Verdict {
        Verdict::Pass
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

pub fn select(args: &cli::Replay) -> Result<()> {
    if args.profile != "none" {
        return Err(Unusable(format!("there is no profile {}", args.profile)).into());
    }
    Ok(())
}

pub fn engine((): &()) -> Nothing {
    Nothing
}
