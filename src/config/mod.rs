//! What the user has set: the environment, `headstart.toml`, cargo's `[env]` tables.
//!
//! The only code that reads the environment; everything else is given an [`Environment`].

#[cfg(feature = "network")]
mod aws;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::disk;
use crate::model::secrets::{Secrets, is_secret};

/// The variables and the directory that the process was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
    /// The current directory.
    pub dir: PathBuf,
    /// The path of this program.
    pub program: PathBuf,
    /// What was set by [`Environment::with`].
    pub overrides: Vec<(String, OsString)>,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither CARGO_HOME nor HOME is set.
    #[error("neither {0} nor HOME is set")]
    NoHome(&'static str),
    /// A variable that says nothing.
    #[error("cannot use ${0}: {1}")]
    Variable(&'static str, String),
    /// `headstart.toml` cannot be read or understood, and why.
    #[error("cannot use {}: {}", .0.display(), .1)]
    File(PathBuf, String),
    /// A store that is not a directory.
    #[error(
        "`{0}` is not a directory, and this version stores starting points in directories only"
    )]
    Remote(String),
}

/// A setting, or why it cannot be used.
pub type Result<T, E = ConfigError> = std::result::Result<T, E>;

/// A tier far away, nearest first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// Where it is: `s3://bucket/path`, `gs://…`, `az://…`, `https://…`, `file:///…`.
    pub url: String,
    /// Whether nothing is written there.
    #[serde(default)]
    pub read_only: bool,
    /// Whether the user named it, and not the repository.
    #[serde(skip)]
    pub by_user: bool,
}

/// `headstart.toml` at the root of a workspace.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The keys that it proposes to believe. Nobody is believed for that.
    pub trusted_keys: Vec<String>,
    remote: Vec<RemoteConfig>,
    secrets: Vec<String>,
    /// What is no setting, by its name.
    #[serde(flatten)]
    other: BTreeMap<String, toml::Value>,
}

impl Settings {
    /// Returns a sentence that names one that is no setting; none where all are.
    pub fn unknown(&self) -> Option<String> {
        let name = self.other.keys().next()?;
        Some(format!("`{name}` in headstart.toml means nothing"))
    }
}

/// The name of the file with what a workspace sets.
pub const CONFIG_FILE: &str = "headstart.toml";
/// What the user's own store is called in the cache directory.
const STORE_DIR: &str = "headstart";
/// What a store may have if nobody says otherwise: a few large workspaces, or many small ones, with weeks of commits.
const STORE_MAX_BYTES: u64 = 50_000_000_000;
/// The variable that says otherwise.
const MAX_SIZE_VAR: &str = "HEADSTART_STORE_MAX_SIZE";
/// The variable that names the store's directory.
const STORE_VAR: &str = "HEADSTART_STORE";
/// The largest configuration file that we read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

impl Environment {
    /// Returns this process's environment.
    #[expect(clippy::disallowed_methods, reason = "config reads the environment")]
    pub fn of_process() -> std::io::Result<Environment> {
        Ok(Environment {
            vars: std::env::vars_os().collect(),
            dir: std::env::current_dir()?,
            // Where nothing is mounted on /proc, it is what this was called.
            program: std::env::current_exe()
                .or_else(|error| std::env::args_os().next().map(PathBuf::from).ok_or(error))?,
            overrides: Vec::new(),
        })
    }

    /// Returns this environment with another current directory.
    pub fn at(&self, dir: &Path) -> Environment {
        Environment {
            dir: dir.to_path_buf(),
            ..self.clone()
        }
    }

