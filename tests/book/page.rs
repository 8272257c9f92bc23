//! One Markdown page: its blocks of commands, with what the page says about each.
//!
//! A block ```` ```console ```` is run: lines that begin with `$ ` are commands, the others are what they print. A comment
//! right before it says otherwise, or adds to it:
//!
//! ```text
//! <!-- not run: WHY -->          the block is only shown
//! <!-- file: NAME -->            the block of any other kind is written to this file
//! <!-- $ COMMAND -->             a command that is run and not shown
//! ```

use std::fs;
use std::path::Path;

/// A command, with the lines that it must print, in this order.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) prints: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) path: String,
    text: String,
}

/// What a page holds, in order.
#[derive(Debug)]
enum Part {
    /// A line of text.
    Text(usize, String),
    /// A comment of one line.
    Comment(usize, String),
    /// A fenced block: the line it begins in, its kind, its lines.
    Block(usize, String, Vec<String>),
}

/// Kinds of blocks whose commands nobody would run.
const SHELLS: [&str; 5] = ["sh", "bash", "shell", "shell-session", "zsh"];

impl Page {
    pub(crate) fn read(path: &Path) -> Page {
        Page {
            text: fs::read_to_string(path).expect("the page can be read"),
            path: path.to_string_lossy().into_owned(),
        }
    }

    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut lines = self.text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            if let Some(kind) = line.strip_prefix("```") {
                let block = lines
                    .by_ref()
                    .map(|(_, line)| line)
                    .take_while(|line| *line != "```");
                let block = block.map(str::to_owned).collect();
                parts.push(Part::Block(at + 1, kind.to_owned(), block));
                continue;
            }
            let comment = line
                .strip_prefix("<!-- ")
                .and_then(|rest| rest.strip_suffix(" -->"));
            parts.push(match comment {
                Some(comment) => Part::Comment(at + 1, comment.to_owned()),
                None => Part::Text(at + 1, line.to_owned()),
            });
        }
        parts
    }

    /// Returns what is run, in order.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut comment = String::new();
        for part in self.parts() {
            match part {
                Part::Comment(line, text) => {
                    if let Some(command) = text.strip_prefix("$ ") {
                        steps.push(Step::new(line, command));
                    }
                    comment = text;
                    continue;
                }
                Part::Block(_, kind, _)
                    if kind == "console" && comment.starts_with("not run: ") => {}
                Part::Block(line, kind, lines) if kind == "console" => {
                    steps.extend(console(line, &lines))
                }
                Part::Block(line, _, lines) => {
                    if let Some(name) = comment.strip_prefix("file: ") {
                        let text = lines.join("\n");
                        let command = format!("cat >{name} <<'END-OF-FILE'\n{text}\nEND-OF-FILE");
                        steps.push(Step::new(line, &command));
                    }
                }
                Part::Text(..) => {}
            }
            comment.clear();
        }
        steps
    }

    /// Returns the blocks that are not run, each with its reason.
    pub(crate) fn not_run(&self) -> Vec<String> {
        let comments = self.parts().into_iter().filter_map(|part| match part {
            Part::Comment(line, text) => Some((line, text)),
            _ => None,
        });
        let skipped = comments.filter(|(_, text)| text.starts_with("not run: "));
        skipped
            .map(|(line, text)| format!("{}:{line}: {text}", self.path))
            .collect()
    }

    /// Returns blocks of commands that would never be run, and comments that mean nothing here.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for part in self.parts() {
            match part {
                Part::Block(line, kind, lines)
                    if SHELLS.contains(&kind.as_str()) && !lines[0].starts_with("{{#include ") =>
                {
                    faults.push(format!(
                        "{}:{line}: write ```console and `$ `, so that it is run",
                        self.path
                    ));
                }
                Part::Block(line, kind, lines)
                    if kind == "console" && !lines[0].starts_with("$ ") =>
                {
                    faults.push(format!("{}:{line}: begin with a command", self.path));
                }
                Part::Comment(line, text) => {
                    let known = ["not run: ", "file: ", "$ ", "ANCHOR"]
                        .iter()
                        .any(|start| text.strip_prefix(start).is_some_and(|rest| rest.len() > 3));
                    if !known {
                        faults.push(format!(
                            "{}:{line}: `{text}` means nothing to the tests",
                            self.path
                        ));
                    }
                }
                _ => {}
            }
        }
        faults
    }

    /// Returns the commands of headstart in the running text, as words behind `headstart`.
    pub(crate) fn inline_commands(&self) -> Vec<(usize, Vec<String>)> {
        let mut commands = Vec::new();
        for part in self.parts() {
            if let Part::Text(line, text) = part {
                let code = text.split('`').skip(1).step_by(2);
                let ours = code.filter_map(|code| code.strip_prefix("headstart "));
                commands.extend(
                    ours.map(|rest| (line, rest.split_whitespace().map(str::to_owned).collect())),
                );
            }
        }
        commands
    }
}

impl Step {
    fn new(line: usize, command: &str) -> Step {
        Step {
            line,
            command: command.to_owned(),
            prints: Vec::new(),
        }
    }
}

fn console(line: usize, lines: &[String]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, text) in lines.iter().enumerate() {
        match (text.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step::new(line + at + 1, command)),
            (None, Some(step)) if !text.trim().is_empty() => {
                step.prints.push(text.trim().to_owned())
            }
            (None, _) => {}
        }
    }
    steps
}
