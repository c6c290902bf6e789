//! A whole plugin in Rust: answers the handshake, prints events, has one route, GET /hello.

use serde_json::{json, Value};
use std::io::{self, BufRead, Read, Write};

/// The next message; None at the end of stdin, when the host is gone.
fn read(input: &mut impl BufRead) -> io::Result<Option<Value>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            }
            Some(_) => {}  // another header field
            None => break, // the empty line
        }
    }
    let mut body = Vec::new();
    input.take(length).read_to_end(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

fn write(message: Value) -> io::Result<()> {
    let body = message.to_string();
    let mut stdout = io::stdout().lock();
    write!(stdout, "Content-Length: {}\r\n\r\n{}", body.len(), body)?;
    stdout.flush()
}

fn call(method: &str, params: &Value) -> Option<Value> {
    match method {
        "plugin/handshake" => Some(json!({
            "name": "minimal-rust", "version": env!("CARGO_PKG_VERSION"), "capabilities": [],
            "routes": [{"path": "/hello", "method": "GET", "description": "Says hello"}],
        })),
        "plugin/onEvent" => {
            eprintln!("event {}: {}", params["eventType"].as_str().unwrap_or("?"), params["payload"]);
            Some(Value::Null)
        }
        "plugin/handleRequest" => Some(json!({
            "status": 200, "body": {"hello": "from Rust", "method": params["method"], "path": params["path"]},
        })),
        "plugin/shutdown" => Some(Value::Null),
        _ => None,
    }
}

fn main() -> io::Result<()> {
    let mut input = io::stdin().lock();
    while let Some(message) = read(&mut input)? {
        let method = message["method"].as_str().unwrap_or("");
        let result = call(method, &message["params"]);
        if let Some(id) = message.get("id") {
            write(match result {
                Some(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
                None => json!({"jsonrpc": "2.0", "id": id,
                    "error": {"code": -32601, "message": format!("no method {method}")}}),
            })?;
        }
    }
    Ok(())
}
