//! Which database goes where, and which process loads which tables.

use std::collections::HashSet;

use super::super::super::archive::DataBlock;
use super::super::super::{BackupContents, DatabaseContents, PostgresError, Scope};
use super::super::options::RestoreOptions;

/// A database of the backup, and the name that it is to have.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) contents: &'a DatabaseContents,
    pub(super) name: String,
}

/// Chooses the databases and their names.
pub(super) fn targets<'a>(
    options: &RestoreOptions,
    contents: &'a BackupContents,
) -> Result<Vec<Target<'a>>, PostgresError> {
    let refuse = |text: String| Err(PostgresError::InvalidOptions(text));
    match (contents.scope, options.scope) {
        (Scope::Schema, Scope::Data) => return refuse("the backup holds no data".to_owned()),
        (Scope::Data, Scope::Schema) => return refuse("the backup holds no definitions".to_owned()),
        _ => {}
    }
    let names = chosen_names(options, contents)?;
    let chosen: Vec<&DatabaseContents> =
        contents.databases.iter().filter(|database| names.contains(database.database.as_str())).collect();
    if chosen.is_empty() && !options.restore_globals {
        return refuse("the backup holds no database".to_owned());
    }
    if chosen.len() != 1 && (options.target.is_some() || options.is_subset()) {
        return refuse(format!("{} databases are chosen: name the one that is meant", chosen.len()));
    }
    let mut targets = Vec::with_capacity(chosen.len());
    let mut taken = HashSet::new();
    for database in chosen {
        let renamed = options.target.as_ref().or_else(|| options.rename.get(&database.database));
        let name = renamed.unwrap_or(&database.database).clone();
        if !taken.insert(name.clone()) {
            return refuse(format!("two databases would become {name}"));
        }
        targets.push(Target { contents: database, name });
    }
    Ok(targets)
}

fn chosen_names<'a>(
    options: &'a RestoreOptions,
    contents: &'a BackupContents,
) -> Result<HashSet<&'a str>, PostgresError> {
    let all: HashSet<&str> = contents.databases.iter().map(|database| database.database.as_str()).collect();
    let asked = options.databases.iter().flatten().chain(options.rename.keys());
    if let Some(unknown) = asked.into_iter().find(|name| !all.contains(name.as_str())) {
        return Err(PostgresError::NotInBackup(format!("database {unknown}")));
    }
    Ok(match &options.databases {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => all,
    })
}

/// Shares blocks out among at most `jobs` processes: the largest first, each to the one with the least so far.
///
/// Within a share the blocks are in the order of the archive, in which pg_restore must find them.
pub(super) fn share_out(mut blocks: Vec<DataBlock>, jobs: usize) -> Vec<Vec<DataBlock>> {
    let size = |block: &DataBlock| block.range.end - block.range.start;
    blocks.sort_by_key(|block| std::cmp::Reverse(size(block)));
    let mut shares: Vec<(u64, Vec<DataBlock>)> = vec![(0, Vec::new()); jobs.min(blocks.len())];
    for block in blocks {
        let Some((total, share)) = shares.iter_mut().min_by_key(|(total, _)| *total) else { break };
        *total += size(&block);
        share.push(block);
    }
    let sorted = |(_, mut share): (u64, Vec<DataBlock>)| {
        share.sort_by_key(|block| block.range.start);
        share
    };
    shares.into_iter().map(sorted).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::super::ServerInfo;
    use super::*;

    fn backup(names: &[&str]) -> BackupContents {
        let databases = names.iter().zip(0..).map(|(name, n)| DatabaseContents::new(*name, n, 0, vec![])).collect();
        BackupContents::new(ServerInfo::new(170_000, "17.0", None, false), Scope::Full, 17, databases)
    }

    fn names(options: &RestoreOptions, backup: &BackupContents) -> Result<Vec<String>, String> {
        let targets = targets(options, backup).map_err(|error| error.to_string())?;
        Ok(targets.into_iter().map(|target| target.name).collect())
    }

    #[test]
    fn databases_are_renamed_but_never_merged() {
        let backup = backup(&["a", "b"]);
        let options = RestoreOptions::new();
        assert_eq!(names(&options, &backup).unwrap(), ["a", "b"]);
        assert_eq!(names(&options.clone().rename("a", "c"), &backup).unwrap(), ["c", "b"]);
        assert!(names(&options.clone().rename("a", "b"), &backup).unwrap_err().contains("two databases"));
        assert!(names(&options.clone().rename("x", "b"), &backup).unwrap_err().contains("not in the backup"));
        assert!(names(&options.clone().target("t"), &backup).unwrap_err().contains("2 databases"));
        let one = options.databases(vec!["b".into()]).target("t");
        assert_eq!(names(&one, &backup).unwrap(), ["t"]);
    }

    #[test]
    fn the_largest_table_does_not_wait_for_the_others() {
        let block = |dump_id, start, length| DataBlock { dump_id, range: start..start + length };
        let blocks = vec![block(1, 0, 10), block(2, 10, 10), block(3, 20, 100), block(4, 120, 5)];
        let shares = share_out(blocks, 2);
        let ids: Vec<Vec<i32>> = shares.iter().map(|share| share.iter().map(|block| block.dump_id).collect()).collect();
        assert_eq!(ids, [vec![3], vec![1, 2, 4]]);
        assert_eq!(share_out(vec![block(1, 0, 1)], 8).len(), 1);
        assert!(share_out(vec![], 8).is_empty());
    }
}
