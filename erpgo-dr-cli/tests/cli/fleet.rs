//! Many clusters in one process: a file each, a real server, real signals.

use std::process::Command;

use erpgo_dr_testkit::browser::look;
use erpgo_dr_testkit::postgres::PgServer;
use rustix::process::Signal;
use serde_json::Value;

use crate::agent::{Service, wait_for};
use crate::documents::{check, with_command};
use crate::support::{Desk, files};

const YEARLY: &str = "[[agent.job]]\nkind = \"backup\"\nschedule = \"0 0 1 1 *\"\n";

/// A folder of clusters, which are databases of one server.
struct Clusters {
    desk: Desk,
    server: PgServer,
}

impl Clusters {
    fn new(names: &[&str]) -> Self {
        let server = PgServer::start(17);
        let clusters = Self { desk: Desk::new(), server };
        std::fs::create_dir(clusters.desk.path("clusters.d")).unwrap();
        names.iter().for_each(|name| clusters.add(name));
        clusters
    }

    /// Makes a database with a row, a repository, and a configuration.
    fn add(&self, name: &str) {
        self.server.create_database(name);
        self.server.psql(name, "CREATE TABLE t AS SELECT 1 AS n");
        let repository = self.desk.path(name).display().to_string();
        self.desk.ok(&["-r", &repository, "init", "--recipient", &self.desk.recipient]);
        self.write(name, &format!("repository = \"{repository}\"\n{}", self.rest_of(name)));
    }

    fn rest_of(&self, name: &str) -> String {
        format!(
            "[keys]\nidentities = [\"{}\"]\n[postgres]\nconnection = \"{}\"\nbin_dirs = [\"{}\"]\n[backup]\n\
             databases = [\"{name}\"]\n{YEARLY}",
            self.desk.path("key.txt").display(),
            self.server.url(name),
            self.server.bin().display()
        )
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.desk.path("clusters.d").join(format!("{name}.toml"))
    }

    fn backups(&self, name: &str) -> usize {
        let committed = files(&self.desk.path(name).join("backups"));
        committed.iter().filter(|path| path.ends_with("summary")).count()
    }
}

fn of<'d>(document: &'d Value, cluster: &str) -> &'d Value {
    let all = document["result"]["clusters"].as_array().unwrap();
    all.iter().find(|found| found["cluster"] == cluster).unwrap_or_else(|| panic!("no {cluster} in {document}"))
}

