//! Which version of glibc a program needs, and which is here; and the system's other libraries by name.
//!
//! What was linked against a newer one than is here, or against one that is not here, does not run, and cannot be loaded: a build that plain cargo does
//! would fail. Versions of glibc are told by the number behind `2.`, as there has been no other since 1997. Source: glibc: elf/dl-version.c.

use std::env::consts::ARCH;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::disk;
use object::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DynamicTag, EM_AARCH64, EM_X86_64, FileHeader64,
    VER_FLG_WEAK,
};
use object::read::elf::{Dyn, FileHeader, SectionTable};
use object::{Endianness, ReadCache, ReadRef};

/// What stands before the number.
const NAME: &[u8] = b"GLIBC_2.";
/// The file that it is.
const GLIBC: &str = "libc.so.6";
/// Where the system's libraries may be, with the machine's name in place of `*`.
const DIRS: [&str; 8] = [
    "/lib64",
    "/lib/*-linux-gnu",
    "/usr/lib64",
    "/usr/lib/*-linux-gnu",
    "/usr/lib",
    "/lib",
    "/usr/local/lib",
    "/usr/local/lib64",
];

type Header = FileHeader64<Endianness>;

/// Returns the version that the program or library at `path` needs; none where it needs no glibc, or is of a form that we do not know.
pub(super) fn glibc_needed(path: &Path) -> Option<u16> {
    let cache = ReadCache::new(File::open(path).ok()?);
    let (endian, sections) = sections(&cache)?;
    let (mut libraries, link) = sections.gnu_verneed(endian, &cache).ok()??;
    let strings = sections.strings(endian, &cache, link).ok()?;
    let mut newest = None;
    while let Ok(Some((_, mut names))) = libraries.next() {
        while let Ok(Some(name)) = names.next() {
            let version = name.name(endian, strings).ok().and_then(version);
            let is_weak = name.vna_flags.get(endian) & VER_FLG_WEAK == VER_FLG_WEAK;
            newest = newest.max(version.filter(|_| !is_weak));
        }
    }
    newest
}

/// Returns the version that is here; none where there is no glibc, or in no place that we know.
pub(super) fn glibc_here() -> Option<u16> {
    let cache = ReadCache::new(File::open(find(GLIBC)?).ok()?);
    let (endian, sections) = sections(&cache)?;
    let (mut versions, link) = sections.gnu_verdef(endian, &cache).ok()??;
    let strings = sections.strings(endian, &cache, link).ok()?;
    let mut newest = None;
    while let Ok(Some((_, mut names))) = versions.next() {
        let name = names.next().ok()??.name(endian, strings).ok();
        newest = newest.max(name.and_then(version));
    }
    newest
}

/// Returns the names of the shared libraries that the program or library at `path` needs; none where it is of a form that we do not know.
pub(super) fn needed(path: &Path) -> Vec<String> {
    dynamic(path, &[DT_NEEDED])
}

/// Returns what the program or library at `path` tells the loader under `tags`.
fn dynamic(path: &Path, tags: &[DynamicTag]) -> Vec<String> {
    let texts = || {
        let cache = ReadCache::new(File::open(path).ok()?);
        let (endian, sections) = sections(&cache)?;
        let (entries, link) = sections.dynamic(endian, &cache).ok()??;
        let strings = sections.strings(endian, &cache, link).ok()?;
        let told = entries.iter();
        let told = told.filter(|one| tags.contains(&one.tag(endian)));
        let texts = told.filter_map(|one| one.string(endian, strings).ok());
        let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
        Some(texts.collect())
    };
    texts().unwrap_or_default()
}

/// Returns how many directories above its own the program or library at `path` looks for others.
pub(super) fn climbs(path: &Path) -> usize {
    let told = dynamic(path, &[DT_RPATH, DT_RUNPATH]);
    let dirs = told.iter().flat_map(|dirs| dirs.split(':'));
    let from_its_own = dirs.filter_map(|dir| dir.strip_prefix("$ORIGIN"));
    let ups = from_its_own.map(|dir| dir.split('/').filter(|part| *part == "..").count());
    ups.max().unwrap_or(0)
}

/// Tells whether the file at `path` is compiled code: an object, or an archive of them.
pub(super) fn is_native(path: &Path) -> bool {
    let start = disk::read_start(path, 8).unwrap_or_default();
    start.starts_with(b"\x7fELF") || start.starts_with(b"!<arch>")
}

/// Returns the shared library by which a program that is linked with `-l name` finds it when it runs, beside the file that the linker takes in `dirs`
/// or where the system has it; none if it takes none.
pub(super) fn linked(name: &str, dirs: &[&Path]) -> Option<PathBuf> {
    let file = format!("lib{name}.so");
    let there = dirs
        .iter()
        .map(|dir| dir.join(&file))
        .find(|file| file.is_file());
    let taken = there.or_else(|| find(&file))?;
    let soname = dynamic(&taken, &[DT_SONAME]).into_iter().next()?;
    Some(taken.with_file_name(soname))
}

/// Returns where the system has the library `name`; none where that is in no place that we know.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let dirs = DIRS.iter().map(|dir| dir.replace('*', ARCH));
    let mut files = dirs.map(|dir| Path::new(&dir).join(name));
    files.find(|file| file.is_file())
}

/// Returns the sections of a file of ELF's form for this kind of machine: another's programs do not run here anyway.
fn sections<'d, R: ReadRef<'d>>(data: R) -> Option<(Endianness, SectionTable<'d, Header, R>)> {
    let header = Header::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let own = match ARCH {
        "aarch64" => EM_AARCH64,
        _ => EM_X86_64,
    };
    if header.e_machine.get(endian) != own {
        return None;
    }
    Some((endian, header.sections(endian, data).ok()?))
}

/// Returns the number in the name of a version of glibc.
fn version(name: &[u8]) -> Option<u16> {
    let number = name.strip_prefix(NAME)?;
    let number = number.split(|byte| *byte == b'.').next()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{find, glibc_here, glibc_needed, needed, version};

    /// A program that runs here needs nothing newer than is here; if that was not seen, no reader would be spared any.
    #[test]
    fn what_runs_here_can_be_run() {
        let own = std::env::current_exe().unwrap();
        let (needed, here) = (glibc_needed(&own).unwrap(), glibc_here().unwrap());
        assert!(2 < needed && needed <= here, "{needed} {here}");
    }

    /// A program that needs a library which is not here would be placed, and not start.
    #[test]
    fn libraries_are_found_by_name() {
        let names = needed(&std::env::current_exe().unwrap());
        assert!(names.iter().any(|name| name == "libc.so.6"), "{names:?}");
        assert!(names.iter().all(|name| find(name).is_some()), "{names:?}");
        assert_eq!(find("libheadstart-none.so.7"), None);
    }

    /// 2.9 is older than 2.34, and 2.2.5 is 2.2.
    #[test]
    fn versions_are_numbers() {
        let all = [
            &b"GLIBC_2.34"[..],
            b"GLIBC_2.9",
            b"GLIBC_2.2.5",
            b"GLIBC_PRIVATE",
            b"GCC_3.0",
        ];
        assert_eq!(all.map(version), [Some(34), Some(9), Some(2), None, None]);
    }
}
