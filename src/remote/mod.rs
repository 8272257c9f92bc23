//! Tiers on other machines: S3 and what looks like it, Google's and Azure's stores, HTTP servers; and shared directories.
//!
//! The only code that talks to the network. Every wait is bounded: for the connection, for the first byte, for each
//! further one, and for all of them. What hangs in the system meanwhile is left behind, but while a shared directory is opened.

mod client;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    ClientOptions, Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme,
    PutMode, RetryConfig, UpdateVersion,
};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use url::Url;

use crate::config::RemoteConfig;
use crate::disk;
use crate::disk::lock::{self, Lock};
use crate::tier::{Listed, Listing, Replaced, Result, Tier, Trouble, Watch};
use client::{Attentive, Told};

/// How long a whole request may take as long as something comes.
const REQUEST_LIMIT: Duration = Duration::from_secs(3600);
/// The slowest that a tier may take what is written, in bytes a second.
const SLOWEST_WRITE: u64 = 100 << 10;
/// The slowest that a part of a file may come, in bytes a second: many come at once, and whoever asks knows what they are worth.
const SLOWEST_READ: u64 = 4 << 10;
/// How many times as long as nothing may come, a whole file may take to come in, or another to let go of the lock: by default
/// a minute, for what has some megabytes at most. Nobody may be held by who sends a byte now and then, or stopped with the lock.
const WAITS: u32 = 30;
/// How much memory is taken for an answer at first: so much costs nothing before it is used, and is given back to the system when it is
/// dropped, where glibc keeps what is smaller.
const FIRST_BYTES: usize = 32 << 20;
/// The file of a shared directory that is locked while its list is replaced.
const LOCK: &str = "lock";
/// The largest file that is replaced.
const MAX_REPLACED_BYTES: u64 = 32 << 20;
/// How long a directory may take to be listed, which is a request for each thousand files.
const LISTING_LIMIT: Duration = Duration::from_secs(120);
/// How many files are removed at once.
const REMOVALS: usize = 16;
/// How often a request is tried again that a tier could not serve just then.
const RETRIES: usize = 2;

/// A tier behind `object_store`.
#[derive(Debug)]
pub struct Remote {
    name: String,
    store: Box<dyn ObjectStore>,
    prefix: Key,
    /// None in the network.
    directory: Option<PathBuf>,
    by_user: bool,
    writable: bool,
    wait: Duration,
    told: Told,
    runtime: &'static Runtime,
}

/// Opens remotes; they share what runs their requests.
#[derive(Debug)]
pub struct Opener {
    runtime: &'static Runtime,
    /// How long nothing may come before a tier is given up.
    pub wait: Duration,
}

impl Opener {
    /// Returns an opener of remotes that wait for `wait` at most.
    pub fn new(wait: Duration) -> std::io::Result<Opener> {
        // What is compiled in has one provider; another that was installed before serves as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        // Never dropped: that would wait for what cannot be interrupted, such as a name that is looked up, or a file on a server
        // that has gone.
        let runtime = Box::leak(Box::new(runtime));
        Ok(Opener { runtime, wait })
    }

    /// Opens the remote at `config`; `variables` are those of the provider. Asks it nothing yet.
    ///
    /// Says in a sentence why not, where the address is none or the settings do not suffice.
    pub fn open<'a>(
        &self,
        config: &RemoteConfig,
        variables: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Result<Remote, String> {
        let wrong = |why: String| format!("cannot use the remote `{}`: {why}", config.url);
        let no_url = |error| wrong(format!("{error} (a directory is `file:///srv/headstart`)"));
        let url = Url::parse(&config.url).map_err(no_url)?;
        let parsed = ObjectStoreScheme::parse(&url);
        let (scheme, path) = parsed.map_err(|error| wrong(error.to_string()))?;
        let (directory, prefix) = match scheme {
            ObjectStoreScheme::Local => (url.to_file_path().ok(), Key::default()),
            _ => (None, path),
        };
        // Who can change a link on the way would have one directory read, and be asked of another whose it is.
        let directory = directory.map(|dir| disk::canonical(&dir));
        let writable = !config.read_only && scheme != ObjectStoreScheme::Http;
        let told = Told::default();
        let store = match &directory {
            Some(directory) => in_directory(directory, writable).map_err(wrong)?,
            None => self
                .in_network(scheme, &url, variables, &told)
                .map_err(|error| wrong(plain(&error)))?,
        };
        Ok(Remote {
            name: config.url.clone(),
            store,
            prefix,
            directory,
            by_user: config.by_user,
            writable,
            wait: self.wait,
            told,
            runtime: self.runtime,
        })
    }

