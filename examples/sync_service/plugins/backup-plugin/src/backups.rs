//! The backups on disk. Each is one folder below the root, complete from the moment it has its name:
//!
//! ```text
//! 20240229T123005Z/backup.json   what it is: id, time, label, source, counts
//! 20240229T123005Z/files.json    its files: path and size
//! 20240229T123005Z/files/...     the copies
//! ```
//!
//! A folder whose name starts with a dot is being made (`.partial-`) or removed (`.trash-`). Several processes may
//! share one root: making a `.partial-<id>` folder is what claims an id.

use crate::clock::Moment;
use crate::log::{self, Level};
use serde_json::{json, Value};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

const PARTIAL: &str = ".partial-";
const TRASH: &str = ".trash-";

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

pub struct Backups {
    root: PathBuf,
    keep: usize,
    max_file_bytes: u64,
}

/// Why a file of a backup was not handed out.
pub enum Refusal {
    NotFound,
    TooLarge(u64),
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Failed(error)
    }
}

#[derive(Default)]
struct Copied {
    files: Vec<Value>,
    bytes: u64,
    skipped: u64,
}

fn failure(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::Other, message)
}

impl Backups {
    /// Open the root, which is made where it is missing, and remove what dead processes left half done.
    pub fn open(root: &Path, keep: usize, max_file_bytes: u64) -> io::Result<Backups> {
        fs::create_dir_all(root)?;
        let backups = Backups { root: root.canonicalize()?, keep, max_file_bytes };
        backups.sweep()?;
        Ok(backups)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Copy the folder `source`. `stopped` is asked before each file; once it says true the copy is given up.
    pub fn create(&self, source: &Path, label: &str, sync: &Value, stopped: &dyn Fn() -> bool) -> io::Result<Value> {
        let source = source.canonicalize()?;
        if source.starts_with(&self.root) {
            return Err(failure(format!("{} lies inside the backup folder", source.display())));
        }
        let created = Moment::now();
        let (id, partial) = self.claim(&created.folder_name())?;
        let result = self.fill(&partial, &source, stopped).and_then(|copied| {
            let summary = json!({
                "id": id, "createdAt": created.rfc3339(), "label": label, "source": source.to_string_lossy(),
                "sync": sync, "files": copied.files.len(), "bytes": copied.bytes, "skipped": copied.skipped,
            });
            fs::write(partial.join("files.json"), Value::from(copied.files).to_string())?;
            fs::write(partial.join("backup.json"), summary.to_string())?;
            fs::rename(&partial, self.root.join(&id))?;
            let _ = fs::remove_file(self.root.join(&id).join("owner")); // only tidiness: the backup is complete
            Ok(summary)
        });
        if result.is_err() {
            let _ = fs::remove_dir_all(&partial);
        }
        result
    }

    /// A folder of our own under a free id: the time to the second, with a number behind it where that is taken.
    fn claim(&self, name: &str) -> io::Result<(String, PathBuf)> {
        for number in 1..1000 {
            let id = if number == 1 { name.to_string() } else { format!("{name}-{number:03}") };
            let partial = self.root.join(format!("{PARTIAL}{id}"));
            match fs::create_dir(&partial) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            if !self.root.join(&id).exists() {
                fs::write(partial.join("owner"), std::process::id().to_string())?;
                return Ok((id, partial));
            }
            fs::remove_dir(&partial)?;
        }
        Err(failure(format!("1000 backups were made within the second {name}")))
    }

    fn fill(&self, partial: &Path, source: &Path, stopped: &dyn Fn() -> bool) -> io::Result<Copied> {
        let mut copied = Copied::default();
        let target = partial.join("files");
        fs::create_dir(&target)?;
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let mut entries: Vec<_> = fs::read_dir(source.join(&folder))?.collect::<Result<_, _>>()?;
            entries.sort_by_key(|entry| entry.file_name());
            for entry in entries {
                if stopped() {
                    return Err(failure("given up: the plugin is being stopped".into()));
                }
                let path = folder.join(entry.file_name());
                let kind = entry.file_type()?;
                if kind.is_dir() && entry.path() != self.root {
                    fs::create_dir(target.join(&path))?;
                    folders.push(path);
                } else if kind.is_file() {
                    copied.add(&entry.path(), &target, &path)?;
                } else {
                    copied.skipped += 1; // links, devices, sockets, pipes, and our own root are not copied
                }
            }
        }
        Ok(copied)
    }