    /// Returns this environment with `name` set to `value`, for us and for the programs that we start.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Environment {
        let value = value.into();
        self.vars.insert(OsString::from(name), value.clone());
        self.overrides.push((name.to_owned(), value));
        self
    }

    /// Returns the value of `name`, unless it is unset or empty.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        let value = self.vars.get(OsStr::new(name))?;
        (!value.is_empty()).then_some(value)
    }

    /// Returns the value of `name` as cargo compares it: set or not, UTF-8 only.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.vars.get(OsStr::new(name))?.to_str()
    }

    /// Tells whether `name` is set, to whatever.
    pub fn is_set(&self, name: &str) -> bool {
        self.vars.contains_key(OsStr::new(name))
    }

    /// Returns the text of `name`, unless it is unset or empty.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// Tells whether `name` turns something off: it is `0`, `off` or `no`.
    pub fn is_off(&self, name: &str) -> bool {
        matches!(self.text(name), Some("0" | "off" | "no"))
    }

    /// Returns the path in `name`, made absolute.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(|value| self.dir.join(value))
    }

    /// Returns `CARGO_HOME`, as cargo spells it.
    pub fn cargo_home(&self) -> Result<PathBuf> {
        self.path_or_below_home("CARGO_HOME", ".cargo")
    }

    fn path_or_below_home(&self, name: &'static str, dir: &str) -> Result<PathBuf> {
        let below_home = || Some(self.path("HOME")?.join(dir));
        let path = self.path(name).or_else(below_home);
        path.ok_or(ConfigError::NoHome(name))
    }

    /// Returns the directory of the user's own settings. Relative paths do not count: a repository could be what they lead to.
    pub fn config_dir(&self) -> Result<PathBuf> {
        let absolute = |name: &str| {
            let path = self.var(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let below_home = || Some(absolute("HOME")?.join(".config"));
        let dir = absolute("XDG_CONFIG_HOME").or_else(below_home);
        let dir = dir.ok_or(ConfigError::NoHome("XDG_CONFIG_HOME"))?;
        Ok(dir.join("headstart"))
    }

    /// Returns the program that a shell here runs for `name`.
    pub fn finds(&self, name: &str) -> Option<PathBuf> {
        let path = self.var("PATH")?;
        let mut programs = std::env::split_paths(path).map(|dir| self.dir.join(dir).join(name));
        programs.find(|program| program.is_file())
    }

    /// Returns where `program` is, as it was typed or as cargo runs it: a path, or a name that is looked for.
    pub fn program_at(&self, program: &OsStr) -> Option<PathBuf> {
        match Path::new(program).components().count() {
            1 => self.finds(program.to_str()?),
            _ => Some(self.dir.join(program)),
        }
    }

    /// Returns the rustc that cargo runs here.
    pub fn rustc(&self) -> String {
        let named = self.build_program("RUSTC", "rustc");
        let named = named.and_then(|(program, _)| program.to_str().map(str::to_owned));
        named.unwrap_or_else(|| "rustc".to_owned())
    }

    /// Returns the store's directory: what the user typed, else `HEADSTART_STORE`, else one in the user's cache directory. A
    /// repository has no say in it: see note 0023.
    pub fn store(&self, typed: Option<&str>) -> Result<PathBuf> {
        let variable = self.var(STORE_VAR).filter(|_| typed.is_none());
        let not_text = || ConfigError::Variable(STORE_VAR, "it is not UTF-8".to_owned());
        let variable = variable.map(|value| value.to_str().ok_or_else(not_text));
        match typed.or(variable.transpose()?) {
            Some(named) => Ok(self.dir.join(directory(named)?)),
            None => Ok(self.cache_dir()?.join(STORE_DIR)),
        }
    }

    /// Returns the directory of what the user can do without.
    pub fn cache_dir(&self) -> Result<PathBuf> {
        self.path_or_below_home("XDG_CACHE_HOME", ".cache")
    }

    /// Returns how many bytes the store may have if nobody typed it.
    pub fn store_max_bytes(&self) -> Result<u64> {
        let unusable = |why| ConfigError::Variable(MAX_SIZE_VAR, why);
        let named = self.named(MAX_SIZE_VAR);
        named.map_or(Ok(STORE_MAX_BYTES), |text| {
            parse_bytes(text).map_err(unusable)
        })
    }

    /// Returns the remotes, nearest first: those that were typed, else those of `HEADSTART_REMOTES`, separated by spaces,
    /// else those of `headstart.toml` in `workspace`. One that is typed as `none` means none.
    pub fn remotes(&self, typed: &[String], workspace: &Path) -> Result<Vec<RemoteConfig>> {
        let variable = self.text("HEADSTART_REMOTES").filter(|_| typed.is_empty());
        let variable = variable.unwrap_or_default().split_whitespace();
        let named: Vec<&str> = typed.iter().map(String::as_str).chain(variable).collect();
        let remote = |url: &&str| RemoteConfig {
            url: (*url).to_owned(),
            read_only: false,
            by_user: true,
        };
        match &named[..] {
            [] => Ok(settings(workspace)?.remote),
            ["none"] => Ok(Vec::new()),
            urls => Ok(urls.iter().map(remote).collect()),
        }
    }

    /// Returns the nearest directory from here upwards that has a `headstart.toml`, no further up than `top`, which it is where
    /// there is none.
    pub fn settled_dir<'a>(&'a self, top: &'a Path) -> &'a Path {
        let below = |dir: &&Path| dir.starts_with(top);
        let mut dirs = self.dir.ancestors().take_while(below);
        let dir = dirs.find(|dir| dir.join(CONFIG_FILE).is_file());
        dir.unwrap_or(top)
    }

    /// Returns the variables whose values must not be published, with those, whether cargo sets them or who started it: by
    /// their names, or named in `headstart.toml`.
    pub fn secrets(&self, workspace: &Path) -> Result<Secrets> {
        let named = settings(workspace)?.secrets;
        let secret = |name: &str| is_secret(name) || named.iter().any(|one| one == name);
        let set: Vec<(String, toml::Value)> = self.set_by_cargo(workspace).collect();
        let set = set.iter().filter_map(|(name, value)| {
            let value = value.get("value").unwrap_or(value).as_str()?;
            Some((name.as_str(), value))
        });
        let all = self.texts().chain(set);
        Ok(Secrets::new(all.filter(|(name, _)| secret(name))))
    }

    /// Returns this environment with the directory of `program` first among those where programs are looked for.
    pub fn preferring(self, program: &Path) -> Environment {
        let own = self.var("PATH").unwrap_or_default().to_owned();
        let dirs = program.parent().map(Path::to_path_buf).into_iter();
        match std::env::join_paths(dirs.chain(std::env::split_paths(&own))) {
            Ok(path) => self.with("PATH", path),
            Err(_) => self,
        }
    }

    /// Returns the program that cargo runs here in rustc's place, with what names it; none if it runs rustc itself.
    pub fn rustc_wrapper(&self) -> Option<(PathBuf, String)> {
        self.build_program("RUSTC_WRAPPER", "rustc-wrapper")
    }

    /// Returns the program that `variable`, or `key` of cargo's `[build]` tables, names, with which of them does.
    ///
    /// Source: cargo: variables before files, and the nearest file first; an empty name is none.
    fn build_program(&self, variable: &str, key: &str) -> Option<(PathBuf, String)> {
        let variables = [variable.to_owned(), format!("CARGO_BUILD_{variable}")];
        let set = |name: &String| Some((PathBuf::from(self.text(name)?), name.clone()));
        let in_file = |(file, table): (PathBuf, toml::Table)| {
            let name = table.get("build")?.get(key)?.as_str()?;
            // A path is relative to the directory that `.cargo` is in; a bare name is none.
            let dir = file.ancestors().nth(2).filter(|_| name.contains('/'));
            let program = dir.unwrap_or(Path::new("")).join(name);
            Some((program, file.display().to_string()))
        };
        let named = variables.iter().find_map(set);
        let named = named.or_else(|| self.cargo_configs(&self.dir).find_map(in_file));
        named.filter(|(program, _)| !program.as_os_str().is_empty())
    }

    /// Returns the variables that the providers of remote stores read, with their values.
    pub fn of_providers(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        const PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];
        let is_theirs = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        self.texts().filter(move |(name, _)| is_theirs(name))
    }

    /// Returns the variables that are UTF-8, with their values.
    fn texts(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let pairs = self.vars.iter();
        pairs.filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
    }

    /// Returns the variables that cargo's configuration sets for a build in `workspace`, with what it says of each.
    ///
    /// Source: cargo: the `[env]` table of each `.cargo/config.toml` from the workspace upwards, and of CARGO_HOME's.
    pub fn set_by_cargo(&self, workspace: &Path) -> impl Iterator<Item = (String, toml::Value)> {
        let files = self.cargo_configs(workspace);
        let set = files.filter_map(|(_, mut table)| match table.remove("env")? {
            toml::Value::Table(set) => Some(set),
            _ => None,
        });
        set.flatten()
    }

    /// Returns all by which cargo may be told here to run another rustc, or to give it other flags: variables but those of directories, its
    /// configuration, and us in rustc's place.
    pub fn rustc_settings(&self) -> String {
        const PREFIXES: [&str; 5] = [
            "CARGO_BUILD_",
            "CARGO_ENCODED_",
            "CARGO_TARGET_",
            "RUSTC",
            "RUST_TARGET_PATH",
        ];
        let is_named = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let is_one = |name: &str| is_named(name) && !name.ends_with("_DIR") || name == "RUSTFLAGS";
        let variables = self.texts().filter(|(name, _)| is_one(name));
        let variables = variables.map(|(name, value)| format!("{name}={value}\0"));
        let files = self.cargo_configs(&self.dir);
        let files = files.map(|(_, table)| table.to_string());
        let own = self.program.metadata().and_then(|meta| meta.modified());
        let own = format!("{:?} {:?}", self.program, own.ok());
        variables.chain(files).chain([own]).collect()
    }

    /// Returns cargo's configuration files for a build in `dir` that can be read, nearest first.
    fn cargo_configs(&self, dir: &Path) -> impl Iterator<Item = (PathBuf, toml::Table)> {
        let above = dir.ancestors().map(|dir| dir.join(".cargo"));
        let dirs = above.chain([self.cargo_home().unwrap_or_default()]);
        let files = dirs.flat_map(|dir| [dir.join("config.toml"), dir.join("config")]);
        files.filter_map(|file| {
            let bytes = disk::read(&file, MAX_CONFIG_BYTES).ok()?;
            Some((file, toml::from_slice(&bytes).ok()?))
        })
    }
}

