//! The latest timeline is followed, whatever the archive lacks of those before it.

use erpgo_dr_testkit::postgres::{PgServer, give_to_postgres};

use crate::support::{Site, content, start_on, wait_for, wait_until_archived, write};

/// Begins a new timeline, as a standby does when it is promoted.
fn promote(server: &mut PgServer) {
    server.stop();
    let signal = server.data_dir().join("standby.signal");
    std::fs::write(&signal, "").unwrap();
    give_to_postgres(&signal);
    server.restart();
    server.psql("postgres", "SELECT pg_promote()");
    wait_for("promotion", server, || server.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
}

#[test]
fn a_hole_in_the_numbers_of_timelines_hides_no_later_one() {
    let site = Site::new();
    let mut server = site.archiving_server(17, "");
    let backup = site.json(&["-d", &server.url("postgres"), "cluster", "backup"]);
    assert_eq!(backup["ok"], true, "{backup}");
    write(&server, "t1");
    for table in ["t2", "t3", "t4"] {
        promote(&mut server);
        write(&server, table);
        wait_until_archived(&server);
    }
    let tables = ["t1", "t2", "t3", "t4"];
    let expected = tables.map(|table| content(&server, table));
    let system = server.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
    let history = |timeline: u32| site.path(&format!("repository/wal/{system}/{timeline:08X}/{timeline:08X}.history"));
    std::fs::remove_file(history(2)).unwrap();
    drop(server);

    let data = site.path("restored");
    let restored = site.json(&["cluster", "restore", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(restored["ok"], true, "{restored}");
    let server = start_on(&data, 17);
    assert_eq!(tables.map(|table| content(&server, table)), expected, "{}", server.log());

    // PostgreSQL by itself does not come that far.
    let alone = site.path("alone");
    let command = ["cluster", "restore", "--timeline", "latest", "--restore-command", &site.shell("wal fetch %f %p")];
    let restored = site.json(&[&command[..], &["--data-dir", alone.to_str().unwrap()]].concat());
    assert_eq!(restored["ok"], true, "{restored}");
    let conf = alone.join("postgresql.auto.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let left_to_it = text.replace("recovery_target_timeline = '4'", "recovery_target_timeline = 'latest'");
    assert_ne!(text, left_to_it);
    std::fs::write(&conf, left_to_it).unwrap();
    let server = start_on(&alone, 17);
    assert!(server.try_psql("postgres", "SELECT FROM t2").is_err(), "{}", server.log());

    // Without the last one, the one before it is the latest; and where PostgreSQL finds it, it is left to find later ones.
    std::fs::remove_file(history(4)).unwrap();
    for (name, expected) in
        [("again", "recovery_target_timeline = '3'"), ("found", "recovery_target_timeline = 'latest'")]
    {
        let data = site.path(name);
        let restored = site.json(&["cluster", "restore", "--data-dir", data.to_str().unwrap()]);
        assert_eq!(restored["ok"], true, "{restored}");
        let conf = std::fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
        assert!(conf.contains(expected), "{conf}");
        let _ = std::fs::remove_file(history(3));
    }
}
