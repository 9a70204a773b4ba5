//! The dedicated thread that owns the session, and the bounded channel to it.
//!
//! Inference takes milliseconds of every core: on a tokio worker it would stall the readers and writers. The channel
//! is short, so that a unit waits here rather than its micro-batches filling memory.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::session::Session;
use super::usage::Meter;
use super::{Error, MicroBatch, Result, Usage};

/// Micro-batches that may wait: one that runs next and one that is being handed over.
const QUEUE: usize = 2;

struct Job {
    batch: MicroBatch,
    handed_in: Instant,
    reply: oneshot::Sender<Result<Vec<f32>>>,
}

/// The session's thread; it ends when this is dropped.
pub(super) struct Service {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    meter: Arc<Meter>,
}

impl Service {
    /// Starts the thread. `hidden` is the length of a vector.
    pub(super) fn start(session: Session, hidden: usize, fault: Option<Fault>) -> Result<Service> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let meter = Arc::new(Meter::default());
        let thread = std::thread::Builder::new()
            .name("encode".to_owned())
            .spawn({
                let meter = Arc::clone(&meter);
                move || serve(session, hidden, fault, waiting, &meter)
            })
            .map_err(|source| Error::Thread { source })?;
        Ok(Service { jobs: Some(jobs), thread: Some(thread), meter })
    }

    /// The vectors of a micro-batch; waits where the queue is full.
    pub(super) async fn encode(&self, batch: MicroBatch) -> Result<Vec<f32>> {
        let (reply, answer) = oneshot::channel();
        let handed_in = Instant::now();
        self.meter.started(handed_in);
        let jobs = self.jobs.as_ref().ok_or(Error::Stopped)?;
        jobs.send(Job { batch, handed_in, reply }).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    pub(super) fn usage(&self) -> Usage {
        self.meter.usage()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.jobs = None;
        // The provider must not be unloaded at exit while the session still runs. A panic there has been reported
        // to whoever waited for a reply.
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(mut session: Session, hidden: usize, fault: Option<Fault>, mut waiting: mpsc::Receiver<Job>, meter: &Meter) {
    while let Some(Job { batch, handed_in, reply }) = waiting.blocking_recv() {
        // Whoever asked may be gone: a run that was stopped need not be encoded to the end.
        if reply.is_closed() {
            continue;
        }
        let start = Instant::now();
        let struck = fault.map_or(Ok(()), |fault| fault.strike(&batch));
        let vectors = struck.and_then(|()| session.encode(&batch, hidden));
        if vectors.is_ok() {
            meter.finished(&batch, start - handed_in, start.elapsed());
        }
        reply.send(vectors).ok();
    }
}
