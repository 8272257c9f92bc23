//! Secrets: wherever a publish could find one, it is not published.

use std::fs;
use std::io::Write;

use ct_codecs::Encoder;

use crate::common::chain::refused;
use crate::far::Far;

/// What CI knows must not get into what everybody can read: not as a file, not compiled in, not by a script, not compressed.
#[test]
fn secrets_are_not_published() {
    const VALUE: &str = "of-no-use-anywhere";
    let include = "pub const A: &[u8] = include_bytes!(\"../secret\");";
    let header = ct_codecs::Base64::encode_to_string(format!("user:{VALUE}")).expect("room");
    let text = format!("{}{VALUE}\n", "a template\n".repeat(99));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(text.as_bytes()).expect("memory");
    let zstd = zstd::bulk::compress(text.as_bytes(), 19).expect("memory");
    let cases: [(&str, Vec<u8>); 5] = [
        ("pub const A: &str = env!(\"DEPLOY_TOKEN\");", Vec::new()),
        (include, VALUE.into()),
        (include, header.into()),
        (include, gzip.finish().expect("memory")),
        (include, zstd),
    ];
    for (at, (code, secret)) in cases.iter().enumerate() {
        let far = Far::unpublished();
        let source = &far.chain.source;
        source.append("crates/c0/src/lib.rs", &format!("{code}\n"));
        fs::write(source.path("crates/c0/secret"), secret).expect("it is ours");
        source.commit("with a secret");
        let publish = |value: &str| {
            let runner = crate::common::runner(source.root(), &far.chain.place);
            let runner = runner.env("DEPLOY_TOKEN", value);
            runner
                .args(["publish", "--required", "--remote", "none"])
                .run()
        };
        let said = publish(VALUE);
        refused(&said, "DEPLOY_TOKEN");
        assert!(!said.stderr.contains(VALUE), "{at}: {}", said.stderr);
        let points = far.chain.place.store().join("points");
        assert!(!points.exists(), "{at}: it was published");
        publish("short").succeeded();
    }
}

/// What cargo sets or a build script gives to rustc is in no environment that publish has.
#[test]
fn secrets_that_cargo_knows_of_are_not_published() {
    const VALUE: &str = "of-no-use-anywhere";
    let script = |name: &str| {
        format!("fn main() {{\n    println!(\"cargo::rustc-env={name}={VALUE}\");\n}}\n")
    };
    let config = format!("[env]\nDEPLOY_TOKEN = {{ value = \"{VALUE}\", force = true }}\n");
    let cases = [
        (".cargo/config.toml", config, Some("DEPLOY_TOKEN")),
        (
            "crates/c0/build.rs",
            script("API_PASSWD"),
            Some("API_PASSWD"),
        ),
        ("crates/c0/build.rs", script("PUBLIC_KEY"), None),
    ];
    for (file, text, name) in cases {
        let far = Far::unpublished();
        let source = &far.chain.source;
        let read = "pub const A: Option<&str> = option_env!(\"DEPLOY_TOKEN\");\n";
        source.append("crates/c0/src/lib.rs", read);
        let path = source.path(file);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
        fs::write(path, text).expect("it is ours");
        source.commit("with a secret");
        let publish = ["publish", "--required", "--remote", "none"];
        let said = crate::common::runner(source.root(), &far.chain.place);
        let said = said.args(publish).run();
        match name {
            Some(name) => refused(&said, name),
            None => drop(said.succeeded()),
        }
    }
}
