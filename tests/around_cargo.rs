//! What stands around cargo: an output that nobody reads.

mod common;

use common::around::{around, output};
use common::chain::{Chain, prints};

/// A full disk under a log, or a reader that has gone, would keep cargo from running.
#[test]
fn output_that_nobody_takes_keeps_no_build_back() {
    let chain = Chain::published();
    for (script, name) in [
        ("exec \"$@\" > /dev/full", "full"),
        ("exec \"$@\" | true", "closed"),
    ] {
        let clone = chain.elsewhere(name);
        let command = chain.command(clone.root(), &["start", "--", "build"]);
        let run = output(&mut around("sh", &["-c", script, "sh"], &command));
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
        assert_eq!(run.code, 0, "{}", run.stderr);
        prints(&clone, "3").nothing_ran();
    }
}
