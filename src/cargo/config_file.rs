//! `build.rustc-wrapper` in the text of a cargo configuration file; everything else in it stays as it is.

use toml_edit::{DocumentMut, Item, Table, value};

/// Why a configuration is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFileError {
    /// It is no TOML, or `build` is something else than a table.
    #[error("it is not a configuration that cargo would read: {0}")]
    Unreadable(String),
    /// It names another wrapper.
    #[error("it sets build.rustc-wrapper to `{0}`")]
    Taken(String),
}

/// Returns `text` with `program` as the wrapper; `is_ours` tells a wrapper that may be replaced.
pub fn with_wrapper(
    text: &str,
    program: &str,
    is_ours: impl Fn(&str) -> bool,
) -> Result<String, ConfigFileError> {
    let mut document = parse(text)?;
    if let Some(other) = wrapper(&document).filter(|other| !is_ours(other)) {
        return Err(ConfigFileError::Taken(other.to_owned()));
    }
    let build = document.entry("build").or_insert(Item::Table(Table::new()));
    let Some(build) = build.as_table_like_mut() else {
        let why = "`build` is no table".to_owned();
        return Err(ConfigFileError::Unreadable(why));
    };
    build.insert("rustc-wrapper", value(program));
    Ok(document.to_string())
}

/// Returns `text` without our wrapper, and without the table that held nothing else.
pub fn without_wrapper(
    text: &str,
    is_ours: impl Fn(&str) -> bool,
) -> Result<String, ConfigFileError> {
    let mut document = parse(text)?;
    if wrapper(&document).is_some_and(is_ours)
        && let Some(build) = document.get_mut("build").and_then(Item::as_table_like_mut)
    {
        build.remove("rustc-wrapper");
        if build.is_empty() {
            document.remove("build");
        }
    }
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, ConfigFileError> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        ConfigFileError::Unreadable(error.message().to_owned())
    })
}

fn wrapper(document: &DocumentMut) -> Option<&str> {
    document.get("build")?.get("rustc-wrapper")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::{ConfigFileError, with_wrapper, without_wrapper};

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
}