/// The programs that the configuration of rustc's bootstrap names; those that it does not name are downloaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct BootstrapTools {
    /// The compiler of stage 0.
    pub rustc: Option<PathBuf>,
    /// Its cargo.
    pub cargo: Option<PathBuf>,
}

/// The file of that configuration, and what it is called in trees before 1.87.
const BOOTSTRAP_FILES: [&str; 2] = ["bootstrap.toml", "config.toml"];

impl BootstrapTools {
    /// Returns what the file of the tree at `top` names; `named` is its path where the user has it elsewhere.
    ///
    /// Source: rust: src/bootstrap/src/core/config/config.rs, `load_toml_config` @ 1.95.
    pub fn of(top: &Path, named: Option<PathBuf>) -> Result<BootstrapTools> {
        #[derive(Default, Deserialize)]
        struct File {
            #[serde(default)]
            build: BootstrapTools,
        }
        let mut usual = BOOTSTRAP_FILES.iter().map(|name| top.join(name));
        let path = named.or_else(|| usual.find(|path| path.is_file()));
        let file: File = path.map_or_else(|| Ok(File::default()), |path| read_toml(&path))?;
        let absolute = |path: Option<PathBuf>| path.map(|path| top.join(path));
        Ok(BootstrapTools {
            rustc: absolute(file.build.rustc),
            cargo: absolute(file.build.cargo),
        })
    }
}

