//! ministack: the parts of AWS that SeaweedFS has not (Glacier's thaw, Route 53). It checks no signatures.

use std::process::Command;

use tempfile::TempDir;

use crate::http;
use crate::ports::Port;
use crate::process::Process;
use crate::programs::program;

/// A running ministack.
#[derive(Debug)]
pub struct Ministack {
    _process: Process,
    _folder: TempDir,
    port: Port,
}

impl Ministack {
    /// Starts a server.
    ///
    /// # Panics
    /// If `ministack` is not installed or does not come up.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-ministack-").expect("cannot make a temporary folder");
        let port = Port::take();
        let mut command = Command::new(program("ministack"));
        command.current_dir(folder.path()).env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.number.to_string());
        let process =
            Process::start("ministack", command, folder.path().join("ministack.log"), || http::answers(port.number));
        Self { _process: process, _folder: folder, port }
    }

    /// Returns the address for every AWS service: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    /// Makes a hosted zone of Route 53, and returns its identifier.
    pub fn create_hosted_zone(&self, name: &str) -> String {
        let body = format!(
            "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Name>{name}</Name>\
             <CallerReference>{name}</CallerReference></CreateHostedZoneRequest>"
        );
        let text = self.route53("POST", "/hostedzone", &body);
        let id = text.split_once("<Id>/hostedzone/").and_then(|(_, rest)| rest.split_once("</Id>"));
        id.unwrap_or_else(|| panic!("no hosted zone: {text}")).0.to_owned()
    }

    /// Returns the records of a hosted zone as Route 53 lists them, as XML.
    pub fn records(&self, zone: &str) -> String {
        self.route53("GET", &format!("/hostedzone/{zone}/rrset"), "")
    }

    /// Sends a request to Route 53, and returns the answer.
    ///
    /// # Panics
    /// If it is refused.
    pub fn route53(&self, method: &str, path: &str, body: &str) -> String {
        // Which service is meant is read from the signature, which nobody checks.
        let authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/route53/aws4_request";
        let headers = [("Authorization", authorization)];
        let answered = http::request(self.port.number, method, &format!("/2013-04-01{path}"), &headers, body);
        let (status, text) = answered.expect("ministack is gone");
        assert!(status < 300, "{method} {path}: {status} {text}");
        text
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self, name: &str) {
        let (status, body) =
            http::request(self.port.number, "PUT", &format!("/{name}"), &[], "").expect("ministack is gone");
        assert!(status < 300, "cannot make bucket {name}: {status} {body}");
    }
}
