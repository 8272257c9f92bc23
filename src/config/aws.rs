//! What Amazon's own tools keep of a user, by profile: keys, a region, another address.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files". What a profile has made elsewhere (roles, single
//! sign-on, `credential_process`) is not made here; `aws configure export-credentials --format env` prints it as variables.

use std::path::PathBuf;

use configparser::ini::{Ini, IniDefault};

use super::Environment;
use crate::disk;

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;
/// Where one of these is set, no key counts that a profile has: its parts are of use only together.
const KEYS: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"];
const REGIONS: &[&str] = &["AWS_REGION", "AWS_DEFAULT_REGION"];
const ADDRESSES: &[&str] = &["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"];

/// Each setting with the variable that means the same, and the variables of which none is set where it counts.
const SETTINGS: [(&str, &str, &[&str]); 5] = [
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID", KEYS),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", KEYS),
    ("aws_session_token", "AWS_SESSION_TOKEN", KEYS),
    ("region", "AWS_REGION", REGIONS),
    ("endpoint_url", "AWS_ENDPOINT", ADDRESSES),
];

impl Environment {
    /// Returns what Amazon's files say of the profile `AWS_PROFILE`, or `default`, as variables, without what variables say.
    /// A file that cannot be read says nothing.
    pub fn of_aws_profile(&self) -> Vec<(&'static str, String)> {
        let profile = self.named("AWS_PROFILE").unwrap_or("default");
        let credentials = self.aws_file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = self.aws_file("AWS_CONFIG_FILE", "config");
        let long = format!("profile {profile}");
        let setting = |name| {
            let sections = [
                (&credentials, profile),
                (&config, &long),
                (&config, profile),
            ];
            let mut found = sections.into_iter();
            found.find_map(|(file, section)| file.get(section, name))
        };
        let is_set = |name: &&str| self.named(name).is_some();
        let all = SETTINGS.into_iter();
        let all = all.filter(|(.., unless)| !unless.iter().any(is_set));
        let set = all.filter_map(|(name, variable, _)| Some((variable, setting(name)?)));
        set.collect()
    }

    /// Returns Amazon's file that `variable` names, or the one called `name` where it lies otherwise; an empty one if there is none.
    fn aws_file(&self, variable: &str, name: &str) -> Ini {
        let mut file = IniDefault::default();
        // An address has a colon, and a key may have any sign.
        file.delimiters = vec!['='];
        file.enable_inline_comments = false;
        file.case_sensitive = true;
        let mut file = Ini::new_from_defaults(file);
        let usual = || Some(PathBuf::from(self.var("HOME")?).join(".aws").join(name));
        let path = self.var(variable).map(PathBuf::from).or_else(usual);
        let bytes = path.and_then(|path| disk::read(&path, MAX_BYTES).ok());
        if let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            drop(file.read(text));
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;
    use std::fs;

    /// Who has set up Amazon's tools would have to write the keys down once more, or be given another profile's.
    #[test]
    fn a_profile_is_as_good_as_variables() {
        let home = tempfile::tempdir().unwrap();
        let aws = home.path().join(".aws");
        fs::create_dir(&aws).unwrap();
        fs::write(aws.join("credentials"), "[default]\naws_access_key_id = A\naws_secret_access_key = a/b+c=#;\n\n[work]\naws_access_key_id=W\naws_secret_access_key=w\n").unwrap();
        fs::write(aws.join("config"), "# ours\n[default]\nregion = eu-1\n[profile work]\nregion = eu-2\nendpoint_url = http://host:9000\ns3 =\n  max_concurrent_requests = 20\n").unwrap();
        let with = |set: &[(&str, &str)]| {
            let plain = Environment::default().with("HOME", home.path());
            let all = set
                .iter()
                .fold(plain, |all, (name, value)| all.with(name, *value));
            let mut found = all.of_aws_profile();
            found.sort();
            found
        };
        let found = |all: &[(&'static str, &str)]| -> Vec<(&str, String)> {
            all.iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect()
        };
        let default = found(&[
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_REGION", "eu-1"),
            ("AWS_SECRET_ACCESS_KEY", "a/b+c=#;"),
        ]);
        assert_eq!(with(&[]), default);
        let work = found(&[
            ("AWS_ACCESS_KEY_ID", "W"),
            ("AWS_ENDPOINT", "http://host:9000"),
            ("AWS_REGION", "eu-2"),
            ("AWS_SECRET_ACCESS_KEY", "w"),
        ]);
        assert_eq!(with(&[("AWS_PROFILE", "work")]), work);
        // Half of one key and half of another would be neither.
        let set = [
            ("AWS_PROFILE", "work"),
            ("AWS_ACCESS_KEY_ID", "X"),
            ("AWS_DEFAULT_REGION", "us-1"),
        ];
        assert_eq!(with(&set), found(&[("AWS_ENDPOINT", "http://host:9000")]));
        assert_eq!(with(&[("AWS_PROFILE", "nobody")]), []);
        assert_eq!(
            with(&[
                ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere"),
                ("AWS_CONFIG_FILE", "/nowhere")
            ]),
            []
        );
    }
}
