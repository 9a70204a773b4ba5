//! The dedicated threads that own the sessions, and the bounded channel to them.
//!
//! Inference takes milliseconds of every core: on a tokio worker it would stall the readers and writers. The channel
//! is short, so that a unit waits here rather than its micro-batches filling memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::session::Session;
use super::usage::Meter;
use super::{Error, MicroBatch, Result, Usage};

struct Job {
    batch: MicroBatch,
    handed_in: Instant,
    reply: oneshot::Sender<Result<Vec<f32>>>,
}

/// The sessions' threads; they end when this is dropped.
pub(super) struct Service {
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    meter: Arc<Meter>,
}

impl Service {
    /// Starts a thread for each session.
    pub(super) fn start(sessions: Vec<Session>, fault: Option<Fault>) -> Result<Service> {
        // One micro-batch waits for each session, so that none starves.
        let (jobs, waiting) = mpsc::channel(sessions.len());
        let waiting = Arc::new(Mutex::new(waiting));
        let meter = Arc::new(Meter::new(sessions.len()));
        let mut service = Service { jobs: Some(jobs), threads: Vec::new(), meter };
        for (index, session) in sessions.into_iter().enumerate() {
            let (waiting, meter) = (Arc::clone(&waiting), Arc::clone(&service.meter));
            let thread = std::thread::Builder::new()
                .name(format!("encode-{index}"))
                .spawn(move || serve(session, fault, &waiting, &meter))
                .map_err(|source| Error::Thread { source })?;
            service.threads.push(thread);
        }
        Ok(service)
    }

    /// Micro-batches that can be handed in before one comes out, without a wait.
    pub(super) fn in_flight(&self) -> usize {
        2 * self.threads.len()
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
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn serve(mut session: Session, fault: Option<Fault>, waiting: &Mutex<mpsc::Receiver<Job>>, meter: &Meter) {
    // Whoever holds the lock waits for the next job, the others for the lock.
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
    while let Some(Job { batch, handed_in, reply }) = next() {
        // Whoever asked may be gone: a run that was stopped need not be encoded to the end.
        if reply.is_closed() {
            continue;
        }
        let start = Instant::now();
        let struck = fault.map_or(Ok(()), |fault| fault.strike(&batch));
        let vectors = struck.and_then(|()| session.encode(&batch));
        if vectors.is_ok() {
            meter.finished(&batch, start - handed_in, start.elapsed());
        }
        reply.send(vectors).ok();
    }
}
