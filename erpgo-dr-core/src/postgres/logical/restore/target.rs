//! The database that is restored into: refused, made, made ready, given its properties.

use super::super::super::{DatabaseProperties, DatabaseSetting, PostgresError, ServerInspector, inspect, quoting};
use super::new_database::NewDatabase;
use super::plan::Target;
use super::{Restore, globals};

/// Parameters whose value is a list of names, each quoted on its own, as pg_dump's `variable_is_guc_list_quote`.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// What the target was like before.
#[derive(Debug)]
pub(super) struct State {
    pub(super) exists: bool,
    /// Whether it holds nothing of anybody's.
    pub(super) is_empty: bool,
}

impl Restore<'_> {
    /// Looks at a target, and refuses one that must not be restored into.
    pub(super) async fn examine(&self, target: &Target<'_>) -> Result<State, PostgresError> {
        let options = &self.driver.restore;
        let server = || self.session.server().to_owned();
        if !inspect::database_exists(&self.session, &target.name).await? {
            if options.create {
                return Ok(State { exists: false, is_empty: true });
            }
            return Err(PostgresError::NoSuchDatabase { server: server(), database: target.name.clone() });
        }
        let inspector = ServerInspector::new(self.driver.settings.clone());
        let objects = inspector.count_user_objects(&target.name).await?;
        if objects > 0 && !options.clean && !options.allow_non_empty {
            return Err(PostgresError::TargetNotEmpty { server: server(), database: target.name.clone(), objects });
        }
        Ok(State { exists: true, is_empty: objects == 0 })
    }

    /// Makes the database if it is not there. Returns it if it did.
    pub(super) async fn make_ready(
        &self,
        target: &Target<'_>,
        state: &State,
    ) -> Result<Option<NewDatabase>, PostgresError> {
        if state.exists {
            if self.driver.restore.terminate_sessions {
                self.terminate_sessions(&target.name).await?;
            }
            return Ok(None);
        }
        let properties = &target.contents.properties;
        let sql = create_statement(&target.name, properties, self.server_major, self.driver.restore.no_tablespaces);
        NewDatabase::create(self.driver, &target.name, sql).await.map(Some)
    }

    async fn terminate_sessions(&self, database: &str) -> Result<(), PostgresError> {
        let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
            WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()";
        let ended = self.session.query(sql, &[&database]).await;
        ended.map(drop).map_err(self.session.query_error("end the sessions of the target"))
    }

    /// Gives a database that this restore made what the original had. Last, because it may be read-only by default.
    pub(super) async fn apply_properties(&mut self, target: &Target<'_>) -> Result<(), PostgresError> {
        let options = &self.driver.restore;
        let name = &target.name;
        let mut statements = Vec::new();
        let properties = &target.contents.properties;
        let database = quoting::identifier(name);
        if let Some(comment) = &properties.comment {
            statements.push(format!("COMMENT ON DATABASE {database} IS {}", quoting::literal(comment)));
        }
        statements.extend(properties.settings.iter().map(|setting| setting_statement(&database, setting)));
        if !options.no_privileges {
            statements.extend(grant_statements(&database, properties));
        }
        if !options.no_owner && !properties.owner.is_empty() {
            statements.push(format!("ALTER DATABASE {database} OWNER TO {}", quoting::identifier(&properties.owner)));
        }
        if properties.connection_limit >= 0 && !properties.owner.is_empty() {
            statements.push(format!("ALTER DATABASE {database} CONNECTION LIMIT {}", properties.connection_limit));
        }
        for statement in statements {
            let Err(error) = self.session.batch_execute(&statement).await else { continue };
            let error = self.session.query_error(&format!("give database {name} its properties"))(error);
            if options.exit_on_error {
                return Err(error);
            }
            self.outcome.warnings.push(globals::describe(&error));
        }
        Ok(())
    }
}

fn create_statement(name: &str, properties: &DatabaseProperties, major: u32, no_tablespaces: bool) -> String {
    let mut sql = format!("CREATE DATABASE {} TEMPLATE template0", quoting::identifier(name));
    let mut set = |option: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            sql.push_str(&format!(" {option} {}", quoting::literal(value)));
        }
    };
    set("ENCODING", Some(&properties.encoding));
    set("LC_COLLATE", Some(&properties.collate));
    set("LC_CTYPE", Some(&properties.ctype));
    if major >= 15 {
        set("LOCALE_PROVIDER", Some(&properties.locale_provider));
        match properties.locale_provider.as_str() {
            "icu" => set("ICU_LOCALE", properties.locale.as_deref()),
            "builtin" => set("BUILTIN_LOCALE", properties.locale.as_deref()),
            _ => {}
        }
    }
    set("ICU_RULES", properties.icu_rules.as_deref());
    if !no_tablespaces && !matches!(properties.tablespace.as_str(), "" | "pg_default") {
        sql.push_str(&format!(" TABLESPACE {}", quoting::identifier(&properties.tablespace)));
    }
    sql
}

fn setting_statement(database: &str, setting: &DatabaseSetting) -> String {
    let value = if LISTS.contains(&setting.name.to_ascii_lowercase().as_str()) {
        let names: Vec<String> = list_items(&setting.value).iter().map(|name| quoting::literal(name)).collect();
        if names.is_empty() { "''".to_owned() } else { names.join(", ") }
    } else {
        quoting::literal(&setting.value)
    };
    let name = quoting::identifier(&setting.name);
    match &setting.role {
        Some(role) => {
            format!("ALTER ROLE {} IN DATABASE {database} SET {name} TO {value}", quoting::identifier(role))
        }
        None => format!("ALTER DATABASE {database} SET {name} TO {value}"),
    }
}

/// Splits a list of names as PostgreSQL stores it: separated by commas, in double quotes where needed.
fn list_items(value: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut quoted = false;
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => item.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            space if !quoted && space.is_whitespace() => {}
            other => item.push(other),
        }
    }
    if !value.trim().is_empty() {
        items.push(item);
    }
    items
}

/// Takes the default privileges away, then gives those that the original had.
fn grant_statements(database: &str, properties: &DatabaseProperties) -> Vec<String> {
    let Some(grants) = &properties.grants else { return Vec::new() };
    let mut statements = vec![format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC")];
    for grant in grants {
        let grantee = grant.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), quoting::identifier);
        let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
        // One of PostgreSQL's three words: anything else would be SQL of the backup's own.
        if matches!(grant.privilege.as_str(), "CONNECT" | "CREATE" | "TEMPORARY") {
            statements.push(format!("GRANT {} ON DATABASE {database} TO {grantee}{option}", grant.privilege));
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_names_apart() {
        assert_eq!(list_items(r#""$user", public, "a,""b""#), ["$user", "public", "a,\"b"]);
        assert!(list_items("").is_empty());
        let setting = DatabaseSetting { role: None, name: "search_path".into(), value: "a, \"B c\"".into() };
        assert_eq!(setting_statement("\"d\"", &setting), "ALTER DATABASE \"d\" SET \"search_path\" TO 'a', 'B c'");
    }
}
