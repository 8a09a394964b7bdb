//! The exit codes that PostgreSQL acts on.

use std::os::unix::fs::PermissionsExt as _;

use erpgo_dr_testkit::fault_proxy::Fault;
use erpgo_dr_testkit::postgres::PgServer;
use erpgo_dr_testkit::{FaultProxy, SeaweedFs};

use crate::support::Site;

#[test]
fn a_fetch_ends_with_1_only_for_what_is_not_there() {
    let site = Site::new();
    let server = PgServer::start(18);
    let name = site.segments(&server, 1).remove(0);
    let other = format!("{}FF", &name[..22]);
    let fetch = |name: &str| site.erpgo(&["wal", "fetch", name, "pg_wal/RECOVERYXLOG"]);
    let (code, text) = fetch(&name);
    assert_eq!(code, 204, "an archive without anything of this cluster is a wrong address: {text}");
    let pushed = site.json(&["wal", "push", &format!("pg_wal/{name}")]);
    assert_eq!((&pushed["result"]["outcome"], &pushed["ok"]), (&"archived".into(), &true.into()), "{pushed}");
    assert_eq!(fetch(&name).0, 0);
    assert_eq!(fetch(&other), (1, format!("{other} is not in the archive\n")));
    assert_eq!(fetch("00000002.history").0, 1);

    for arguments in [&["wal", "fetch"][..], &["wal", "fetch", "nonsense", "x"], &["wal", "fetch", &name, "x", "--no"]]
    {
        assert_eq!(site.erpgo(arguments).0, 202, "{arguments:?}");
    }
    assert_eq!(site.run(&["--config", "nowhere.toml", "wal", "fetch", &name, "x"]).0, 202);
    let nowhere = site.path("nowhere").display().to_string();
    assert_eq!(site.erpgo(&["-r", &nowhere, "wal", "fetch", &name, "x"]).0, 204);
    assert_eq!(site.erpgo(&["-i", "nowhere.txt", "wal", "fetch", &name, "x"]).0, 204);
    let (code, text) = site.run(&["-r", "repository", "wal", "fetch", &name, "x"]);
    assert!(code > 125, "a relative address is none: {code} {text}");
    let repository = site.path("repository").display().to_string();
    std::fs::write(site.path("empty.toml"), "").unwrap();
    let keyless = ["--config", "empty.toml", "-r", &repository, "wal", "fetch", &name, "x"];
    assert_eq!(site.run(&keyless).0, 206);
    let document = site.json(&["wal", "fetch", "nonsense", "x"]);
    assert_eq!(document["error"]["exit_code"], 202, "{document}");

    let folder = site.path("repository/wal");
    let stored = std::process::Command::new("find").arg(&folder).args(["-name", &name]).output().unwrap();
    let stored = std::path::PathBuf::from(String::from_utf8(stored.stdout).unwrap().trim_end());
    let mut bytes = std::fs::read(&stored).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&stored, bytes).unwrap();
    let (code, text) = fetch(&name);
    assert_eq!(code, 207, "{text}");
    if erpgo_dr_testkit::is_root() || std::fs::read(&stored).is_ok() {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o000)).unwrap();
        let (code, text) = fetch(&name);
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(code, 209, "{text}");
    }
}

#[test]
fn an_outage_of_the_store_is_no_end_of_the_log() {
    let (store, server) = (SeaweedFs::start(), PgServer::start(17));
    store.create_bucket("wal");
    let proxy = FaultProxy::start(store.port());
    let site = Site::bare();
    let more = format!(
        "[storage]\nmax_retries = 0\n[storage.s3]\nendpoint = \"{}\"\nregion = \"{}\"\n",
        proxy.url(),
        SeaweedFs::REGION
    );
    site.configure_at("s3://wal/repository", &more);
    let credentials = [("AWS_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SeaweedFs::SECRET_KEY)];
    let config = site.path("erpgo-dr.toml").display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = site.command(&[&["--config", &config], arguments].concat());
        let output = command.envs(credentials).output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let key = std::fs::read_to_string(site.path("key.txt")).unwrap();
    let recipient = key.lines().find_map(|line| line.split_once("public key: ")).unwrap().1.to_owned();
    assert_eq!(run(&["init", "--recipient", &recipient]).0, 0);
    let name = site.segments(&server, 1).remove(0);
    let path = format!("pg_wal/{name}");
    assert_eq!(run(&["wal", "push", &path]).0, 0);
    let fetch = |name: &str| run(&["wal", "fetch", name, "pg_wal/RECOVERYXLOG"]);
    assert_eq!(fetch(&name).0, 0);
    assert_eq!(fetch("00000002.history").0, 1);
    proxy.set(Fault::Refuse);
    for name in [name.as_str(), "00000002.history"] {
        let (code, text) = fetch(name);
        assert_eq!(code, 211, "{text}");
    }
    assert_eq!(run(&["wal", "push", &path]).0, 11);
    proxy.heal();
    assert_eq!(fetch(&name).0, 0);
    assert_eq!(run(&["wal", "push", &path]).0, 0, "the same again");
}
