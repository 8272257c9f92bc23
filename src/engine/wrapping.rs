//! Where the roots are, told from one rustc command line as cargo writes it; and which compiler it is.
//!
//! cargo tells a wrapper nothing else. Publisher and reader read the same from it, so their outputs name the same.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::cargo::layout::{OWN_DIR, RUSTC_INFO};
use crate::cargo::package;
use crate::cargo::workspace::DRIVER;
use crate::config::Environment;
use crate::disk::{self, hash};
use crate::engine::{Ledger, inputs};
use crate::git;
use crate::model::{Digest, Finder, Root, Roots, bytes_path};
use crate::rustc::argv::Invocation;

/// A compiler that is wrapped, and what is around it.
#[derive(Clone, Copy, Debug)]
pub struct Wrapped<'a> {
    /// The compiler.
    pub program: &'a OsStr,
    /// Where the roots are.
    pub roots: &'a Roots,
    /// The ledger of the build directory.
    pub ledger: &'a Ledger,
    /// What cargo runs it in.
    pub environment: &'a Environment,
}

/// How much of a compiler is digested, beside its size: what names the library that it needs, which stands near the start of rustc,
/// and farther on in clippy's driver.
const COMPILER_BYTES: [usize; 2] = [64 << 10, 1 << 20];
/// Where rustc's bootstrap says which rustc runs behind its own.
const REAL_VAR: &str = "RUSTC_REAL";

impl Wrapped<'_> {
    /// Returns the compiler and what it is `told`, without the roots; none for what is not incremental, or where the compiler may
    /// be another one.
    pub fn arguments(&self, told: &Invocation) -> Option<Digest> {
        told.incremental.as_ref()?;
        let compiler = self.compiler(told.behind.as_deref())?;
        let name = Path::new(self.program).file_name().unwrap_or_default();
        let value = |name| self.environment.var(name).unwrap_or_default();
        let [bootstrap, clippy, conf] = HASHED_VARIABLES.map(value);
        // A target's own file has what its name does not say.
        let target = told.target.iter().filter(|name| name.ends_with(".json"));
        let target = target.map(|name| hash::of(&self.environment.dir.join(name)));
        let target: String = target.flatten().map(|digest| digest.hex()).collect();
        let mut context = vec![name, OsStr::new(&compiler), bootstrap, clippy, conf];
        context.extend(Some(OsStr::new(&target)).filter(|_| !target.is_empty()));
        Some(told.digest(&Finder::new(self.roots), &context))
    }

    /// Returns what of the arguments rustc hashes, as it is `told`; nothing where a reader could not tell it the same, by [`Compiled::line`].
    pub fn line(&self, told: &Invocation) -> Vec<String> {
        let is_plain = told.behind.is_none() && told.source.is_relative();
        if told.incremental.is_none() || !is_plain {
            return Vec::new();
        }
        let finder = Finder::new(self.roots);
        let is_free = |arg: &str| finder.held(arg.as_bytes()).next().is_none();
        let texts = told.line().into_iter().map(OsString::into_string);
        let texts = texts.map(|text| {
            text.ok()
                .filter(|text| is_free(text) && text != "--sysroot")
        });
        texts.collect::<Option<_>>().unwrap_or_default()
    }

    /// Returns what tells this compiler, and the rustc `behind` it, from others of the same names; none where one of them is
    /// no rustc but may give rustc other arguments, by the environment for instance, as a script does.
    fn compiler(&self, behind: Option<&OsStr>) -> Option<String> {
        let real = self.environment.var(REAL_VAR);
        let programs = [Some(self.program), behind, real].into_iter().flatten();
        let told = programs.enumerate().map(|(at, program)| {
            let path = self.environment.program_at(program)?;
            let names_driver = |start: &[u8]| memmem::find(start, DRIVER.as_bytes()).is_some();
            let [near, far] = COMPILER_BYTES;
            let mut start = disk::read_start(&path, near).ok()?;
            if !names_driver(&start) {
                start = disk::read_start(&path, far).ok()?;
            }
            let is_rustc = (at == 0 && real.is_some()) || names_driver(&start);
            let size_bytes = path.metadata().ok()?.len();
            let sure = is_rustc && !start.starts_with(b"#!");
            sure.then(|| format!("{}:{size_bytes} ", Digest::of(&start).hex()))
        });
        told.collect()
    }
}

