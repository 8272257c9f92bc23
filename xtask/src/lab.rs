//! The scratch directory of one harness run, and the processes started in it.
//!
//! Every process writes to log files there, so a failure can be read afterwards and no pipe can block.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// No build of a real workspace that we know takes longer; a hang must not cost a night.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);
/// git, cp, sync and `cargo metadata` work on local files only.
pub(crate) const TOOL_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Two milliseconds are below 1 % of every time that is compared, and cost no measurable CPU.
const POLL: Duration = Duration::from_millis(2);
/// Lines of a failed process's stderr that its error shows.
const ERROR_LINES: usize = 15;
/// rustc's command lines have thousands of columns.
const ERROR_COLUMNS: usize = 200;

/// A scratch directory with its logs and the time since the run began.
#[derive(Debug)]
pub(crate) struct Lab {
    scratch: PathBuf,
    temporary: Option<tempfile::TempDir>,
    began: Instant,
    runs: Cell<u32>,
}

/// What a finished process left.
#[derive(Debug)]
pub(crate) struct Outcome {
    label: String,
    /// None when a signal ended it, our own at the limit included.
    pub(crate) code: Option<i32>,
    pub(crate) timed_out: bool,
    pub(crate) seconds: f64,
    /// Most resident memory of the process itself, without its children; None where /proc does not tell.
    pub(crate) peak_bytes: Option<u64>,
    out: PathBuf,
    err: PathBuf,
}

impl Lab {
    /// Returns a lab in `scratch`, which must be empty or absent, or in a temporary directory.
    pub(crate) fn new(scratch: Option<&Path>) -> Result<Lab> {
        let temporary = match scratch {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("headstart-xtask-")
                    .tempdir()?,
            ),
        };
        let wanted = temporary
            .as_ref()
            .map_or(scratch, |directory| Some(directory.path()));
        let wanted = wanted.context("a lab has a directory")?;
        fs::create_dir_all(wanted.join("logs"))
            .with_context(|| format!("cannot create {}", wanted.display()))?;
        let scratch = wanted.canonicalize()?;
        let others = fs::read_dir(&scratch)?.count() + fs::read_dir(scratch.join("logs"))?.count();
        ensure!(
            others == 1,
            "--scratch {} is not empty\n\nhint: remove it or name another",
            scratch.display()
        );
        Ok(Lab {
            scratch,
            temporary,
            began: Instant::now(),
            runs: Cell::new(0),
        })
    }

    /// Returns the path of `name` in the scratch directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.join(name)
    }

    /// Prints one line of progress to stderr, with the seconds since the run began.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        eprintln!(
            "[{:7.1} s] {}",
            self.began.elapsed().as_secs_f64(),
            text.as_ref()
        );
    }

    /// Keeps a temporary scratch directory after the run and says where it is.
    pub(crate) fn keep(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
        self.say(format!(
            "kept {} (logs are in logs/)",
            self.scratch.display()
        ));
    }

    /// Runs `command` to its end, or kills it at `limit`; its output goes to two log files named after `label`.
    ///
    /// Fails only when it cannot be started or watched.
    pub(crate) fn run(
        &self,
        label: &str,
        command: &mut Command,
        limit: Duration,
    ) -> Result<Outcome> {
        self.runs.set(self.runs.get() + 1);
        let name: String = label
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let log = self.path(format!("logs/{:04}-{name}", self.runs.get()));
        let (out, err) = (log.with_extension("out"), log.with_extension("err"));
        command
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?);
        let began = Instant::now();
        let program = command.get_program().display().to_string();
        let mut child = command
            .spawn()
            .with_context(|| format!("{label}: cannot start {program}"))?;
        let mut peak_bytes = None;
        let mut timed_out = false;
        let status = loop {
            if let Some(status) = watch(&mut child, &mut peak_bytes)? {
                break status;
            }
            if began.elapsed() > limit && !timed_out {
                timed_out = true;
                child
                    .kill()
                    .with_context(|| format!("{label}: cannot end {program}"))?;
            }
            thread::sleep(POLL);
        };
        let seconds = began.elapsed().as_secs_f64();
        Ok(Outcome {
            label: label.to_owned(),
            code: status.code(),
            timed_out,
            seconds,
            peak_bytes,
            out,
            err,
        })
    }

    /// Runs `command` as `run` does, with the limit for tools; fails unless it succeeds.
    pub(crate) fn tool(&self, label: &str, command: &mut Command) -> Result<Outcome> {
        self.run(label, command, TOOL_LIMIT)?.succeeded()
    }

    /// Removes a directory of the lab, if it is there.
    pub(crate) fn remove(&self, directory: &Path) -> Result<()> {
        ensure!(
            directory.starts_with(&self.scratch),
            "{} is not of this lab",
            directory.display()
        );
        if directory.exists() {
            fs::remove_dir_all(directory)
                .with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        Ok(())
    }
}

impl Outcome {
    /// Returns itself when the process ended with 0; otherwise an error with the end of its stderr.
    pub(crate) fn succeeded(self) -> Result<Outcome> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let how = match (self.timed_out, self.code) {
            (true, _) => format!("was ended after {:.0} s", self.seconds),
            (false, Some(code)) => format!("ended with {code}"),
            (false, None) => "was ended by a signal".to_owned(),
        };
        bail!(
            "{} {how}\n{}\n\nlog: {}",
            self.label,
            self.error_tail()?,
            self.err.display()
        )
    }

    /// Returns the last lines of stderr, without the processes that cargo lists, and long lines cut.
    pub(crate) fn error_tail(&self) -> Result<String> {
        let text = self.stderr()?;
        let told = |line: &&str| !line.trim_start().starts_with("Running `");
        let cut = |line: &str| line.chars().take(ERROR_COLUMNS).collect();
        let lines: Vec<String> = text.lines().filter(told).map(cut).collect();
        Ok(lines[lines.len().saturating_sub(ERROR_LINES)..].join("\n"))
    }

    /// Returns all of stdout, with bytes that are not UTF-8 replaced.
    pub(crate) fn stdout(&self) -> Result<String> {
        read(&self.out)
    }

    /// Returns all of stderr, with bytes that are not UTF-8 replaced.
    pub(crate) fn stderr(&self) -> Result<String> {
        read(&self.err)
    }
}

/// Returns the status of an ended child, after noting the memory of a running one.
///
/// The kernel keeps the high-water mark, so that only growth in the last `POLL` before the end can be missed.
fn watch(child: &mut Child, peak_bytes: &mut Option<u64>) -> Result<Option<ExitStatus>> {
    *peak_bytes = (*peak_bytes).max(high_water_bytes(child.id()));
    Ok(child.try_wait()?)
}

fn high_water_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
