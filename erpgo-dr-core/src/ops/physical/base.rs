//! The earlier backup that a new one takes unchanged pages over from.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use roaring::RoaringBitmap;

use crate::ops::Result;
use crate::postgres::physical::{ClusterFacts, KnownPages, PAGE, RelationFile, hash_bytes};
use crate::repository::{
    Catalogue, CatalogueEntry, Extent, FileKind, FileMapReader, FileRecord, PACKS, PageHashReader, PhysicalContents,
    Repository, RepositoryError, StoredObject, VerifyLevel,
};
use crate::types::{BackupId, ContentHash, Lsn, ObjectKey, TimelineId};

/// A pack of which less than this share is of use is written anew, bit by bit, until nothing points to it.
const WORN_SHARE: u64 = 4;
/// How long packs that were read and found good are not read again after each backup.
const TRUST: TimeDelta = TimeDelta::days(7);

/// An earlier backup of the same cluster, read side by side with the files as they are now.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) id: BackupId,
    /// Where replay of it begins: what changed since is in the WAL from there on.
    pub(super) start_lsn: Lsn,
    /// Where it was consistent.
    pub(super) stop_lsn: Lsn,
    pub(super) timeline: TimelineId,
    pub(super) data_checksums: bool,
    /// Bytes of its files.
    pub(super) bytes: u64,
    /// The hash of the log that it came with.
    pub(super) wal_hash: Option<ContentHash>,
    /// When the server was started that it was taken from.
    pub(super) server_started: Option<DateTime<Utc>>,
    /// The key of its hashes.
    pub(super) key: [u8; 32],
    /// When all of its packs had been read and found good, if that was lately and nothing bad was found since.
    pub(super) proven_at: Option<DateTime<Utc>>,
    /// Its packs that are still of use: the first ones of the new backup's table.
    pub(super) packs: Vec<StoredObject>,
    /// The new number of each of its packs, and whether what lies in it is to be written anew.
    numbers: Vec<Option<(u32, bool)>>,
    /// Bytes of each of its packs that it points to.
    live: Vec<u64>,
    /// Pages that were damaged in the cluster, by file: they may have been mended since.
    damaged: HashMap<String, RoaringBitmap>,
    map: FileMapReader,
    hashes: PageHashReader,
    /// What was read last of the map, and is not asked for yet.
    ahead: Option<KnownFile>,
}

/// What an earlier run has of a file.
#[derive(Debug)]
pub(super) struct KnownFile {
    pub(super) path: String,
    pub(super) pages: KnownPages,
    pub(super) extents: Vec<Extent>,
}

impl Base {
    /// Finds the newest backup of this cluster that can be built on.
    pub(super) async fn find(
        repository: &Repository,
        catalogue: &Catalogue,
        facts: &ClusterFacts,
    ) -> Result<Option<Self>> {
        let is_of_cluster = |entry: &&CatalogueEntry| {
            let details = entry.details.as_ref();
            entry.summary.is_physical()
                && details.is_some_and(|details| details.system_identifier == Some(facts.system_identifier))
        };
        let of_cluster: Vec<&CatalogueEntry> = catalogue.entries.iter().rev().filter(is_of_cluster).collect();
        let is_bad = |entry: &&CatalogueEntry| entry.verdicts.last().is_some_and(|verdict| !verdict.passed);
        // Packs are shared: what is said of one backup's is so for the others, too.
        let findings: Vec<&str> = of_cluster
            .iter()
            .filter(|entry| is_bad(entry))
            .filter_map(|entry| entry.verdicts.last())
            .flat_map(|verdict| verdict.findings.iter().map(String::as_str))
            .collect();
        for entry in of_cluster.iter().filter(|entry| !is_bad(entry)) {
            match Self::open(repository, entry, facts, &findings).await {
                Ok(Some(base)) => return Ok(Some(base)),
                Ok(None) => {}
                Err(error) => tracing::warn!(backup = %entry.id(), %error, "no backup can be built on this one"),
            }
        }
        Ok(None)
    }

    async fn open(
        repository: &Repository,
        entry: &CatalogueEntry,
        facts: &ClusterFacts,
        findings: &[&str],
    ) -> Result<Option<Self>> {
        let manifest = repository.manifest(&entry.summary).await?;
        let Some(physical) = manifest.physical else { return Ok(None) };
        let Some(pages) = &physical.pages else { return Ok(None) };
        let present = sizes_of_packs(repository, &physical).await?;
        let (mut packs, mut numbers, mut lives) = (Vec::new(), Vec::new(), Vec::new());
        for (number, pack) in physical.packs.iter().enumerate() {
            let live = physical.live_bytes.get(number).copied().unwrap_or(pack.plaintext_bytes);
            lives.push(live);
            let is_whole = present.get(&pack.key) == Some(&pack.stored_bytes)
                && !findings.iter().any(|finding| finding.contains(pack.key.as_str()));
            if !is_whole {
                tracing::warn!(pack = %pack.key, "a pack is missing, cut short or damaged: its pages are stored anew");
            }
            numbers.push((live > 0 && is_whole).then(|| {
                packs.push(pack.clone());
                (packs.len() as u32 - 1, live < pack.plaintext_bytes / WORN_SHARE)
            }));
        }
        Ok(Some(Self {
            id: entry.id().clone(),
            start_lsn: physical.start_lsn,
            stop_lsn: physical.stop_lsn,
            timeline: physical.timeline,
            data_checksums: physical.data_checksums,
            bytes: physical.bytes,
            wal_hash: physical.wal_hash,
            server_started: physical.server_started,
            key: pages.key,
            proven_at: proven_at(entry, repository.environment().clock.now()).filter(|_| findings.is_empty()),
            packs,
            numbers,
            live: lives,
            damaged: damaged_pages(&physical, facts),
            map: repository.file_map(entry.id()).await?,
            hashes: repository.page_hashes(entry.id()).await?,
            ahead: None,
        }))
    }

