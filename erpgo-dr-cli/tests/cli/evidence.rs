//! Evidence at the terminal: collected, proven, handed out, and found altered.

use crate::support::{Desk, files};

#[test]
fn a_breach_is_rehearsed_from_the_backup_to_the_files_that_are_handed_out() {
    let (mut desk, _server) = Desk::with_server(17);
    desk.set("ERPGO_DR_OPERATOR", "ann");
    desk.configure("[evidence]\ntables = [\"audit.log\"]\n[evidence.programs]\nkernel = [\"uname\", \"-a\"]\n");
    desk.ok(&["backup"]);
    std::fs::write(desk.path("auth.log"), "accepted\n").unwrap();
    let arguments = ["evidence", "collect", "--label", "rehearsal", "--backup", "latest", "--file", "auth.log"];
    let collected = desk.run(&arguments);
    // The server's log is not one that it can be asked for: that is said, and the rest is there.
    assert_eq!(collected.code, 1, "{}", collected.stderr);
    for told in [
        "(rehearsal)",
        "collected by ann",
        "audit.log.csv",
        "kernel.txt",
        "auth.log",
        "not whole: ",
        "signed with the key",
    ] {
        assert!(collected.stdout.contains(told), "{told}: {}", collected.stdout);
    }
    let bundle = desk.json(&["evidence", "show"])["result"].clone();
    let (id, key) = (bundle["id"].as_str().unwrap().to_owned(), bundle["public_key"].as_str().unwrap().to_owned());
    assert_eq!(desk.json(&["evidence", "list"])["result"]["evidence"].as_array().unwrap().len(), 1);
    assert!(desk.ok(&["show", "latest"]).contains("belongs to the evidence"), "the backup is on hold");
    assert!(desk.ok(&["evidence", "verify"]).contains("is what was collected"));
    assert!(desk.ok(&["evidence", "export", &id[..15], "out", "--operator", "bob"]).contains(&key));
    desk.ok(&["evidence", "note", "latest", "a copy went to the police"]);
    assert!(
        desk.ok(&["evidence", "verify", "--folder", "out", "--public-key", &key]).contains("is what was collected")
    );
    let verified = desk.ok(&["evidence", "verify", &id]);
    assert!(verified.contains("exported by bob") && verified.contains("noted by ann"), "{verified}");

    for folder in [format!("repository/evidence/{id}/items"), "out".to_owned()] {
        let path = files(&desk.path(&folder)).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let altered = desk.run(&["evidence", "verify"]);
    assert_eq!(altered.code, 1, "{}", altered.stderr);
    assert!(
        altered.stdout.contains("NOT what was collected") && altered.stdout.contains("found-altered"),
        "{}",
        altered.stdout
    );
    let altered = desk.run(&["evidence", "verify", "--folder", "out"]);
    assert!(altered.code == 1 && altered.stdout.contains("not those that were collected"), "{}", altered.stdout);
    desk.fails(&["evidence", "export", &id, "again"], 7, "integrity", "repair");
    assert!(!desk.path("again").exists());
    desk.fails(&["evidence", "verify", "20200101T000000Z-00000000"], 4, "not-found", "evidence list");
    desk.fails(&["evidence", "show", "2019"], 2, "usage", "evidence list");
    desk.fails(&["evidence", "collect", "--backup", "2019"], 4, "not-found", "list");
}

#[test]
fn a_damaged_copy_never_wins_over_a_sound_one() {
    let desk = Desk::new();
    let (first, second) = (desk.path("repository"), desk.path("second"));
    desk.configure(&format!("[[replica]]\naddress = \"{}\"\n", second.display()));
    desk.ok(&["init", "--recipient", &desk.recipient]);
    std::fs::write(desk.path("large.log"), vec![7; 5 << 20]).unwrap();
    std::fs::write(
        desk.path("noise"),
        (0..40_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>(),
    )
    .unwrap();
    desk.ok(&["evidence", "collect", "--no-server", "--file", "large.log", "--file", "noise"]);
    let book = "name = 'mine'\ntitle = 'Mine'\n[[steps]]\nid = 'one'\ntitle = 'One'\ncommand = { run = ['true'] }\n";
    std::fs::write(desk.path("mine.toml"), book).unwrap();
    desk.ok(&["runbook", "run", "mine.toml"]);
    let damage = |folder: &str, cut: bool| {
        for path in files(&first.join(folder)) {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            if cut {
                bytes.truncate(middle);
            } else {
                bytes[middle] ^= 1;
            }
            std::fs::write(&path, bytes).unwrap();
        }
    };
    for (cut, deep) in [(true, &["repair"][..]), (false, &["repair", "--deep"])] {
        damage("evidence", cut);
        damage("state/runs", cut);
        let repaired = desk.run(deep);
        assert_eq!(repaired.code, 0, "{}{}", repaired.stdout, repaired.stderr);
        for folder in ["evidence", "state/runs"] {
            for path in files(&second.join(folder)) {
                let name = path.strip_prefix(&second).unwrap();
                assert_eq!(
                    std::fs::read(first.join(name)).unwrap(),
                    std::fs::read(&path).unwrap(),
                    "{}",
                    name.display()
                );
            }
        }
        assert!(desk.ok(&["evidence", "verify"]).contains("is what was collected"));
        assert!(desk.ok(&["runbook", "log"]).trim_end().ends_with("completed"));
    }
}
