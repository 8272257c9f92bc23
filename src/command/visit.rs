//! What the doctor asks of one remote, and what it thinks of the answers.
//!
//! Writes one small file, always the same under the same name, and only where the remote may be written to. See note 0017.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};

use super::doctor::{Findings, Patient, Says};
use super::far::{self, STALE_DAYS};
use super::status::age;
use super::timer;
use crate::config::RemoteConfig;
use crate::model::SECONDS_A_DAY;
use crate::report::{bytes, count};
use crate::store::head::{self, MAX_HEAD_BYTES};
use crate::tier::{Tier, Trouble};
use crate::trust;

/// Where the doctor writes; see `docs/format.md`.
const OWN: &str = "v1/doctor";
/// How much: enough to tell bandwidth from latency.
const OWN_BYTES: usize = 1 << 20;
/// How long an answer may take to come in whole.
const READING: Duration = Duration::from_secs(5);
/// How far clocks may differ, in seconds: object stores refuse what is signed a quarter of an hour off.
const CLOCKS_S: i64 = 300;

/// Visits the remote at `config`.
pub(super) fn of(patient: &Patient, config: &RemoteConfig) -> Findings {
    let clock = timer();
    let tier = match open(patient, config) {
        Ok(tier) => tier,
        Err(error) => return vec![("remote", Err(error))],
    };
    let tier = &*tier;
    let toolchain = patient.toolchain();
    let key = toolchain.map_or(OWN.to_owned(), |toolchain| head::key(&toolchain));
    let asked = timer();
    let mut findings = Findings::new();
    match get(tier, &key) {
        Err(trouble) if trouble != Trouble::Absent => {
            findings.push(("latency", Err(trouble.into())))
        }
        list => {
            findings.push(("latency", Ok(Says::Ok(format!("{:.0?}", asked.elapsed())))));
            exchange(tier, &key, &mut findings);
            findings.push(("list", listed(list.ok().as_deref(), tier, patient)));
        }
    }
    let here = patient.now.as_second() + clock.elapsed().as_secs().cast_signed();
    if let Some(ahead) = tier.told_unix_s().map(|there| here - there) {
        let says = format!("this machine's is {ahead:+} s off");
        let clock = match ahead.abs() <= CLOCKS_S {
            true => Ok(Says::Ok(says)),
            false => Err(anyhow!(says)),
        };
        findings.push(("clock", clock));
    }
    findings
}

/// Opens the remote; a directory is not made.
fn open(patient: &Patient, config: &RemoteConfig) -> anyhow::Result<Box<dyn Tier>> {
    let open = |config: &RemoteConfig| -> anyhow::Result<Box<dyn Tier>> {
        let mut opened = far::open_each(std::slice::from_ref(config), &patient.environment)?;
        let opened = opened.pop().expect("as many as were named");
        opened.map_err(anyhow::Error::msg)
    };
    if config.url.starts_with("file:") {
        let mut only_read = config.clone();
        only_read.read_only = true;
        open(&only_read)?;
    }
    open(config)
}

fn get(tier: &dyn Tier, key: &str) -> Result<Vec<u8>, Trouble> {
    let clock = timer();
    tier.get(key, MAX_HEAD_BYTES as u64, &|_| clock.elapsed() < READING)
}

/// Writes and reads, as far as the tier allows; where nothing of ours is, what is at `key`.
fn exchange(tier: &dyn Tier, key: &str, findings: &mut Findings) {
    // Nothing that a proxy could make smaller.
    let mut own = vec![0; OWN_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut own);
    let write = write(tier, &own);
    let written = tier.is_writable() && matches!(write, Ok(Says::Ok(_)));
    findings.push(("write", write));
    if written {
        let conditional = match tier.put_new(OWN, own.clone()) {
            Ok(false) => Says::Ok("what is there is kept".to_owned()),
            Ok(true) => Says::Note("what is there is replaced".to_owned()),
            Err(trouble) => Says::Note(trouble.to_string()),
        };
        findings.push(("conditional write", Ok(conditional)));
    }
    match read(tier, key, &own) {
        Ok(None) => {}
        Ok(Some((key, whole, speed))) => {
            findings.push(("read", Ok(Says::Ok(speed))));
            findings.push(("range", range(tier, key, &whole)));
        }
        Err(error) => findings.push(("read", Err(error))),
    }
}

