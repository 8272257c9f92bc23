//! A program that is taken for a rustc, and does what a test wants.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use headstart_testkit::{Scratch, clean};

use super::around::output;

/// What a fake rustc does for the probe: it writes a dep-graph with the hash `hereHASH` of its arguments.
pub const PROBE: &str = r#"case "$*" in *nothing.rs*)
    for arg in "$@"; do case "$arg" in incremental=*) dir=${arg#incremental=}/foo-1; esac; done
    mkdir -p "$dir/s-hoesqv6wan-1-x" && : > "$dir/s-hoesqv6wan-1.lock"
    printf 'RSIC\000\000\0041.95hereHASH' > "$dir/s-hoesqv6wan-1-x/dep-graph.bin"
    exit;; esac
graph=$(ls target/debug/incremental/foo-1/foo-1/s-9ugxnorjls-*/dep-graph.bin 2>/dev/null)
"#;

/// Makes a program named rustc in `dir` that does what `script` says; to all who look it is a rustc, and no script.
pub fn fake_rustc(scratch: &Scratch, dir: &str, script: &str) -> PathBuf {
    scratch.write(format!("{dir}/rustc.sh"), script);
    let path = scratch.path(format!("{dir}/rustc"));
    symlink(driver(), &path).expect("it is ours");
    path
}

/// A program that runs the script beside what it is called by, and names the library that a rustc names.
const DRIVER: &str = r#"
    use std::os::unix::process::CommandExt;
    #[used]
    static LIBRARY: [u8; 15] = *b"librustc_driver";
    fn main() {
        let mut args = std::env::args_os();
        let mut script = args.next().expect("a name");
        script.push(".sh");
        panic!("{}", std::process::Command::new("sh").arg(script).args(args).exec());
    }
"#;

/// Returns that program, which is compiled once.
pub fn driver() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let scratch = Scratch::new();
        scratch.write("driver.rs", DRIVER);
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver");
        let mut command = Command::new("rustc");
        let command = clean(&mut command).current_dir(scratch.root());
        let args = ["--edition=2024", "driver.rs", "--out-dir"];
        let run = output(command.args(args).arg(env!("CARGO_TARGET_TMPDIR")));
        assert_eq!(run.code, 0, "{}", run.stderr);
        made
    })
}