#[test]
fn what_is_due_is_done_of_all_clusters_and_one_that_is_wrong_is_no_business_of_the_others() {
    let clusters = Clusters::new(&["billing", "crm", "shop"]);
    let desk = &clusters.desk;
    let planned = desk.json(&["fleet", "agent", "clusters.d", "--dry-run"]);
    assert_eq!(of(&planned, "crm")["jobs"][0]["name"], "backup");
    check("fleet agent --dry-run", &with_command(planned, "fleet agent --dry-run"));
    assert!(desk.ok(&["fleet", "agent", "clusters.d", "--once"]).contains("billing: "));
    for name in ["billing", "crm", "shop"] {
        assert_eq!(clusters.backups(name), 1, "{name}");
    }
    let status = desk.ok(&["fleet", "status", "clusters.d"]);
    assert!(status.starts_with("3 of 3 clusters healthy\n"), "{status}");
    desk.configure("[fleet]\nfolder = \"clusters.d\"\njobs = 1\n");
    assert!(desk.ok(&["-c", "erpgo-dr.toml", "fleet", "status"]).contains("crm"), "the folder of the configuration");

    let shop = std::fs::read_to_string(clusters.file("shop")).unwrap();
    clusters.write("twin", &shop);
    clusters.write("typo", "repositry = \"x\"\n");
    clusters
        .write("lost", &format!("repository = \"{}\"\n{}", desk.path("nowhere").display(), clusters.rest_of("shop")));
    clusters.write("nobody", "repository = \"x\"\n");
    clusters.write("a name", &shop);
    std::os::unix::fs::symlink(desk.path("shop"), desk.path("other-way")).unwrap();
    clusters.write("shop-again", &shop.replacen("/shop\"", "/other-way\"", 1));
    assert!(Command::new("mkfifo").arg(clusters.file("pipe")).status().unwrap().success());
    std::fs::write(desk.path("clusters.d/.hidden.toml"), "no").unwrap();
    std::fs::write(desk.path("clusters.d/notes.txt"), "no").unwrap();
    let run = desk.run(&["fleet", "status", "clusters.d", "--json"]);
    let status: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, status["ok"].as_bool()), (1, Some(false)), "{}", run.stderr);
    assert_eq!(status["result"]["clusters"].as_array().unwrap().len(), 10);
    for (name, words) in
        [("twin", "the repository of shop"), ("typo", "repositry"), ("lost", "nowhere"), ("nobody", "names no server")]
    {
        let found = of(&status, name);
        assert!(found["error"].as_str().unwrap().contains(words) && found["status"].is_null(), "{name}: {found}");
    }
    assert_eq!((&of(&status, "crm")["healthy"], &of(&status, "crm")["status"]["backups"]), (&true.into(), &1.into()));
    assert_eq!(status["result"]["clusters"][0]["healthy"], false, "what needs somebody comes first");
    let run = desk.run(&["fleet", "agent", "clusters.d", "--once", "--json"]);
    let ended: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(of(&ended, "crm")["runs"].as_array().unwrap().is_empty() && of(&ended, "lost")["error"].is_string());

    check("fleet agent", &ended);
    check("fleet status", &status);
    let facts = desk.run(&["fleet", "metrics", "clusters.d", "--json"]);
    check("fleet metrics", &serde_json::from_str(&facts.stdout).unwrap());
    let metrics = desk.run(&["fleet", "metrics", "clusters.d"]);
    assert_eq!(metrics.code, 1);
    for line in [
        "erpgo_dr_fleet_clusters 10.0",
        "erpgo_dr_fleet_cluster_up{cluster_name=\"crm\"} 1.0",
        "erpgo_dr_fleet_cluster_up{cluster_name=\"typo\"} 0.0",
        "erpgo_dr_backups{cluster_name=\"shop\"} 1.0",
    ] {
        assert!(metrics.stdout.lines().any(|found| found == line), "{line}: {}", metrics.stdout);
    }
}

#[test]
fn keys_of_all_are_for_clusters_that_name_none() {
    let clusters = Clusters::new(&["billing", "crm"]);
    let desk = &clusters.desk;
    desk.ok(&["key", "generate", "other.txt"]);
    let with = |key: &str| desk.run(&["-i", key, "fleet", "agent", "clusters.d", "--once"]).code;
    assert_eq!(with("other.txt"), 0, "each has its own");
    let text = std::fs::read_to_string(clusters.file("crm")).unwrap();
    let own = format!("[keys]\nidentities = [\"{}\"]\n", desk.path("key.txt").display());
    clusters.write("crm", &text.replacen(&own, "", 1));
    assert_eq!((with("other.txt"), with("key.txt")), (1, 0));
}

#[test]
fn nothing_that_names_one_cluster_is_taken_for_all() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("clusters.d")).unwrap();
    desk.fails(&["fleet", "status"], 2, "usage", "clusters.d");
    desk.fails(&["fleet", "status", "clusters.d"], 2, "usage", "billing.toml");
    desk.fails(&["fleet", "status", "nowhere.d"], 4, "not-found", "check the path");
    desk.fails(&["-r", "x", "fleet", "agent", "clusters.d"], 2, "usage", "each cluster's file");
    desk.fails(&["-d", "host=x", "fleet", "agent", "clusters.d"], 2, "usage", "each cluster's file");
    for name in ["PGHOST", "PGPASSWORD", "ERPGO_DR_CONNECTION"] {
        let output = desk.command(&["fleet", "status", "clusters.d"]).env(name, "x").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(&format!("{name} would be")), "{told}");
    }
    let run = Desk::run(&desk, &["--env-file", "x", "fleet", "metrics", "clusters.d"]);
    assert_ne!(run.code, 0, "{}", run.stdout);
}

