//! The runbooks that come with the tool, one for each scenario. They are texts like everybody's own: to be read, copied and changed.

const SHIPPED: [(&str, &str); 10] = [
    ("database-failure", include_str!("database-failure.toml")),
    ("switchover", include_str!("switchover.toml")),
    ("patroni-switchover", include_str!("patroni-switchover.toml")),
    ("patroni-failover", include_str!("patroni-failover.toml")),
    ("application-failure", include_str!("application-failure.toml")),
    ("backup-restore", include_str!("backup-restore.toml")),
    ("region-failover", include_str!("region-failover.toml")),
    ("region-failback", include_str!("region-failback.toml")),
    ("data-corruption", include_str!("data-corruption.toml")),
    ("security-breach", include_str!("security-breach.toml")),
];

/// Lists the runbooks that come with the tool: name and text.
pub fn shipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHIPPED.into_iter()
}

#[cfg(test)]
mod tests {
    use super::super::Runbook;
    use super::*;

    #[test]
    fn each_is_a_runbook_without_faults_under_its_own_name() {
        for (name, text) in shipped() {
            let runbook = Runbook::from_toml(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            runbook.check().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(runbook.name.as_str(), name);
            assert!(
                !runbook.summary.is_empty()
                    && runbook.variables.values().all(|variable| !variable.description.is_empty())
            );
        }
    }
}
