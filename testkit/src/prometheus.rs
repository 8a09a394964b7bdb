//! Prometheus, which scrapes and evaluates rules, and Alertmanager, which tells people by mail.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::http;
use crate::ports::Port;
use crate::process::Process;
use crate::programs::program;

/// A running `prometheus`.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    _folder: TempDir,
    port: Port,
}

/// A running `prometheus-alertmanager`.
#[derive(Debug)]
pub struct Alertmanager {
    _process: Process,
    _folder: TempDir,
    port: Port,
}

impl Prometheus {
    /// Starts one that scrapes `target` as the job `erpgo-dr` every second, evaluates `rules` as often, and tells `alertmanager`.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    pub fn start(target: SocketAddr, rules: &Path, alertmanager: &Alertmanager) -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-prometheus-").expect("cannot make a temporary folder");
        let port = Port::take();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: ['{}']
alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: ['127.0.0.1:{}'] }} ] }} ] }}
scrape_configs: [ {{ job_name: erpgo-dr, static_configs: [ {{ targets: ['{target}'] }} ] }} ]\n",
            rules.display(),
            alertmanager.port.number
        );
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).expect("cannot write prometheus.yml");
        let mut command = Command::new(program("prometheus"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{}", port.number));
        let ready = || is_ready(port.number);
        let process = Process::start("prometheus", command, folder.path().join("prometheus.log"), ready);
        let process = process.stopped_by(Signal::TERM, Duration::from_secs(20));
        Self { _process: process, _folder: folder, port }
    }

    /// Evaluates an expression now: the labels and the value of each sample.
    ///
    /// # Panics
    /// If the expression is wrong, or the server does not answer.
    pub fn query(&self, expression: &str) -> Vec<(Value, String)> {
        let body = format!("query={}", escaped(expression));
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http::request(self.port.number, "POST", "/api/v1/query", &form, &body);
        let (status, body) = answer.expect("Prometheus does not answer");
        assert_eq!(status, 200, "{expression}: {body}");
        let answer: Value = serde_json::from_str(&body).expect("Prometheus answers JSON");
        let samples = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |sample: &Value| sample["value"][1].as_str().unwrap_or_default().to_owned();
        samples.iter().map(|sample| (sample["metric"].clone(), value(sample))).collect()
    }
}

impl Alertmanager {
    /// Starts one that mails alerts to the SMTP server at `smarthost`, and when they are over.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    pub fn start(smarthost: &str) -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-alertmanager-").expect("cannot make a temporary folder");
        let port = Port::take();
        let config = format!(
            "global: {{ smtp_smarthost: '{smarthost}', smtp_from: 'alertmanager@ex.test', smtp_require_tls: false, resolve_timeout: 5s }}
route: {{ receiver: people, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 4h }}
receivers: [ {{ name: people, email_configs: [ {{ to: 'oncall@ex.test', send_resolved: true }} ] }} ]\n"
        );
        let file = folder.path().join("alertmanager.yml");
        fs::write(&file, config).expect("cannot write alertmanager.yml");
        let mut command = Command::new(program("prometheus-alertmanager"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{}", port.number)).arg("--cluster.listen-address=");
        let ready = || is_ready(port.number);
        let process = Process::start("prometheus-alertmanager", command, folder.path().join("alertmanager.log"), ready);
        let process = process.stopped_by(Signal::TERM, Duration::from_secs(20));
        Self { _process: process, _folder: folder, port }
    }
}

fn is_ready(port: u16) -> bool {
    http::request(port, "GET", "/-/ready", &[], "").is_ok_and(|(status, _)| status == 200)
}

/// Escapes a text for the body of a form.
fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
