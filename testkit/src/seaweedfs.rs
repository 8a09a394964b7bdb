//! SeaweedFS: an S3 server that checks signatures and holds conditional writes, multipart, ranges and storage classes.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::http;
use crate::ports::Port;
use crate::process::Process;
use crate::programs::program;

/// A running SeaweedFS with one identity and no buckets.
#[derive(Debug)]
pub struct SeaweedFs {
    process: Option<Process>,
    folder: TempDir,
    ports: [Port; 5],
}

impl SeaweedFs {
    /// The identity that the server knows.
    pub const ACCESS_KEY: &'static str = "erpgo-dr-access";
    /// Its secret.
    pub const SECRET_KEY: &'static str = "erpgo-dr-secret";
    /// A region for clients that need one.
    pub const REGION: &'static str = "us-east-1";

    /// Starts a server. Takes about a second.
    ///
    /// # Panics
    /// If `weed` is not installed or does not come up.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-weed-").expect("cannot make a temporary folder");
        let mut server = Self { process: None, folder, ports: std::array::from_fn(|_| Port::take()) };
        server.launch();
        server
    }

    /// Returns the address of the S3 service: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Returns the port of the S3 service.
    pub fn port(&self) -> u16 {
        self.ports[3].number
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self, name: &str) {
        let (status, body) = http::request(self.ports[2].number, "POST", &format!("/buckets/{name}/"), &[], "")
            .expect("the filer is gone");
        assert!(status < 300, "cannot make bucket {name}: {status} {body}");
    }

    /// Kills the server as a power cut would. What was acknowledged is still there after [`Self::restart`].
    pub fn kill(&mut self) {
        self.process = None;
        self.remove_sockets();
    }

    /// It makes sockets in this folder, whatever `TMPDIR` says, and leaves them there when it is killed.
    fn remove_sockets(&self) {
        let [master, volume, filer, s3, admin] = self.ports.each_ref().map(|port| port.number);
        let plain = [("filer", filer), ("s3", s3)];
        let twins = [
            ("master-grpc", master),
            ("volume-grpc", volume),
            ("filer-grpc", filer),
            ("s3-grpc", s3),
            ("admin-grpc", admin),
        ];
        for (name, port) in plain.into_iter().chain(twins.map(|(name, port)| (name, port + 10_000))) {
            let _ = fs::remove_file(format!("/tmp/seaweedfs-{name}-{port}.sock"));
        }
    }

    /// Starts the server again over the same data, at the same ports.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    fn launch(&mut self) {
        let [master, volume, filer, s3, admin] = self.ports.each_ref().map(|port| port.number);
        let mut command = Command::new(program("weed"));
        command
            .current_dir(self.folder.path())
            .env("AWS_ACCESS_KEY_ID", Self::ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", Self::SECRET_KEY)
            .args(["-logtostderr", "mini", "-master.telemetry=false", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .args(["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-dir={}", self.folder.path().display()))
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-s3.port={s3}"))
            // Without its pages too it listens for commands.
            .arg(format!("-admin.port={admin}"));
        // Healthy comes before writable: until a volume server has joined, every write fails.
        let ready = || {
            let healthy = http::request(s3, "GET", "/healthz", &[], "").is_ok_and(|(status, _)| status == 200);
            healthy && http::request(filer, "PUT", "/ready", &[], "x").is_ok_and(|(status, _)| status == 201)
        };
        // SIGTERM takes it up to 16 seconds, and after SIGKILL its data is whole.
        let process = Process::start("SeaweedFS", command, self.folder.path().join("weed.log"), ready);
        self.process = Some(process.stopped_by(Signal::KILL, Duration::from_secs(20)));
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        self.kill();
    }
}
