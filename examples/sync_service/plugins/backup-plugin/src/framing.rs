//! The base protocol's framing: `Content-Length: <n>\r\n\r\n<n bytes>`, read strictly and written exactly.
//!
//! Reading happens on the main thread alone. Writing goes through one lock, so that answers from several threads
//! never mix; each frame is handed over in one piece.

use serde_json::Value;
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex};

const MAX_HEADER: u64 = 4096;
const MAX_BODY: usize = 16 * 1024 * 1024;

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// The next frame's body; None at the end of the stream between two frames.
pub fn read_frame(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let length = match read_header(input)? {
        Some(length) if length <= MAX_BODY => length,
        Some(_) => return Err(invalid("the frame is larger than 16 MiB")),
        None => return Ok(None),
    };
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok(Some(body))
}

fn read_header(input: &mut impl BufRead) -> io::Result<Option<usize>> {
    let mut budget = MAX_HEADER;
    let mut length = None;
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(budget).read_until(b'\n', &mut line)? as u64;
        if read == 0 && budget == MAX_HEADER {
            return Ok(None);
        }
        budget -= read;
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or_else(|| invalid("a header line must end with CRLF, the header within 4 KiB"))?;
        if line.is_empty() {
            return length.map(Some).ok_or_else(|| invalid("the header has no Content-Length"));
        }
        if let Some(value) = content_length(line)? {
            if length.replace(value).is_some() {
                return Err(invalid("Content-Length appears twice"));
            }
        }
    }
}

/// The value of a `Content-Length` line; None for any other field, which is ignored.
fn content_length(line: &[u8]) -> io::Result<Option<usize>> {
    let line = std::str::from_utf8(line).map_err(|_| invalid("the header is not text"))?;
    let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header line has no colon"))?;
    if !name.eq_ignore_ascii_case("content-length") {
        return Ok(None);
    }
    let digits = value.trim_matches(|c| c == ' ' || c == '\t');
    if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid("Content-Length is not a number of 1 to 10 digits"));
    }
    digits.parse().map(Some).map_err(|_| invalid("Content-Length does not fit"))
}

/// Standard output, shared by all threads that answer.
#[derive(Clone)]
pub struct Output(Arc<Mutex<io::Stdout>>);

impl Output {
    pub fn new() -> Output {
        Output(Arc::new(Mutex::new(io::stdout())))
    }

    /// Write one message. Without a reader on the other side there is nothing left to do, so the process ends.
    pub fn send(&self, message: &Value) {
        let body = message.to_string();
        let frame = format!("Content-Length: {}\r\n\r\n{}", body.len(), body);
        let mut stdout = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if stdout.write_all(frame.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            std::process::exit(1);
        }
    }
}
