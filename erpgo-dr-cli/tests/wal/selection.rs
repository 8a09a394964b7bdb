//! Single databases of a cluster come back with all that happened to them, and the others as shells that can be dropped.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use erpgo_dr_testkit::postgres::{MAJORS, PgServer, give_to_postgres};

use crate::support::{Site, start_on, wait_until_archived};

const CONTENT: &str = "SELECT count(*), sum(n), max(length(t)) FROM kept";

fn fill(server: &PgServer, database: &str) {
    server.psql(
        database,
        "CREATE TABLE kept AS SELECT n, repeat(md5(n::text), 8) AS t FROM generate_series(1, 50000) AS n; \
         CREATE INDEX ON kept (n); CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS one",
    );
}

/// Changes of many kinds, which replay repeats in every database.
fn change(server: &PgServer, database: &str) {
    for sql in [
        "UPDATE kept SET t = 'changed' WHERE n % 7 = 0",
        "DELETE FROM kept WHERE n BETWEEN 20000 AND 30000",
        "VACUUM kept",
        "INSERT INTO kept SELECT n, 'new' FROM generate_series(60000, 70000) AS n",
        "CREATE TABLE made AS SELECT generate_series(1, 1000) AS n",
        "VACUUM FULL made",
        "TRUNCATE made",
        "DELETE FROM kept WHERE n > 65000",
        "VACUUM (TRUNCATE) kept",
        "REINDEX TABLE kept",
        "ALTER TABLE kept ADD COLUMN more int DEFAULT 7",
    ] {
        server.psql(database, sql);
    }
}

/// Bytes that the files of a folder take up on the disk.
fn disk_usage(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { disk_usage(&entry.path()) } else { entry.metadata().unwrap().blocks() * 512 }
            },
        )
        .sum()
}

#[test]
fn one_database_of_several_comes_back_on_every_version() {
    for major in MAJORS {
        let site = Site::new();
        let server = site.archiving_server(major, "");
        let space = site.path("space");
        std::fs::create_dir(&space).unwrap();
        give_to_postgres(&space);
        server.psql("postgres", &format!("CREATE TABLESPACE extra LOCATION '{}'", space.display()));
        for database in ["wanted", "other", "dropped"] {
            server.create_database(database);
            fill(&server, database);
        }
        server.psql("other", "CREATE TABLE elsewhere TABLESPACE extra AS SELECT generate_series(1, 100000) AS n");
        let tablespace = server.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'extra'");
        let other = server.psql("postgres", "SELECT oid FROM pg_database WHERE datname = 'other'");
        let url = server.url("postgres");
        let backup = site.json(&["-d", &url, "cluster", "backup"]);
        assert_eq!(backup["ok"], true, "{backup}");

        ["wanted", "other"].iter().for_each(|database| change(&server, database));
        server.psql(
            "other",
            "INSERT INTO elsewhere SELECT generate_series(1, 1000); CREATE TABLE more TABLESPACE extra AS SELECT 1",
        );
        server.psql("postgres", "DROP DATABASE dropped");
        server.create_database("made");
        fill(&server, "made");
        wait_until_archived(&server);
        let expected = ["wanted", "made"].map(|database| server.psql(database, CONTENT));

        let data = site.path("restored");
        let moved = format!("{tablespace}={}", site.path("moved").display());
        let folders = ["--data-dir", data.to_str().unwrap(), "--tablespace", &moved];
        let unknown = site
            .json(&[&["cluster", "restore", "--database", "wanted", "--database", "nobody"][..], &folders].concat());
        let text = unknown["error"]["message"].as_str().unwrap_or_else(|| panic!("{unknown}"));
        assert!(
            text.contains("nobody") && text.contains("dropped, other, postgres, template0, template1, wanted"),
            "{text}"
        );
        assert!(!data.exists(), "nothing is made for a name that is wrong");

        let restored = site.json(&[&["cluster", "restore", "--database", "wanted"][..], &folders].concat());
        let result = &restored["result"];
        assert_eq!(result["empty_databases"], serde_json::json!(["dropped", "other"]), "{restored}");
        let (written, all) = (result["written_bytes"].as_u64().unwrap(), result["bytes"].as_u64().unwrap());
        assert!(written < all * 3 / 4, "{restored}");
        assert!(disk_usage(&data.join("base").join(&other)) < 1 << 20);
        assert!(disk_usage(&site.path("moved")) < 1 << 20);

        let server = start_on(&data, major);
        assert_eq!(["wanted", "made"].map(|database| server.psql(database, CONTENT)), expected, "version {major}");
        assert_eq!(server.psql("wanted", "SELECT count(*) FROM unlogged"), "0");
        server.psql("wanted", "INSERT INTO kept SELECT n FROM generate_series(1, 1000) AS n; CHECKPOINT");
        let names = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
        assert_eq!(server.psql("postgres", names), "made other postgres wanted");
        // Nobody gets in, and who is elsewhere does not notice.
        let began = server.psql("postgres", "SELECT pg_postmaster_start_time(), pg_backend_pid() > 0");
        let refused = server.try_psql("other", "SELECT 1").unwrap_err();
        assert!(refused.contains("not a valid data directory"), "{refused}");
        assert!(!server.log().contains("PANIC") && !server.log().contains("terminating any other"), "{}", server.log());
        assert_eq!(server.psql("postgres", "SELECT pg_postmaster_start_time(), pg_backend_pid() > 0"), began);
        server.psql("postgres", "DROP DATABASE other");
        server.create_database("other");
        fill(&server, "other");
        assert!(!data.join("base").join(&other).exists());
    }
}
