//! Hostile records in every folder of a repository: each is a problem, none a panic, and no good backup is hidden.

#![no_main]

use std::sync::{Arc, LazyLock};

use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::repository::Environment;
use erpgo_dr_core::storage::{ObjectStorage, PutOptions, StorageExt as _};
use erpgo_dr_core::types::ObjectKey;
use erpgo_dr_core::{Repository, Storage};
use erpgo_dr_fuzz::{POOL, block_on};
use libfuzzer_sys::fuzz_target;

const ID: &str = "20261125T232510Z-b3ecc1de";
const EPOCH: &str = "20261125T232510Z-6c0680d4";

static KEYS: LazyLock<Vec<ObjectKey>> = LazyLock::new(|| {
    let keys = [
        "repo.json".to_owned(),
        format!("backups/{ID}/summary"),
        format!("state/verdicts/{ID}/20261125T231748.271Z-mac"),
        format!("state/holds/{ID}"),
        format!("state/expired/{ID}"),
        format!("keys/{EPOCH}/epoch.json"),
        format!("keys/{EPOCH}/recipients.age"),
    ];
    keys.map(|key| key.parse().expect("a key")).into()
});

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, record) = input;
    let key = &KEYS[usize::from(choice) % KEYS.len()];
    block_on(async {
        let place: Arc<dyn Storage> = Arc::new(ObjectStorage::memory());
        let settings = include_bytes!("../seeds/repo.json");
        place.write(&KEYS[0], settings.to_vec().into(), &PutOptions::default()).await.expect("memory");
        place.write(key, record.to_vec().into(), &PutOptions::default()).await.expect("memory");
        let environment = Environment::new(POOL.clone(), Arc::new(SystemClock));
        let Ok(repository) = Repository::open(place, environment).await else { return };
        let catalogue = repository.catalogue().await.expect("a bad record is no outage");
        for entry in &catalogue.entries {
            assert!(entry.details.is_none(), "nothing is proven without a key");
            assert!(repository.manifest(&entry.summary).await.is_err());
        }
    });
});
