//! SIGINT and SIGTERM: a run that listens ends in order, anything else ends at once.
//!
//! One handler for the whole process, because a handler cannot be given back: between two stages of a pipeline, while a
//! model is pulled or a graph is built, Ctrl-C must still end the program.

use std::sync::LazyLock;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit code of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Signals so far; whoever can end in order subscribes.
static SIGNALS: LazyLock<watch::Sender<u32>> = LazyLock::new(|| watch::Sender::new(0));

/// Starts to handle the signals. Where that cannot be done they keep their default, which the manifest survives.
pub fn handle_interrupts() {
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