    /// All complete backups, newest first.
    pub fn list(&self) -> io::Result<Vec<Value>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            if let Some(summary) = name.to_str().and_then(|id| self.summary(id)) {
                found.push(summary);
            }
        }
        found.sort_by_key(|summary| {
            let text = |key: &str| summary[key].as_str().unwrap_or("").to_string();
            std::cmp::Reverse((text("createdAt"), text("id")))
        });
        Ok(found)
    }

    /// What is known of one backup; None where there is none of that id.
    pub fn summary(&self, id: &str) -> Option<Value> {
        let folder = self.folder(id)?;
        serde_json::from_slice(&fs::read(folder.join("backup.json")).ok()?).ok()
    }

    pub fn files(&self, id: &str) -> Option<Vec<Value>> {
        let folder = self.folder(id)?;
        serde_json::from_slice(&fs::read(folder.join("files.json")).ok()?).ok()
    }

    /// One file's bytes. The path comes from a web client: it must name a regular file, step by step, without links.
    pub fn read(&self, id: &str, path: &str) -> Result<Vec<u8>, Refusal> {
        let mut place = self.folder(id).ok_or(Refusal::NotFound)?.join("files");
        if path.split('/').any(|step| matches!(step, "" | "." | "..") || step.contains('\0')) {
            return Err(Refusal::NotFound);
        }
        let mut metadata = None;
        for component in Path::new(path).components() {
            match component {
                Component::Normal(step) => place.push(step),
                _ => return Err(Refusal::NotFound),
            }
            match fs::symlink_metadata(&place) {
                Ok(found) if !found.file_type().is_symlink() => metadata = Some(found),
                _ => return Err(Refusal::NotFound),
            }
        }
        match metadata {
            Some(found) if found.is_file() && found.len() > self.max_file_bytes => {
                Err(Refusal::TooLarge(self.max_file_bytes))
            }
            Some(found) if found.is_file() => {
                let mut content = Vec::new();
                File::open(&place)?.take(self.max_file_bytes).read_to_end(&mut content)?;
                Ok(content)
            }
            _ => Err(Refusal::NotFound),
        }
    }

    /// A backup's folder, for an id that has the form of our ids: nothing else ever becomes part of a path.
    fn folder(&self, id: &str) -> Option<PathBuf> {
        let known = |c: u8| c.is_ascii_digit() || matches!(c, b'T' | b'Z' | b'-');
        let valid = id.len() <= 32 && id.starts_with(|c: char| c.is_ascii_digit()) && id.bytes().all(known);
        if valid {
            Some(self.root.join(id))
        } else {
            None
        }
    }

    /// Remove the oldest backups beyond the number that is kept.
    pub fn prune(&self) -> io::Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        for summary in self.list()?.iter().skip(self.keep) {
            let id = summary["id"].as_str().unwrap_or_default();
            let trash = self.root.join(format!("{TRASH}{id}"));
            match self.folder(id).map(|folder| fs::rename(folder, &trash)) {
                Some(Ok(())) => {}
                _ => continue, // another process was quicker
            }
            match fs::remove_dir_all(&trash) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {} // a process that starts sweeps such folders away too
            }
            log::line(Level::Info, &format!("removed backup {id}: {} are kept", self.keep));
        }
        Ok(())
    }

    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let dead = name.starts_with(PARTIAL) && owner_is_dead(&entry.path());
            if name.starts_with(TRASH) || dead {
                let _ = fs::remove_dir_all(entry.path()); // another process may be sweeping too
            }
        }
        Ok(())
    }
}

impl Copied {
    fn add(&mut self, from: &Path, target: &Path, path: &Path) -> io::Result<()> {
        match fs::copy(from, target.join(path)) {
            Ok(bytes) => {
                self.bytes += bytes;
                self.files.push(json!({"path": path.to_string_lossy(), "size": bytes}));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => {
                self.skipped += 1; // removed since the folder was read
                Ok(())
            }
            Err(error) => Err(failure(format!("{}: {error}", from.display()))),
        }
    }
}

/// Whether the process that was making this folder is gone. A folder without a name in it is not ours to judge.
fn owner_is_dead(partial: &Path) -> bool {
    let owner = fs::read_to_string(partial.join("owner")).ok().and_then(|pid| pid.parse::<i32>().ok());
    match owner {
        // SAFETY: signal 0 only asks whether the process exists; no memory is shared with the call.
        Some(pid) if pid > 0 => unsafe { kill(pid, 0) != 0 && io::Error::last_os_error().raw_os_error() == Some(3) },
        _ => false,
    }
}
