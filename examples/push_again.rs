//! Writes all starting points of a store, or those of some commits, to a remote directory once more, oldest first.
//!
//!     cargo run --release --example push_again -- STORE REMOTE [COMMIT...]
//!
//! Shows what another way to write packs would have made of builds that were published before.

use std::path::Path;

use headstart::config::RemoteConfig;
use headstart::remote::Opener;
use headstart::store::Store;
use headstart::travel::list::Signer;
use headstart::travel::push::push;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, remote, commits @ ..] = &arguments[..] else {
        return Err("usage: push_again STORE REMOTE [COMMIT...]".into());
    };
    let store = Store::open(Path::new(store))?;
    let config = RemoteConfig {
        url: format!("file://{}", Path::new(remote).canonicalize()?.display()),
        read_only: false,
        by_user: true,
    };
    let opener = Opener::new(std::time::Duration::from_secs(2))?;
    let tier = opener.open(&config, std::iter::empty())?;
    let mut points = store.all_points();
    points.retain(|point| {
        commits.is_empty() || commits.iter().any(|one| point.commit.starts_with(one))
    });
    points.sort_by_key(|point| point.published_unix_s);
    for point in points {
        let begun = std::time::Instant::now();
        let nobody = Signer::default();
        let done = push(&tier, &store, &point, Some(&nobody), point.published_unix_s)?;
        let (commit, seconds) = (&point.commit[..10], begun.elapsed().as_secs_f64());
        println!("{commit}\t{seconds:.2}\t{}\t{}", done.bytes, done.requests);
    }
    Ok(())
}
