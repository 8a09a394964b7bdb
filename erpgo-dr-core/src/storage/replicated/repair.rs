//! Bringing places up to date: first a plan, then what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use futures::stream::{self, StreamExt as _};
use serde::Serialize;

use super::hash::{copy, hash};
use crate::storage::{Storage, StorageError};
use crate::types::{ContentHash, ObjectKey};

/// How many objects are hashed or copied at once.
const AT_ONCE: usize = 4;

/// What a repair looks at.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RepairOptions {
    /// Only objects in this folder; all by default.
    pub prefix: String,
    /// Whether every copy is read and hashed; otherwise only its size counts.
    pub deep: bool,
}

impl RepairOptions {
    /// Restricts the repair to a folder.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets whether every copy is read and hashed.
    pub fn with_deep(mut self, deep: bool) -> Self {
        self.deep = deep;
        self
    }
}

/// One of the differing copies of an object.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RepairCopy {
    /// Its place, by its number in [`places`](super::ReplicatedStorage::places).
    pub place: usize,
    /// Where it can be read.
    pub storage: Arc<dyn Storage>,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash, in a deep repair.
    pub hash: Option<ContentHash>,
}

/// Says what is right. Storage sees opaque bytes, so someone with names, hashes or keys must.
#[async_trait]
pub trait RepairJudge: Send + Sync {
    /// Returns whether an object should be in every place. One that should not is reported as a stray and left alone: a
    /// lease of somebody, or what a delete has missed.
    fn is_wanted(&self, key: &ObjectKey) -> bool;

    /// Returns the number of the copy in `copies` that is right, of which there is at least one; `None` if none is.
    ///
    /// Asked before anything is copied, also where only one version is left.
    async fn choose(&self, key: &ObjectKey, copies: &[RepairCopy]) -> Option<usize>;
}

/// One object to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairAction {
    /// The object.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash, in a deep repair.
    pub hash: Option<ContentHash>,
    /// The number of the place that has it.
    pub from: usize,
    /// The number of the place that lacks it, or has it wrong.
    pub to: usize,
    /// Whether a wrong object is replaced there.
    pub replaces: bool,
}

/// What something failed on, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairFailure {
    /// The place.
    pub location: String,
    /// The object; `None` for the whole place.
    pub key: Option<ObjectKey>,
    /// What went wrong, in words.
    pub error: String,
}

/// What a repair would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairPlan {
    /// How many objects were looked at.
    pub objects: u64,
    /// What is to be copied.
    pub actions: Vec<RepairAction>,
    /// Objects of which the judge took no copy for right.
    pub unresolved: Vec<ObjectKey>,
    /// Objects that are in some place but should be in none.
    pub strays: Vec<ObjectKey>,
    /// Places that could not be listed, and copies that could not be read.
    pub failures: Vec<RepairFailure>,
}

impl RepairPlan {
    /// Returns whether all places have all that they should.
    pub fn is_healthy(&self) -> bool {
        self.actions.is_empty() && self.unresolved.is_empty() && self.failures.is_empty()
    }
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// How many objects were copied.
    pub copied: u64,
    /// How many bytes that were.
    pub bytes: u64,
    /// How many strays were removed, by whoever knows what they are: a plan alone removes nothing.
    pub removed: u64,
    /// What could not be copied or removed.
    pub failures: Vec<RepairFailure>,
}

/// The places that answered, and what each has of an object.
struct Inventory {
    listed: Vec<usize>,
    objects: BTreeMap<ObjectKey, Vec<Option<u64>>>,
}

pub(super) async fn plan(
    places: &[Arc<dyn Storage>],
    options: &RepairOptions,
    judge: &dyn RepairJudge,
) -> Result<RepairPlan, StorageError> {
    let mut plan = RepairPlan::default();
    let inventory = take_inventory(places, options, &mut plan).await?;
    let Inventory { listed, objects } = &inventory;
    let examinations = stream::iter(objects).map(|(key, sizes)| async move {
        let examination = Examination { places, listed, options, judge, key, sizes };
        (key, examination.run().await)
    });
    let mut findings = examinations.buffered(AT_ONCE).boxed();
    while let Some((key, finding)) = findings.next().await {
        plan.objects += 1;
        plan.failures.extend(finding.failures);
        match finding.verdict {
            Verdict::Healthy => {}
            Verdict::Copy(actions) => plan.actions.extend(actions),
            Verdict::Unresolved => plan.unresolved.push(key.clone()),
            Verdict::Stray => plan.strays.push(key.clone()),
        }
    }
    Ok(plan)
}

