//! What watches: a real Prometheus scrapes, its rules raise an alert, a real Alertmanager mails it, and again when it is over.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use erpgo_dr_testkit::browser::look;
use erpgo_dr_testkit::{Alertmanager, PgServer, Prometheus, SmtpServer, program, python};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Desk, files};

/// `erpgo-dr serve`, until dropped.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start(desk: &Desk, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0", "--every", "1s"], more].concat();
        let mut child = desk.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("serving at ")?.parse().ok()).unwrap();
        // What it says later is read, so that it is never held up by it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn stop(&mut self) -> i32 {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks by HTTP, as Python's library does: the status, the headers and the body.
pub(crate) fn get(url: &str, headers: &[(&str, &str)], trusted: Option<&Path>) -> (u16, Value, String) {
    let script = "
import json, ssl, sys, urllib.error, urllib.request
url, headers, trusted = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=trusted) if trusted else None
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context, timeout=60)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read().decode()]))
";
    let headers: Value = headers.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    let trusted = trusted.map(|path| path.display().to_string()).unwrap_or_default();
    let output = Command::new(python()).args(["-c", script, url, &headers.to_string(), &trusted]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{url}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (answer[0].as_u64().unwrap() as u16, answer[1].clone(), answer[2].as_str().unwrap().to_owned())
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < Duration::from_secs(120), "not in two minutes: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus").join(name)
}

#[test]
fn an_alert_is_raised_mailed_and_cleared() {
    let (desk, _server) = Desk::with_server(17);
    desk.ok(&["backup", "--database", "erp"]);
    let mail = SmtpServer::start();
    let alertmanager = Alertmanager::start(&mail.address());
    let mut served = Served::start(&desk, &[]);
    let prometheus = Prometheus::start(served.address, &packaged("erpgo-dr.rules.yml"), &alertmanager);
    let value = |expression: &str| prometheus.query(expression).first().map(|(_, value)| value.clone());
    wait_for("a scrape", || value("erpgo_dr_healthy").as_deref() == Some("1"));
    assert_eq!(value("erpgo_dr_backups").as_deref(), Some("1"));
    assert_eq!(
        value("time() - backup_last_success_timestamp < bool 3600").as_deref(),
        Some("1"),
        "a name of the scripts"
    );
    assert_eq!(value("erpgo_dr_backup_last_stored_bytes{kind=\"logical\"} > bool 1000").as_deref(), Some("1"));

    let part = files(&desk.path("repository/dumps")).into_iter().find(|path| path.is_file()).unwrap();
    let sound = std::fs::read(&part).unwrap();
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&part, damaged).unwrap();
    assert_eq!(desk.run(&["verify"]).code, 1);
    let firing = "ALERTS{alertname=\"ErpgoDrVerificationFailed\", alertstate=\"firing\"}";
    wait_for("the alert", || !prometheus.query(firing).is_empty());
    let mails = |word: &str| {
        let about = |mail: &&String| mail.contains("ErpgoDrVerificationFailed") && mail.contains(word);
        mail.messages().iter().filter(about).count()
    };
    wait_for("the mail", || mails("FIRING:1") == 1);

    std::fs::write(&part, sound).unwrap();
    desk.ok(&["verify"]);
    wait_for("the end of the alert", || prometheus.query(firing).is_empty());
    wait_for("the mail that it is over", || mails("RESOLVED") == 1);
    assert_eq!(mails("FIRING:1"), 1, "it was told once");
    assert_eq!(served.stop(), 0);
}

