//! What people see while they wait: progress on standard error, only on a terminal.

use std::fmt::Display;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress and notes go.
#[derive(Clone, Copy, Debug)]
pub struct Reporter {
    quiet: bool,
}

/// How long a step runs before it is worth showing.
const REDRAW: Duration = Duration::from_millis(120);

impl Reporter {
    /// Returns a reporter for this process's standard error; `quiet` keeps progress and notes back.
    pub fn new(quiet: bool) -> Reporter {
        Reporter { quiet }
    }

    /// Begins a step of `length` parts; 0 for one of unknown length. Shown on a terminal alone, and gone from it when
    /// dropped, as bars are that nobody finishes.
    pub fn step(&self, what: &str, length: u64) -> ProgressBar {
        let target = match self.quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let style = match length {
            0 => "{spinner} {msg} [{elapsed}]",
            _ => "{msg:<24} {wide_bar} {percent:>3}% [{elapsed}]",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(REDRAW);
        bar
    }

    /// Shows that `what`, of unknown length, is under way as long as `work` runs; returns what that does.
    pub fn during<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let _step = self.step(what, 0);
        work()
    }

    /// Says one line that the user should see now.
    pub fn note(&self, line: impl Display) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }

    /// Says one line about something that went wrong, and was got over.
    pub fn warn(&self, line: impl Display) {
        eprintln!("headstart: {line}");
    }
}

/// Returns a size for people: `1.2 GB`.
pub fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).display().si().to_string()
}

/// Returns `count` with its noun: `1 unit`, `2 units`.
pub fn count(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count};

    /// A size off by a factor of a thousand misleads whoever plans a disk.
    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_250_000_000), "1.2 GB");
        assert_eq!(count(1, "unit"), "1 unit");
        assert_eq!(count(0, "unit"), "0 units");
    }
}
