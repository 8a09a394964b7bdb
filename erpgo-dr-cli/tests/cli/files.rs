//! Files of the old scripts, and files for openssl.

use std::process::Command;

use crate::support::{Desk, content};

#[test]
fn old_files_are_decrypted_restored_and_imported() {
    let (mut desk, server) = Desk::with_server(17);
    let before = content(&server, "erp");
    let dump = server.client("pg_dump").args(["-Fc", "--no-owner", "--no-privileges", "erp"]).output().unwrap();
    assert!(dump.status.success());
    std::fs::write(desk.path("dump"), &dump.stdout).unwrap();
    let old = "automated_full_backup_20240215_120000_daily.sql.gz.enc";
    let made = Command::new("sh")
        .args(["-c", &format!("gzip -c dump | openssl enc -aes-256-cbc -salt -pass env:KEY -out {old}")])
        .env("KEY", "old key")
        .current_dir(desk.folder.path())
        .status();
    assert!(made.unwrap().success());

    desk.fails(&["decrypt", old, "-o", "plain"], 6, "locked", "BACKUP_ENCRYPTION_KEY");
    assert!(!desk.path("plain").exists());
    desk.set("ERPGO_DR_LEGACY_PASSPHRASE", "old key");
    let run = desk.run(&["decrypt", old, "-o", "plain"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("unauthenticated") && run.stdout.contains("pg_restore"),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert_eq!(std::fs::read(desk.path("plain")).unwrap(), dump.stdout);
    let piped = desk.command(&["decrypt", old, "-o", "-"]).output().unwrap();
    assert_eq!(piped.stdout, dump.stdout);

    desk.ok(&["restore", "--from-file", old, "--target-database", "from_file"]);
    assert_eq!(content(&server, "from_file"), before);
    let imported = desk.json(&["import", old]);
    let id = imported["result"]["imported"][0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("20240215T120000Z"), "{id}");
    let run = desk.fails(&["import", old], 5, "already-exists", "--again");
    assert!(run.stderr.contains(&id), "it names the backup that has it: {}", run.stderr);
    desk.ok(&["import", old, "--again"]);
    let shown = desk.ok(&["show", &id]);
    assert!(shown.contains("imported from") && shown.contains("unauthenticated"), "{shown}");
    desk.ok(&["restore", &id, "--target-database", "imported"]);
    assert_eq!(content(&server, "imported"), before);

    for (command, from) in [("decrypt", old), ("encrypt", "dump")] {
        std::fs::write(desk.path("taken"), "dear").unwrap();
        desk.fails(&[command, from, "-o", "taken"], 5, "already-exists", "--force");
        assert_eq!(std::fs::read_to_string(desk.path("taken")).unwrap(), "dear");
        let before = std::fs::read_dir(desk.folder.path()).unwrap().count();
        desk.ok(&[command, from, "-o", "taken", "--force"]);
        assert!(std::fs::read(desk.path("taken")).unwrap().len() > 1000);
        assert_eq!(std::fs::read_dir(desk.folder.path()).unwrap().count(), before, "no draft is left");
    }

    let tar = server.client("pg_dump").args(["-Ft", "erp"]).output().unwrap().stdout;
    std::fs::write(desk.path("dump.tar"), tar).unwrap();
    std::fs::write(desk.path("plain.sql"), "SELECT 1;\n").unwrap();
    let packed = Command::new("tar").args(["-cf", "files.tar", "plain.sql"]).current_dir(desk.folder.path()).status();
    assert!(packed.unwrap().success());
    for (file, said, hint) in [
        ("dump.tar", "tar-format archive of pg_dump", "pg_restore -d"),
        ("plain.sql", "SQL text", "| psql"),
        ("files.tar", "not one of pg_dump", "unpack it"),
    ] {
        for command in [&["import", file][..], &["restore", "--from-file", file, "--target-database", "x"]] {
            let run = desk.fails(command, 3, "invalid", hint);
            assert!(run.stderr.contains(said), "{}", run.stderr);
        }
    }
    std::fs::write(desk.path("short"), &dump.stdout[..dump.stdout.len() / 2]).unwrap();
    desk.fails(&["import", "short"], 7, "integrity", "another copy of the file");

    let cut = std::fs::read(desk.path(old)).unwrap();
    std::fs::write(desk.path("cut.enc"), &cut[..cut.len() / 2]).unwrap();
    std::fs::write(desk.path("plain2"), "dear").unwrap();
    desk.fails(&["decrypt", "cut.enc", "-o", "plain2", "--force"], 7, "integrity", "another copy of the file");
    assert_eq!(std::fs::read_to_string(desk.path("plain2")).unwrap(), "dear", "it is replaced by a whole one only");
    std::fs::remove_file(desk.path("plain2")).unwrap();
    desk.fails(&["decrypt", "cut.enc", "-o", "plain2"], 7, "integrity", "");
    assert!(!desk.path("plain2").exists(), "half a dump is left under no name");
}

#[test]
fn openssl_reads_what_encrypt_writes() {
    let mut desk = Desk::new();
    let plain: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    std::fs::write(desk.path("plain"), &plain).unwrap();
    desk.set("ERPGO_DR_LEGACY_PASSPHRASE", "by hand");
    for (options, arguments) in
        [(&[][..], &["-pbkdf2"][..]), (&["--kdf", "sha256"], &[]), (&["--kdf", "md5"], &["-md", "md5"])]
    {
        let written = desk.ok(&[&["encrypt", "plain", "-o", "sealed", "--force"], options].concat());
        assert!(written.contains("unauthenticated"), "{written}");
        let mut openssl = Command::new("openssl");
        openssl.args(["enc", "-d", "-aes-256-cbc", "-pass", "env:KEY", "-in", "sealed"]).args(arguments);
        let opened = openssl.env("KEY", "by hand").current_dir(desk.folder.path()).output().unwrap();
        assert!(opened.stdout == plain, "{options:?}: {}", String::from_utf8_lossy(&opened.stderr));
    }
}