#[test]
fn a_fleet_is_served_and_clusters_come_and_go_with_sighup() {
    let clusters = Clusters::new(&["billing", "crm"]);
    let desk = &clusters.desk;
    clusters.write("later", "repository = \"x\"\n");
    desk.configure("[monitor]\nlisten = \"127.0.0.1:0\"\nevery = \"1s\"\n");
    let service =
        Service::start_as(desk, "fleet", &["-c", "erpgo-dr.toml", "fleet", "agent", "clusters.d", "--json"], &[]);
    wait_for("backups of both", || clusters.backups("billing") == 1 && clusters.backups("crm") == 1);
    service.until_logged("names no server");
    service.until_logged("serving address=");
    let begun = |line: &str| line.contains("job begins") && line.contains("name=\"crm\"");
    assert!(service.log().lines().any(begun), "lines name their cluster: {}", service.log());
    let log = service.log();
    let address = log.split("serving address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let get = |path: &str| crate::monitoring::get(&format!("http://{address}{path}"), &[], None);
    wait_for("what is known of both", || {
        let (_, _, text) = get("/metrics");
        text.contains("erpgo_dr_fleet_clusters_healthy 2.0")
            && text.contains("erpgo_dr_agent_leads{cluster_name=\"crm\"} 1.0")
    });
    let (status, _, page) = get("/");
    assert!(status == 200 && page.contains("clusters/billing/") && page.contains("names no server"), "{page}");
    let (status, _, page) = get("/clusters/billing/");
    assert!(status == 200 && page.contains("<html"), "{page}");
    for path in ["/", "/clusters/billing/", "/clusters/later/"] {
        std::fs::write(desk.path("page.html"), get(path).2).unwrap();
        assert_eq!(look(&desk.path("page.html"), desk.folder.path()), [""; 0], "{path}");
    }
    assert_eq!(get("/clusters/nobody/").0, 404);
    assert_eq!(get("/health/ready").0, 200);

    clusters.add("shop");
    std::fs::remove_file(clusters.file("crm")).unwrap();
    service.signal(Signal::HUP);
    wait_for("the backup of a new one", || clusters.backups("shop") == 1);
    service.until_logged("the cluster has left the fleet");
    wait_for("its end", || {
        let (_, _, text) = get("/metrics");
        text.contains("cluster_name=\"shop\"") && !text.contains("cluster_name=\"crm\"")
    });
    // A file that is wrong is refused, and the agent goes on; a new repository has a new agent.
    let billing = std::fs::read_to_string(clusters.file("billing")).unwrap();
    clusters.write("billing", "repositry = 1\n");
    service.signal(Signal::HUP);
    let alarm = "erpgo_dr_alarm_open{cluster_name=\"billing\",subject=\"configuration\"} 1.0";
    wait_for("an alarm", || get("/metrics").2.contains(alarm));
    let moved = desk.path("moved").display().to_string();
    desk.ok(&["-r", &moved, "init", "--recipient", &desk.recipient]);
    clusters.write("billing", &billing.replacen("/billing\"", "/moved\"", 1));
    service.signal(Signal::HUP);
    wait_for("a backup in the new repository", || clusters.backups("moved") == 1);
    wait_for("what is known of the new repository", || {
        let (_, _, page) = get("/clusters/billing/");
        page.contains(&moved) && get("/metrics").2.contains("erpgo_dr_fleet_cluster_up{cluster_name=\"billing\"} 1.0")
    });
    // It has given up its lease: another agent acts at once.
    let file = clusters.desk.path("crm.toml");
    std::fs::write(&file, format!("repository = \"{}\"\n{}", desk.path("crm").display(), clusters.rest_of("crm")))
        .unwrap();
    desk.ok(&["-c", &file.display().to_string(), "agent", "--once"]);
    let run = service.stop();
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let ended: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(of(&ended, "billing")["runs"][0]["ending"]["result"], "succeeded", "{ended}");
}
