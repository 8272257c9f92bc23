//! `build.rustc-wrapper` and the release lane in the text of a cargo configuration file; everything else in it stays as it is.

use toml_edit::{DocumentMut, Item, Table, value};

/// The release lane: a profile that is rebuilt incrementally, and runs about as fast as release. See note 0012.
const LANE: &str = "release-lane";

/// What makes the lane, as it is written.
const LANE_TEXT: &str = include_str!("release_lane.toml");

/// Why a configuration is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFileError {
    /// It is no TOML, or `build` is something else than a table.
    #[error("it is not a configuration that cargo would read: {0}")]
    Unreadable(String),
    /// It names another wrapper.
    #[error("it sets build.rustc-wrapper to `{0}`")]
    Taken(String),
    /// It has a profile of the lane's name that is not as headstart writes it.
    #[error("it has a profile `{LANE}` of its own")]
    Tuned,
}

/// A configuration, or why it is not changed.
type Result<T, E = ConfigFileError> = std::result::Result<T, E>;

/// Returns `text` with `program` as the wrapper; `is_ours` tells a wrapper that may be replaced.
pub fn with_wrapper(text: &str, program: &str, is_ours: impl Fn(&str) -> bool) -> Result<String> {
    let mut document = parse(text)?;
    if let Some(other) = wrapper(&document).filter(|other| !is_ours(other)) {
        return Err(ConfigFileError::Taken(other.to_owned()));
    }
    let build = document.entry("build").or_insert(Item::Table(Table::new()));
    let Some(build) = build.as_table_like_mut() else {
        let why = "`build` is no table".to_owned();
        return Err(ConfigFileError::Unreadable(why));
    };
    match build.get_mut("rustc-wrapper").and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = program.into();
            *old.decor_mut() = decor;
        }
        None => drop(build.insert("rustc-wrapper", value(program))),
    }
    Ok(in_lines_of(text, &document))
}

/// Returns `text` without our wrapper, and without the table if that was made for it.
pub fn without_wrapper(text: &str, is_ours: impl Fn(&str) -> bool) -> Result<String> {
    let mut document = parse(text)?;
    let Some(program) = wrapper(&document).filter(|program| is_ours(program)) else {
        return Ok(text.to_owned());
    };
    let program = program.to_owned();
    let mut without_table = document.clone();
    without_table.remove("build");
    let before = in_lines_of(text, &without_table);
    if with_wrapper(&before, &program, is_ours)? == text {
        return Ok(before);
    }
    let build = document.get_mut("build").and_then(Item::as_table_like_mut);
    build.and_then(|build| build.remove("rustc-wrapper"));
    Ok(in_lines_of(text, &document))
}

/// Returns the text of `document`, its lines ended as those of `text`.
fn in_lines_of(text: &str, document: &DocumentMut) -> String {
    lines_of(text, &document.to_string().replace("\r\n", "\n"))
}

/// Returns `plain`, its lines ended as those of `text`.
fn lines_of(text: &str, plain: &str) -> String {
    match text.contains("\r\n") {
        true => plain.replace('\n', "\r\n"),
        false => plain.to_owned(),
    }
}

/// Returns `text` with the release lane, behind all else.
pub fn with_lane(text: &str) -> Result<String> {
    let with = match (has_lane(text)?, text) {
        (true, _) => text.to_owned(),
        (false, "") => LANE_TEXT.to_owned(),
        (false, _) => text.to_owned() + &lines_of(text, &format!("\n{LANE_TEXT}")),
    };
    // Profiles may stand where nothing can be added behind them.
    has_lane(&with).map(|_| with)
}

/// Returns `text` without the release lane, as it was before.
pub fn without_lane(text: &str) -> Result<String> {
    has_lane(text)?;
    let behind = lines_of(text, &format!("\n{LANE_TEXT}"));
    let before = text.replacen(&behind, "", 1);
    Ok(before.replacen(LANE_TEXT, "", 1))
}

/// Tells whether `text` has the lane, as headstart writes it.
fn has_lane(text: &str) -> Result<bool> {
    let lane = |text: &str| -> Result<Option<toml::Value>> {
        let unreadable = |error: toml::de::Error| ConfigFileError::Unreadable(error.to_string());
        let table: toml::Table = text.parse().map_err(unreadable)?;
        Ok(table.get("profile").and_then(|it| it.get(LANE)).cloned())
    };
    match lane(text)? {
        None => Ok(false),
        // Written by somebody else, it may be the same and stand in other words.
        found if found == lane(LANE_TEXT)? && text.contains(&lines_of(text, LANE_TEXT)) => Ok(true),
        Some(_) => Err(ConfigFileError::Tuned),
    }
}

