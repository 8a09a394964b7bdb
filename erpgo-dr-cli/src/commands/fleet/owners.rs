//! Which repository is whose: two clusters may not have one, by whichever address.

use std::collections::BTreeMap;

use erpgo_dr_core::types::RepositoryId;

/// The repositories of clusters.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<RepositoryId, String>);

impl Owners {
    /// Takes a repository for the cluster that it was opened for, in the place of one that it had, unless it is another cluster's.
    pub(super) fn admit(&mut self, cluster: &str, repository: &RepositoryId) -> Result<(), String> {
        match self.0.get(repository) {
            Some(owner) if owner != cluster => {
                Err(format!("it has the repository of {owner}, or a copy of it: each cluster has one of its own"))
            }
            _ => {
                self.release(cluster);
                self.0.insert(repository.clone(), cluster.to_owned());
                Ok(())
            }
        }
    }

    /// Forgets what a cluster has.
    pub(super) fn release(&mut self, cluster: &str) {
        self.0.retain(|_, owner| owner != cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_that_of_its_first_cluster_until_it_is_given_up() {
        let [one, two]: [RepositoryId; 2] = [RepositoryId::generate(), RepositoryId::generate()];
        let mut owners = Owners::default();
        assert!(owners.admit("a", &one).is_ok() && owners.admit("a", &one).is_ok());
        assert!(owners.admit("b", &one).unwrap_err().contains("the repository of a"));
        assert!(owners.admit("a", &two).is_ok() && owners.admit("b", &one).is_ok(), "a has another one now");
        owners.release("b");
        assert!(owners.admit("c", &one).is_ok() && owners.admit("c", &two).is_err());
    }
}
