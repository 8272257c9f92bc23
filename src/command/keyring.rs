//! Who is believed here today: what the user says, and what remotes have of a root that the user believes.
//!
//! Asks no remote where no root is believed.

use crate::config::Environment;
use crate::report::Reporter;
use crate::tier::{self, Tier, Trouble};
use crate::trust::Keyring;
use crate::trust::statement::MAX_BYTES;

/// Returns the keys that the user believes in `repository`.
pub fn of(environment: &Environment, repository: Option<String>) -> anyhow::Result<Keyring> {
    Ok(Keyring::read(&environment.config_dir()?, repository)?)
}

/// Takes what each of `tiers` has of a believed root.
pub fn refresh(keyring: &mut Keyring, tiers: &[Box<dyn Tier>], reporter: &Reporter) {
    if let Some(key) = keyring.wanted() {
        for tier in tiers {
            let answer = tier.get(&key, MAX_BYTES, &|_| true);
            take(keyring, tier.name(), answer, reporter);
        }
    }
}

/// Takes what the tier `name` answered; what is wrong with it is one line.
pub fn take(keyring: &mut Keyring, name: &str, answer: tier::Result<Vec<u8>>, reporter: &Reporter) {
    let why = match answer.map(|bytes| keyring.take(&bytes)) {
        Ok(Ok(())) | Err(Trouble::Absent) => return,
        Ok(Err(why)) => why,
        Err(trouble) => format!("which keys its root key names is not known: {trouble}"),
    };
    reporter.warn(format!("{name}: {why}"));
}
