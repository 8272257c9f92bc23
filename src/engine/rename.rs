//! A name for a unit that does not tell where it lies, where cargo's does.
//!
//! cargo's hash of a path dependency outside the workspace's root, and so of all that depends on it, covers its absolute path.
//! As `-C metadata` it is a part of every symbol, so that no session of another place is any good. rustc is given another
//! name then, the same everywhere, and cargo finds the outputs under both. See note 0016.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::cargo::layout::{HashedFiles, hash_in};
use crate::cargo::{makefile, package};
use crate::config::Environment;
use crate::disk::place::mode_for;
use crate::disk::{self, CopyError, DiskError, Finish, PLAIN, Staging, hash, walk};
use crate::engine::wrapping::Wrapped;
use crate::model::Finder;
use crate::rustc::argv::Invocation;
use crate::rustc::run;

/// What stands behind a unit's name and a dot, either of them, in the name of the file that says only what the other is.
pub const MARK: &str = "renamed";
/// How many digits a name has, as cargo's.
const DIGITS: usize = 16;

/// A unit with two names.
#[derive(Debug)]
pub struct Renamed {
    /// The compile under the name that tells no place.
    pub invocation: Invocation,
    /// cargo's name: the hash in its file names.
    from: String,
    /// The other.
    to: String,
    out_dir: PathBuf,
}

impl Renamed {
    /// Returns `invocation` under another name, if cargo's tells where it lies; none where that is
    /// not known, or nothing would be won.
    pub fn of(invocation: &Invocation, wrapped: Wrapped<'_>) -> Option<Renamed> {
        let (environment, root) = (wrapped.environment, wrapped.ledger.root()?);
        let from = invocation.extra_filename.as_deref()?.strip_prefix('-')?;
        let package = environment.path("CARGO_MANIFEST_DIR")?;
        let incremental = invocation.incremental.is_some();
        let outside = incremental && lies_outside(&package, &root, environment);
        if !outside && !invocation.externs().any(|path| other_file(path).is_some()) {
            return None;
        }
        let to = name(invocation, wrapped)?;
        let out_dir = environment.dir.join(&invocation.out_dir);
        // Two work trees may share a target directory: who comes second keeps cargo's names.
        let first = other_name(&out_dir, &invocation.crate_name, &to);
        if first.is_some_and(|first| first != from) {
            return None;
        }
        Some(Renamed {
            invocation: invocation.renamed(&to, other_file),
            from: from.to_owned(),
            to,
            out_dir,
        })
    }

    /// Notes each name under the other. Dependents ask for it as soon as rustc has written the metadata, so it comes before
    /// rustc runs.
    pub fn note(&self, staging: &Staging) -> Result<(), DiskError> {
        for (name, other) in [(&self.from, &self.to), (&self.to, &self.from)] {
            let path = self.out_dir.join(mark(&self.invocation.crate_name, name));
            staging.write(&path, other.as_bytes(), PLAIN)?;
        }
        Ok(())
    }

    /// Puts what rustc has made so far under cargo's name as well, with the same times.
    pub fn give_back(&self, staging: &Staging) -> Result<(), CopyError> {
        for file in HashedFiles::of(&self.out_dir).with(&self.to) {
            let made = self.out_dir.join(&file);
            let wanted = self.out_dir.join(file.replace(&self.to, &self.from));
            let mtime = walk::mtime(&made);
            let is_mark = disk::has_extension(&made, MARK);
            if is_mark || file.contains(".rcgu.") || mtime == walk::mtime(&wanted) {
                continue;
            }
            if disk::has_extension(&made, "d") {
                let text = disk::read(&made, makefile::MAX_BYTES)?;
                let text = String::from_utf8_lossy(&text).replace(&self.to, &self.from);
                staging.write(&wanted, text.as_bytes(), PLAIN)?;
                continue;
            }
            let mode = mode_for(disk::is_executable(&made)?);
            staging.copy(&made, hash::file(&made)?.0, &wanted, Finish { mode, mtime })?;
        }
        Ok(())
    }
}

/// Returns the other name of the unit of `crate_name` that cargo calls `name`, with outputs in `dir`; none where it has none.
pub fn other_name(dir: &Path, crate_name: &str, name: &str) -> Option<String> {
    let mark = dir.join(mark(crate_name, name));
    let text = String::from_utf8(disk::read(&mark, DIGITS as u64).ok()?).ok()?;
    (text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

/// Returns the library that cargo has at `path` under its other name, if it is the same.
///
/// What was compiled without headstart since is newer under cargo's name, and of another time; what is being compiled is
/// under the other name first.
fn other_file(path: &str) -> Option<String> {
    let path = Path::new(path);
    let (dir, file) = (path.parent()?, path.file_name()?.to_str()?);
    let from = hash_in(file)?;
    let crate_name = file.strip_prefix("lib")?.rsplit_once('-')?.0;
    let to = other_name(dir, crate_name, from)?;
    let other = dir.join(file.replace(from, &to));
    let (own, others) = (walk::mtime(path), walk::mtime(&other)?);
    let same = other_name(dir, crate_name, &to).as_deref() == Some(from)
        && own.is_none_or(|own| own <= others);
    same.then(|| other.to_str().map(str::to_owned)).flatten()
}

fn mark(crate_name: &str, name: &str) -> String {
    format!("{crate_name}-{name}.{MARK}")
}

/// Tells whether cargo's hash of the package in `dir` covers its absolute path: it is no member, and was not downloaded.
///
/// Source: cargo: core/source_id.rs, `stable_hash` @ 1.95.
fn lies_outside(dir: &Path, root: &Path, environment: &Environment) -> bool {
    let home = environment.cargo_home().unwrap_or_default();
    let downloaded = package::is_downloaded(dir, &home);
    !dir.starts_with(root) && !downloaded && !dir.join(".cargo-checksum.json").is_file()
}

/// Returns a name of all that tells the unit from another, the compiler and its version first, without the places and the
/// names that cargo gave.
fn name(invocation: &Invocation, wrapped: Wrapped<'_>) -> Option<String> {
    let (roots, environment) = (wrapped.roots, wrapped.environment);
    let version = run::version(wrapped.program, invocation.behind.as_deref())?;
    let package = environment.path("CARGO_MANIFEST_DIR")?;
    let plain = invocation.renamed("", |_| None);
    let source = environment.dir.join(&invocation.source);
    let source = source.strip_prefix(&package).unwrap_or(&source).to_owned();
    let variable = |name| environment.var(name).unwrap_or_default();
    let [package_name, package_version] = ["CARGO_PKG_NAME", "CARGO_PKG_VERSION"].map(variable);
    let profile = roots.locate(&environment.dir.join(&invocation.out_dir));
    let file_name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
    let externs = invocation.externs().map(|path| {
        let other = other_file(path);
        file_name(Path::new(other.as_deref().unwrap_or(path)))
    });
    let externs: Vec<OsString> = externs.collect();
    let program = file_name(Path::new(wrapped.program));
    let mut context = vec![
        program.as_os_str(),
        OsStr::new(&version),
        package_name,
        package_version,
        source.as_os_str(),
        profile.relative().as_os_str(),
    ];
    context.extend(externs.iter().map(OsString::as_os_str));
    let digest = plain.digest(&Finder::new(roots), &context);
    Some(digest.hex()[..DIGITS].to_owned())
}
