//! The `minisign` program and headstart read and verify what the other makes.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use headstart::trust::{PublicKey, SecretKey, TrustError, new_pair, verify};
use headstart_testkit::{Output, Scratch, clean};

use crate::common::around::{skipped, succeeds};
use crate::common::chain::{flip, write};
use crate::{NAME, User, pair};

/// The `minisign` program in a directory of its own.
pub(crate) struct Minisign {
    pub(crate) dir: Scratch,
}

impl Minisign {
    pub(crate) fn find() -> Option<Minisign> {
        let there = succeeds(Command::new("minisign").arg("-v"));
        if !there {
            skipped("there is no minisign");
        }
        there.then(|| Minisign {
            dir: Scratch::new(),
        })
    }

    /// Runs it with `input` for its questions.
    pub(crate) fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new("minisign");
        let command = clean(&mut command).current_dir(self.dir.root()).args(args);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).spawn().expect("it is there");
        let mut stdin = child.stdin.take().expect("it was asked for");
        // It ends without reading where it has no question.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path(name)).expect("it was written")
    }
}

/// A signature of headstart's could be verified by headstart only, and nobody could check it without.
#[test]
fn minisign_verifies_what_headstart_signs() {
    let Some(minisign) = Minisign::find() else {
        return;
    };
    for password in [None, Some("secret")] {
        let (secret, public) = new_pair(password);
        let key = SecretKey::read(&secret, password).expect("it was just made");
        minisign.dir.write("key", &secret);
        minisign.dir.write("key.pub", &public.to_file());
        for bytes in ["", "a manifest", &"x".repeat(1 << 20)] {
            minisign.dir.write("m", bytes);
            minisign
                .dir
                .write("m.minisig", &key.sign(bytes.as_bytes(), "commit 0123"));
            let line = public.to_string();
            for by in [["-p", "key.pub"], ["-P", &line]] {
                let args = [&["-V", "-m", "m"], &by[..]].concat();
                let said = minisign.run(&args, "").succeeded().stdout;
                assert!(said.contains("Trusted comment: commit 0123"), "{said}");
            }
        }
        minisign.dir.write("m", "another manifest");
        minisign
            .run(&["-V", "-m", "m", "-p", "key.pub"], "")
            .failed();

        let input = "secret\n";
        let signed = minisign.run(&["-S", "-s", "key", "-m", "m"], input);
        signed.succeeded();
        let signature = minisign.read("m.minisig");
        let by = verify(
            b"another manifest",
            &[signature],
            std::slice::from_ref(&public),
        );
        assert_eq!(by.expect("it is signed"), public);
    }
}

/// Whoever has a key of minisign's already could not use it.
#[test]
fn headstart_takes_minisigns_keys_and_signatures() {
    let Some(minisign) = Minisign::find() else {
        return;
    };
    let user = User::new();
    let dir = minisign.dir.root();
    minisign.dir.write("m", "a manifest");
    for (password, flags) in [(None, &["-W"][..]), (Some("secret"), &[])] {
        let input = password.map_or(String::new(), |password| {
            format!("{password}\n{password}\n")
        });
        let make = [&["-G", "-f", "-p", "key.pub", "-s", "key"], flags].concat();
        minisign.run(&make, &input).succeeded();
        let public = PublicKey::parse(&minisign.read("key.pub")).expect("it is a key");
        let comment = minisign.read("key.pub");
        // The program leaves zeros out that come first.
        let id = public.id().to_string();
        assert!(comment.contains(id.trim_start_matches('0')), "{comment}");
        let secret = SecretKey::read(&minisign.read("key"), password).expect("it is a key");
        assert_eq!(secret.public(), public);
        let damaged = minisign.dir.path("damaged");
        write(&damaged, minisign.read("key").as_bytes());
        flip(&damaged);
        let read = SecretKey::read(&minisign.read("damaged"), password);
        assert!(read.is_err(), "{read:?}");

        let sign = ["-S", "-s", "key", "-m", "m", "-t", "a comment"];
        minisign.run(&sign, &input).succeeded();
        let signature = [minisign.read("m.minisig")];
        let keys = [public.clone()];
        assert_eq!(
            verify(b"a manifest", &signature, &keys).expect("it is signed"),
            public
        );
        let forged = verify(b"another", &signature, &keys);
        assert!(matches!(forged, Err(TrustError::Mismatch(id)) if id == public.id()));
        let stranger = verify(b"a manifest", &signature, &[]);
        assert!(matches!(stranger, Err(TrustError::Strangers(ids)) if ids == [public.id()]));

        minisign
            .run(&[&sign[..], &["-l"]].concat(), &input)
            .succeeded();
        let old = verify(b"a manifest", &[minisign.read("m.minisig")], &keys);
        assert!(matches!(old, Err(TrustError::Unreadable(_))), "{old:?}");

        let file = dir.join("key.pub").display().to_string();
        user.run(&["trust", "add", &file]).succeeded();
        assert!(
            user.believed()
                .contains(&pair(NAME, &public.id().to_string()))
        );
    }
}
