//! The thread that copies. Backups are made one after the other, in the order in which they were asked for, while the
//! main thread goes on answering.

use crate::backups::Backups;
use crate::log::{self, Level};
use serde_json::Value;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// More backups than this are not waiting at any time; further ones are refused.
const MAX_WAITING: usize = 256;

pub struct Job {
    pub source: PathBuf,
    pub label: String,
    /// The id of the synchronisation that asked for it, or null.
    pub sync: Value,
    /// Called on the copying thread with the new backup's summary.
    pub done: Box<dyn FnOnce(io::Result<Value>) + Send>,
}

/// What became of the work so far.
#[derive(Clone, Default)]
pub struct Progress {
    pub pending: usize,
    pub made: u64,
    /// Why the newest backup failed; None once one has succeeded again.
    pub failure: Option<String>,
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    idle: Condvar,
    stopping: AtomicBool,
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub struct Copier {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
}

impl Copier {
    pub fn start(backups: Arc<Backups>) -> Copier {
        let (jobs, waiting) = sync_channel(MAX_WAITING);
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::spawn(move || work(&backups, &waiting, &own));
        Copier { jobs, shared }
    }

    /// Queue a backup; the job comes back where too many wait already.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        self.shared.progress().pending += 1;
        self.jobs.try_send(job).map_err(|error| {
            self.shared.progress().pending -= 1;
            match error {
                std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job) => job,
            }
        })
    }

    pub fn progress(&self) -> Progress {
        self.shared.progress().clone()
    }

    /// Wait until nothing is pending, for `patience` at most; then give up what is left, between two files.
    pub fn finish(&self, patience: Duration) {
        self.wait_idle(patience);
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.wait_idle(Duration::from_millis(500));
    }

    fn wait_idle(&self, patience: Duration) {
        let busy = |progress: &mut Progress| progress.pending > 0;
        let _ = self.shared.idle.wait_timeout_while(self.shared.progress(), patience, busy);
    }
}

fn work(backups: &Backups, waiting: &Receiver<Job>, shared: &Shared) {
    for job in waiting {
        let stopped = || shared.stopping.load(Ordering::SeqCst);
        let result = backups.create(&job.source, &job.label, &job.sync, &stopped);
        match &result {
            Ok(made) => log::line(
                Level::Info,
                &format!(
                    "backed up {} as {}: {} files, {} bytes",
                    made["source"], made["id"], made["files"], made["bytes"]
                ),
            ),
            Err(error) => log::line(Level::Error, &format!("no backup of {}: {error}", job.source.display())),
        }
        let failure = result.as_ref().err().map(|error| format!("{}: {error}", job.source.display()));
        if let Err(error) = backups.prune() {
            log::line(Level::Error, &format!("old backups could not be removed: {error}"));
        }
        (job.done)(result);
        let mut progress = shared.progress();
        progress.made += u64::from(failure.is_none());
        progress.failure = failure;
        progress.pending -= 1;
        shared.idle.notify_all();
    }
}