fn parse(text: &str) -> Result<DocumentMut> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        ConfigFileError::Unreadable(error.message().to_owned())
    })
}

fn wrapper(document: &DocumentMut) -> Option<&str> {
    document.get("build")?.get("rustc-wrapper")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::{
        ConfigFileError, LANE_TEXT, with_lane, with_wrapper, without_lane, without_wrapper,
    };

    fn is_ours(program: &str) -> bool {
        program.ends_with("headstart")
    }

    /// Taking it back must leave what was there, to the letter.
    #[test]
    fn what_is_added_can_be_taken_back() {
        let texts = [
            "",
            "# mine\n[net]\nretry = 3 # often\n",
            "[build]\njobs = 2\n\n[alias]\nb = \"build\"\n",
            "# work\n[build]\n# jobs = 4\n\n[net]\nretry = 3\n",
            "[net]\r\nretry = 3\r\n",
        ];
        for text in texts {
            let with = with_wrapper(text, "/bin/headstart", is_ours).unwrap();
            assert!(
                with.contains("rustc-wrapper = \"/bin/headstart\""),
                "{with}"
            );
            assert_eq!(without_wrapper(&with, is_ours).unwrap(), text);
            assert_eq!(
                with_wrapper(&with, "/bin/headstart", is_ours).unwrap(),
                with
            );
        }
    }

    /// What the user wrote beside it would be gone, or the file as a whole be no configuration any more.
    #[test]
    fn what_stands_beside_it_stays() {
        let text = "[build]\n# why\nrustc-wrapper = \"/old/headstart\" # keep\n";
        let with = with_wrapper(text, "/new/headstart", is_ours).unwrap();
        assert_eq!(with, text.replace("/old", "/new"));
        let other = "[net]\r\nretry = 3\n";
        assert_eq!(without_wrapper(other, is_ours).unwrap(), other);
        let inline = "profile = { dev = { opt-level = 1 } }\n";
        assert!(matches!(
            with_lane(inline),
            Err(ConfigFileError::Unreadable(_))
        ));
    }

    /// A user's sccache that silently went away would be missed a week later.
    #[test]
    fn another_wrapper_stays() {
        let text = "build.rustc-wrapper = \"sccache\"\n";
        let taken = ConfigFileError::Taken("sccache".to_owned());
        assert_eq!(with_wrapper(text, "headstart", is_ours), Err(taken));
        assert_eq!(without_wrapper(text, is_ours).unwrap(), text);
    }

    /// A file that cargo would refuse must not be written over.
    #[test]
    fn what_is_no_configuration_stays() {
        for text in ["[build", "build = 3\n"] {
            let refused = with_wrapper(text, "headstart", is_ours);
            assert!(
                matches!(refused, Err(ConfigFileError::Unreadable(_))),
                "{text}"
            );
        }
    }

    /// A repository's configuration is other people's: undoing must leave no trace in its history.
    #[test]
    fn the_lane_can_be_taken_back() {
        let texts = [
            "",
            "# mine\n[profile.release]\ndebug = 1",
            "[profile]\ndev = { debug = 0 }\n",
        ];
        for text in texts {
            let with = with_lane(text).unwrap();
            assert!(
                with.starts_with(text) && with.ends_with(LANE_TEXT),
                "{with}"
            );
            assert_eq!(with_lane(&with).unwrap(), with);
            let more = format!("{with}\n[alias]\nb = \"build\"\n");
            let without = without_lane(&more).unwrap();
            assert_eq!(without, format!("{text}\n[alias]\nb = \"build\"\n"));
            assert_eq!(without_lane(&with).unwrap(), text);
            assert_eq!(without_lane(text).unwrap(), text);
        }
    }

    /// A lane that somebody tuned by measuring must not be lost, nor half of it left behind.
    #[test]
    fn a_tuned_lane_stays() {
        let tuned = LANE_TEXT.replace("lto = false", "lto = \"thin\"");
        let longer = format!("{LANE_TEXT}debug = 1\n");
        let deeper = format!("{LANE_TEXT}\n[profile.release-lane.package.hot]\nopt-level = 3\n");
        for text in [tuned, longer, deeper] {
            assert_eq!(with_lane(&text), Err(ConfigFileError::Tuned), "{text}");
            assert_eq!(without_lane(&text), Err(ConfigFileError::Tuned), "{text}");
        }
    }
}
