//! What goes wrong on the way to a storage place: a peer that refuses, cuts, stalls or is slow, a full disk, a wrong secret.
//!
//! The server is real; a proxy in front of it does the harm, and each story asserts that the harm was done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use erpgo_dr_core::storage::{
    LocalStorage, PutOptions, Storage, StorageAddress, StorageError, StorageExt as _, TransferOptions, open,
};
use erpgo_dr_testkit::fault_proxy::{Direction, Fault};
use erpgo_dr_testkit::{FaultProxy, FullDisk, SeaweedFs};
use futures::TryStreamExt as _;

use crate::places::{self, key};

const MIB: usize = 1 << 20;
/// Three parts of an upload, and several ranges of a read.
const SIZE: usize = 14 * MIB;

/// A bucket that is reached through a proxy.
struct Site {
    proxy: FaultProxy,
    _server: SeaweedFs,
    place: Arc<dyn Storage>,
}

impl Site {
    fn new() -> Self {
        let server = SeaweedFs::start();
        server.create_bucket("backups");
        let proxy = FaultProxy::start(server.port());
        let transfer = TransferOptions::default().with_part_size(5 * MIB).with_read_size(MIB).with_parts_in_flight(2);
        let options = places::seaweedfs(&proxy.url()).with_transfer(transfer);
        let place = open(&"s3://backups/erp".parse::<StorageAddress>().unwrap(), &options).unwrap();
        Self { proxy, _server: server, place }
    }

    fn cut_after(&self, direction: Direction, bytes: usize, then: Fault) {
        self.proxy.set(Fault::CutAfter { direction, bytes: bytes as u64, then: Box::new(then) });
    }

    async fn write(&self, name: &str) -> Result<(), StorageError> {
        let mut writer = self.place.put(&key(name), &PutOptions::default()).await?;
        for piece in content().chunks(MIB / 2) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        writer.finish().await.map(|_| ())
    }

    async fn listed(&self) -> Vec<String> {
        self.place.list("").map_ok(|meta| meta.key.to_string()).try_collect().await.unwrap()
    }
}

/// Bytes of which no two ranges are alike.
fn content() -> Vec<u8> {
    (0..SIZE as u64 / 8).flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
}

fn is_unavailable(error: &StorageError) -> bool {
    error.is_retryable()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_cut() {
    let site = Site::new();
    site.cut_after(Direction::Up, 7 * MIB, Fault::None);
    site.write("cut").await.unwrap();
    assert_eq!(site.proxy.cuts(), 1);
    assert!(site.place.read(&key("cut"), SIZE).await.unwrap() == content(), "what was stored is what was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_never_gets_through_shows_nothing_and_is_swept() {
    let site = Site::new();
    site.cut_after(Direction::Up, 7 * MIB, Fault::Refuse);
    let error = site.write("lost").await.unwrap_err();
    assert!(is_unavailable(&error), "{error:?}");
    assert_eq!(site.proxy.cuts(), 1);
    let refused = site.place.head(&key("lost")).await.unwrap_err();
    assert!(is_unavailable(&refused), "a place that cannot be reached is not one without the object: {refused:?}");

    site.proxy.heal();
    assert!(site.listed().await.is_empty(), "half an object is none");
    let swept = site.place.sweep(Utc::now() + chrono::TimeDelta::seconds(5)).await.unwrap();
    assert!(swept <= 1, "one upload was begun, not {swept}");
    assert_eq!(site.place.sweep(Utc::now() + chrono::TimeDelta::seconds(5)).await.unwrap(), 0);
    site.write("lost").await.unwrap();
    assert_eq!(site.listed().await, ["lost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_on_where_it_was_cut() {
    let site = Site::new();
    site.write("object").await.unwrap();
    site.cut_after(Direction::Down, 3 * MIB + 12_345, Fault::None);
    assert!(site.place.read(&key("object"), SIZE).await.unwrap() == content(), "nothing is missing, nothing twice");
    assert_eq!(site.proxy.cuts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_never_gets_through_is_an_error_and_not_the_end() {
    let site = Site::new();
    site.write("object").await.unwrap();
    site.cut_after(Direction::Down, 3 * MIB + 12_345, Fault::Refuse);
    let mut stream = site.place.get(&key("object"), None).await.unwrap();
    let mut arrived = Vec::new();
    let error = loop {
        match stream.try_next().await {
            Ok(Some(piece)) => arrived.extend_from_slice(&piece),
            Ok(None) => panic!("a stream of {} bytes ended as if it were whole", arrived.len()),
            Err(error) => break error,
        }
    };
    assert!(is_unavailable(&error), "{error:?}");
    assert!(arrived.len() < SIZE && content().starts_with(&arrived), "what did arrive is a beginning of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_is_given_up() {
    let site = Site::new();
    site.proxy.set(Fault::Blackhole);
    let head = tokio::time::timeout(Duration::from_secs(60), site.place.head(&key("object"))).await;
    let error = head.expect("a request has an end").unwrap_err();
    assert!(is_unavailable(&error), "{error:?}");
    assert!(site.proxy.connections() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_peer_is_only_slow() {
    let site = Site::new();
    site.proxy.set(Fault::Delay(Duration::from_millis(2)));
    site.write("object").await.unwrap();
    assert!(site.place.read(&key("object"), SIZE).await.unwrap() == content(), "what was stored is what was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_refused_and_not_tried_again() {
    let server = SeaweedFs::start();
    server.create_bucket("backups");
    let proxy = FaultProxy::start(server.port());
    let options = places::s3(&proxy.url(), "not-the-secret");
    let place = open(&"s3://backups/erp".parse::<StorageAddress>().unwrap(), &options).unwrap();
    let error = place.create(&key("object"), Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, StorageError::PermissionDenied { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("not-the-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_left_as_it_was() {
    let disk = FullDisk::mount(8 * MIB as u64);
    let place = LocalStorage::open(disk.path().join("repository")).unwrap();
    place.prepare().await.unwrap();
    place.write(&key("small"), Bytes::from_static(b"kept"), &PutOptions::default()).await.unwrap();
    let error = place.write(&key("large"), content().into(), &PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, StorageError::NoSpace { .. }), "{error:?}");
    let listed: Vec<_> = place.list("").map_ok(|meta| meta.key.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, ["small"]);
    // Its room is free again: what did fit before still does.
    place.write(&key("half"), content()[..4 * MIB].to_vec().into(), &PutOptions::default()).await.unwrap();
    assert_eq!(place.read(&key("small"), 100).await.unwrap(), "kept");
}
