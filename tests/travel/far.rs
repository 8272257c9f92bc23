//! Another machine: another clone, another store, and a remote between.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use headstart::config::RemoteConfig;
use headstart::model::Digest;
use headstart::remote::{Opener, Remote};
use headstart::store::Store;
use headstart::store::point::Point;
use headstart::tier::Tier;
use headstart::travel::list::Signer;
use headstart::travel::push::{PushError, Pushed, push};
use headstart_testkit::{Headstart, Output, Scratch, Server, Workspace};
use serde_json::Value;

use crate::common::chain::{Chain, sane};
use crate::common::{publish_by, runner};

/// Pushes `point` of `store` as somebody who has no key.
pub(crate) fn push_unsigned(
    tier: &dyn Tier,
    store: &Store,
    point: &Point,
) -> Result<Pushed, PushError> {
    let nobody = Signer::default();
    push(tier, store, point, Some(&nobody), 0)
}

/// Returns the remote at `url`, of which one only reads, and waits for `wait`.
pub(crate) fn read_from(url: &str, wait: Duration) -> Remote {
    let config = RemoteConfig {
        url: url.to_owned(),
        read_only: true,
        by_user: true,
    };
    let opener = Opener::new(wait).expect("there are threads");
    let remote = opener.open(&config, std::iter::empty());
    remote.expect("it is an address")
}

/// The chain, published to a remote directory, and a second machine.
pub(crate) struct Far {
    pub(crate) chain: Chain,
    pub(crate) remote: PathBuf,
    there: Scratch,
}

impl Far {
    /// The chain, published nowhere.
    pub(crate) fn unpublished() -> Far {
        let chain = Chain::unpublished();
        Far {
            remote: chain.place.scratch.path("remote"),
            chain,
            there: Scratch::new(),
        }
    }

    /// Publishes the chain to a remote directory; `key` signs it.
    pub(crate) fn published(key: Option<&str>) -> Far {
        let far = Far::unpublished();
        far.publish(key);
        far
    }

    /// Publishes what the chain's sources are now, and returns what publish says.
    pub(crate) fn publish(&self, key: Option<&str>) -> Value {
        let url = format!("file://{}", self.remote.display());
        let key = key.map(|key| ("HEADSTART_SIGN_KEY", key));
        self.publish_to(&url, key.as_slice())
    }

    /// The same to the remote `url`, with these variables.
    pub(crate) fn publish_to(&self, url: &str, variables: &[(&str, &str)]) -> Value {
        let runner = runner(self.chain.source.root(), &self.chain.place);
        let set = |runner: Headstart, (name, value): &(&str, &str)| runner.env(name, value);
        let publisher = variables
            .iter()
            .fold(runner.env("HEADSTART_REMOTES", url), set);
        publish_by(publisher, &["build"])
    }

    /// Clones the sources on the second machine.
    pub(crate) fn clone(&self, name: &str) -> Workspace {
        self.chain.source.clone_to(&self.clone_dir(name))
    }

    /// Returns where the second machine has the clone `name`.
    pub(crate) fn clone_dir(&self, name: &str) -> PathBuf {
        self.there.path(name)
    }

    /// Returns the second machine's headstart in `clone`, with its own store and home.
    pub(crate) fn headstart(&self, clone: &Workspace, remote: &str) -> Headstart {
        let plain = headstart_testkit::headstart(crate::common::PROGRAM.as_ref(), clone.root());
        plain
            .store(self.store())
            .env("HEADSTART_REMOTES", remote)
            .env("HEADSTART_LATER", "off")
            .env("XDG_CONFIG_HOME", self.there.path("config"))
    }

    /// The same for commands that know no store.
    pub(crate) fn headstart_without_store(&self, clone: &Workspace) -> Headstart {
        headstart_testkit::headstart(crate::common::PROGRAM.as_ref(), clone.root())
            .env("XDG_CONFIG_HOME", self.there.path("config"))
    }

    /// Starts there from `remote`.
    pub(crate) fn start(&self, clone: &Workspace, remote: &str, args: &[&str]) -> Output {
        let args = [&["start", "--json"], args].concat();
        sane(self.headstart(clone, remote).args(args).run())
    }

    /// Has what a start placed in `clone` copied into the second machine's store, as it does behind everything else.
    pub(crate) fn gathers(&self, clone: &Workspace) {
        let target = clone.path("target");
        let target = target.to_str().expect("it is plain");
        let manifest = self.chain.point().manifest.hex();
        let fetch = self.headstart(clone, "none");
        fetch
            .args(["fetch", &manifest, "--from", target])
            .run()
            .succeeded();
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.there.path("store")
    }

    /// Every object of the second machine's store holds what its name says.
    #[track_caller]
    pub(crate) fn store_is_sound(&self) {
        let prefixes = fs::read_dir(self.store().join("objects"))
            .into_iter()
            .flatten();
        for object in prefixes
            .flatten()
            .flat_map(|dir| fs::read_dir(dir.path()))
            .flatten()
        {
            let path = object.expect("it can be listed").path();
            let name = path
                .file_name()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned();
            assert_eq!(
                Digest::of(&fs::read(&path).expect("it is there")).hex(),
                name
            );
        }
    }

    pub(crate) fn server(&self) -> Server {
        Server::of(&self.remote)
    }
}
