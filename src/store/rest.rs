//! The rest of a starting point, which a start leaves for later: whether it has come, who fetches it now, and what somebody waits for.
//!
//! Who fetches it holds a lock, which ends with the process, however that ends. Nothing here says what the rest is.

use std::fs;
use std::time::Duration;

use super::{MAX_POINT_BYTES, Result, Store};
use crate::disk::lock::{self, Lock};
use crate::disk::{self, walk};
use crate::model::Digest;

/// What is in the file of a rest that has come.
const SETTLED: &str = "settled\n";

impl Store {
    /// Tells whether the rest of the manifest `digest` has still to be fetched, and nobody does so now.
    pub fn lacks_rest(&self, digest: Digest) -> bool {
        let settled = fs::metadata(self.file("rest", digest)).is_ok_and(|meta| meta.len() > 0);
        !settled && !self.is_being_fetched(digest)
    }

    /// Tells whether a process fetches the rest of the manifest `digest` now.
    pub fn is_being_fetched(&self, digest: Digest) -> bool {
        lock::is_held(&self.file("rest", digest))
    }

    /// Lets others know that this process fetches the rest of the manifest `digest`, as long as what is returned lives. Waits for another
    /// process that does; `on_wait` is called before.
    pub fn fetching(&self, digest: Digest, on_wait: impl FnOnce()) -> Result<Lock> {
        disk::make_dir(&self.root.join("rest"))?;
        Ok(lock::exclusive(&self.file("rest", digest), on_wait)?)
    }

    /// Notes that nobody has to ask for the rest of the manifest `digest` any more: it has come, or is gone where it was. To be called by who
    /// fetches it; what cannot be noted is asked for again.
    pub fn settle_rest(&self, digest: Digest) {
        drop(fs::write(self.file("rest", digest), SETTLED));
    }

    /// Asks who fetches the rest of the manifest `digest` for the session with the dep-graph `graph` before all else, and says how
    /// long that is waited for.
    pub fn ask(&self, digest: Digest, graph: Digest, wait: Duration) {
        // Who cannot ask, in somebody else's store, does without.
        drop(disk::make_dir(&self.root.join("asked")));
        let text = format!("[\"{}\", {}]\n", digest.hex(), wait.as_millis());
        drop(fs::write(self.file("asked", graph), text));
    }

    /// Returns the dep-graphs of the sessions of the manifest `digest` that are waited for, and how long.
    pub fn asked(&self, digest: Digest) -> Vec<(Digest, Duration)> {
        let wait = |graph| {
            let text = disk::read(&self.file("asked", graph), MAX_POINT_BYTES).ok()?;
            let (of, wait): (Digest, u64) = serde_json::from_slice(&text).ok()?;
            (of == digest).then_some((graph, Duration::from_millis(wait)))
        };
        let names = walk::names(&self.root.join("asked"));
        names.filter_map(|name| wait(name.parse().ok()?)).collect()
    }

    /// Tells whether nobody has answered for `graph` yet.
    pub fn is_asked(&self, graph: Digest) -> bool {
        self.file("asked", graph).exists()
    }

    /// Lets those who wait for `graph` see that it was tried, whether or not the session is here now.
    pub fn answer(&self, graph: Digest) {
        drop(disk::remove_file(&self.file("asked", graph)));
    }
}
