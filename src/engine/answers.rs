//! Keeps what rustc told cargo of itself, for build directories in which no cargo has asked yet.
//!
//! cargo believes it of the very rustc and wrapper alone that gave it, by their paths, sizes and times; what it does not look at is in
//! the name here. So a fresh directory is told what cargo would be told there. See note 0024.

use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::cargo::layout::RUSTC_INFO;
use crate::disk::{self, PLAIN, place};
use crate::model::{Digest, Toolchain};
use crate::store::Store;

/// What in cargo's settings may mean something else in another directory, or on another machine that has the store.
const VARYING: [&str; 4] = ["native", "@", "include", "RUST_TARGET_PATH"];
/// The largest file of cargo's that is kept; one for a target has 4 kB.
const MAX_BYTES: u64 = 1 << 20;
/// What cargo notes of a rustc that failed, which is no answer.
const FAILED: &[u8] = b"\"success\":false";

/// What rustc tells cargo in a build directory in which no cargo has asked.
#[derive(Debug)]
pub struct Answers {
    store: PathBuf,
    name: Digest,
    file: PathBuf,
}

impl Answers {
    /// Returns it of `build`, where cargo has `settings` and runs `toolchain` with its `sysroot`; none where it may be another elsewhere,
    /// or a cargo has asked before.
    pub fn of(
        store: &Store,
        build: &Path,
        (toolchain, sysroot): (&Toolchain, &Path),
        settings: &str,
    ) -> Option<Answers> {
        let varies = VARYING.iter().any(|word| settings.contains(word));
        let all = [
            &toolchain.rustc,
            &toolchain.cargo,
            sysroot.to_str()?,
            settings,
        ];
        let answers = Answers {
            store: store.root().to_path_buf(),
            name: Digest::of(all.join("\0").as_bytes()),
            file: build.join(RUSTC_INFO),
        };
        (!varies && !answers.file.exists()).then_some(answers)
    }

    /// Gives the build directory what is kept, for a cargo that runs next.
    pub fn place(&self) -> Option<()> {
        let kept = Store::open(&self.store).ok()?.answers(self.name)?;
        place::create_new(&self.file, &kept, PLAIN.mode).ok()
    }

    /// Keeps what the build directory has after a cargo that succeeded, if nothing is kept.
    pub fn keep(&self) -> Option<()> {
        let store = Store::open(&self.store).ok()?;
        let has_none = store.answers(self.name).is_none();
        let own = has_none.then(|| disk::read(&self.file, MAX_BYTES))?.ok()?;
        let succeeded = memmem::find(&own, FAILED).is_none();
        succeeded.then(|| store.put_answers(self.name, &own).ok())?
    }
}
