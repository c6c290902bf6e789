//! The conversation: JSON-RPC 2.0 messages to methods of the plugin.
//!
//! Messages are taken one by one on the main thread. What may wait for a disk runs elsewhere: copies on the copier's
//! thread, other requests that read on a thread of their own (the host bounds how many are under way).

use crate::backups::Backups;
use crate::copier::{Copier, Job};
use crate::framing::Output;
use crate::log::{self, Level};
use crate::routes::{self, Routes};
use crate::space;
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// How long a stop waits for backups that are under way; the host's own patience is 3 s by default.
const PATIENCE: Duration = Duration::from_secs(2);

type Outcome = Result<Value, (i64, String)>;

/// The duty to answer one request. Dropped unanswered, as by a panic, it answers "internal error".
struct Responder {
    output: Output,
    id: Option<Value>,
}

impl Responder {
    fn send(mut self, outcome: Outcome) {
        self.write(outcome);
    }

    fn write(&mut self, outcome: Outcome) {
        if let Some(id) = self.id.take() {
            self.output.send(&match outcome {
                Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
                Err((code, message)) => {
                    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
                }
            });
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.write(Err((-32603, "the plugin failed while it answered; its log says why".into())));
    }
}

pub struct Plugin {
    backups: Arc<Backups>,
    copier: Copier,
    output: Output,
    last_target: Mutex<Option<PathBuf>>,
}

impl Plugin {
    pub fn new(backups: Backups) -> Arc<Plugin> {
        let backups = Arc::new(backups);
        let copier = Copier::start(Arc::clone(&backups));
        Arc::new(Plugin { backups, copier, output: Output::new(), last_target: Mutex::new(None) })
    }

    /// Take one message.
    pub fn receive(self: &Arc<Self>, body: &[u8]) {
        let message: Value = match serde_json::from_slice(body) {
            Ok(message) => message,
            Err(error) => return self.responder(Value::Null).send(Err((-32700, format!("not JSON: {error}")))),
        };
        let id = message.get("id").cloned();
        match (message["jsonrpc"].as_str(), message["method"].as_str(), id) {
            (Some("2.0"), Some(method), Some(id)) => self.request(method, &message["params"], self.responder(id)),
            (Some("2.0"), Some(method), None) => self.notification(method, &message["params"]),
            (_, _, id) => {
                let responder = self.responder(id.unwrap_or(Value::Null));
                responder.send(Err((-32600, "not a JSON-RPC 2.0 request".into())));
            }
        }
    }

    /// The end of the conversation: let backups that are under way end, within bounds.
    pub fn finish(&self) {
        self.copier.finish(PATIENCE);
    }

    fn responder(&self, id: Value) -> Responder {
        Responder { output: self.output.clone(), id: Some(id) }
    }

    fn request(self: &Arc<Self>, method: &str, params: &Value, responder: Responder) {
        let (plugin, params) = (Arc::clone(self), params.clone());
        match method {
            "plugin/handshake" => responder.send(handshake(&params)),
            "plugin/health" => responder.send(Ok(self.health())),
            "plugin/shutdown" => drop(thread::spawn(move || {
                plugin.finish();
                responder.send(Ok(Value::Null));
            })),
            "backup/freeSpace" => drop(thread::spawn(move || responder.send(plugin.free_space(&params)))),
            "plugin/handleRequest" => drop(thread::spawn(move || plugin.handle_request(&params, responder))),
            _ => responder.send(Err((-32601, format!("no method {method}")))),
        }
    }

    fn notification(&self, method: &str, params: &Value) {
        match (method, params["eventType"].as_str()) {
            ("plugin/onEvent", Some("SyncCompleted")) => self.sync_completed(&params["payload"]),
            ("plugin/onEvent", Some(event)) => log::line(Level::Debug, &format!("nothing to do for {event}")),
            ("plugin/shutdown", _) => {
                self.finish();
                std::process::exit(0);
            }
            _ => {} // a notification that is not known is ignored
        }
    }

    fn sync_completed(&self, payload: &Value) {
        let source = match payload["target"].as_str().map(Path::new) {
            Some(path) if path.is_absolute() => path.to_path_buf(),
            _ => {
                return log::line(
                    Level::Error,
                    "SyncCompleted without an absolute path in payload.target: not backed up",
                )
            }
        };
        *self.last_target() = Some(source.clone());
        let sync = payload["id"].clone();
        let label = if sync.is_null() { "synchronisation".to_string() } else { format!("synchronisation {sync}") };
        if let Err(job) = self.copier.submit(Job { source, label, sync, done: Box::new(|_| {}) }) {
            log::line(
                Level::Error,
                &format!("too many backups are waiting: {} is not backed up", job.source.display()),
            );
        }
    }

    fn handle_request(&self, params: &Value, responder: Responder) {
        let last_target = self.last_target().clone();
        let routes = Routes { backups: &self.backups, copier: &self.copier };
        routes.handle(params, last_target, Box::new(move |result| responder.send(Ok(result))));
    }

    fn free_space(&self, params: &Value) -> Outcome {
        let path = match &params["path"] {
            Value::Null => self.backups.root().to_path_buf(),
            Value::String(text) if Path::new(text).is_absolute() => PathBuf::from(text),
            other => return Err((-32602, format!("path must be an absolute path, not {other}"))),
        };
        match space::free_bytes(&path) {
            Ok(bytes) => Ok(json!({ "path": path.to_string_lossy(), "freeBytes": bytes })),
            Err(error) => Err((1, error.to_string())),
        }
    }

    fn health(&self) -> Value {
        let progress = self.copier.progress();
        let details = json!({"pending": progress.pending, "made": progress.made});
        match progress.failure {
            None => json!({"status": "ok", "details": details}),
            Some(failure) => json!({"status": "degraded", "message": failure, "details": details}),
        }
    }

    fn last_target(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.last_target.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn handshake(params: &Value) -> Outcome {
    if let Some(offered) = params["protocolVersions"].as_array() {
        if !offered.iter().any(|version| version == "1.0") {
            return Err((-32602, format!("this plugin speaks protocol 1.0; offered: {}", params["protocolVersions"])));
        }
    }
    Ok(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "protocolVersion": "1.0",
        "capabilities": ["backup/freeSpace"],
        "events": ["SyncCompleted"],
        "routes": routes::declarations(),
        "reverseRpc": false,
    }))
}
