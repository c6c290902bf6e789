//! The plugin's HTTP routes: what the handshake declares, and the answers to `plugin/handleRequest`.

use crate::backups::{Backups, Refusal};
use crate::base64;
use crate::copier::{Copier, Job};
use crate::space;
use serde_json::{json, Map, Value};
use std::io;
use std::path::PathBuf;

const PAGE: usize = 1000;

pub fn declarations() -> Value {
    json!([
        {"path": "/backups", "method": "GET", "description": "All backups, newest first"},
        {"path": "/backups", "method": "POST", "description": "Back the last synchronised folder up now", "schema": {
            "type": "object",
            "properties": {"label": {"type": "string", "minLength": 1, "maxLength": 100}},
            "required": ["label"],
            "additionalProperties": false,
        }},
        {"path": "/backups/{id}", "method": "GET", "description": "One backup and its files (?offset=&limit=)"},
        {"path": "/backups/{id}/files/{path...}", "method": "GET", "description": "One file of a backup"},
        {"path": "/status", "method": "GET", "description": "Counts, free space and the newest failure"},
    ])
}

/// Answers a request by handing it an HTTP result or error; may be called later and on another thread.
pub type Reply = Box<dyn FnOnce(Value) + Send>;

pub struct Routes<'a> {
    pub backups: &'a Backups,
    pub copier: &'a Copier,
}

fn answer(status: u16, body: Value) -> Value {
    json!({"status": status, "body": body})
}

fn problem(status: u16, detail: &str) -> Value {
    answer(status, json!({"error": detail}))
}

fn text<'v>(params: &'v Value, group: &str, name: &str) -> &'v str {
    params[group][name].as_str().unwrap_or("")
}

impl Routes<'_> {
    pub fn handle(&self, params: &Value, last_target: Option<PathBuf>, reply: Reply) {
        let route = params["route"].as_str().unwrap_or("");
        let id = text(params, "pathParams", "id");
        let result = match (params["method"].as_str().unwrap_or(""), route) {
            ("POST", "/backups") => return self.create(params, last_target, reply),
            ("GET", "/backups") => self.list(),
            ("GET", "/backups/{id}") => self.details(id, params),
            ("GET", "/backups/{id}/files/{path...}") => self.file(id, text(params, "pathParams", "path")),
            ("GET", "/status") => self.status(),
            (method, _) => problem(404, &format!("no route {method} {route}")),
        };
        reply(result);
    }

    fn list(&self) -> Value {
        match self.backups.list() {
            Ok(found) => answer(200, json!({ "backups": found })),
            Err(error) => problem(500, &format!("the backups cannot be read: {error}")),
        }
    }

    fn details(&self, id: &str, params: &Value) -> Value {
        let (mut summary, files) = match (self.backups.summary(id), self.backups.files(id)) {
            (Some(summary), Some(files)) => (summary, files),
            _ => return problem(404, &format!("no backup {id:?}")),
        };
        let number = |name: &str, default: usize| {
            let given = params["query"][name][0].as_str();
            given.map_or(Ok(default), |digits| {
                digits.parse().map_err(|_| problem(400, &format!("{name} is not a number")))
            })
        };
        let (offset, limit) = match (number("offset", 0), number("limit", PAGE)) {
            (Ok(offset), Ok(limit)) => (offset, limit.min(PAGE)),
            (Err(refused), _) | (_, Err(refused)) => return refused,
        };
        summary["entries"] = files.into_iter().skip(offset).take(limit).collect();
        answer(200, summary)
    }

    fn file(&self, id: &str, path: &str) -> Value {
        match self.backups.read(id, path) {
            Ok(content) => json!({
                "status": 200,
                "headers": {"content-type": content_type(path), "cache-control": "private, max-age=3600"},
                "body": base64::encode(&content),
                "bodyEncoding": "base64",
            }),
            Err(Refusal::NotFound) => problem(404, &format!("backup {id:?} has no file {path:?}")),
            Err(Refusal::TooLarge(limit)) => {
                problem(413, &format!("{path:?} is larger than {limit} bytes; copy it from the backup folder"))
            }
            Err(Refusal::Failed(error)) => problem(500, &format!("{path:?} cannot be read: {error}")),
        }
    }

    fn status(&self) -> Value {
        let progress = self.copier.progress();
        let found = self.backups.list().unwrap_or_default();
        answer(
            200,
            json!({
                "root": self.backups.root().to_string_lossy(),
                "backups": found.len(),
                "newest": found.first(),
                "bytes": found.iter().filter_map(|summary| summary["bytes"].as_u64()).sum::<u64>(),
                "pending": progress.pending,
                "made": progress.made,
                "lastFailure": progress.failure,
                "freeBytes": space::free_bytes(self.backups.root()).ok(),
            }),
        )
    }

    fn create(&self, params: &Value, last_target: Option<PathBuf>, reply: Reply) {
        let label = params["body"]["label"].as_str().unwrap_or("").to_string();
        let source = match last_target.or_else(|| self.newest_source()) {
            Some(source) => source,
            None => return reply(problem(409, "nothing has been synchronised yet, so there is nothing to back up")),
        };
        let sync = Value::Null;
        let done = Box::new(move |result: io::Result<Value>| {
            reply(match result {
                Ok(summary) => created(summary),
                Err(error) => problem(500, &format!("the backup failed: {error}")),
            })
        });
        if let Err(job) = self.copier.submit(Job { source, label, sync, done }) {
            (job.done)(Err(io::Error::new(io::ErrorKind::WouldBlock, "too many backups are waiting")));
        }
    }

    fn newest_source(&self) -> Option<PathBuf> {
        let found = self.backups.list().ok()?;
        found.first()?["source"].as_str().map(PathBuf::from)
    }
}

fn created(summary: Value) -> Value {
    let mut headers = Map::new();
    if let Some(id) = summary["id"].as_str() {
        headers.insert("location".into(), format!("backups/{id}").into());
    }
    json!({"status": 201, "headers": headers, "body": summary})
}

fn content_type(path: &str) -> &'static str {
    let extension =
        path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "txt" | "md" | "log" | "csv" | "ini" | "toml" | "yaml" | "yml" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        _ => "application/octet-stream", // HTML and SVG too: a backup is there to be kept, not to be run
    }
}