/// Returns what `headstart.toml` in `workspace` says.
pub fn settings(workspace: &Path) -> Result<Settings> {
    read_toml(&workspace.join(CONFIG_FILE))
}

/// Reads `path`; where there is none, everything is as by default.
fn read_toml<T: Default + DeserializeOwned>(path: &Path) -> Result<T> {
    match disk::read(path, MAX_CONFIG_BYTES) {
        Ok(bytes) => toml::from_slice(&bytes).map_err(|error| {
            let before = bytes.iter().take(error.span().unwrap_or_default().start);
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            unusable(path, format!("line {line}: {}", error.message()))
        }),
        Err(error) if error.is_missing() => Ok(T::default()),
        Err(error) => Err(unusable(path, &error.cause)),
    }
}

fn unusable(path: &Path, why: impl ToString) -> ConfigError {
    ConfigError::File(path.to_path_buf(), why.to_string())
}

/// Returns the bytes in a size such as `50G`, `500 MB` or `7`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim().trim_end_matches(['b', 'B']);
    let mut powers = ["", "k", "m", "g", "t"].into_iter().zip(0..);
    let power = powers.find(|(known, _)| unit.eq_ignore_ascii_case(known));
    let number: Option<u64> = number.parse().ok();
    let bytes = number.zip(power);
    let bytes = bytes.and_then(|(number, (_, power))| number.checked_mul(1000_u64.pow(power)));
    bytes.ok_or_else(|| format!("`{text}` is no size; 50G and 500M are"))
}

/// Returns the directory that a store's address names.
fn directory(address: &str) -> Result<PathBuf> {
    match address.split_once("://") {
        None => Ok(PathBuf::from(address)),
        Some(("file", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(_) => Err(ConfigError::Remote(address.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{directory, parse_bytes};
    use std::path::Path;

    /// A limit off by a factor of a thousand would empty the store, or fill the disk.
    #[test]
    fn sizes_are_what_people_mean() {
        for (text, bytes) in [
            ("50G", 50_000_000_000),
            ("500 MB", 500_000_000),
            ("2k", 2000),
            ("0", 0),
            ("7", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "50X", "-1", "1 2", "50Gi!", "1.5G", "99999999999T"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    /// A bucket's URL taken for a path would publish into a directory named `s3:`.
    #[test]
    fn only_directories_are_stores() {
        assert_eq!(directory("/srv/x").unwrap(), Path::new("/srv/x"));
        assert_eq!(directory("file:///srv/x").unwrap(), Path::new("/srv/x"));
        assert!(directory("s3://bucket").is_err());
    }
}
