//! Keeps what rustc told cargo of itself, for build directories in which no cargo has asked yet.
//!
//! cargo believes it of the very rustc and wrapper alone that gave it, by their paths, sizes and times; what it does not look at is in
//! the name here. So a fresh directory is told what cargo would be told there.

use std::path::{Path, PathBuf};

use crate::cargo::layout::RUSTC_INFO;
use crate::disk::{self, PLAIN};
use crate::model::{Digest, Toolchain};
use crate::store::Store;

/// What in cargo's settings may mean something else in another directory, or on another machine that has the store.
const VARYING: [&str; 3] = ["native", "@", "include"];
/// The largest file of cargo's that is kept; one for a target and two commands has 4 kB.
const MAX_BYTES: u64 = 1 << 20;

/// What rustc tells cargo in one build directory.
#[derive(Debug)]
pub struct Answers {
    store: PathBuf,
    name: Digest,
    file: PathBuf,
}

impl Answers {
    /// Returns it of `build`, where cargo has `settings` and runs `toolchain` with its `sysroot`; none where it may be another elsewhere.
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
        (!varies).then(|| Answers {
            store: store.root().to_path_buf(),
            name: Digest::of(all.join("\0").as_bytes()),
            file: build.join(RUSTC_INFO),
        })
    }

    /// Gives the build directory what is kept, if it has nothing of the kind.
    pub fn place(&self) -> Option<()> {
        let store = Store::open(&self.store).ok()?;
        let kept = store.answers(self.name).filter(|_| !self.file.exists())?;
        disk::place::create_new(&self.file, &kept, PLAIN.mode).ok()
    }

    /// Keeps what the build directory has, if nothing is kept.
    pub fn keep(&self) -> Option<()> {
        let store = Store::open(&self.store).ok()?;
        let has_none = store.answers(self.name).is_none();
        let own = has_none.then(|| disk::read(&self.file, MAX_BYTES))?.ok()?;
        store.put_answers(self.name, &own).ok()
    }
}
