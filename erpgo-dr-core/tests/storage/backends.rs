//! Every back end does what the trait says.

use std::sync::Arc;

use erpgo_dr_core::conformance::storage::run;
use erpgo_dr_core::storage::{
    Bandwidth, LimitedStorage, RetryOptions, Storage, StorageAddress, StorageError, StorageExt as _, StorageOptions,
    TransferOptions, open,
};
use erpgo_dr_testkit::{Azurite, GcsServer, SeaweedFs};
use futures::TryStreamExt as _;

use crate::places::{self, key};

fn place(address: &str, options: &StorageOptions) -> Arc<dyn Storage> {
    open(&address.parse::<StorageAddress>().unwrap(), options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("repository").display().to_string();
    run(place(&address, &StorageOptions::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    run(place("memory:", &StorageOptions::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_in_tiny_ranges() {
    let transfer = TransferOptions::default().with_part_size(0).with_read_size(0).with_reads_in_flight(9);
    run(place("memory:", &StorageOptions::default().with_transfer(transfer))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_by_a_bandwidth() {
    // Low enough that much of the suite's traffic waits, high enough that none of it takes long.
    let bandwidth = Bandwidth::per_second(128 << 20).unwrap();
    run(Arc::new(LimitedStorage::new(place("memory:", &StorageOptions::default()), bandwidth))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs() {
    let server = SeaweedFs::start();
    server.create_bucket("backups");
    // Patient: a request that is given up may still be carried out, after what it was about was deleted.
    let options = places::seaweedfs(&server.endpoint()).with_retry(RetryOptions::default());
    run(place("s3://backups/erp/one", &options)).await;
    run(place("s3://backups", &options)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azurite() {
    let server = Azurite::start();
    server.create_container("backups");
    let options = places::azurite(&server).with_retry(RetryOptions::default());
    run(place("az://backups/erp", &options)).await;
}

/// fake-gcs-server has no XML interface for writing, which is the one that is spoken here
/// (<https://github.com/fsouza/fake-gcs-server/issues/331>): only what reads can meet it.
#[tokio::test(flavor = "multi_thread")]
async fn gcs_reads() {
    let server = GcsServer::start();
    server.create_bucket("backups");
    let text = "0123456789".repeat(10);
    server.put_object("backups", "erp/a/one", &text);
    server.put_object("backups", "erp/ab/two", "");
    server.put_object("backups", "other/three", "x");
    let place = place("gs://backups/erp", &places::gcs(&server));
    let listed = |prefix| place.list(prefix).map_ok(|meta| (meta.key.to_string(), meta.size)).try_collect::<Vec<_>>();
    assert_eq!(listed("a").await.unwrap(), [("a/one".to_owned(), 100)]);
    assert_eq!(listed("").await.unwrap().len(), 2);
    assert_eq!(place.head(&key("a/one")).await.unwrap().size, 100);
    assert_eq!(place.read(&key("a/one"), 100).await.unwrap(), text);
    let range: Vec<_> = place.get(&key("a/one"), Some(95..200)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(range.concat(), b"56789");
    assert!(matches!(place.head(&key("three")).await, Err(StorageError::NotFound { .. })));
    for _ in 0..2 {
        place.delete(&key("a/one")).await.unwrap();
    }
    assert!(listed("a").await.unwrap().is_empty());
}
