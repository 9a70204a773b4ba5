//! Messages to people on stderr, results on stdout.
//!
//! The one place that prints: everything else hands its words here, so that `--quiet` and a closed pipe are dealt with
//! once.

use std::io::{IsTerminal, Write};

/// How this process talks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Say nothing but errors.
    pub quiet: bool,
    /// Print results as JSON.
    pub json: bool,
}

impl Terminal {
    /// Whether stderr is a terminal, so that a bar can be drawn.
    pub(crate) fn interactive(self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// A message to people.
    pub(crate) fn say(self, message: &str) {
        if !self.quiet {
            // A closed stderr must not end a run that is doing its work.
            let over = if self.interactive() { "\r\x1b[2K" } else { "" };
            writeln!(std::io::stderr(), "{over}{message}").ok();
        }
    }

    /// A passing state, drawn over the one before; nothing where stderr is no terminal.
    pub(crate) fn status(self, message: &str) {
        if self.interactive() {
            write!(std::io::stderr(), "\r\x1b[2K{message}").ok();
        }
    }

    /// A warning: said even with `--quiet`.
    pub(crate) fn warn(self, message: &str) {
        writeln!(std::io::stderr(), "warning: {message}").ok();
    }

    /// What went wrong: said even with `--quiet`.
    pub(crate) fn error(self, message: &str) {
        writeln!(std::io::stderr(), "error: {message}").ok();
    }

    /// A result. A reader that has gone away (`| head`) is not an error.
    pub(crate) fn print(self, text: &str) {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => {
                self.error(&format!("cannot write to standard output: {error}"));
                std::process::exit(1);
            }
        }
    }
}
