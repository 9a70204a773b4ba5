//! What people see of a training: a bar over its epochs, and a line for each that has ended.

use crate::head::{Progress, Step};
use crate::telemetry::{StepBar, Terminal};

/// Tells of one training, and of the one on all rows that may follow.
pub(crate) struct Epochs {
    terminal: Terminal,
    bar: Option<(bool, StepBar)>,
}

impl Epochs {
    pub(crate) fn new(terminal: Terminal) -> Epochs {
        Epochs { terminal, bar: None }
    }

    pub(crate) fn hear(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Step(step) => self.step(step),
            Progress::Epoch(epoch) => {
                let line = format!(
                    "epoch {:>3}: train loss {:.4}, validation loss {:.4}, validation accuracy {:.4}",
                    epoch.epoch, epoch.train_loss, epoch.validation_loss, epoch.validation_accuracy
                );
                match &self.bar {
                    Some((_, bar)) => bar.say(&line),
                    None => self.terminal.say(&line),
                }
            }
        }
    }

    fn step(&mut self, Step { refit, epoch, epochs, rows_done, rows }: Step) {
        if self.bar.as_ref().is_none_or(|(was_refit, _)| *was_refit != refit) {
            // The old bar goes before the new one is drawn.
            self.bar = None;
            let label = if refit { "train on all rows" } else { "train" };
            self.bar = Some((refit, StepBar::start(self.terminal, label, (epochs * rows) as u64)));
        }
        if let Some((_, bar)) = &mut self.bar {
            let done = ((epoch - 1) * rows + rows_done) as u64;
            bar.update(done, || format!("epoch {epoch} of {epochs}"));
        }
    }
}
