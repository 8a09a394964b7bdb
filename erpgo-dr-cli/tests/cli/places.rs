//! Two places of which one lost something: it is told, and by whom it can be healed.

use crate::support::Desk;

/// A desk with a second place that has all that the first has, and the backups in both.
fn pair() -> (Desk, String, String) {
    let (desk, _server) = Desk::with_server(17);
    desk.configure(&format!("[[replica]]\naddress = \"{}\"\n", desk.path("second").display()));
    desk.ok(&["repair"]);
    let take = || {
        desk.json(&["backup", "--database", "erp", "--scope", "schema"])["result"]["id"].as_str().unwrap().to_owned()
    };
    let (old, new) = (take(), take());
    (desk, old, new)
}

#[test]
fn a_backup_that_only_the_second_place_has_is_a_problem_until_it_is_repaired() {
    let (desk, old, new) = pair();
    for command in ["list", "status", "doctor"] {
        assert!(!desk.run(&[command]).stdout.contains("lost at the primary"), "{command}");
    }
    for lost in [&new, &old] {
        for folder in ["backups", "dumps"] {
            std::fs::remove_dir_all(desk.path("repository").join(folder).join(lost)).unwrap();
        }
        let problem = format!("{lost}: lost at the primary place, and committed at {}", desk.path("second").display());
        for command in ["list", "status", "doctor"] {
            let run = desk.run(&[command]);
            assert_eq!(run.code, 1, "{command}: {}{}", run.stdout, run.stderr);
            assert!(run.stdout.contains(&problem) && run.stdout.contains("repair"), "{command}: {}", run.stdout);
        }
        let run = desk.run(&["status", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(document["result"]["problems"].as_array().unwrap().len(), 1, "{document}");
        assert_eq!(document["result"]["problems"][0]["subject"], lost.as_str());
        desk.ok(&["repair"]);
        assert!(desk.ok(&["list"]).contains(lost.as_str()));
        desk.ok(&["status"]);
    }
}

#[test]
fn a_place_that_cannot_be_read_is_a_problem() {
    let (mut desk, old, _) = pair();
    desk.set("AWS_ACCESS_KEY_ID", "key");
    desk.set("AWS_SECRET_ACCESS_KEY", "secret");
    desk.configure(
        "[storage]\nmax_retries = 0\n[[replica]]\naddress = \"s3://nobody/erp\"\n\
         s3 = { endpoint = \"http://127.0.0.1:1\", region = \"us-east-1\" }\n",
    );
    for command in ["list", "status"] {
        let run = desk.run(&[command]);
        assert_eq!(run.code, 1, "{command}: {}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("PROBLEM: s3://nobody/erp: cannot be read"), "{command}: {}", run.stdout);
    }
    assert!(desk.run(&["list"]).stdout.contains(&old), "what the first place has is listed all the same");
}
