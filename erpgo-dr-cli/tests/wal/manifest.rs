//! PostgreSQL's own `pg_verifybackup` accepts what is restored, and finds what was changed since.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use erpgo_dr_testkit::postgres::{MAJORS, PgServer, PgServerOptions, give_to_postgres};

use crate::incremental::back_up;
use crate::support::{Site, write};

/// Runs `pg_verifybackup`; returns whether it is content, and what it says.
fn verify(server: &PgServer, data: &Path) -> (bool, String) {
    let output = server.client("pg_verifybackup").arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn pg_verifybackup_accepts_full_and_incremental_backups_of_every_version() {
    for major in MAJORS {
        let site = Site::new();
        let mut options = PgServerOptions::new(major);
        if major >= 17 {
            options = options.setting("summarize_wal", "on");
        }
        let server = options.start();
        let space = site.path("space");
        std::fs::create_dir(&space).unwrap();
        give_to_postgres(&space);
        server.psql("postgres", &format!("CREATE TABLESPACE elsewhere LOCATION '{}'", space.display()));
        server.psql("postgres", "CREATE TABLE far TABLESPACE elsewhere AS SELECT generate_series(1, 1000) AS n");
        let oid = server.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'");
        write(&server, "kept");
        back_up(&site, &server, &[]);
        server.psql("postgres", "UPDATE kept SET t = 'new' WHERE n % 1000 = 0");
        server.psql("postgres", "INSERT INTO far VALUES (0)");
        let backup = back_up(&site, &server, &[]);
        let (id, data, moved) = (backup["id"].as_str().unwrap(), site.path("restored"), site.path("moved"));
        let tablespace = format!("{oid}={}", moved.display());
        let folder = data.display().to_string();
        let restore = ["cluster", "restore", id, "--no-archive", "--backup-manifest", "--data-dir", &folder];
        let restored = site.json(&[&restore[..], &["--tablespace", &tablespace]].concat());
        assert_eq!(restored["ok"], true, "{restored}");
        let (accepted, text) = verify(&server, &data);
        assert!(accepted, "{major}: {text}");

        let file = data.join(server.psql("postgres", "SELECT pg_relation_filepath('kept')"));
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.write_all_at(b"x", 8192 * 3 + 100).unwrap();
        let (accepted, text) = verify(&server, &data);
        assert!(!accepted && text.contains("checksum mismatch"), "{major}: {text}");
    }
}