/// Variables that rustc or clippy hash beside the arguments.
const HASHED_VARIABLES: [&str; 3] = [BOOTSTRAP_VAR, "CLIPPY_ARGS", "CLIPPY_CONF_DIR"];
/// Turns on what is unstable.
pub const BOOTSTRAP_VAR: &str = "RUSTC_BOOTSTRAP";
/// The largest build script that is looked into.
const MAX_SCRIPT_BYTES: u64 = 1 << 20;
/// How far above `--out-dir` a profile's directory lies at most: `<profile>/build/<package>-<hash>`.
const MAX_ABOVE: usize = 3;

/// Returns the roots of the cargo that runs `invocation`; none where `--out-dir` is in no layout that we know, or in a build that a
/// test makes, or the unit has to know where it lies.
///
/// cargo compiles the members of a workspace, and what lies beside them, from the workspace's root, with a relative
/// main source. Any other source it names in full. A vendored one lies in the workspace all the same, below the
/// directory of the lock file; where one of a registry or git repository is used from cannot be told, nor does it matter.
/// Source: cargo: core/compiler/mod.rs, `path_args` @ 1.95.
pub fn roots(invocation: &Invocation, environment: &Environment) -> Option<Roots> {
    let build = build_dir(invocation, &environment.dir)?;
    if is_of_a_test(&build) || opens_by_file(invocation) {
        return None;
    }
    let home = environment.cargo_home().ok()?;
    let source = &invocation.source;
    let downloaded = package::is_downloaded(source, &home);
    // Of several the outermost counts: a package may have one of its own.
    let locked = |dir: &&Path| dir.join("Cargo.lock").is_file();
    let workspace = match (source.is_relative(), downloaded) {
        (true, _) => Some(environment.dir.as_path()),
        (false, true) => None,
        (false, false) => source.ancestors().skip(1).filter(locked).last(),
    };
    // What lies beside the workspace is known by the work tree that both lie in.
    let beside = git::enclosing_work_tree(&build).filter(|top| source.starts_with(top));
    let above = workspace.map_or(beside, git::enclosing_work_tree);
    let above = above.filter(|_| !downloaded);
    let repository = above.filter(|top| Some(*top) != workspace);
    let all = [
        (Root::Workspace, workspace),
        (Root::Build, Some(&*build)),
        (Root::CargoHome, Some(&*home)),
        (Root::Repository, repository),
    ];
    let known = all.into_iter().filter_map(|(root, dir)| Some((root, dir?)));
    let add = |roots: Roots, (root, dir)| roots.with_alias(root, dir);
    let roots = inputs::with_aliases(known.fold(Roots::default(), add));
    // rustc refuses an argument that is not.
    let are_text = roots
        .spellings()
        .all(|(_, path)| std::str::from_utf8(path).is_ok());
    are_text.then_some(roots)
}

/// Returns the options that put a fixed path for each root; rustc takes the last that matches, so the
/// deepest root comes last.
pub fn remaps(roots: &Roots) -> Vec<OsString> {
    let mut spellings: Vec<(Root, &[u8])> = roots.spellings().collect();
    spellings.sort_by_key(|(_, path)| path.len());
    let option = |(root, path): (Root, &[u8])| {
        let (from, to) = (bytes_path(path).as_os_str(), OsStr::new(root.remapped()));
        [OsStr::new("--remap-path-prefix"), from, to].join(OsStr::new("="))
    };
    spellings.into_iter().map(option).collect()
}

/// Tells whether `invocation` is a build script that may open what lies beside it by `file!()`, where cargo names its source in full.
fn opens_by_file(invocation: &Invocation) -> bool {
    let script = invocation.crate_name.starts_with("build_script_");
    let source = Some(&invocation.source).filter(|source| script && source.is_absolute());
    let text = source.and_then(|source| disk::read(source, MAX_SCRIPT_BYTES).ok());
    text.is_some_and(|text| memmem::find(&text, b"file!()").is_some())
}

/// Tells whether `build` lies inside another build directory, and nobody starts or publishes there: a test runs cargo, and may compare
/// what rustc says word for word, as trybuild does. Named otherwise, rustc does not find the sources that it quotes.
fn is_of_a_test(build: &Path) -> bool {
    let is_build_dir = |dir: &Path| dir.join(RUSTC_INFO).is_file();
    let above = build.ancestors().skip(1);
    let mut above = above.take_while(|dir| !dir.join(".git").exists());
    // Asked first: it is there in every build but the first, and each unit's compile asks.
    !build.join(OWN_DIR).exists() && above.any(is_build_dir)
}

