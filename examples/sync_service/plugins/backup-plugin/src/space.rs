//! Free space of a file system, from POSIX `df -kP`: the layout of `statvfs` differs from system to system, the
//! columns of `df -P` do not.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes that an unprivileged process may still write below `path`, or below its nearest folder that exists.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path);
    let output = Command::new("df").arg("-kP").arg(existing).env("LC_ALL", "C").stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    available_kilobytes(&text).map(|kilobytes| kilobytes.saturating_mul(1024)).ok_or_else(|| {
        let reason = String::from_utf8_lossy(&output.stderr);
        io::Error::new(io::ErrorKind::Other, format!("df says nothing of {}: {}", path.display(), reason.trim()))
    })
}

/// The column before the percentage: the first column, the device, may hold spaces.
fn available_kilobytes(text: &str) -> Option<u64> {
    let columns: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let percent =
        columns.iter().position(|c| c.ends_with('%') && c[..c.len() - 1].bytes().all(|b| b.is_ascii_digit()))?;
    columns.get(percent.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::available_kilobytes;

    #[test]
    fn the_available_column_is_found() {
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        assert_eq!(available_kilobytes(&format!("{head}/dev/sda1 100 40 60 40% /")), Some(60));
        assert_eq!(available_kilobytes(&format!("{head}my share 100 40 60 40% /mnt/a 5% b")), Some(60));
        assert_eq!(available_kilobytes(head), None);
    }
}
