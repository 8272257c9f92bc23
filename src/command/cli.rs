//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use crate::model::Digest;

/// The colours of help, on terminals only.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold());

/// What stands below the options in help.
const HELP: &str = include_str!("help.txt");

fn help(command: &str) -> &'static str {
    let mut texts = HELP.split("=== ").filter_map(|text| text.split_once('\n'));
    let found = texts.find(|(name, _)| *name == command);
    let (_, text) = found.expect("help.txt has every command that names it");
    text.trim_end()
}

/// Starts every Rust build from the nearest build somebody already did.
#[derive(Debug, Parser)]
#[command(name = "headstart", version, styles = STYLES, propagate_version = true)]
#[command(after_help = help("headstart"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run cargo, and store what it built as the commit's starting point
    Publish(PublishArgs),
    /// Place the nearest starting point, so that cargo builds only what differs
    Start(StartArgs),
    /// Show the difference that a starting point makes, in a scratch directory
    Demo(DemoArgs),
    /// Show where this target directory comes from, and what the store holds
    Status(StatusArgs),
    /// Show why each unit was placed, or how rustc began when it was compiled
    Explain(ExplainArgs),
    /// Find the first bad commit among published ones, without compiling
    Bisect(BisectArgs),
    /// Check all that headstart needs here, and say what is wrong and what to do
    #[command(after_help = help("doctor"))]
    Doctor(StoreArgs),
    /// Make headstart cargo's wrapper, so that plain cargo compiles through it
    Init(InitArgs),
    /// Delete what a store has no room for, and what remotes need no more
    Gc(GcArgs),
    /// Make and show keys that sign starting points, and say by a root key which do
    #[command(subcommand, after_help = help("key"))]
    Key(KeyCommand),
    /// Sign what `publish --unsigned` wrote to remotes, where no build script runs
    Sign(SignArgs),
    /// Say whose signatures are believed
    #[command(subcommand, after_help = help("trust"))]
    Trust(TrustCommand),
    /// Fetch what a start left for later; `start` runs it by itself, behind everything else
    #[command(hide = true)]
    Fetch(FetchArgs),
    /// Print what a debugger must know to find the sources of dependencies
    Debugger(DebuggerArgs),
    /// Print a completion script for a shell
    #[command(after_help = help("completions"))]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// For how many days a starting point may be used, if nobody says otherwise.
pub const KEEP_DAYS: u16 = 90;

