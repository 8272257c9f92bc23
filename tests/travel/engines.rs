//! The same against engines that exist. One that is not installed is skipped, with a line that says so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headstart::config::RemoteConfig;
use headstart::remote::Opener;
use headstart::tier::{Replaced, Tier, Trouble};
use headstart_testkit::{Headstart, Scratch};

use crate::collect;
use crate::common::around::{skipped, succeeds};
use crate::common::chain::builds_right;
use crate::far::Far;

/// How long an engine may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// The key of the account that every Azurite has.
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Is the emulator of Google's store, with what it leaves out: Google gives an ETag and a time with everything, and
/// `object_store` insists on them. It serves one request at a time, so more of them have to be able to queue: `python3 - PORT`.
const GCS_WITH_TAGS: &str = r#"
import sys
from gcp_storage_emulator import server
class Handler(server.RequestHandler):
    def end_headers(self):
        self.send_header("ETag", '"any"')
        self.send_header("Last-Modified", self.date_time_string())
        super().end_headers()
server.RequestHandler = Handler
server.server.HTTPServer.request_queue_size = 64
server.Server("127.0.0.1", int(sys.argv[1]), True, "starting").run()
"#;
/// Makes a container in Azurite, which takes only signed requests: `python3 - PORT KEY`.
const MAKE_CONTAINER: &str = r#"
import base64, datetime, hashlib, hmac, sys, urllib.request
port, key = sys.argv[1], base64.b64decode(sys.argv[2])
date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
path, version = "/devstoreaccount1/starting", "2021-08-06"
text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/devstoreaccount1{path}\nrestype:container"
sign = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": "SharedKey devstoreaccount1:" + sign,
           "Content-Length": "0"}
url = f"http://127.0.0.1:{port}{path}?restype=container"
urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers))
"#;