#[test]
fn every_rule_raises_its_alert_when_it_should() {
    let promtool = |arguments: &[&str], file: &str| {
        let output = Command::new(program("promtool")).args(arguments).arg(packaged(file)).output().unwrap();
        let text = [&output.stdout[..], &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
        assert!(output.status.success(), "{text}");
    };
    promtool(&["check", "rules"], "erpgo-dr.rules.yml");
    promtool(&["test", "rules"], "erpgo-dr.rules.test.yml");
    let [rules, tests] =
        ["erpgo-dr.rules.yml", "erpgo-dr.rules.test.yml"].map(|name| std::fs::read_to_string(packaged(name)).unwrap());
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let raised = format!("alertname: {alert}\n        exp_alerts:\n          - ");
        assert!(tests.contains(&raised), "{alert} is never raised in a test");
    }
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let (desk, server) = Desk::with_server(17);
    desk.configure(&format!("[monitor]\nrto = '4h'\nrpo = '15m'\nfolders = ['{}']\n", desk.folder.path().display()));
    desk.ok(&["backup", "--database", "erp"]);
    desk.ok(&["cluster", "backup"]);
    archive(&desk, &server);
    let text = desk.ok(&["metrics"]);
    let mut child = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // The names of the scripts are as they are.
    let wrong: Vec<&str> = said.lines().filter(|line| line.starts_with("erpgo_dr_")).collect();
    assert!(output.status.success() || wrong.is_empty(), "{said}");
    for name in [
        "erpgo_dr_recovery_window_end_timestamp_seconds{cluster=\"",
        "erpgo_dr_objective_met{objective=\"rpo\"} ",
        "erpgo_dr_wal_lag_bytes ",
        "erpgo_dr_disk_free_bytes{path=\"",
        "erpgo_dr_backup_last_timestamp_seconds{kind=\"physical\"} ",
        "backup_size_bytes ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    desk.ok(&["metrics", "--output", "erpgo.prom"]);
    desk.ok(&["metrics", "--output", "erpgo.prom"]);
    assert!(std::fs::read_to_string(desk.path("erpgo.prom")).unwrap().contains("erpgo_dr_healthy 1"));
}

/// Pushes the newest segment.
fn archive(desk: &Desk, server: &PgServer) {
    server.psql("postgres", "SELECT pg_logical_emit_message(true, 'test', 'so that there is something to archive')");
    let name = server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
    desk.ok(&["wal", "push", &server.data_dir().join("pg_wal").join(name).display().to_string()]);
}

#[test]
fn the_page_is_one_file_that_names_what_is_wrong() {
    let (desk, server) = Desk::with_server(17);
    desk.ok(&["backup", "--database", "erp"]);
    desk.ok(&["cluster", "backup"]);
    archive(&desk, &server);
    desk.ok(&["report", "--output", "report.html"]);
    let page = std::fs::read_to_string(desk.path("report.html")).unwrap();
    assert!(page.contains("One could restore right now.") && page.contains("Which moments can be had"), "{page}");
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"), "{page}");
    assert_eq!(look(&desk.path("report.html"), desk.folder.path()), [""; 0]);
    desk.fails(&["report", "--output", "report.html"], 5, "already-exists", "--force");
    let part = files(&desk.path("repository/dumps")).into_iter().find(|path| path.is_file()).unwrap();
    std::fs::remove_file(part).unwrap();
    assert_eq!(desk.run(&["verify", "--all"]).code, 1);
    desk.ok(&["report", "--output", "report.html", "--force"]);
    assert_eq!(look(&desk.path("report.html"), desk.folder.path()), [""; 0]);
    let page = desk.ok(&["report"]);
    assert!(page.contains("Attention needed") && page.contains("its last verification failed"), "{page}");
    let facts = desk.json(&["report"]);
    assert_eq!(facts["result"]["windows"][0]["spans"].as_array().map(Vec::len), Some(1), "{facts}");
}

#[test]
fn only_who_shows_the_token_is_told() {
    let (desk, _server) = Desk::with_server(17);
    desk.ok(&["backup", "--database", "erp"]);
    let refused = desk.fails(&["serve", "--listen", "0.0.0.0:0"], 13, "refused", "--token-file");
    assert!(refused.stderr.contains("neither a certificate nor a token"), "{}", refused.stderr);
    std::fs::write(desk.path("token"), "a long token\n").unwrap();
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", "key.pem", "-out", "cert.pem"])
        .args(subject)
        .current_dir(desk.folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let secured = ["--token-file", "token", "--certificate", "cert.pem", "--key", "key.pem"];
    let mut served = Served::start(&desk, &secured);
    let trusted = desk.path("cert.pem");
    let ask = |path: &str, headers: &[(&str, &str)]| {
        get(&format!("https://localhost:{}{path}", served.address.port()), headers, Some(&trusted))
    };
    wait_for("the first look", || ask("/health/ready", &[]).0 == 200);
    for path in ["/", "/metrics", "/facts.json"] {
        let (status, headers, body) = ask(path, &[]);
        assert_eq!(status, 401, "{path}");
        assert!(headers["www-authenticate"].as_str().unwrap().starts_with("Basic"), "{headers}");
        assert!(!body.contains("erp"), "nothing is told: {body}");
        assert_eq!(ask(path, &[("Authorization", "Bearer a long")]).0, 401);
        let (status, headers, body) = ask(path, &[("Authorization", "Bearer a long token")]);
        assert_eq!(status, 200, "{path}: {body}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers["content-security-policy"].as_str().unwrap().contains("default-src 'none'"), "{headers}");
    }
    assert_eq!(ask("/health/live", &[]).0, 200, "health is told to all");
    assert_eq!(ask("/", &[("Authorization", "Basic YW55Ym9keTphIGxvbmcgdG9rZW4=")]).0, 200, "a browser's password");
    assert_eq!(served.stop(), 0);

    // Without a token this host alone is answered, and by its own name: not a page in a browser that names another.
    let mut open = Served::start(&desk, &[]);
    let url = format!("http://{}/facts.json", open.address);
    wait_for("the first look", || get(&url, &[], None).0 == 200);
    assert_eq!(get(&url, &[("Host", "evil.example")], None).0, 421);
    let wrong = get(&format!("http://{}/nothing", open.address), &[], None);
    assert_eq!(wrong.0, 404);
    // The repository goes away: what was known is still shown, with its time, and it is not ready any more.
    std::fs::rename(desk.path("repository"), desk.path("away")).unwrap();
    let ready = format!("http://{}/health/ready", open.address);
    wait_for("that it is not ready", || get(&ready, &[], None).0 == 503);
    assert_eq!(get(&url, &[], None).0, 200);
    let page = get(&format!("http://{}/", open.address), &[], None).2;
    assert!(page.contains("It is not known whether one could restore now."), "{page}");
    assert!(get(&format!("http://{}/metrics", open.address), &[], None).2.contains("\nerpgo_dr_stale 1"));
    std::fs::rename(desk.path("away"), desk.path("repository")).unwrap();
    wait_for("that it is ready again", || get(&ready, &[], None).0 == 200);
    assert_eq!(open.stop(), 0);
}

#[test]
fn rules_dashboard_and_reference_speak_of_metrics_that_there_are() {
    let monitor = Path::new(env!("CARGO_MANIFEST_DIR")).join("../erpgo-dr-core/src/monitor/metrics.rs");
    let source = std::fs::read_to_string(monitor).unwrap();
    let names = |text: &str| -> std::collections::BTreeSet<String> {
        let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
        let words = text.split(|c: char| !is_part(c));
        words.filter(|word| word.starts_with("erpgo_dr_") || word.starts_with("backup_")).map(str::to_owned).collect()
    };
    let there: std::collections::BTreeSet<String> =
        source.split('"').skip(1).step_by(2).filter(|text| names(text).contains(*text)).map(str::to_owned).collect();
    assert!(there.len() > 30, "{there:?}");
    let reference = include_str!("../../../docs/monitoring.md").split_once("## Metrics").unwrap().1;
    assert_eq!(names(reference), there, "docs/monitoring.md names every metric");
    for text in [
        include_str!("../../../packaging/prometheus/erpgo-dr.rules.yml"),
        include_str!("../../../packaging/grafana/erpgo-dr.json"),
    ] {
        let unknown: Vec<String> = names(text).difference(&there).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    let dashboard: Value = serde_json::from_str(include_str!("../../../packaging/grafana/erpgo-dr.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].as_str().is_some_and(|text| !text.is_empty())));
}

#[test]
fn a_watched_status_is_told_again_and_again() {
    let (desk, _server) = Desk::with_server(17);
    let mut command = desk.command(&["status", "--watch", "1s", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut healthy = lines.map(|line| {
        let document: Value = serde_json::from_str(&line).unwrap();
        document["result"]["healthy"].as_bool().unwrap()
    });
    assert_eq!(healthy.next(), Some(false), "there is no backup");
    desk.ok(&["backup", "--database", "erp"]);
    assert!(healthy.any(|healthy| healthy), "the backup is seen");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    healthy.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0), "the last look found all well");
}

#[test]
fn an_agent_serves_its_jobs() {
    let (desk, _server) = Desk::with_server(17);
    // The repository is asked once, and the agent tells what it does since.
    desk.configure(
        "[monitor]\nlisten = '127.0.0.1:0'\nevery = '1h'\n[[agent.job]]\nkind = 'backup'\nschedule = '0 0 1 1 *'\n",
    );
    let log = desk.path("agent.log");
    let mut agent = desk.command(&["agent", "--color", "never"]);
    let mut agent = agent.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    let mut address = None;
    wait_for("the service", || {
        let text = std::fs::read_to_string(&log).unwrap();
        address = text.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse::<SocketAddr>().ok());
        address.is_some()
    });
    let url = |path: &str| format!("http://{}{path}", address.unwrap());
    let done = "backup_success_total 1";
    wait_for("the first backup", || get(&url("/metrics"), &[], None).2.lines().any(|line| line == done));
    let metrics = get(&url("/metrics"), &[], None).2;
    let attempts = "erpgo_dr_job_attempts_total{job_name=\"backup\",kind=\"backup\"} 1";
    assert!(metrics.lines().any(|line| line == attempts), "{metrics}");
    assert!(metrics.contains("erpgo_dr_agent_leads 1.0"), "{metrics}");
    let page = get(&url("/"), &[], None).2;
    assert!(page.contains("What is done by schedule") && page.contains("succeeded"), "{page}");
    std::fs::write(desk.path("page.html"), page).unwrap();
    assert_eq!(look(&desk.path("page.html"), desk.folder.path()), [""; 0]);
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}

#[test]
fn clients_that_read_nothing_do_not_keep_others_out() {
    let (desk, _server) = Desk::with_server(17);
    let mut served = Served::start(&desk, &[]);
    let question = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let silent: Vec<std::net::TcpStream> = (0..200)
        .map(|number| {
            let mut stream = std::net::TcpStream::connect(served.address).unwrap();
            // Half of them say nothing at all. What the service does not read any more it resets, which may be before all is written.
            if number % 2 == 0 {
                let _ = std::io::Write::write_all(&mut stream, question.as_bytes());
            }
            stream
        })
        .collect();
    let url = format!("http://{}/health/live", served.address);
    assert_eq!(get(&url, &[], None).0, 200);
    drop(silent);
    assert_eq!(served.stop(), 0);
}

#[test]
fn a_port_that_is_taken_keeps_no_agent_from_its_backups() {
    let (desk, _server) = Desk::with_server(17);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let job = "[[agent.job]]\nkind = 'backup'\nschedule = '0 0 1 1 *'\n";
    desk.configure(&format!("[monitor]\nlisten = '{address}'\n{job}"));
    let log = desk.path("agent.log");
    let mut agent = desk.command(&["agent", "--color", "never"]);
    let mut agent = agent.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    let logged = |words: &str| std::fs::read_to_string(&log).unwrap().contains(words);
    wait_for("the refusal", || logged("nothing is served; trying again"));
    wait_for("a backup", || desk.json(&["history"])["result"]["runs"][0]["state"] == "succeeded");
    drop(taken);
    wait_for("the service", || logged(&format!("address={address}")));
    wait_for("an answer", || get(&format!("http://{address}/health/ready"), &[], None).0 == 200);
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}
