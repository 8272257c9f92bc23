//! The links of the book: chapters, files beside them, and headings.
//!
//! Asks no network: what begins with a scheme is taken for granted.

use std::fs;
use std::path::Path;

/// Returns the links below `folder` that lead nowhere, and the chapters that the summary does not have.
pub(crate) fn faults(folder: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let mut chapters = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            let text = fs::read_to_string(entry.path()).expect("the chapter can be read");
            chapters.push((name, text));
        }
    }
    let summary = chapters.iter().find(|(name, _)| name == "SUMMARY.md");
    let summary = summary.map(|(_, text)| text.clone()).unwrap_or_default();
    for (name, text) in &chapters {
        if name != "SUMMARY.md" && !summary.contains(&format!("]({name})")) {
            faults.push(format!("{name}:1: SUMMARY.md does not have it"));
        }
        for (line, target) in targets(text) {
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { name } else { file };
            let path = folder.join(file);
            if !path.exists() {
                faults.push(format!("{name}:{line}: there is no {file}"));
            } else if !heading.is_empty() && !headings(&path).iter().any(|one| one == heading) {
                faults.push(format!("{name}:{line}: {file} has no heading {heading}"));
            }
        }
    }
    faults
}

/// Returns what `text` links to, or includes, without what begins with a scheme.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let links = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        let includes = line
            .split("{{#include ")
            .skip(1)
            .filter_map(|rest| rest.split_once("}}"));
        // What is included may be a part of a file, behind a colon.
        let includes =
            includes.map(|(target, rest)| (target.split(':').next().unwrap_or(target), rest));
        let local = links
            .chain(includes)
            .map(|(target, _)| target)
            .filter(|target| !target.contains("://"));
        found.extend(local.map(|target| (at + 1, target.to_owned())));
    }
    found
}

/// Returns the names by which the headings of a chapter are linked to, as mdBook makes them.
fn headings(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let titles = text.lines().filter(|line| line.starts_with('#'));
    let name = |title: &str| -> String {
        let title = title.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    titles.map(name).collect()
}