/// A server that ends with the test.
struct Engine {
    child: Child,
    port: u16,
    dir: Scratch,
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Engine {
    /// Starts `program` in a directory of its own; none where it is not installed.
    fn start(program: &str, args: impl FnOnce(u16, &Path) -> Vec<String>) -> Option<Engine> {
        let port = free_port();
        let dir = Scratch::new();
        let mut command = Command::new(program);
        command.args(args(port, dir.root())).current_dir(dir.root());
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(child) = quiet.spawn() else {
            skipped(&format!("there is no {program}"));
            return None;
        };
        let engine = Engine { child, port, dir };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(engine)
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Publishes to `write`, starts from `read` on another machine, and the same with the next commit; the doctor is content with
/// both.
fn travels(write: &str, read: &str, variables: &[(&str, &str)], conditional: bool) {
    let far = Far::unpublished();
    far.publish_to(write, variables);
    let first = far.clone("first");
    let start = |clone| {
        let start = ["start", "--json", "--believe-store"];
        let runner = far.headstart(clone, read);
        let set = |runner: Headstart, (name, value): &(&str, &str)| runner.env(name, value);
        variables
            .iter()
            .fold(runner, set)
            .args(start)
            .run()
            .succeeded()
            .json()
    };
    assert_eq!(start(&first)["units"]["fresh"], 4);
    builds_right(&first).nothing_ran();
    far.chain
        .source
        .append("crates/c0/src/lib.rs", "pub fn more() {}\n");
    far.chain.source.commit("next");
    let said = far.publish_to(write, variables)["remotes"][0].clone();
    assert_eq!(said["packs"], 1, "{said}");
    let next = far.clone("next");
    assert_eq!(start(&next)["behind"], 0);
    builds_right(&next).nothing_ran();
    far.store_is_sound();
    let runner = far.headstart(&next, &format!("{write} {read}"));
    let set = |runner: Headstart, (name, value): &(&str, &str)| runner.env(name, value);
    let runner = variables.iter().fold(runner, set);
    let said = runner.args(["doctor", "--json"]).run().json();
    let checks = said["checks"].as_array().expect("it is a list").iter();
    let verdicts = checks.map(|one| (one["check"].as_str(), one["verdict"].as_str()));
    let verdicts: Vec<_> = verdicts.collect();
    let of_conditions = if conditional { "ok" } else { "note" };
    for check in [
        "latency",
        "write",
        "read",
        "range",
        "clock",
        "conditional write",
    ] {
        let expected = if check == "conditional write" {
            of_conditions
        } else {
            "ok"
        };
        let found = verdicts.contains(&(Some(check), Some(expected)));
        let wrong = verdicts.contains(&(Some(check), Some("wrong")));
        assert!(found && !wrong, "{check}: {said:#}");
    }
}

/// Replaces a file by conditional writes, so that two publishers do not lose each other's entries.
fn replaces_surely(url: &str, variables: &[(&str, &str)]) {
    let remote = RemoteConfig {
        url: url.to_owned(),
        read_only: false,
        by_user: true,
    };
    let opener = Opener::new(PATIENCE).expect("there are threads");
    let remote = opener.open(&remote, variables.iter().copied());
    let remote = remote.expect("its settings suffice");
    for (seen, expected) in [
        (None, Replaced::Surely),
        (Some(&b"1"[..]), Replaced::Surely),
        (Some(b"1"), Replaced::Not),
        (None, Replaced::Not),
    ] {
        let next = if seen.is_none() { b"1" } else { b"2" };
        let replaced = remote.replace("v1/heads/test", seen, next.to_vec());
        assert_eq!(replaced, Ok(expected), "{seen:?}");
    }
    // A pack that was cut would be taken for a remote in trouble.
    let behind = remote.get_range("v1/heads/test", 5..9, &|_| true);
    assert_eq!(behind, Err(Trouble::Absent));
}

#[test]
fn s3_by_moto() {
    // Breaks for most users: S3 and what looks like it.
    let args = |port: u16, _: &Path| {
        let port = port.to_string();
        ["-H", "127.0.0.1", "-p", &port].map(str::to_owned).to_vec()
    };
    let Some(moto) = Engine::start("moto_server", args) else {
        return;
    };
    let address = format!("127.0.0.1:{}", moto.port);
    let mut stream = TcpStream::connect(&address).expect("it listens");
    let make = format!(
        "PUT /starting HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(make.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains(" 200 "), "{answer}");
    let endpoint = format!("http://{address}");
    let variables = [
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT", endpoint.as_str()),
    ];
    let (url, own) = ("s3://starting/a/b", "v1/packs/2020-W01");
    travels(url, url, &variables, true);
    let put = |key: &str| {
        let put = format!(
            "PUT /starting/{key} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nold"
        );
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.write_all(put.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.contains(" 200 "), "{answer}");
    };
    // More than one page of a listing.
    let keys: Vec<String> = (0..1100).map(|at| format!("a/b/{own}/{at:064x}")).collect();
    keys.iter().for_each(|key| put(key));
    put(&format!("other/{own}/{:064x}", 0));
    collect::collects(url, &variables, 1100);
    travels(url, url, &variables, true);
    takes_lifecycle_rules(url, &endpoint);
    replaces_surely("s3://starting/c", &variables);
}

#[test]
fn s3_by_garage() {
    // Breaks for teams that keep their own store: Garage answers otherwise than S3 in many small things.
    let config = |port: u16, dir: &Path| {
        let (rpc, shown) = (free_port(), dir.display());
        let text = format!(
            "metadata_dir = '{shown}/meta'\ndata_dir = '{shown}/data'\ndb_engine = 'sqlite'\nreplication_factor = 1\n\
             rpc_bind_addr = '127.0.0.1:{rpc}'\nrpc_public_addr = '127.0.0.1:{rpc}'\nrpc_secret = '{}'\n\
             [s3_api]\ns3_region = 'garage'\napi_bind_addr = '127.0.0.1:{port}'\n",
            "5e".repeat(32)
        );
        std::fs::write(dir.join("garage.toml"), text).expect("it is ours");
        ["-c", "garage.toml", "server"].map(str::to_owned).to_vec()
    };
    let Some(server) = Engine::start("garage", config) else {
        return;
    };
    let garage = |args: &str| {
        let mut garage = Command::new("garage");
        let words = args.split(' ');
        let garage = garage.args(["-c", "garage.toml"]).args(words);
        let said = garage.current_dir(server.dir.root()).output();
        let said = said.expect("it is there");
        let shown = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{args}: {shown}");
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let node = garage("node id -q");
    let node = node.split('@').next().unwrap_or_default();
    garage(&format!("layout assign -z here -c 1G {node}"));
    garage("layout apply --version 1");
    garage("bucket create starting");
    let key = garage("key create publisher");
    let word_of = |name: &str| {
        let line = key.lines().find(|line| line.starts_with(name));
        let word = line.and_then(|line| line.split_whitespace().last());
        word.expect("it is shown").to_owned()
    };
    garage("bucket allow --read --write starting --key publisher");
    let (id, secret) = (word_of("Key ID"), word_of("Secret key"));
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let variables = [
        ("AWS_ACCESS_KEY_ID", id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &secret),
        ("AWS_REGION", "garage"),
        ("AWS_ENDPOINT", &endpoint),
    ];
    // It takes no heed of conditions.
    travels("s3://starting/a", "s3://starting/a", &variables, false);
}

/// Sets the rules that are printed for `url`, by the provider's own library, and reads them back.
fn takes_lifecycle_rules(url: &str, endpoint: &str) {
    const SET: &str = r#"
import json, sys
try:
    import boto3
except ImportError:
    sys.exit(3)
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="a")
s3.put_bucket_lifecycle_configuration(Bucket="starting", LifecycleConfiguration=json.loads(sys.argv[2]))
for rule in s3.get_bucket_lifecycle_configuration(Bucket="starting")["Rules"]:
    print(rule["Status"], rule["Filter"]["Prefix"], rule["Expiration"]["Days"])
"#;
    let rules = collect::gc(&["--lifecycle", "s3", "--remote", url], &[]).succeeded();
    let mut python = Command::new("python3");
    let set = python.args(["-c", SET, endpoint, &rules.stdout]).output();
    let set = set.expect("there is a python3");
    if set.status.code() == Some(3) {
        return skipped("there is no boto3");
    }
    let said = String::from_utf8_lossy(&set.stdout);
    let expected =
        "Enabled a/b/v1/manifests/ 119\nEnabled a/b/v1/packs/ 119\nEnabled a/b/v1/unsigned/ 119\n";
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&set.stderr));
}

#[test]
fn azure_by_azurite() {
    // Breaks for whoever has their CI at Azure.
    let args = |port: u16, _: &Path| {
        let port = port.to_string();
        let args = [
            "--silent",
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--blobPort",
            &port,
        ];
        args.map(str::to_owned).to_vec()
    };
    let Some(azurite) = Engine::start("azurite-blob", args) else {
        return;
    };
    let port = azurite.port.to_string();
    let mut python = Command::new("python3");
    let made = python
        .args(["-c", MAKE_CONTAINER, &port, AZURITE_KEY])
        .status();
    assert!(made.expect("there is a python3").success());
    let endpoint = format!("http://127.0.0.1:{port}/devstoreaccount1");
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1"),
        ("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY),
        ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
    ];
    travels("az://starting/a", "az://starting/a", &variables, true);
    replaces_surely("az://starting/c", &variables);
}

/// Breaks for whoever has their CI at Google; and wherever a store takes no heed of conditions, as this one.
///
/// As it is, the emulator takes what is put, and answers without an ETag, at which `object_store` fails: hence the few lines
/// around it. `fake-gcs-server`, the other one that there is, takes no plain PUT, which is how `object_store` writes.
#[test]
fn google_by_its_emulator() {
    let mut python = Command::new("python3");
    if !succeeds(python.args(["-c", "import gcp_storage_emulator"])) {
        return skipped("there is no gcp-storage-emulator");
    }
    let args = |port: u16, _: &Path| {
        ["-c", GCS_WITH_TAGS, &port.to_string()]
            .map(str::to_owned)
            .to_vec()
    };
    let Some(google) = Engine::start("python3", args) else {
        return;
    };
    let account = serde_json::json!({
        "gcs_base_url": format!("http://127.0.0.1:{}", google.port),
        "disable_oauth": true,
        "client_email": "", "private_key": "", "private_key_id": "",
    });
    let account = account.to_string();
    let variables = [("GOOGLE_SERVICE_ACCOUNT_KEY", account.as_str())];
    travels("gs://starting/a", "gs://starting/a", &variables, false);
}

#[test]
fn nginx_as_origin_and_as_a_cache_before_it() {
    // Breaks for teams with a cache in their own network: what it hands out must be what the origin has.
    let remote = Scratch::new();
    let (root, behind) = (remote.root().display().to_string(), free_port());
    let config = |port: u16, dir: &Path| {
        let dir = dir.display();
        let aside: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {dir}/{name};"))
            .concat();
        let text = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log {dir}/errors; events {{}} http {{ access_log off; {aside}
             proxy_cache_path {dir}/cache keys_zone=all:1m;
             server {{ listen 127.0.0.1:{behind}; root {root}; }}
             server {{ listen 127.0.0.1:{port};
               location / {{ slice 1m; proxy_cache all; proxy_cache_key $uri$slice_range;
                 proxy_set_header Range $slice_range; proxy_cache_valid 200 206 1h; proxy_http_version 1.1;
                 proxy_pass http://127.0.0.1:{behind}; }}
               location /v1/heads {{ proxy_pass http://127.0.0.1:{behind}; }} }} }}"
        );
        let file = format!("{dir}/nginx.conf");
        std::fs::write(&file, text).expect("it is ours");
        vec![
            "-c".to_owned(),
            file,
            "-e".to_owned(),
            format!("{dir}/errors"),
        ]
    };
    let Some(nginx) = Engine::start("nginx", config) else {
        return;
    };
    let read = format!("http://127.0.0.1:{} http://127.0.0.1:{behind}", nginx.port);
    travels(
        &format!("file://{}", remote.root().display()),
        &read,
        &[],
        true,
    );
}