    fn in_network<'a>(
        &self,
        scheme: ObjectStoreScheme,
        url: &Url,
        variables: impl Iterator<Item = (&'a str, &'a str)>,
        told: &Told,
    ) -> object_store::Result<Box<dyn ObjectStore>> {
        let client = ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(self.wait)
            .with_timeout(REQUEST_LIMIT);
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: self.wait,
            ..RetryConfig::default()
        };
        let (wait, told) = (self.wait, told.clone());
        let connector = Attentive { wait, told };
        let lower = variables.map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (whole, host) = (url.as_str(), &url[..url::Position::BeforePath]);
        // Each provider has a builder of its own type, with the same methods.
        macro_rules! built {
            ($builder:ty, $url:expr) => {{
                let builder = <$builder>::new()
                    .with_http_connector(connector)
                    .with_client_options(client)
                    .with_retry(retry);
                let set = |builder: $builder, (name, value): (String, &str)| match name.parse() {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                };
                Box::new(lower.fold(builder, set).with_url($url).build()?)
            }};
        }
        Ok(match scheme {
            ObjectStoreScheme::AmazonS3 => built!(AmazonS3Builder, whole),
            ObjectStoreScheme::GoogleCloudStorage => built!(GoogleCloudStorageBuilder, whole),
            ObjectStoreScheme::MicrosoftAzure => built!(MicrosoftAzureBuilder, whole),
            _ => built!(HttpBuilder, host),
        })
    }
}

fn in_directory(directory: &Path, writable: bool) -> Result<Box<dyn ObjectStore>, String> {
    if writable {
        disk::make_dir(directory).map_err(|error| error.to_string())?;
    }
    let store = LocalFileSystem::new_with_prefix(directory).map_err(|error| plain(&error))?;
    Ok(Box::new(store.with_automatic_cleanup(true)))
}

/// Returns what went wrong, in one line, with the last cause: the first says only which store it was.
fn plain(error: &(dyn std::error::Error + 'static)) -> String {
    last(error).to_string().replace('\n', " ")
}

fn last<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let causes = std::iter::successors(Some(error), |one| one.source());
    causes.last().unwrap_or(error)
}

impl Remote {
    fn key(&self, key: &str) -> Key {
        self.prefix.parts().chain(Key::from(key).parts()).collect()
    }

    /// Returns the file `key`, or what `options` say of it.
    fn fetch(
        &self,
        key: &str,
        options: GetOptions,
        limit: u64,
        watch: Watch<'_>,
    ) -> Result<(Vec<u8>, UpdateVersion)> {
        let part_bytes = options.range.as_ref().map_or(0, |_| limit);
        let most = self.wait.saturating_mul(WAITS);
        let most = most.saturating_add(Duration::from_secs(part_bytes / SLOWEST_READ));
        let (late, location) = ("nothing came for", self.key(key));
        let come = async {
            let answer = self.store.get_opts(&location, options);
            let answer = within(self.wait, late, answer).await?.map_err(trouble)?;
            let (e_tag, version) = (answer.meta.e_tag.clone(), answer.meta.version.clone());
            let version = UpdateVersion { e_tag, version };
            let size = answer.range.end.saturating_sub(answer.range.start);
            if size > limit {
                return Err(Trouble::TooLarge(limit));
            }
            let mut bytes = Vec::with_capacity(FIRST_BYTES);
            let mut body = answer.into_stream();
            while let Some(chunk) = within(self.wait, late, body.next()).await? {
                let chunk = chunk.map_err(trouble)?;
                bytes.extend_from_slice(&chunk);
                if bytes.len() as u64 > limit {
                    return Err(Trouble::TooLarge(limit));
                }
                if !watch(chunk.len() as u64) {
                    return Err(Trouble::Stopped);
                }
            }
            Ok((bytes, version))
        };
        let slow = || Trouble::Unreachable(format!("it did not come within {most:.0?}"));
        let in_time = async { timeout(most, come).await.unwrap_or_else(|_| Err(slow())) };
        self.runtime.block_on(in_time)
    }

    /// Locks the file at `path`; none where that cannot be done, or another is stopped and has it. Who waits for that one then is left
    /// behind as well.
    fn lock(&self, path: PathBuf) -> Option<Lock> {
        let lock = move || lock::exclusive(&path, || {}).ok();
        let lock = self.runtime.spawn_blocking(lock);
        let in_time = async { timeout(self.wait.saturating_mul(WAITS), lock).await };
        self.runtime.block_on(in_time).ok()?.ok()?
    }

    /// Writes the file `key` as `mode` says; the inner error is the store's.
    fn write(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<object_store::Result<()>> {
        let limit = self.wait + Duration::from_secs(bytes.len() as u64 / SLOWEST_WRITE);
        let location = self.key(key);
        let put = self.store.put_opts(&location, bytes.into(), mode.into());
        let put = within(limit, "it was not taken in", put);
        Ok(self.runtime.block_on(put)?.map(|_| ()))
    }
}

/// Returns what `work` gives within `limit`; else says that it came too `late`.
async fn within<T>(limit: Duration, late: &str, work: impl Future<Output = T>) -> Result<T> {
    let late = |_| Trouble::Unreachable(format!("{late} {limit:.1?}"));
    timeout(limit, work).await.map_err(late)
}

fn trouble(error: Error) -> Trouble {
    use Error::{NotFound, PermissionDenied, Unauthenticated};
    use std::io::ErrorKind;
    let cause = last(&error);
    if let Some(told) = cause.downcast_ref::<Trouble>() {
        return told.clone();
    }
    let kind = cause.downcast_ref().map(std::io::Error::kind);
    let by_disk = [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem].map(Some);
    match &error {
        NotFound { .. } => Trouble::Absent,
        PermissionDenied { .. } | Unauthenticated { .. } => Trouble::Denied(plain(&error)),
        _ if by_disk.contains(&kind) => Trouble::Denied(plain(&error)),
        _ => Trouble::Unreachable(plain(&error)),
    }
}

/// Tells whether something else was there than what a write counted on.
fn is_other(error: &Error) -> bool {
    use Error::{AlreadyExists, Precondition};
    matches!(error, Precondition { .. } | AlreadyExists { .. })
}

impl Tier for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_writable(&self) -> bool {
        self.writable
    }

