//! With which versions of rustc sessions were tried. Says nothing of the others.

/// The versions that sessions were tried with, as `docs/compilers.md` has them.
const TRIED: [&str; 5] = ["1.85", "1.95", "1.96", "1.97", "1.98"];

/// Tells whether sessions were tried with a rustc that calls itself `rustc 1.95.0 (…)`.
pub fn is_tried(version: &str) -> bool {
    let number = version.split(' ').nth(1).unwrap_or_default();
    let minor = number.rsplit_once('.').unwrap_or_default().0;
    TRIED.contains(&minor)
}

#[cfg(test)]
mod tests {
    use super::{TRIED, is_tried};

    /// The doctor would praise a version that nobody tried, or warn of one that works.
    #[test]
    fn what_was_tried_is_in_the_document() {
        let document = std::fs::read_to_string("docs/compilers.md").unwrap();
        let rows = document
            .lines()
            .filter_map(|line| line.strip_prefix("| 1."));
        let mut minors: Vec<String> = rows
            .map(|row| format!("1.{}", row.split('.').next().unwrap()))
            .collect();
        minors.dedup();
        assert_eq!(minors, TRIED);
        assert!(is_tried("rustc 1.97.0-nightly (abc 2026-05-19)"));
        assert!(!is_tried("rustc 1.9.5 (abc 2016-05-19)"));
        assert!(!is_tried("something else"));
    }
}
