//! Plays commands in one shell, and compares what they print with what a page shows.
//!
//! What is shown must be printed, in that order; more may be. `…` stands for anything in a line. A command must end well,
//! unless a line that begins with `error: ` is shown below it: then it must fail.

use crate::page::Step;

/// Ends what a command printed, before its number and its exit code.
const MARK: &str = "\u{1}end";

/// Returns a script that runs all commands in one shell, so that `cd` and `export` last.
pub(crate) fn script(steps: &[Step]) -> String {
    let one = |(number, step): (usize, &Step)| {
        format!(
            "{}\nprintf '\\n{MARK} %s %s\\n' {number} $?\n",
            step.command
        )
    };
    // No job may wait for somebody who types.
    let steps: String = steps.iter().enumerate().map(one).collect();
    format!("exec </dev/null 2>&1\n{steps}")
}

/// Returns what `said`, all that the script printed, has otherwise than `steps`.
pub(crate) fn faults(path: &str, steps: &[Step], said: &str) -> Vec<String> {
    let mut rest = said;
    let mut faults = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let at = format!("{path}:{}: $ {}", step.line, step.command);
        let Some((output, code, after)) = next(rest, number) else {
            faults.push(format!("{at}: the shell ended:\n{rest}"));
            break;
        };
        rest = after;
        let fails = step.prints.iter().any(|line| line.starts_with("error: "));
        if (code != 0) != fails {
            faults.push(format!("{at}: ended with {code}:\n{output}"));
        } else if let Some(missing) = missing(&step.prints, output) {
            faults.push(format!(
                "{at}: does not print `{missing}` there, but:\n{output}"
            ));
        }
    }
    faults
}

/// Returns what the command `number` printed, its exit code, and what comes after it.
fn next(said: &str, number: usize) -> Option<(&str, i32, &str)> {
    let (output, rest) = said.split_once(&format!("\n{MARK} {number} "))?;
    let (code, rest) = rest.split_once('\n')?;
    Some((output, code.parse().ok()?, rest))
}

/// Returns the first of `shown` that `printed` does not have behind those before it.
fn missing<'a>(shown: &'a [String], printed: &str) -> Option<&'a str> {
    let mut lines = printed.lines();
    shown
        .iter()
        .map(String::as_str)
        .find(|line| !lines.any(|one| matches(line, one.trim())))
}

/// Tells whether `printed` is `shown`, where `…` stands for anything.
fn matches(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(part) => part.is_empty() || rest.is_empty() || printed.ends_with(part),
    }
}

/// A book that shows what is not printed would pass.
#[test]
fn what_is_shown_is_compared() {
    for (shown, printed, expected) in [
        ("a b", "a b", true),
        ("a b", "a b c", false),
        ("a … c", "a b c", true),
        ("a …", "a b c", true),
        ("… c", "a b c", true),
        ("a … c", "a c c d", false),
        ("a … b … c", "a x b y c", true),
        ("a … d", "a b c", false),
    ] {
        assert_eq!(matches(shown, printed), expected, "{shown} {printed}");
    }
    let lines = ["a".to_owned(), "c".to_owned()];
    assert_eq!(missing(&lines, "a\nb\nc\n"), None);
    assert_eq!(missing(&lines, "c\na\n"), Some("c"));
}
