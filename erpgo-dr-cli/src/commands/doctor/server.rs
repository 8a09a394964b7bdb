//! The server, the programs that speak to it, and what its role may read.

use erpgo_dr_core::DatabaseDriver as _;
use erpgo_dr_core::postgres::throwaway::RunAs;
use erpgo_dr_core::postgres::{
    ClientProgram, ClientPrograms, ConnectionSettings, LogicalDriver, PostgresError, ServerInfo,
};

use super::checks::Checks;
use super::host;
use super::patience::Patience;
use crate::context::Context;
use crate::error::CliError;

/// The oldest and newest versions whose catalogues are known here.
const SUPPORTED: std::ops::RangeInclusive<u32> = 13..=18;

/// Whether pg_dumpall can read the roles with their passwords.
const ROLES: &str = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')";

/// What a dump would fail at: relations that cannot be read, or of which policies would hide rows.
const UNREADABLE: &str = "
    SELECT count(*), coalesce(min(c.oid::regclass::text), '')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'S') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
      AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND NOT pg_catalog.row_security_active(c.oid)
               AND CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                        ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)";

/// Checks the server, and then what depends on its version.
pub(super) async fn check(context: &Context, patience: Patience, checks: &mut Checks) {
    let (driver, settings) = match (context.driver(), context.connection()) {
        (Ok(driver), Ok(settings)) => (driver, settings),
        (Err(error), _) | (_, Err(error)) => return checks.error("server", error),
    };
    let server = Server { address: settings.to_string(), settings, driver, programs: context.programs(), patience };
    let info = match server.ask(server.driver.probe()).await {
        Ok(info) => info,
        Err(_) if !context.names_server() => {
            let detail = format!("none is configured, and none answers at {}", server.address);
            return checks.skip(
                "server",
                detail,
                "name it with --connection, or `connection` in [postgres] of erpgo-dr.toml",
            );
        }
        Err(error) => return checks.error("server", error),
    };
    let major = info.major();
    server.check_version(&info, checks);
    server.check_programs(major, checks).await;
    let databases = match server.databases(&context.config.backup.databases).await {
        Ok(databases) => databases,
        Err(error) => return checks.error("databases", error),
    };
    server.check_privileges(&databases, checks).await;
    server.check_roles(checks).await;
    server.check_restore_test(context, major, checks).await;
    server.check_scratch(context, &databases, checks).await;
}

/// The server, and how long it may take for an answer.
struct Server {
    address: String,
    settings: ConnectionSettings,
    driver: LogicalDriver,
    programs: ClientPrograms,
    patience: Patience,
}

impl Server {
    async fn ask<T>(&self, question: impl Future<Output = Result<T, PostgresError>>) -> Result<T, CliError> {
        self.patience.with(&self.address, question).await
    }

    fn check_version(&self, info: &ServerInfo, checks: &mut Checks) {
        let role = if info.in_recovery { ", a standby" } else { "" };
        let detail = format!("PostgreSQL {}{role} at {}", info.version, self.address);
        match SUPPORTED.contains(&info.major()) {
            true => checks.ok("server", detail),
            false => checks.warn(
                "server",
                format!("{detail}: not a version that erpgo-dr knows ({} to {})", SUPPORTED.start(), SUPPORTED.end()),
                "test a restore before you rely on it: `erpgo-dr verify --restore`",
            ),
        }
    }

    async fn find(&self, program: &'static str, major: u32) -> Result<ClientProgram, CliError> {
        self.patience.with(program, self.programs.find(program, major)).await
    }

    async fn check_programs(&self, major: u32, checks: &mut Checks) {
        let mut found = Vec::new();
        for program in ["pg_dump", "pg_restore", "pg_dumpall"] {
            match self.find(program, major).await {
                Ok(client) => found.push(client),
                Err(error) => return checks.error("client programs", error),
            }
        }
        let folder = found.first().and_then(|client| client.path.parent()).unwrap_or(std::path::Path::new("/"));
        let newer = found.iter().map(|client| client.major).max().filter(|version| *version > major);
        match newer {
            None => checks.ok("client programs", format!("of version {major}, in {}", folder.display())),
            Some(newer) => checks.warn(
                "client programs",
                format!("of version {newer}, newer than the server ({major})"),
                format!("a dump of theirs may not go back into a server of {major}: install those of {major}, or name them with --bin-dir"),
            ),
        }
    }

