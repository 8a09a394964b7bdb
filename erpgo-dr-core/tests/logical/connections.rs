//! Passwords, TLS and rights: who may not, is told so, and no secret is.

use std::error::Error;
use std::os::unix::fs::PermissionsExt;

use erpgo_dr_core::conformance::driver::MemoryBackup;
use erpgo_dr_core::postgres::{
    ClientPrograms, ConnectionSettings, DatabaseDriver, DumpOptions, LogicalDriver, PostgresError, SslMode,
};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::{PgServerOptions, SUPERUSER};

use super::support::*;

/// All that an error says.
fn whole_text(error: &dyn Error) -> String {
    let mut text = format!("{error:?} {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error}"));
        cause = error.source();
    }
    text
}

fn tcp(server: &PgServer) -> ConnectionSettings {
    ConnectionSettings::new("127.0.0.1").port(server.port()).user(SUPERUSER)
}

#[tokio::test]
async fn the_password_counts_for_us_and_for_the_programs() {
    let server = PgServerOptions::new(17).password("hunter2 '\\ ü").start();
    server.create_sample("erp", 1);
    let right = tcp(&server).password("hunter2 '\\ ü".into());
    let driver = LogicalDriver::new(right.clone(), programs()).dump_options(DumpOptions::new().database("erp"));
    assert!(!format!("{driver:?}").contains("hunter2"));
    driver.back_up(&mut MemoryBackup::new(), &NoProgress).await.unwrap();

    let wrong = LogicalDriver::new(tcp(&server).password("hunter3".into()), programs());
    let error = wrong.back_up(&mut MemoryBackup::new(), &NoProgress).await.unwrap_err();
    assert!(matches!(error, PostgresError::Connect { .. }), "{error:?}");
    let text = whole_text(&error);
    assert!(text.contains("password authentication failed") && !text.contains("hunter3"), "{text}");

    let none = LogicalDriver::new(tcp(&server), programs());
    assert!(matches!(none.probe().await, Err(PostgresError::Connect { .. })));

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("127.0.0.1:{}:*:{SUPERUSER}:hunter2 '\\\\ ü\n", server.port())).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let by_file = LogicalDriver::new(tcp(&server).passfile(file.path()), programs());
    by_file.back_up(&mut MemoryBackup::new(), &NoProgress).await.unwrap();
}

#[tokio::test]
async fn the_server_must_be_the_one_that_was_asked_for() {
    let server = PgServerOptions::new(15).tls().setting("listen_addresses", "0.0.0.0").start();
    server.create_sample("erp", 1);
    let stranger = PgServerOptions::new(15).tls().start();
    let verified = |host: &str| {
        ConnectionSettings::new(host)
            .port(server.port())
            .user(SUPERUSER)
            .ssl_mode(SslMode::VerifyFull)
            .ssl_root_cert(server.ca_file())
    };
    let driver = LogicalDriver::new(verified("localhost"), programs());
    let driver = driver.dump_options(DumpOptions::new().database("erp"));
    driver.back_up(&mut MemoryBackup::new(), &NoProgress).await.unwrap();
    let client = verified("127.0.0.1").connect().await.unwrap();
    let row = client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));

    let refused = async |settings: ConnectionSettings| {
        let error = settings.connect().await.unwrap_err();
        assert!(matches!(error, PostgresError::Connect { .. }), "{error:?}");
        whole_text(&error)
    };
    // The same server by an address that its certificate does not have.
    let text = refused(verified("127.0.0.2")).await;
    assert!(text.contains("NotValidForName"), "{text}");
    verified("127.0.0.2").ssl_mode(SslMode::VerifyCa).connect().await.unwrap();
    // Of an authority that is not trusted.
    for mode in [SslMode::VerifyFull, SslMode::VerifyCa, SslMode::Require] {
        let text = refused(verified("localhost").ssl_mode(mode).ssl_root_cert(stranger.ca_file())).await;
        assert!(text.contains("UnknownIssuer") || text.contains("certificate"), "{text}");
    }
    // Without an authority `require` verifies nothing, as in libpq; this server takes no plain TCP.
    let plain = ConnectionSettings::new("localhost").port(server.port()).user(SUPERUSER);
    plain.clone().ssl_mode(SslMode::Require).connect().await.unwrap();
    plain.clone().connect().await.unwrap();
    refused(plain.ssl_mode(SslMode::Disable)).await;
}

#[tokio::test]
async fn a_role_without_rights_gets_no_half_backup() {
    let server = PgServer::start(17);
    create_sample(&server, "erp");
    server.psql("postgres", "CREATE ROLE weak LOGIN");
    let weak = LogicalDriver::new(settings(&server).user("weak"), programs());
    let weak = weak.dump_options(DumpOptions::new().database("erp"));
    let error = weak.back_up(&mut MemoryBackup::new(), &NoProgress).await.unwrap_err();
    assert!(
        matches!(&error, PostgresError::Program { stderr, .. } if stderr.contains("permission denied")),
        "{error:?}"
    );

    // What it may read it may back up, but for the passwords.
    let weak = weak.dump_options(DumpOptions::new().database("postgres"));
    let mut backup = MemoryBackup::new();
    let contents = weak.back_up(&mut backup, &NoProgress).await.unwrap();
    assert!(contents.warnings[0].contains("without their passwords"), "{:?}", contents.warnings);
    let globals = String::from_utf8(backup.stream(0).to_vec()).unwrap();
    assert!(globals.contains("CREATE ROLE weak") && !globals.contains("PASSWORD"), "{globals}");
}

#[tokio::test]
async fn without_programs_there_is_no_backup() {
    let server = PgServer::start(18);
    let old = ClientPrograms::new().folder(erpgo_dr_testkit::postgres::postgres_bin(15));
    let driver = LogicalDriver::new(settings(&server), old);
    match driver.back_up(&mut MemoryBackup::new(), &NoProgress).await {
        Err(PostgresError::NoClientProgram { program, wanted, found, .. }) => {
            assert_eq!((program, wanted), ("pg_dump", 18));
            assert!(found.contains("15") && !found.contains("18"), "{found}");
        }
        other => panic!("{other:?}"),
    }
}