/// Returns cargo's build directory, with the profile's directory in it found by cargo's records.
fn build_dir(invocation: &Invocation, dir: &Path) -> Option<PathBuf> {
    let out_dir = dir.join(&invocation.out_dir);
    let is_profile = |dir: &&Path| dir.join(".fingerprint").is_dir();
    let mut above = out_dir.ancestors().skip(1).take(MAX_ABOVE);
    let profile = above.find(is_profile)?;
    let above = profile.parent()?;
    let of_target = |target: &String| above.file_name() == target_dir(target);
    match invocation.target.as_ref().is_some_and(of_target) {
        true => above.parent().map(Path::to_path_buf),
        false => Some(above.to_path_buf()),
    }
}

/// Returns the name of a target's directory: a triple as it is, a specification file without its extension.
fn target_dir(target: &str) -> Option<&OsStr> {
    let path = Path::new(target);
    match path.extension() {
        Some(extension) if extension == "json" => path.file_stem(),
        _ => path.file_name(),
    }
}

#[cfg(test)]
mod tests {
    use super::{build_dir, remaps};
    use crate::config::Environment;
    use crate::model::Roots;
    use crate::rustc::argv::Invocation;
    use std::path::{Path, PathBuf};

    #[track_caller]
    fn check(out_dir: &str, target: Option<&str>, profile: &str, expected: Option<&str>) {
        let scratch = tempfile::tempdir().unwrap();
        let records = scratch.path().join(profile).join(".fingerprint");
        std::fs::create_dir_all(records).unwrap();
        let mut invocation = Invocation::default();
        invocation.out_dir = PathBuf::from(out_dir);
        invocation.target = target.map(str::to_owned);
        let expected = expected.map(|dir| scratch.path().join(dir));
        assert_eq!(build_dir(&invocation, scratch.path()), expected);
    }

    /// With the workspace last, the target directory inside it would keep the workspace's name, and the
    /// same unit would differ between a target directory inside and outside.
    #[test]
    fn the_deepest_root_is_remapped_last() {
        let roots = Roots::new(
            Path::new("/w"),
            Path::new("/w/target"),
            Path::new("/home/u/.cargo"),
        );
        let options = remaps(&roots);
        assert_eq!(options[0], "--remap-path-prefix=/w=.");
        assert_eq!(
            options[1],
            "--remap-path-prefix=/w/target=/headstart/target"
        );
    }

    /// With another build directory the outputs keep the builder's paths, and are of use nowhere else.
    #[test]
    fn the_build_directory_is_above_the_profile() {
        check("t/debug/deps", None, "t/debug", Some("t"));
        check("t/debug/build/x-1", None, "t/debug", Some("t"));
        check("t/arm/debug/deps", Some("arm"), "t/arm/debug", Some("t"));
        check(
            "t/arm/debug/deps",
            Some("x/arm.json"),
            "t/arm/debug",
            Some("t"),
        );
        check("t/debug/deps", Some("arm"), "t/debug", Some("t"));
    }

    /// rustc takes no argument that is no text: every compile would fail where the user's name is none.
    #[test]
    fn a_root_that_is_no_text_is_not_remapped() {
        use std::os::unix::ffi::OsStrExt;
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("t/debug/.fingerprint")).unwrap();
        let mut invocation = Invocation::default();
        invocation.out_dir = PathBuf::from("t/debug/deps");
        invocation.source = PathBuf::from("src/lib.rs");
        let at = |home: &[u8]| {
            let environment = Environment::default().at(scratch.path());
            let home = std::ffi::OsStr::from_bytes(home);
            super::roots(&invocation, &environment.with("CARGO_HOME", home))
        };
        assert!(at(b"/home/rene/.cargo").is_some());
        assert!(at(b"/home/ren\xe9/.cargo").is_none());
    }

    /// In a layout that we do not know rustc must run exactly as given.
    #[test]
    fn another_layout_is_left_alone() {
        check("t/debug/build/x/1/out/deep", None, "t/debug", None);
        check("elsewhere", None, "t/debug", None);
    }
}
