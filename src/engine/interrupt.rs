//! SIGINT and SIGTERM: a run that listens ends in order, anything else ends at once.
//!
//! One handler for the whole process, because a handler cannot be given back: between two stages of a pipeline, while a
//! model is pulled or a graph is built, Ctrl-C must still end the program.

use std::process::{Child, ExitStatus};
use std::sync::LazyLock;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Result;

/// The exit code of a process that was interrupted.
const INTERRUPTED: i32 = 130;
/// Time between two looks at a process.
const WAIT: Duration = Duration::from_millis(20);

/// Signals so far; whoever can end in order subscribes.
static SIGNALS: LazyLock<watch::Sender<u32>> = LazyLock::new(|| watch::Sender::new(0));

/// Starts to handle the signals. Where that cannot be done they keep their default, which the manifest survives.
pub(crate) fn handle_interrupts() {
    let handler = || -> std::io::Result<()> {
        let threads = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        threads.block_on(async {
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                SIGNALS.send_modify(|signals| *signals += 1);
                // Nobody to end in order, or somebody who takes too long over it.
                if SIGNALS.receiver_count() == 0 || *SIGNALS.borrow() > 1 {
                    std::process::exit(INTERRUPTED);
                }
            }
        })
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(handler).ok();
}

/// Waits for a signal; while somebody waits, a first signal does not end the process.
pub(super) async fn interrupted() {
    let mut signals = SIGNALS.subscribe();
    if signals.wait_for(|signals| *signals > 0).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for a process; ends it and returns `None` where this one is told to end.
pub(crate) fn unless_interrupted(child: &mut Child) -> Result<Option<ExitStatus>> {
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    threads.block_on(async {
        let mut interrupt = std::pin::pin!(interrupted());
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            tokio::select! {
                () = tokio::time::sleep(WAIT) => {}
                () = &mut interrupt => {
                    child.kill()?;
                    child.wait()?;
                    return Ok(None);
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_ends_by_itself_is_waited_for() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let status = unless_interrupted(&mut child).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(3));
    }
}
