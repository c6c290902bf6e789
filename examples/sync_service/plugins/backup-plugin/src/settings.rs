//! What the operator set: `--config FILE` and the environment. A mistake ends the process with code 78 (EX_CONFIG),
//! which tells the host not to try again.
//!
//! The file is a small part of TOML: `key = value` lines with strings and whole numbers, comments, blank lines.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Settings {
    /// The folder in which backups are made.
    pub root: PathBuf,
    /// How many backups are kept; 0 keeps all.
    pub keep: usize,
    /// The largest file that is handed out, in bytes.
    pub max_file_bytes: u64,
}

#[derive(Debug, PartialEq)]
enum Value {
    Text(String),
    Number(u64),
}

impl Settings {
    pub fn load() -> Result<Settings, String> {
        let mut settings = Settings { root: PathBuf::new(), keep: 0, max_file_bytes: 4 * 1024 * 1024 };
        if let Some(file) = config_argument()? {
            let text = fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            settings.apply(&file, &text)?;
        }
        match env::var_os("BACKUP_ROOT") {
            Some(root) if !root.is_empty() => settings.root = PathBuf::from(root),
            _ => {}
        }
        if settings.root.as_os_str().is_empty() {
            return Err("no backup folder: set `root` in the file given by --config, or BACKUP_ROOT".into());
        }
        Ok(settings)
    }

    fn apply(&mut self, file: &Path, text: &str) -> Result<(), String> {
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        for (number, line) in text.lines().enumerate() {
            let fault = |reason: &str| format!("{}, line {}: {reason}", file.display(), number + 1);
            match parse_line(line).map_err(|reason| fault(&reason))? {
                None => {}
                Some((key, Value::Text(root))) if key == "root" => self.root = folder.join(root),
                Some((key, Value::Number(keep))) if key == "keep" => self.keep = keep as usize,
                Some((key, Value::Number(bytes))) if key == "max_file_bytes" => self.max_file_bytes = bytes,
                Some((key, value)) => {
                    return Err(fault(&format!(
                        "{key} = {value:?} is not understood; known: root (string), keep, max_file_bytes (numbers)"
                    )))
                }
            }
        }
        Ok(())
    }
}

fn config_argument() -> Result<Option<PathBuf>, String> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => Ok(None),
        [flag, file] if flag == "--config" => Ok(Some(PathBuf::from(file))),
        _ => Err("usage: backup-plugin [--config FILE]; it is started by its host, which speaks to it on stdin".into()),
    }
}

fn parse_line(line: &str) -> Result<Option<(String, Value)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, rest) = line.split_once('=').ok_or("expected `key = value`")?;
    let rest = rest.trim();
    let (value, after) = match rest.chars().next() {
        Some(quote) if quote == '"' || quote == '\'' => {
            let (text, after) = parse_string(quote, &rest[1..])?;
            (Value::Text(text), after)
        }
        _ => {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len());
            let digits = rest[..end].replace('_', "");
            let number = digits.parse().map_err(|_| format!("`{rest}` is neither a quoted string nor a number"))?;
            (Value::Number(number), &rest[end..])
        }
    };
    let after = after.trim();
    if !after.is_empty() && !after.starts_with('#') {
        return Err(format!("`{after}` after the value"));
    }
    Ok(Some((key.trim().to_string(), value)))
}

/// A string up to its closing quote, and what follows. Only double-quoted ones know `\\` and `\"`.
fn parse_string(quote: char, text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            c if c == quote => return Ok((value, &text[index + 1..])),
            '\\' if quote == '"' => match characters.next() {
                Some((_, c)) if c == '\\' || c == '"' => value.push(c),
                _ => return Err("only \\\\ and \\\" are known escapes".into()),
            },
            c => value.push(c),
        }
    }
    Err("the string has no closing quote".into())
}

#[cfg(test)]
mod tests {
    use super::{parse_line, Value};

    fn parsed(line: &str) -> Option<(String, Value)> {
        parse_line(line).expect(line)
    }

    #[test]
    fn strings_numbers_and_comments_are_read() {
        assert_eq!(parsed("  # only a comment"), None);
        assert_eq!(parsed("keep = 1_000 # many"), Some(("keep".into(), Value::Number(1000))));
        assert_eq!(parsed(r#"root = "a\\b \" # c""#), Some(("root".into(), Value::Text(r#"a\b " # c"#.into()))));
        assert_eq!(parsed(r"root = 'C:\x' # y"), Some(("root".into(), Value::Text(r"C:\x".into()))));
    }

    #[test]
    fn anything_else_is_refused() {
        for line in ["root", "root =", "root = x", "root = \"x", "keep = 5 6", "keep = -1", "root = \"\\n\"", "[table]"]
        {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