/// Options of every command that reads or writes a store.
#[derive(Clone, Debug, Default, Args)]
pub struct StoreArgs {
    /// The store's directory [default: $HEADSTART_STORE, a directory in the user's cache]
    #[arg(long, value_name = "DIR")]
    pub store: Option<String>,
    /// A store far away: s3://, gs://, az://, https:// or file://; may be given again, nearest first; `none` for none
    /// [default: $HEADSTART_REMOTES, `remote` in headstart.toml]
    #[arg(long, value_name = "URL")]
    pub remote: Vec<String>,
    /// Print one JSON object on standard output instead of text
    #[arg(long)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `headstart publish`.
#[derive(Debug, Default, Args)]
#[command(after_help = help("publish"))]
pub struct PublishArgs {
    /// Where and how.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Publish under this commit, which must have the same tree as HEAD
    #[arg(long, value_name = "REV")]
    pub commit: Option<String>,
    /// Publish although the work tree differs from the commit; never offered as the commit's
    #[arg(long)]
    pub allow_dirty: bool,
    /// Sign with this secret key, which $HEADSTART_KEY_PASSWORD opens; may be given again
    /// [default: $HEADSTART_SIGN_KEY, a file or the key itself]
    #[arg(long, value_name = "FILE")]
    pub sign_key: Vec<PathBuf>,
    /// Leave it to `headstart sign`, in another job, to sign and list it: what runs here sees no key
    #[arg(long, conflicts_with = "sign_key")]
    pub unsigned: bool,
    /// For how many days it may be used
    #[arg(long, value_name = "DAYS", default_value_t = KEEP_DAYS)]
    pub keep_days: u16,
    /// Fail if the build cannot be published, or not to every remote [default: say so, and end as cargo does]
    #[arg(long)]
    pub required: bool,
    /// Arguments of cargo; `--then` begins another command [default: build]
    #[arg(last = true, value_name = "CARGO ARGS")]
    pub cargo: Vec<String>,
}

/// `headstart sign`.
#[derive(Debug, Args)]
#[command(after_help = help("sign"))]
pub struct SignArgs {
    /// The commit
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub commit: String,
    /// Sign this manifest alone, by the beginning of its name
    #[arg(long, value_name = "NAME")]
    pub manifest: Option<String>,
    /// Sign with this secret key, which $HEADSTART_KEY_PASSWORD opens; may be given again
    /// [default: $HEADSTART_SIGN_KEY, a file or the key itself]
    #[arg(long, value_name = "FILE")]
    pub sign_key: Vec<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub remotes: RemoteArgs,
}

/// Options of commands that know remotes and no store.
#[derive(Clone, Debug, Default, Args)]
pub struct RemoteArgs {
    /// A store far away: s3://, gs://, az:// or file://; may be given again [default: $HEADSTART_REMOTES, `remote` in
    /// headstart.toml]
    #[arg(long, value_name = "URL")]
    pub remote: Vec<String>,
    /// Print one JSON object on standard output instead of text
    #[arg(long)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `headstart start`.
#[derive(Debug, Default, Args)]
#[command(after_help = help("start"))]
pub struct StartArgs {
    /// Where and how.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Look from this commit instead of HEAD; outside of a git work tree by its whole name
    #[arg(long, value_name = "REV")]
    pub commit: Option<String>,
    /// Place this starting point, by the beginning of its name in `headstart status`
    #[arg(long, value_name = "NAME", conflicts_with = "commit")]
    pub manifest: Option<String>,
    /// The target directory [default: cargo's]
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// Decide, and place nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Place what these cargo arguments build, and run no cargo
    #[arg(long, requires = "cargo")]
    pub place_only: bool,
    /// Fail if there is no starting point
    #[arg(long)]
    pub required: bool,
    /// Believe whatever the store and the remotes hold, unsigned too, for this one start
    #[arg(long)]
    pub believe_store: bool,
    /// Whether the next start needs the same, so that what is fetched goes into the store first.
    #[arg(skip)]
    pub again: bool,
    /// Run cargo with these arguments afterwards, with headstart as its wrapper; `--then` begins another command
    #[arg(last = true, value_name = "CARGO ARGS")]
    pub cargo: Vec<String>,
}

/// `headstart fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Where and how.
    #[command(flatten)]
    pub store: StoreArgs,
    /// A build directory in which a start has just placed it: what it holds still is not fetched
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// The manifest whose objects are fetched
    pub manifest: Digest,
}

/// `headstart gc`.
#[derive(Debug, Args)]
#[command(after_help = help("gc"))]
pub struct GcArgs {
    /// Where and how.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What the local store may have, as 50G or 500M; what was used least recently goes first
    /// [default: $HEADSTART_STORE_MAX_SIZE, 50G]
    #[arg(long, value_name = "SIZE", value_parser = crate::config::parse_bytes)]
    pub max_size: Option<u64>,
    /// Delete from the remotes as well; --remote does so too
    #[arg(long)]
    pub remotes: bool,
    /// For how many days starting points of remotes may be used: what publishers say, the largest where they differ
    #[arg(long, value_name = "DAYS", default_value_t = KEEP_DAYS)]
    pub keep_days: u16,
    /// Delete nothing, and say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Print rules by which a bucket does the same by itself, and delete nothing
    #[arg(long, value_name = "PROVIDER", value_enum)]
    pub lifecycle: Option<Provider>,
}

/// Whose lifecycle rules are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Provider {
    /// Amazon, and what looks like it.
    S3,
    /// Google Cloud Storage.
    Gcs,
}

/// `headstart demo`.
#[derive(Debug, Args)]
#[command(after_help = help("demo"))]
pub struct DemoArgs {
    /// A cargo workspace with git history [default: the current one, else a generated sample]
    #[arg(long, value_name = "PATH")]
    pub workspace: Option<PathBuf>,
    /// Where to work; it is removed at the end [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Print one JSON object on standard output instead of text
    #[arg(long)]
    pub json: bool,
    /// Arguments of cargo [default: build]
    #[arg(last = true, value_name = "CARGO ARGS")]
    pub cargo: Vec<String>,
}

/// `headstart status`.
#[derive(Debug, Args)]
#[command(after_help = help("status"))]
pub struct StatusArgs {
    /// The store's directory [default: $HEADSTART_STORE, a directory in the user's cache]
    #[arg(long, value_name = "DIR")]
    pub store: Option<String>,
    /// The target directory [default: cargo's]
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// Show the units of the last start, each with its reason
    #[arg(long)]
    pub units: bool,
    /// Print one JSON object on standard output instead of text
    #[arg(long)]
    pub json: bool,
}

/// `headstart explain`.
#[derive(Debug, Args)]
#[command(after_help = help("explain"))]
pub struct ExplainArgs {
    /// A package, a crate, or a part of a unit's name [default: all that were compiled]
    pub unit: Option<String>,
    /// Fresh units as well
    #[arg(long)]
    pub all: bool,
    /// The target directory [default: cargo's]
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// Print one JSON object on standard output instead of text
    #[arg(long)]
    pub json: bool,
}

