//! Who may open the repository: slots come, change and go; an epoch begins.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::Desk;

#[test]
fn slots_come_change_and_go() {
    let mut desk = Desk::new();
    let mode = std::fs::metadata(desk.path("key.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    desk.fails(&["key", "generate", "key.txt"], 2, "usage", "new file");
    desk.ok(&["init", "--recipient", &desk.recipient]);
    let second = desk.json(&["key", "generate", "second.txt"])["result"]["recipient"].as_str().unwrap().to_owned();
    desk.ok(&["key", "add", "second", "--recipient", &second]);
    desk.fails(&["key", "add", "second", "--recipient", &second], 5, "already-exists", "key list");
    let list = desk.ok(&["key", "list", "--identity", "second.txt"]);
    assert!(list.contains("second (recipient)") && list.contains("yes"), "{list}");
    desk.ok(&["key", "remove", "recipients"]);
    desk.fails(&["key", "list"], 6, "locked", "--identity");
    desk.fails(&["key", "remove", "second", "--identity", "second.txt"], 13, "refused", "key add");
    desk.set("ERPGO_DR_IDENTITY", &desk.path("second.txt").display().to_string());
    desk.set("ERPGO_DR_NEW_PASSPHRASE", "correct horse");
    // What an option says goes before the environment, and of two in the environment none is taken.
    std::fs::write(desk.path("new"), "correct horse\n").unwrap();
    desk.set("ERPGO_DR_RECIPIENT", &second);
    desk.fails(&["key", "rotate", "second"], 2, "usage", "--new-passphrase-file");
    desk.fails(
        &["key", "rotate", "second", "--new-passphrase-file", "new", "--recipient", &second],
        2,
        "usage",
        "one of",
    );
    let rotated = desk.json(&["key", "rotate", "second", "--new-passphrase-file", "new"]);
    assert_eq!(rotated["result"]["kind"], "passphrase", "{rotated}");
    desk.set("ERPGO_DR_RECIPIENT", "");
    desk.fails(&["status"], 6, "locked", "--passphrase-file");
    desk.set("ERPGO_DR_PASSPHRASE", "correct horse");
    assert!(desk.ok(&["key", "list"]).contains("second (passphrase)"));
    let list = desk.json(&["key", "list"]);
    assert_eq!(list["result"]["epochs"][0]["slots"][0]["kind"], "passphrase", "{list}");
    desk.set("ERPGO_DR_PASSPHRASE", "");
    std::fs::write(desk.path("passphrase"), "correct horse\n").unwrap();
    let by_passphrase = ["--passphrase-file", "passphrase"];
    let begun = desk.json(&[&["key", "new-epoch", "--recipient", &second], &by_passphrase[..]].concat());
    assert_eq!(begun["result"]["slots"][0], "recipients");
    let list = desk.json(&["key", "list"]);
    let epochs = list["result"]["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), 2, "{list}");
    assert_eq!(epochs[1]["active"], true);
}

#[test]
fn a_command_wraps_and_unwraps() {
    let desk = Desk::new();
    let program = desk.path("kms");
    std::fs::write(&program, "#!/bin/sh\nbase64 $1\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(
        desk.path("erpgo-dr.toml"),
        format!(
            "repository = \"{}\"\n[keys.command]\nwrap = [\"{kms}\"]\nunwrap = [\"{kms}\", \"-d\"]\n",
            desk.path("repository").display(),
            kms = program.display()
        ),
    )
    .unwrap();
    let made = desk.ok(&["init"]);
    assert!(made.contains("it opens with: command"), "{made}");
    assert!(desk.ok(&["key", "list"]).contains("command (command)"));
    std::fs::write(&program, "#!/bin/sh\necho no such key >&2; exit 3\n").unwrap();
    let run = desk.run(&["key", "list"]);
    assert_eq!(run.code, 6, "{}", run.stderr);
    assert!(run.stderr.contains("no such key"), "{}", run.stderr);
}