    fn directory(&self) -> Option<&Path> {
        let here = |dir: &&Path| self.by_user && disk::canonical(dir) == **dir;
        self.directory.as_deref().filter(here)
    }

    fn get(&self, key: &str, limit_bytes: u64, watch: Watch<'_>) -> Result<Vec<u8>> {
        let fetched = self.fetch(key, GetOptions::default(), limit_bytes, watch)?;
        Ok(fetched.0)
    }

    fn get_range(&self, key: &str, range: Range<u64>, watch: Watch<'_>) -> Result<Vec<u8>> {
        let file = self.directory.as_ref().map(|dir| dir.join(key));
        let file = file.and_then(|file| file.metadata().ok());
        if file.is_some_and(|file| file.len() <= range.start) {
            // `object_store` says so as it does of a directory that cannot be read.
            return Err(Trouble::Absent);
        }
        let limit = range.end - range.start;
        let options = GetOptions::new().with_range(Some(range));
        Ok(self.fetch(key, options, limit, watch)?.0)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.write(key, bytes, PutMode::Overwrite)?.map_err(trouble)
    }

    fn replace(&self, key: &str, seen: Option<&[u8]>, bytes: Vec<u8>) -> Result<Replaced> {
        let lock = self.directory.as_ref().map(|dir| self.lock(dir.join(LOCK)));
        let now = || match self.fetch(key, GetOptions::default(), MAX_REPLACED_BYTES, &|_| true) {
            Err(Trouble::Absent) => Ok(None),
            there => there.map(Some),
        };
        let there = now()?;
        if there.as_ref().map(|(bytes, _)| &bytes[..]) != seen {
            return Ok(Replaced::Not);
        }
        if let Some(lock) = lock {
            // Held until the file is written. Somebody else's may be closed to us where their directory is not.
            let written = self.put(key, bytes.into());
            return written.map(|()| lock.map_or(Replaced::Blindly, |_held| Replaced::Surely));
        }
        let mode = there.map_or(PutMode::Create, |(_, version)| PutMode::Update(version));
        match self.write(key, bytes.clone().into(), mode)? {
            Ok(()) => Ok(Replaced::Surely),
            Err(error) if is_other(&error) => Ok(Replaced::Not),
            // Not every store knows conditions, and each says so in its own way. Or it was busy, and another wrote meanwhile.
            Err(_) if now()?.as_ref().map(|(bytes, _)| &bytes[..]) != seen => Ok(Replaced::Not),
            Err(_) => self.put(key, bytes.into()).map(|()| Replaced::Blindly),
        }
    }

    fn list(&self, key: &str) -> Result<Listing> {
        let location = self.key(key);
        let listed = self.store.list_with_delimiter(Some(&location));
        let listed = within(LISTING_LIMIT, "it was not listed in", listed);
        let listed = self.runtime.block_on(listed)?.map_err(trouble)?;
        let name = |key: &Key| key.filename().unwrap_or_default().to_owned();
        let file = |file: &ObjectMeta| Listed {
            name: name(&file.location),
            bytes: file.size,
            written_unix_s: file.last_modified.timestamp(),
        };
        Ok(Listing {
            dirs: listed.common_prefixes.iter().map(name).collect(),
            files: listed.objects.iter().map(file).collect(),
        })
    }

    fn remove(&self, keys: &[String], removed: &dyn Fn()) -> Result<()> {
        // One by one: not every store knows the request that removes many.
        let one = |key: &String| {
            let location = self.key(key);
            async move {
                let answer = within(self.wait, "no answer for", self.store.delete(&location));
                match answer.await?.map_err(trouble) {
                    Err(trouble) if trouble != Trouble::Absent => return Err(trouble),
                    _ => removed(),
                }
                Ok(())
            }
        };
        let all = stream::iter(keys.iter().map(one)).buffer_unordered(REMOVALS);
        self.runtime.block_on(all.try_collect())
    }

    fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<bool> {
        match self.write(key, bytes.into(), PutMode::Create)? {
            Err(error) if is_other(&error) => Ok(false),
            written => written.map(|()| true).map_err(trouble),
        }
    }

    fn told_unix_s(&self) -> Option<i64> {
        Some(self.told.load(Ordering::Relaxed)).filter(|told| *told != 0)
    }
}