/// `headstart bisect`.
#[derive(Debug, Args)]
#[command(after_help = help("bisect"))]
pub struct BisectArgs {
    /// Where and how.
    #[command(flatten)]
    pub store: StoreArgs,
    /// A commit where COMMAND succeeds
    #[arg(long, value_name = "REV")]
    pub good: String,
    /// A later commit where it fails
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub bad: String,
    /// Fetch and place only programs and tests of this name; may be given again [default: all]
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Then build the unpublished commits that are left, by these arguments of cargo [default: those that were published]
    #[arg(long, value_name = "CARGO ARGS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub then_build: Option<String>,
    /// Forget the verdicts of an earlier run
    #[arg(long)]
    pub restart: bool,
    /// Where to work, outside of the work tree [default: the cache directory]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Believe whatever the store and the remotes hold, unsigned too, for this one bisect
    #[arg(long)]
    pub believe_store: bool,
    /// What tells a good commit from a bad one, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `headstart init`.
#[derive(Debug, Args)]
#[command(after_help = help("init"))]
pub struct InitArgs {
    /// Change this workspace's `.cargo/config.toml` instead of the one in `CARGO_HOME`
    #[arg(long)]
    pub workspace: bool,
    /// Write a profile `release-lane` into this workspace's `.cargo/config.toml` instead: release, rebuilt incrementally
    #[arg(long)]
    pub release_lane: bool,
    /// Take the change back
    #[arg(long)]
    pub undo: bool,
    /// Show the change, and write nothing
    #[arg(long, conflicts_with = "yes")]
    pub print: bool,
    /// Write without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// `headstart key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key: FILE, which is secret, and FILE.pub, which everybody may know
    New {
        /// Where the secret key goes; nothing is overwritten
        #[arg(long, value_name = "FILE", default_value = "headstart.key")]
        out: PathBuf,
        /// Do not encrypt the secret key with $HEADSTART_KEY_PASSWORD
        #[arg(long)]
        no_password: bool,
        /// Print one JSON object on standard output instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show a key's public half, and how to believe it
    Show {
        /// A public key's file, or a secret key's.
        file: PathBuf,
        /// Print one JSON object on standard output instead of text
        #[arg(long)]
        json: bool,
    },
    /// Say by a root key which keys sign, to all who believe the root: in the remotes, beside what is published
    Rotate(RotateArgs),
}

/// `headstart key rotate`.
#[derive(Debug, Args)]
#[command(after_help = help("key rotate"))]
pub struct RotateArgs {
    /// The root's secret key, which signs; readers believe it with `headstart trust add --root`
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// A key that signs from now on: a public key, or the file of one
    #[arg(long, value_name = "KEY")]
    pub add: Vec<String>,
    /// A key that signs no longer: a public key, the file of one, or a key's id
    #[arg(long, value_name = "KEY-OR-ID")]
    pub revoke: Vec<String>,
    /// Write it to this file, and to no remote; without --root a text for the root to sign
    #[arg(long, value_name = "FILE", conflicts_with = "publish")]
    pub out: Option<PathBuf>,
    /// Write to the remotes what this file holds, and the root has signed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["root", "add", "revoke"])]
    pub publish: Option<PathBuf>,
    /// The repository: host/owner/name, or a URL [default: this clone's origin]
    #[arg(long)]
    pub repository: Option<String>,
    /// Where.
    #[command(flatten)]
    pub remotes: RemoteArgs,
}

/// `headstart trust`.
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Believe a key
    Add(TrustAddArgs),
    /// Show the keys that are believed, and those that this workspace proposes
    List {
        /// Print one JSON object on standard output instead of text
        #[arg(long)]
        json: bool,
    },
    /// Believe a key no longer, in one repository
    Remove(TrustRemoveArgs),
    /// Believe a key nowhere, even if it is added again: for one that was stolen
    Revoke {
        /// A public key, the file of one, or a key's id.
        #[arg(value_name = "KEY-OR-ID")]
        key: String,
    },
}

/// `headstart trust add`.
#[derive(Debug, Args)]
pub struct TrustAddArgs {
    /// A public key (`RW...`), or the file of one.
    pub key: String,
    /// Where it is believed: host/owner/name, a URL, or `*` [default: this clone's origin]
    #[arg(long)]
    pub repository: Option<String>,
    /// What to remember of the key
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Believe it to say which keys sign, with `headstart key rotate`, and not to sign
    #[arg(long)]
    pub root: bool,
}

/// `headstart trust remove`.
#[derive(Debug, Args)]
pub struct TrustRemoveArgs {
    /// A public key, the file of one, or a key's id.
    #[arg(value_name = "KEY-OR-ID")]
    pub key: String,
    /// Where it was believed [default: this clone's origin]
    #[arg(long)]
    pub repository: Option<String>,
    /// Believe it no longer to say which keys sign
    #[arg(long)]
    pub root: bool,
}

/// `headstart debugger`.
#[derive(Debug, Args)]
#[command(after_help = help("debugger"))]
pub struct DebuggerArgs {
    /// Which debugger.
    #[arg(value_enum)]
    pub debugger: Debugger,
    /// The target directory [default: cargo's]
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
}

/// A debugger that can be told where sources are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Debugger {
    /// gdb, and rust-gdb.
    Gdb,
    /// lldb, and rust-lldb.
    Lldb,
}
