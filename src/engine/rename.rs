//! A name for a unit that does not tell where it lies, where cargo's does.
//!
//! cargo's hash of a path dependency outside the workspace's root, and so of all that depends on it, covers its absolute path.
//! As `-C metadata` it is a part of every symbol, so that no session of another place is any good. rustc is given another
//! name then, the same everywhere, and cargo finds the outputs under both. See note 0016.

use std::path::{Path, PathBuf};

use crate::cargo::layout::{HashedFiles, hash_in};
use crate::config::Environment;
use crate::disk::place::{CopyError, Finish, MODE_EXECUTABLE, MODE_FILE, PLAIN, Staging};
use crate::disk::{self, DiskError, hash, walk};
use crate::engine::ledger::Ledger;
use crate::model::rewrite::Finder;
use crate::model::{Digest, Roots};
use crate::rustc::argv::Invocation;

/// What stands behind a unit's name, either of them, in the name of the file with the other.
const MARK: &str = ".renamed";
/// How many digits a name has, as cargo's.
const DIGITS: usize = 16;
/// The largest dep-info that is rewritten.
const MAX_MAKEFILE_BYTES: u64 = 16 << 20;

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
    /// Returns `invocation` under another name, if cargo's tells where it lies; none where that is not known.
    pub fn of(
        invocation: &Invocation,
        roots: &Roots,
        ledger: &Ledger,
        environment: &Environment,
    ) -> Option<Renamed> {
        let root = ledger.root()?;
        let from = invocation.extra_filename.as_deref()?.strip_prefix('-')?;
        let package = environment.path("CARGO_MANIFEST_DIR")?;
        let renamed_dependency = |path: &str| renamed_file(Path::new(path)).is_some();
        if !lies_outside(&package, &root, environment)
            && !invocation.externs().any(renamed_dependency)
        {
            return None;
        }
        let to = name(invocation, roots, &package, environment);
        let out_dir = environment.dir().join(&invocation.out_dir);
        // Two work trees may share a target directory: who comes second keeps cargo's names.
        let first = read_name(&out_dir.join(mark(&invocation.crate_name, &to)));
        if first.is_some_and(|first| first != from) {
            return None;
        }
        let file = |path: &str| Some(renamed_file(Path::new(path))?.display().to_string());
        Some(Renamed {
            invocation: invocation.renamed(&to, file),
            from: from.to_owned(),
            to,
            out_dir,
        })
    }

    /// Puts what rustc made under cargo's name as well.
    pub fn give_back(&self, staging: &Staging) -> Result<(), CopyError> {
        for file in HashedFiles::of(&self.out_dir).with(&self.to) {
            let (made, wanted) = (
                self.out_dir.join(&file),
                self.out_dir.join(file.replace(&self.to, &self.from)),
            );
            let mtime = walk::mtime(&made);
            if file.contains(".rcgu.") || file.ends_with(MARK) || mtime == walk::mtime(&wanted) {
                continue;
            }
            if made.extension().is_some_and(|extension| extension == "d") {
                let text = disk::read(&made, MAX_MAKEFILE_BYTES)?;
                let text = String::from_utf8_lossy(&text).replace(&self.to, &self.from);
                staging.write(&wanted, text.as_bytes(), PLAIN)?;
                continue;
            }
            let mode = match disk::is_executable(&made)? {
                true => MODE_EXECUTABLE,
                false => MODE_FILE,
            };
            staging.copy(&made, hash::file(&made)?.0, &wanted, Finish { mode, mtime })?;
        }
        Ok(())
    }

    /// Notes each name under the other. Dependents ask for it as soon as rustc has written the metadata, so it comes before rustc runs.
    pub fn note(&self, staging: &Staging) -> Result<(), DiskError> {
        for (name, other) in [(&self.from, &self.to), (&self.to, &self.from)] {
            let path = self.out_dir.join(mark(&self.invocation.crate_name, name));
            staging.write(&path, other.as_bytes(), PLAIN)?;
        }
        Ok(())
    }
}

/// Returns the other name of the unit whose output is `file`, under cargo's name; none where it has none.
pub fn other_name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let (stem, _) = name.rsplit_once('-')?;
    let crate_name = stem.strip_prefix("lib").unwrap_or(stem);
    read_name(&file.with_file_name(mark(crate_name, hash_in(name)?)))
}

fn mark(crate_name: &str, name: &str) -> String {
    format!("{crate_name}-{name}{MARK}")
}

fn read_name(mark: &Path) -> Option<String> {
    let text = String::from_utf8(disk::read(mark, DIGITS as u64).ok()?).ok()?;
    (text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

/// Returns `file` under its other name, if it is there.
fn renamed_file(file: &Path) -> Option<PathBuf> {
    let to = other_name(file)?;
    let name = file.file_name()?.to_str()?;
    let other = file.with_file_name(name.replace(hash_in(name)?, &to));
    other.is_file().then_some(other)
}

/// Tells whether cargo's hash of the package in `dir` covers its absolute path: it is no member, and was not downloaded.
///
/// Source: cargo: core/source_id.rs, `stable_hash` @ 1.95.
fn lies_outside(dir: &Path, root: &Path, environment: &Environment) -> bool {
    let home = environment.cargo_home().unwrap_or_default();
    let downloaded = ["registry", "git"]
        .iter()
        .any(|kind| dir.starts_with(home.join(kind)));
    !dir.starts_with(root) && !downloaded && !dir.join(".cargo-checksum.json").is_file()
}

/// Returns a name of what rustc is told, without the places and the names that cargo gave.
fn name(
    invocation: &Invocation,
    roots: &Roots,
    package: &Path,
    environment: &Environment,
) -> String {
    let plain = invocation.renamed("", |_| None);
    let source = environment.dir().join(&invocation.source);
    let source = source.strip_prefix(package).unwrap_or(&source).to_owned();
    let variable = |name| environment.var(name).unwrap_or_default();
    let [package_name, version] = ["CARGO_PKG_NAME", "CARGO_PKG_VERSION"].map(variable);
    let profile = roots.locate(&environment.dir().join(&invocation.out_dir));
    let mut context = vec![
        package_name.to_owned(),
        version.to_owned(),
        source.into_os_string(),
        profile.relative().as_os_str().to_owned(),
    ];
    context.extend(invocation.externs().map(|path| {
        let file = Path::new(path).file_name().unwrap_or_default();
        other_name(Path::new(path)).map_or_else(|| file.to_owned(), Into::into)
    }));
    let context: Vec<_> = context.iter().map(AsRef::as_ref).collect();
    let digest: Digest = plain.digest(&Finder::new(roots), &context);
    digest.hex()[..DIGITS].to_owned()
}
