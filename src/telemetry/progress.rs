//! A progress bar with rows, tokens a second and time left; plain lines, rarely, where stderr is no terminal.
//!
//! Units are committed seldom (some 20 seconds of encoding each), so between commits a thread asks the encoder how far
//! it has come and moves the bar on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar as Bar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Terminal;

/// Time between two looks at the encoder.
const TICK: Duration = Duration::from_millis(250);
/// Time between plain lines.
pub(super) const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// What this process has done; `bytes` of input include those of earlier runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Bytes of input.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Tokens.
    pub tokens: u64,
}

/// How far the encoder is: rows and tokens since it was opened.
pub(crate) type Probe = Box<dyn Fn() -> (u64, u64) + Send>;

/// Progress of one stage over a number of bytes of input.
pub(crate) struct ProgressBar {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    bar: Bar,
    label: String,
    terminal: Terminal,
    started: Instant,
    committed: Mutex<Done>,
    stop: AtomicBool,
}

impl ProgressBar {
    /// Starts a bar over `total_bytes` of input; `probe` tells how far the encoder is, if there is one.
    pub(crate) fn start(terminal: Terminal, label: &str, total_bytes: u64, probe: Option<Probe>) -> ProgressBar {
        let target = if terminal.interactive() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = Bar::with_draw_target(Some(total_bytes.max(1)), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} %, {msg}, {left} left") {
            bar.set_style(style.with_key("left", left).progress_chars("=> "));
        }
        bar.set_prefix(label.to_owned());
        bar.set_message("starting");
        let shared = Arc::new(Shared {
            bar,
            label: label.to_owned(),
            terminal,
            started: Instant::now(),
            committed: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let ticking = Arc::clone(&shared);
        let ticker = std::thread::Builder::new().name("progress".to_owned()).spawn(move || ticking.tick(probe)).ok();
        ProgressBar { shared, ticker }
    }

    /// What is committed now.
    pub(crate) fn update(&self, done: Done) {
        *self.shared.committed.lock().unwrap_or_else(PoisonError::into_inner) = done;
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            // A panic of the ticker has printed itself; the run does not depend on it.
            ticker.join().ok();
        }
        self.shared.bar.finish_and_clear();
    }
}

impl Shared {
    fn tick(&self, probe: Option<Probe>) {
        let mut last_line = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let committed = *self.committed.lock().unwrap_or_else(PoisonError::into_inner);
            let now = ahead(committed, probe.as_ref().map(|probe| probe()));
            let length = self.bar.length().unwrap_or(1);
            self.bar.set_position(now.bytes.min(length));
            let message = self.message(now);
            self.bar.set_message(message.clone());
            if !self.terminal.interactive() && last_line.elapsed() >= PLAIN_EVERY {
                last_line = Instant::now();
                let share = (100 * now.bytes / length).min(100);
                let elapsed = self.started.elapsed().as_secs_f64();
                let left = elapsed * length.saturating_sub(now.bytes) as f64 / now.bytes.max(1) as f64;
                let label = &self.label;
                self.terminal.say(&format!("{label}: {share} %, {message}, about {} left", clock(left as u64)));
            }
            std::thread::park_timeout(TICK);
        }
    }

    fn message(&self, now: Done) -> String {
        let rate = now.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        if now.tokens > 0 { format!("{} rows, {rate:.0} tokens/s", now.rows) } else { format!("{} rows", now.rows) }
    }
}

/// Where the encoder is beyond what is committed; bytes go by the committed bytes a token, at first by a usual figure.
fn ahead(committed: Done, encoder: Option<(u64, u64)>) -> Done {
    let Some((rows, tokens)) = encoder else { return committed };
    let bytes_a_token = if committed.tokens > 0 { committed.bytes as f64 / committed.tokens as f64 } else { 5.0 };
    let more = tokens.saturating_sub(committed.tokens) as f64 * bytes_a_token;
    Done { bytes: committed.bytes + more as u64, rows: committed.rows.max(rows), tokens: committed.tokens.max(tokens) }
}

pub(super) fn left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let text = if state.pos() == 0 { "?".to_owned() } else { clock(state.eta().as_secs()) };
    // Writing into indicatif's own string cannot fail.
    out.write_str(&text).ok();
}

pub(super) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_commits_the_encoder_moves_the_bar_on() {
        let committed = Done { bytes: 1000, rows: 10, tokens: 200 };
        let now = ahead(committed, Some((15, 300)));
        assert_eq!((now.bytes, now.rows, now.tokens), (1500, 15, 300));
        assert_eq!(ahead(committed, None).bytes, 1000);
    }

    #[test]
    fn times_read_as_clocks() {
        assert_eq!((clock(75).as_str(), clock(3725).as_str()), ("1:15", "1:02:05"));
    }
}
