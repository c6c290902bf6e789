//! Log lines for the host: one JSON object a line on standard error, thinned by the environment's LOG_LEVEL.

use serde_json::json;
use std::io::{self, Write};

#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

fn threshold() -> Level {
    match std::env::var("LOG_LEVEL").unwrap_or_default().to_ascii_lowercase().as_str() {
        "debug" => Level::Debug,
        "warning" => Level::Warning,
        "error" => Level::Error,
        _ => Level::Info,
    }
}

/// Write one line. A closed standard error is no reason to fail, so the result is not looked at.
pub fn line(level: Level, message: &str) {
    if level >= threshold() {
        let text = json!({"level": level.name(), "message": message});
        let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
    }
}
