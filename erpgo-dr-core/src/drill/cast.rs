//! Which of the drill's own servers, addresses, files and programs stands for a variable of a runbook.

use secrecy::SecretString;

use super::blow::Blow;
use super::stage::{APPLICATION, LOST_REGION, OTHER_REGION, STANDBY, Stage};
use super::stand_in::NOTICES;
use super::witness::TABLE;
use crate::ops::drill::Scenario;
use crate::postgres::throwaway::RehearsalServer;
use crate::runbook::{Confinement, Runbook, RunbookError, Value, Values};

/// The role of the application that gets a new password.
pub(super) const APPLICATION_ROLE: &str = "erpgo_dr_drill_application";

/// Lines of a log that are read.
const LOG_LINES: &str = "100";

/// What a runbook is run with, by names of variables.
pub(super) struct Cast(Vec<(&'static str, Value)>);

impl Cast {
    /// Names who is who, in the scenario.
    pub(super) fn of(scenario: Scenario, stage: &Stage, pid: Option<i32>, blow: Option<&Blow>) -> Self {
        let mut cast = Self(vec![
            ("project", Value::Path(stage.site.clone())),
            ("webhook", secret(&stage.web(NOTICES))),
            ("important_table", Value::Text(TABLE.to_owned())),
        ]);
        cast.application(stage, if scenario == Scenario::RegionFailover { OTHER_REGION } else { APPLICATION });
        match scenario {
            Scenario::RegionFailover => cast.regions(stage, pid),
            Scenario::ApplicationFailure => cast.failing_application(stage),
            Scenario::SecurityBreach => cast.breached(stage, blow),
            _ => cast.failing_primary(stage, pid),
        }
        cast
    }

    /// Completes values with those that the runbook has variables for. What it does not name stays as it was given.
    pub(super) fn values(&self, runbook: &Runbook, given: &[(String, String)]) -> Result<Values, RunbookError> {
        let mut values = runbook.some_values(given.iter().map(|(name, text)| (name.as_str(), text.as_str())))?;
        for (name, value) in &self.0 {
            // One of another type is not what the drill has for it, and shows as a fault where it leads elsewhere.
            let fits = runbook.variables.get(*name).is_some_and(|variable| variable.kind == value.kind());
            if fits && !given.iter().any(|(given, _)| given == name) {
                values.set(*name, value.clone());
            }
        }
        Ok(values)
    }

    /// Says what a run may touch: the stage, and the programs of the cast.
    pub(super) fn confinement(&self, stage: &Stage, runs_others: bool) -> Confinement {
        let mut confinement = Confinement::new(&stage.site);
        confinement.servers.extend(stage.servers().map(|settings| settings.host().to_owned()));
        confinement.web.insert(stage.stand_in.base());
        confinement.programs.extend(self.0.iter().filter_map(|(_, value)| match value {
            Value::List(line) => Some(line.clone()),
            _ => None,
        }));
        confinement.around_others = stage.seal.as_ref().filter(|_| runs_others).map(|seal| seal.prefix().to_vec());
        confinement
    }

    fn set(&mut self, name: &'static str, value: Value) {
        self.0.push((name, value));
    }

    fn list(&mut self, name: &'static str, line: &[&str]) {
        self.set(name, Value::List(line.iter().map(|word| (*word).to_owned()).collect()));
    }

    fn file(&mut self, name: &'static str, stage: &Stage, file: &str) {
        self.set(name, Value::Path(stage.file(file)));
    }

    fn application(&mut self, stage: &Stage, name: &str) {
        let up = stage.path(&format!("{name}.up"));
        self.list("application_stop", &["rm", "-f", &up]);
        self.list("application_start", &["touch", &up]);
        self.list("application_restart", &["touch", &up]);
        self.file("application_file", stage, &format!("{name}.env"));
        self.set("application_health", Value::Url(stage.web(&format!("{name}/health"))));
    }

    /// The primary is lost, and a standby is there. It is known to be off once its process is gone.
    fn failing_primary(&mut self, stage: &Stage, pid: Option<i32>) {
        self.set("primary", server(stage, &stage.primary));
        self.set("standby_host", Value::Text(STANDBY.to_owned()));
        if let Some(standby) = &stage.standby {
            self.set("standby", server(stage, standby));
        }
        self.set("primary_stop", Value::List(stage.primary.stop_line()));
        self.set("primary_start", Value::List(stage.primary.start_line()));
        self.set("primary_restart", Value::List(stage.primary.restart_line()));
        self.list("primary_log", &["tail", "-n", LOG_LINES, &stage.primary.log().display().to_string()]);
        self.fence(pid);
    }

    /// A process that has ended has no working directory, also where nobody has taken notice of its end.
    fn fence(&mut self, pid: Option<i32>) {
        if let Some(pid) = pid {
            self.list("fence_primary", &["test", "!", "-e", &format!("/proc/{pid}/cwd")]);
        }
    }

    /// A zone is a file that names a region, and points to what is copied there.
    fn regions(&mut self, stage: &Stage, pid: Option<i32>) {
        self.set("primary", server(stage, &stage.primary));
        if let Some(standby) = &stage.standby {
            self.set("standby", server(stage, standby));
        }
        self.fence(pid);
        self.set("primary_health", Value::Url(stage.web(&format!("{LOST_REGION}/health"))));
        self.set("secondary_health", Value::Url(stage.web(&format!("{OTHER_REGION}/health"))));
        self.set("secondary_api", Value::Url(stage.web(&format!("{OTHER_REGION}/api"))));
        self.set("api_token", secret(&stage.applications.token));
        let (zone, other) = (stage.path("zone"), stage.path(&format!("{OTHER_REGION}.env")));
        self.list("point_dns", &["cp", &other, &zone]);
        self.list("dns_points", &["cmp", "-s", &other, &zone]);
    }

    fn failing_application(&mut self, stage: &Stage) {
        self.set("database", server(stage, &stage.primary));
        let up = stage.path(&format!("{APPLICATION}.up"));
        self.list("rollback", &["touch", &up]);
    }

    fn breached(&mut self, stage: &Stage, blow: Option<&Blow>) {
        self.set("server", server(stage, &stage.primary));
        self.set("database", Value::Text(stage.database.clone()));
        for (name, file) in [
            ("jwt_secret_file", "jwt-secret"),
            ("refresh_secret_file", "refresh-secret"),
            ("application_password_file", "application-password"),
            ("audit_file", "audit.env"),
        ] {
            self.file(name, stage, file);
        }
        self.set("application_role", Value::Text(APPLICATION_ROLE.to_owned()));
        self.list("redeploy", &["touch", &stage.path("redeployed")]);
        self.list("api_log", &["cat", &stage.path(&format!("{APPLICATION}.env"))]);
        self.list("database_log", &["tail", "-n", LOG_LINES, &stage.primary.log().display().to_string()]);
        if let Some(clean) = blow.and_then(|blow| blow.clean.as_ref()) {
            self.set("clean_backup", Value::Text(clean.to_string()));
        }
    }
}

impl Stage {
    /// Returns an address of the stand-ins.
    fn web(&self, path: &str) -> String {
        format!("{}{path}", self.stand_in.base())
    }

    /// Returns a file of the site, as an argument of a program.
    fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }
}

fn server(stage: &Stage, server: &RehearsalServer) -> Value {
    Value::Server(Box::new(server.settings(&stage.database)))
}

fn secret(text: &str) -> Value {
    Value::Secret(SecretString::from(text))
}
