//! A progress bar over steps of equal work, with the time left; plain lines, rarely, where stderr is no terminal.

use std::time::Instant;

use indicatif::{ProgressBar as Bar, ProgressDrawTarget, ProgressStyle};

use super::Terminal;
use super::progress::{PLAIN_EVERY, clock, left};

/// Progress over a number of steps, of which there may be fewer in the end.
pub(crate) struct StepBar {
    bar: Bar,
    label: &'static str,
    terminal: Terminal,
    started: Instant,
    last_line: Instant,
}

impl StepBar {
    /// Starts a bar over at most `steps`.
    pub(crate) fn start(terminal: Terminal, label: &'static str, steps: u64) -> StepBar {
        let target = if terminal.interactive() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = Bar::with_draw_target(Some(steps.max(1)), target);
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} %, {msg}, {left} left at most")
        {
            bar.set_style(style.with_key("left", left).progress_chars("=> "));
        }
        bar.set_prefix(label);
        let now = Instant::now();
        StepBar { bar, label, terminal, started: now, last_line: now }
    }

    /// So many steps are done; `doing` says what is going on.
    pub(crate) fn update(&mut self, done: u64, doing: impl FnOnce() -> String) {
        self.bar.set_position(done);
        if self.terminal.interactive() {
            self.bar.set_message(doing());
        } else if self.last_line.elapsed() >= PLAIN_EVERY {
            self.last_line = Instant::now();
            let steps = self.bar.length().unwrap_or(1);
            let left = self.started.elapsed().as_secs_f64() * steps.saturating_sub(done) as f64 / done.max(1) as f64;
            let (label, share) = (self.label, 100 * done / steps);
            self.terminal.say(&format!("{label}: {share} %, {}, {} left at most", doing(), clock(left as u64)));
        }
    }

    /// A message to people, above the bar.
    pub(crate) fn say(&self, message: &str) {
        self.bar.suspend(|| self.terminal.say(message));
    }
}

impl Drop for StepBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
