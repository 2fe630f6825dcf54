//! Progress of a run, on standard error: bars on a terminal, a line a stage elsewhere.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of one stage.
pub struct Progress {
    bar: Option<ProgressBar>,
    measurements: AtomicU64,
}

impl Progress {
    /// Begins a stage over `total` bytes or steps.
    pub fn new(stage: &str, total: u64, in_bytes: bool, quiet: bool) -> Self {
        let bar = if quiet {
            None
        } else if std::io::stderr().is_terminal() {
            let counts = if in_bytes { "{bytes}/{total_bytes}" } else { "{pos}/{len}" };
            let template = format!("{{prefix:9}} {{wide_bar}} {counts} {{msg}} {{elapsed}} eta {{eta}}");
            let style =
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(total).with_style(style).with_prefix(stage.to_owned());
            bar.enable_steady_tick(std::time::Duration::from_millis(200));
            Some(bar)
        } else {
            eprintln!("{stage} …");
            None
        };
        Self { bar, measurements: AtomicU64::new(0) }
    }

    /// A file of this size on disk is done.
    pub fn file(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// One step, or some bytes, are done.
    pub fn step(&self, by: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(by);
        }
    }

    /// The stage stands at `done` of `total`.
    pub fn at(&self, done: u64, total: u64, what: String) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(what);
        }
    }

    /// Measurements were read.
    pub fn measurements(&self, count: u64) {
        let total = self.measurements.fetch_add(count, Ordering::Relaxed) + count;
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{total} measurements"));
        }
    }

    /// Ends the stage.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