    /// Returns what the base has of the file at `path`. Paths are asked for in their order.
    pub(super) async fn file(&mut self, path: &str) -> Result<Option<KnownFile>> {
        loop {
            if self.ahead.is_none() {
                self.ahead = self.next().await?;
            }
            match self.ahead.as_ref().map(|known| known.path.as_str().cmp(path)) {
                Some(std::cmp::Ordering::Less) => self.ahead = None,
                Some(std::cmp::Ordering::Equal) => return Ok(self.ahead.take()),
                Some(std::cmp::Ordering::Greater) | None => return Ok(None),
            }
        }
    }

    /// Returns why the log of a cluster as it is now cannot tell what has changed since; `None` where it may, if it is the log of this backup's
    /// history.
    pub(super) fn doubt(&self, facts: &ClusterFacts, timeline: TimelineId) -> Option<&'static str> {
        if self.timeline != timeline {
            Some("it is of another timeline")
        // Blocks are counted in the server's pages.
        } else if facts.block_size != PAGE as u32 {
            Some("pages have another size than 8 KiB")
        // Switching checksums on or off rewrites pages without a word in the log.
        } else if self.data_checksums != facts.data_checksums {
            Some("checksums were switched on or off since")
        } else {
            None
        }
    }

    /// Returns whether every page of it can be taken over as it is: no pack is gone, and no page was damaged.
    pub(super) fn is_whole(&self) -> bool {
        self.numbers.iter().zip(&self.live).all(|(number, live)| number.is_some() || *live == 0)
            && self.damaged.is_empty()
    }

    /// Leaves what lies in worn packs where it is, for pages that do not come again.
    pub(super) fn keep_worn(&mut self) {
        self.numbers.iter_mut().flatten().for_each(|(_, is_worn)| *is_worn = false);
    }

    /// Reads on to the next file of the map.
    pub(super) async fn next(&mut self) -> Result<Option<KnownFile>> {
        while let Some(record) = self.map.next().await? {
            let size = record.size();
            let FileRecord { path, kind: FileKind::File { extents, .. }, .. } = record else { continue };
            let hashes = self.hashes.next(hash_bytes(size)).await?;
            let mut renewed = self.damaged.remove(&path).unwrap_or_default();
            let extents = self.translate(&path, &extents, &mut renewed)?;
            return Ok(Some(KnownFile { path, pages: KnownPages { size, hashes, renewed }, extents }));
        }
        Ok(None)
    }

    /// Numbers packs as the new backup does, and adds what is to be written anew to `renewed`.
    fn translate(&self, path: &str, extents: &[Extent], renewed: &mut RoaringBitmap) -> Result<Vec<Extent>> {
        let mut at = 0;
        let mut translated = Vec::with_capacity(extents.len());
        for extent in extents {
            let end = at + extent.length();
            translated.push(match *extent {
                Extent::Stored { pack, offset, length } => {
                    let Some(number) = self.numbers.get(pack as usize) else {
                        let reason = format!("{path} lies in pack {pack} of {}", self.numbers.len());
                        return Err(RepositoryError::Damaged { record: self.id.to_string(), reason }.into());
                    };
                    let (pack, is_worn) = number.unwrap_or((u32::MAX, true));
                    if is_worn {
                        renewed.insert_range((at / PAGE as u64) as u32..end.div_ceil(PAGE as u64) as u32);
                    }
                    Extent::Stored { pack, offset, length }
                }
                Extent::Zeros { length } => Extent::Zeros { length },
            });
            at = end;
        }
        Ok(translated)
    }
}

/// Returns when all packs of a backup had been read, unless that is long ago: what lies on disks decays.
fn proven_at(entry: &CatalogueEntry, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    entry.proven()?;
    let read = entry.verdicts.iter().filter(|verdict| verdict.passed && verdict.level >= VerifyLevel::Mac);
    let at = read.map(|verdict| verdict.packs_read_at.unwrap_or(verdict.at)).max()?;
    (now - at < TRUST).then_some(at)
}

/// Returns the stored sizes of all packs in the folders that a backup points into.
async fn sizes_of_packs(repository: &Repository, physical: &PhysicalContents) -> Result<BTreeMap<ObjectKey, u64>> {
    let mut folders: Vec<&str> =
        physical.packs.iter().filter_map(|pack| pack.key.as_str().rsplit_once('/')).map(|(folder, _)| folder).collect();
    folders.dedup();
    // A folder each for a few; all at once for many.
    let folders = if folders.len() > 8 { vec![PACKS] } else { folders };
    let mut sizes = BTreeMap::new();
    for folder in folders {
        let mut objects = repository.storage().list(folder);
        while let Some(meta) = objects.try_next().await? {
            sizes.insert(meta.key, meta.size);
        }
    }
    Ok(sizes)
}

/// Returns the damaged pages of each file, counted from its beginning.
fn damaged_pages(physical: &PhysicalContents, facts: &ClusterFacts) -> HashMap<String, RoaringBitmap> {
    let mut damaged: HashMap<String, RoaringBitmap> = HashMap::new();
    for page in &physical.damaged_pages {
        let first = RelationFile::parse(&page.path).map_or(0, |file| file.first_block(facts.blocks_per_segment));
        damaged.entry(page.path.clone()).or_default().insert(page.block.wrapping_sub(first));
    }
    damaged
}