fn write(tier: &dyn Tier, own: &[u8]) -> anyhow::Result<Says> {
    let clock = timer();
    let put = || tier.put(OWN, own.to_vec().into());
    match tier.is_writable().then(put) {
        None => return Ok(Says::Ok("it is only read".to_owned())),
        Some(Err(denied @ Trouble::Denied(_))) => return Ok(Says::Note(denied.to_string())),
        Some(written) => written?,
    }
    Ok(Says::Ok(speed(OWN_BYTES as u64, clock)))
}

/// Returns what could be read, from where and how fast; none where nothing is.
fn read<'a>(
    tier: &dyn Tier,
    key: &'a str,
    own: &[u8],
) -> anyhow::Result<Option<(&'a str, Vec<u8>, String)>> {
    let (clock, came) = (timer(), AtomicU64::new(0));
    let watch = |count| {
        came.fetch_add(count, Ordering::Relaxed);
        clock.elapsed() < READING
    };
    let get = |key| tier.get(key, MAX_HEAD_BYTES as u64, &watch);
    let (key, answer) = match get(OWN) {
        Err(Trouble::Absent) => (key, get(key)),
        answer => (OWN, answer),
    };
    let speed = speed(came.into_inner(), clock);
    match answer {
        Err(Trouble::Absent) => Ok(None),
        Err(Trouble::Stopped) => bail!(speed),
        Ok(bytes) if key == OWN && bytes != own => bail!("it gives other bytes than were written"),
        answer => Ok(Some((key, answer?, speed))),
    }
}

fn range(tier: &dyn Tier, key: &str, whole: &[u8]) -> anyhow::Result<Says> {
    let (clock, middle) = (timer(), whole.len() / 3..whole.len() / 3 * 2);
    let watch = |_| clock.elapsed() < READING;
    let part = tier.get_range(key, middle.start as u64..middle.end as u64, &watch)?;
    let same = part == whole[middle];
    ensure!(same, "it gives other bytes than those asked for");
    Ok(Says::Ok(bytes(part.len() as u64)))
}

/// Returns how fast so many bytes went, for people.
fn speed(count: u64, since: Instant) -> String {
    let took = since.elapsed();
    let rate = bytes((count as f64 / took.as_secs_f64().max(1e-6)) as u64);
    format!("{} in {took:.0?}, {rate} a second", bytes(count))
}

/// Judges the list in `bytes`, and what a root says there, by whom the user believes.
fn listed(bytes: Option<&[u8]>, tier: &dyn Tier, patient: &Patient) -> anyhow::Result<Says> {
    let mut keyring = patient.keyring()?;
    if let Some(Ok(said)) = keyring.wanted().map(|key| get(tier, &key)) {
        keyring.consider(&said)?;
    }
    let Some(bytes) = bytes else {
        let says = "nothing is published there for this toolchain";
        return Ok(Says::Note(says.to_owned()));
    };
    let read = head::decode(bytes).map_err(|error| anyhow!("it {error}"))?;
    let directory = tier.directory().map(|dir| trust::store(dir, false));
    let by = match trust::verify(&read.signed, &read.signatures, &keyring.here()) {
        Err(_) if matches!(directory, Some(Ok(_))) => "a directory of yours".to_owned(),
        signed => format!("signed by {}", signed?.id()),
    };
    let points = count(read.head.entries.len(), "starting point");
    let written = read.head.written_unix_s;
    let says = format!("{points}, written {}, {by}", age(written, patient.now));
    let days = (patient.now.as_second() - written) / SECONDS_A_DAY;
    Ok(match days > STALE_DAYS {
        true => Says::Note(says),
        false => Says::Ok(says),
    })
}
