//! A push that is killed at any moment leaves the archive without the file, or with all of it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use erpgo_dr_testkit::postgres::{PgServer, give_to_postgres};

use crate::support::Site;

#[test]
fn a_push_that_is_killed_is_repeated() {
    let site = Site::new();
    let server = PgServer::start(17);
    let log = site.path("pg_wal");
    std::fs::create_dir(&log).unwrap();
    give_to_postgres(&log);
    let config = site.path("erpgo-dr.toml").display().to_string();
    let mut killed = 0;
    for n in 0..12 {
        server.psql("postgres", &format!("CREATE TABLE t{n} AS SELECT generate_series(1, 200000) AS n"));
        let name = server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        let path = log.join(&name);
        std::fs::copy(server.data_dir().join("pg_wal").join(&name), &path).unwrap();
        give_to_postgres(&path);
        let path = path.display().to_string();
        let mut push = site.command(&["--config", &config, "wal", "push", &path]);
        let mut push = push.stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(15 * n));
        push.kill().unwrap();
        killed += usize::from(push.wait().unwrap().signal() == Some(9));
        let target = site.path("fetched").display().to_string();
        let (code, text) = site.erpgo(&["wal", "fetch", &name, &target]);
        match code {
            0 => assert!(std::fs::read(&target).unwrap() == std::fs::read(&path).unwrap()),
            1 | 202..=204 => {}
            _ => panic!("{code}: {text}"),
        }
        let (code, text) = site.erpgo(&["wal", "push", &path]);
        assert_eq!(code, 0, "{text}");
        assert_eq!(site.erpgo(&["wal", "fetch", &name, &target]).0, 0);
        assert!(std::fs::read(&target).unwrap() == std::fs::read(&path).unwrap());
    }
    assert!(killed > 3, "only {killed} pushes were killed");
    let (code, text) = site.erpgo(&["wal", "check", "--verify"]);
    assert_eq!(code, 0, "{text}");
}