async fn take_inventory(
    places: &[Arc<dyn Storage>],
    options: &RepairOptions,
    plan: &mut RepairPlan,
) -> Result<Inventory, StorageError> {
    let mut inventory = Inventory { listed: Vec::new(), objects: BTreeMap::new() };
    let mut first = None;
    for (number, place) in places.iter().enumerate() {
        let found: Result<Vec<_>, _> =
            place.list(&options.prefix).map_ok(|meta| (meta.key, meta.size)).try_collect().await;
        match found {
            // A new place: carrying out the plan makes it.
            Err(StorageError::FolderMissing { .. }) => inventory.listed.push(number),
            Ok(found) => {
                inventory.listed.push(number);
                for (key, size) in found {
                    inventory.objects.entry(key).or_insert_with(|| vec![None; places.len()])[number] = Some(size);
                }
            }
            Err(error) => {
                plan.failures.push(failure(place, None, &error));
                first = first.or(Some(error));
            }
        }
    }
    match first {
        Some(error) if inventory.listed.is_empty() => Err(error),
        _ => Ok(inventory),
    }
}

enum Verdict {
    Healthy,
    Copy(Vec<RepairAction>),
    Unresolved,
    Stray,
}

struct Finding {
    verdict: Verdict,
    failures: Vec<RepairFailure>,
}

struct Examination<'a> {
    places: &'a [Arc<dyn Storage>],
    listed: &'a [usize],
    options: &'a RepairOptions,
    judge: &'a dyn RepairJudge,
    key: &'a ObjectKey,
    sizes: &'a [Option<u64>],
}

impl Examination<'_> {
    async fn run(self) -> Finding {
        let mut failures = Vec::new();
        if !self.judge.is_wanted(self.key) {
            return Finding { verdict: Verdict::Stray, failures };
        }
        let copies = self.copies(&mut failures).await;
        let same = |copy: &RepairCopy| (copy.size, copy.hash) == (copies[0].size, copies[0].hash);
        if copies.len() == self.listed.len() && copies.iter().all(same) {
            return Finding { verdict: Verdict::Healthy, failures };
        }
        let verdict = match self.judge_over(&copies).await {
            Some(right) => Verdict::Copy(self.actions(right, &copies)),
            None => Verdict::Unresolved,
        };
        Finding { verdict, failures }
    }

    /// Returns the copies that can be read, each with its hash if that is asked for.
    async fn copies(&self, failures: &mut Vec<RepairFailure>) -> Vec<RepairCopy> {
        let mut copies = Vec::new();
        for (place, size) in self.sizes.iter().enumerate().filter_map(|(place, size)| Some((place, (*size)?))) {
            let storage = Arc::clone(&self.places[place]);
            let hash = match self.options.deep {
                true => match hash(&*storage, self.key).await {
                    Ok(hash) => Some(hash),
                    Err(error) => {
                        failures.push(failure(&storage, Some(self.key), &error));
                        continue;
                    }
                },
                false => None,
            };
            copies.push(RepairCopy { place, storage, size, hash });
        }
        copies
    }

    /// Shows the judge one copy of each version.
    async fn judge_over<'c>(&self, copies: &'c [RepairCopy]) -> Option<&'c RepairCopy> {
        let mut versions: Vec<&RepairCopy> = Vec::new();
        for copy in copies {
            // Without hashes, copies of one size may still differ.
            let known = copy.hash.is_some()
                && versions.iter().any(|version| (version.size, version.hash) == (copy.size, copy.hash));
            if !known {
                versions.push(copy);
            }
        }
        if versions.is_empty() {
            return None;
        }
        let shown: Vec<RepairCopy> = versions.iter().map(|copy| (*copy).clone()).collect();
        let chosen = self.judge.choose(self.key, &shown).await?;
        versions.get(chosen).copied()
    }

    fn actions(&self, right: &RepairCopy, copies: &[RepairCopy]) -> Vec<RepairAction> {
        let is_right = |place: usize| {
            copies.iter().any(|copy| copy.place == place && (copy.size, copy.hash) == (right.size, right.hash))
        };
        let wrong = self.listed.iter().filter(|&&place| !is_right(place));
        wrong
            .map(|&place| RepairAction {
                key: self.key.clone(),
                size: right.size,
                hash: right.hash,
                from: right.place,
                to: place,
                replaces: self.sizes[place].is_some(),
            })
            .collect()
    }
}

pub(super) async fn carry_out(places: &[Arc<dyn Storage>], plan: &RepairPlan) -> RepairReport {
    let copies = stream::iter(&plan.actions).map(|action| async move {
        let (from, to) = (&places[action.from], &places[action.to]);
        (action, copy(&**from, &**to, &action.key, action.size, action.hash).await)
    });
    let mut report = RepairReport::default();
    for number in plan.actions.iter().map(|action| action.to).collect::<BTreeSet<_>>() {
        if let Err(error) = places[number].prepare().await {
            report.failures.push(failure(&places[number], None, &error));
        }
    }
    let mut copies = copies.buffer_unordered(AT_ONCE).boxed();
    while let Some((action, outcome)) = copies.next().await {
        match outcome {
            Ok(meta) => {
                report.copied += 1;
                report.bytes += meta.size;
            }
            Err(error) => report.failures.push(failure(&places[action.to], Some(&action.key), &error)),
        }
    }
    report
}

fn failure(place: &Arc<dyn Storage>, key: Option<&ObjectKey>, error: &StorageError) -> RepairFailure {
    RepairFailure { location: place.location(), key: key.cloned(), error: super::full_text(error) }
}
