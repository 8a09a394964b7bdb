//! Each server of the testkit starts, does what the tests need of it, and is gone when dropped.

#![allow(clippy::unwrap_used)] // in the helpers too, where clippy does not see a test

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use erpgo_dr_testkit::fault_proxy::{Direction, Fault};
use erpgo_dr_testkit::postgres::{MAJORS, PgServerOptions};
use erpgo_dr_testkit::{
    Azurite, Bind, FaultProxy, FullDisk, GcsServer, Ministack, PatroniOptions, PgServer, SeaweedFs, SmtpServer, python,
    sample_schema,
};

fn closed(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

#[test]
fn every_postgres_starts_with_the_same_sample() {
    let counts = MAJORS.map(|major| {
        let server = PgServer::start(major);
        assert!(server.psql("postgres", "SHOW server_version").starts_with(&major.to_string()));
        server.create_sample("shop", 1);
        let port = server.port();
        let rows = server.psql(
            "shop",
            "SELECT (SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM erp.orders o), (SELECT count(*) FROM audit.log),
                    (SELECT count(*) FROM pg_largeobject_metadata)",
        );
        let odd = server.psql("shop", &format!("SELECT count(*) FROM {}", sample_schema::ODD_TABLE));
        assert_eq!(odd, "3");
        drop(server);
        assert!(closed(port));
        rows
    });
    assert!(counts[0].ends_with("|4000|12"), "{}", counts[0]);
    assert!(counts.iter().all(|rows| *rows == counts[0]), "{counts:?}");
}

#[test]
fn a_password_is_asked_for_and_tls_is_enforced() {
    let server = PgServerOptions::new(17).password("open sesame").tls().start();
    assert_eq!(server.psql("postgres", "SELECT 1"), "1");
    let connect = |mode: &str, password: &str| {
        let mut command = Command::new(server.bin().join("psql"));
        command.args([
            "-XqAt",
            "-c",
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            &server.url("postgres"),
        ]);
        command.env("PGSSLMODE", mode).env("PGSSLROOTCERT", server.ca_file()).env("PGPASSWORD", password);
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    assert_eq!(connect("verify-full", "open sesame").as_deref(), Some("t"));
    assert_eq!(connect("verify-full", "wrong"), None);
    assert_eq!(connect("disable", "open sesame"), None);
}

#[test]
fn a_killed_postgres_comes_back_with_its_data() {
    let mut server = PgServer::start(15);
    server.psql("postgres", "CREATE TABLE kept AS SELECT 42 AS answer");
    server.kill();
    assert!(closed(server.port()));
    server.restart();
    assert_eq!(server.psql("postgres", "TABLE kept"), "42");
    assert!(server.try_psql("postgres", "SELECT no_such").unwrap_err().contains("no_such"));
}

/// Speaks S3 with botocore, and prints `ok` or the error's code.
fn s3(endpoint: &str, secret: &str, calls: &str) -> String {
    let script = format!(
        "import botocore.session, sys
from botocore.config import Config
s3 = botocore.session.get_session().create_client('s3', endpoint_url={endpoint:?}, region_name='us-east-1',
    aws_access_key_id={:?}, aws_secret_access_key={secret:?},
    config=Config(s3={{'addressing_style': 'path'}}, retries={{'max_attempts': 1}}, connect_timeout=5, read_timeout=5))
try:
    {calls}
except Exception as error:
    print(getattr(error, 'response', {{}}).get('Error', {{}}).get('Code', type(error).__name__))
else:
    print('ok')",
        SeaweedFs::ACCESS_KEY
    );
    let output = Command::new(python()).args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn seaweedfs_checks_secrets_and_conditions_and_survives_a_kill() {
    let mut server = SeaweedFs::start();
    server.create_bucket("one");
    let endpoint = server.endpoint();
    let create = "s3.put_object(Bucket='one', Key='a', Body=b'x', IfNoneMatch='*')";
    assert_eq!(s3(&endpoint, "wrong", create), "SignatureDoesNotMatch");
    assert_eq!(s3(&endpoint, SeaweedFs::SECRET_KEY, create), "ok");
    assert_eq!(s3(&endpoint, SeaweedFs::SECRET_KEY, create), "PreconditionFailed");
    server.restart();
    assert_eq!(
        s3(&endpoint, SeaweedFs::SECRET_KEY, "assert s3.get_object(Bucket='one', Key='a')['Body'].read() == b'x'"),
        "ok"
    );
}

#[test]
fn ministack_azurite_and_gcs_take_a_bucket() {
    let ministack = Ministack::start();
    ministack.create_bucket("one");
    let thaw = "s3.put_object(Bucket='one', Key='a', Body=b'x', StorageClass='GLACIER'); s3.restore_object(Bucket='one', Key='a', RestoreRequest={'Days': 1})";
    assert_eq!(s3(&ministack.endpoint(), "any", thaw), "ok");
    Azurite::start().create_container("one");
    GcsServer::start().create_bucket("one");
}

/// A server that sends back what it gets.
fn echo_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    port
}

fn echo(stream: &mut TcpStream, bytes: usize) -> std::io::Result<usize> {
    stream.write_all(&vec![7; bytes])?;
    let mut answer = vec![0; bytes];
    stream.read_exact(&mut answer).map(|()| bytes)
}

#[test]
fn the_proxy_does_each_fault_and_heals() {
    let proxy = FaultProxy::start(echo_server());
    let connect = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream
    };
    let mut stream = connect();
    assert_eq!(echo(&mut stream, 1000).unwrap(), 1000);
    assert_eq!((proxy.bytes(Direction::Up), proxy.bytes(Direction::Down)), (1000, 1000));

    proxy.set(Fault::CutAfter { direction: Direction::Up, bytes: 300, then: Box::new(Fault::Refuse) });
    assert!(echo(&mut stream, 1000).is_err());
    assert_eq!((proxy.bytes(Direction::Up), proxy.cuts()), (1300, 1));
    assert!(echo(&mut connect(), 1).is_err());

    proxy.set(Fault::Blackhole);
    assert!(echo(&mut connect(), 1).is_err());

    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let begun = Instant::now();
    assert_eq!(echo(&mut connect(), 10).unwrap(), 10);
    assert!(begun.elapsed() >= Duration::from_millis(200));

    proxy.heal();
    let mut stream = connect();
    assert_eq!(echo(&mut stream, 100_000).unwrap(), 100_000);
    proxy.cut_now();
    assert!(echo(&mut stream, 100_000).is_err());
    assert_eq!(proxy.connections(), 5);
    let port = proxy.port();
    drop(proxy);
    let begun = Instant::now();
    while !closed(port) {
        assert!(begun.elapsed() < Duration::from_secs(10), "a dropped proxy still listens");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_full_disk_is_full_and_then_gone() {
    let disk = FullDisk::mount(1 << 20);
    let path = disk.path().to_owned();
    disk.fill_but(64 * 1024);
    let error = std::fs::write(path.join("more"), vec![0; 128 * 1024]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    std::fs::remove_file(path.join("more")).unwrap();
    disk.empty_ballast();
    assert!(disk.free() > 900 * 1024);
    drop(disk);
    assert!(!path.exists());
}

#[test]
fn a_name_server_has_its_zone_and_a_resolver_asks_it() {
    let bind = Bind::start();
    let resolver = Bind::resolver_of(&bind);
    for server in [&bind, &resolver] {
        assert_eq!(server.dig(Bind::NAME, "A"), ["192.0.2.1"]);
    }
    let address = bind.address();
    drop(bind);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_mail_server_keeps_what_it_gets() {
    let server = SmtpServer::start();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let lines =
        ["HELO me", "MAIL FROM:<a@ex.test>", "RCPT TO:<b@ex.test>", "DATA", "Subject: x\r\n\r\ntext\r\n.", "QUIT"];
    for line in lines {
        let mut answer = [0; 512];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"2") || answer[..read].starts_with(b"354"), "before {line}");
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }
    stream.read_to_end(&mut Vec::new()).unwrap();
    let [message] = server.messages().try_into().unwrap();
    assert!(message.starts_with("X-Recipients: b@ex.test") && message.contains("text"), "{message}");
}

#[test]
fn patroni_replaces_a_leader_that_is_lost() {
    let mut cluster = PatroniOptions::new(2).synchronous().start();
    let leader = cluster.leader_with_standbys();
    let interface = cluster.nodes[leader].interface_port();
    cluster.nodes[leader].kill();
    cluster.forget_leader();
    cluster.nodes[1 - leader].wait_until("SELECT NOT pg_is_in_recovery()");
    cluster.nodes[leader].start();
    assert_eq!(cluster.leader_with_standbys(), 1 - leader);
    drop(cluster);
    assert!(closed(interface));
}
