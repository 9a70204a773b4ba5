//! A progress bar with rows, tokens a second and time left; plain lines, rarely, where stderr is no terminal.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar as Bar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Terminal;

/// Seconds between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// Progress of one stage over `bytes` of input.
pub struct ProgressBar {
    terminal: Terminal,
    bar: Bar,
    label: String,
    started: Instant,
    last_line: Mutex<Instant>,
}

impl ProgressBar {
    /// Starts a bar over `total_bytes` of input, of which `done_bytes` were done by an earlier run.
    pub fn start(terminal: Terminal, label: &str, total_bytes: u64) -> ProgressBar {
        let target = if terminal.interactive() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = Bar::with_draw_target(Some(total_bytes.max(1)), target);
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent_precise}% {msg}, {left} left")
            .map(|style| style.with_key("left", left).progress_chars("=> "));
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        let now = Instant::now();
        ProgressBar { terminal, bar, label: label.to_owned(), started: now, last_line: Mutex::new(now) }
    }

    /// `bytes` of the input are done; `rows` and `tokens` are what this process did.
    pub fn update(&self, bytes: u64, rows: u64, tokens: u64) {
        self.bar.set_position(bytes.min(self.bar.length().unwrap_or(bytes)));
        let rate = tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let message = if tokens > 0 { format!("{rows} rows, {rate:.0} tokens/s") } else { format!("{rows} rows") };
        self.bar.set_message(message.clone());
        let Ok(mut last) = self.last_line.lock() else { return };
        if !self.terminal.interactive() && last.elapsed() >= PLAIN_EVERY {
            *last = Instant::now();
            let share = 100.0 * bytes as f64 / self.bar.length().unwrap_or(1) as f64;
            let left = self.bar.eta().as_secs();
            self.terminal.say(&format!("{}: {share:.0} %, {message}, about {left} s left", self.label));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let seconds = state.eta().as_secs();
    let text = if state.pos() == 0 { "?".to_owned() } else { format!("{}:{:02}", seconds / 60, seconds % 60) };
    // Writing into indicatif's own string cannot fail.
    out.write_str(&text).ok();
}