    async fn databases(&self, configured: &[String]) -> Result<Vec<String>, CliError> {
        match configured {
            [] => self.ask(self.driver.inspector().list_databases()).await,
            named => Ok(named.to_vec()),
        }
    }

    async fn check_privileges(&self, databases: &[String], checks: &mut Checks) {
        let mut readable = Vec::new();
        for database in databases {
            match self.ask(unreadable(&self.settings, database)).await {
                Ok((0, _)) => readable.push(database.as_str()),
                Ok((count, first)) => checks.fail(
                    "privileges",
                    format!("{count} tables or sequences of {database} cannot be read, the first is {first}"),
                    "GRANT pg_read_all_data TO the role, and ALTER ROLE ... BYPASSRLS where tables have row security",
                ),
                Err(error) => checks.error("privileges", error),
            }
        }
        if readable.len() == databases.len() {
            checks.ok("privileges", format!("every table of {} can be read", readable.join(", ")));
        }
    }

    async fn check_roles(&self, checks: &mut Checks) {
        match self.ask(can_read_roles(&self.settings)).await {
            Ok(true) => checks.ok("roles", "can be read, with their passwords"),
            Ok(false) => checks.fail(
                "roles",
                "cannot be read: only a superuser sees their passwords",
                "back up as a superuser, or leave roles out with `erpgo-dr backup --no-globals` and keep them elsewhere",
            ),
            Err(error) => checks.error("roles", error),
        }
    }

    /// A restore test needs `initdb` of exactly the server's version, and an account that is not root.
    async fn check_restore_test(&self, context: &Context, major: u32, checks: &mut Checks) {
        let name = "restore test";
        match self.find("initdb", major).await {
            Ok(initdb) if initdb.major == major => match account(context) {
                Ok(()) => checks.ok(name, format!("possible here, with {}", initdb.path.display())),
                Err(error) => checks.error(name, error),
            },
            Err(error) if error.kind_name() != "not-found" => checks.error(name, error),
            _ => checks.warn(
                name,
                format!("not possible here: there is no initdb of version {major}"),
                format!(
                    "install the server package of PostgreSQL {major}, or test on another host: `erpgo-dr verify --restore`"
                ),
            ),
        }
    }

    /// It also needs room for all databases at once.
    async fn check_scratch(&self, context: &Context, databases: &[String], checks: &mut Checks) {
        let name = "scratch space";
        let mut needed = 0;
        for database in databases {
            match self.ask(self.driver.inspector().database_size(database)).await {
                Ok(size) => needed += size,
                Err(error) => return checks.error(name, error),
            }
        }
        let scratch = context.scratch(None);
        host::check_space(checks, self.patience, name, &scratch, needed, "a restore test").await;
    }
}

async fn unreadable(settings: &ConnectionSettings, database: &str) -> Result<(i64, String), PostgresError> {
    let client = settings.clone().database(database).connect().await?;
    let answer = client.query_one(UNREADABLE, &[]).await;
    let server = client.server().to_owned();
    client.close().await;
    let action = "look for tables that cannot be read".to_owned();
    let row = answer.map_err(|error| PostgresError::Query { server, action, source: error.into() })?;
    Ok((row.get(0), row.get(1)))
}

async fn can_read_roles(settings: &ConnectionSettings) -> Result<bool, PostgresError> {
    let client = settings.connect().await?;
    let answer = client.query_one(ROLES, &[]).await;
    let server = client.server().to_owned();
    client.close().await;
    let action = "ask whether roles can be read".to_owned();
    let row = answer.map_err(|error| PostgresError::Query { server, action, source: error.into() })?;
    Ok(row.get(0))
}

fn account(context: &Context) -> Result<(), CliError> {
    match context.config.verify.run_as.as_deref() {
        Some(name) => RunAs::from_user_name(name).map(drop)?,
        None if rustix::process::geteuid().is_root() => RunAs::from_user_name("postgres").map(drop)?,
        None => {}
    }
    Ok(())
}
