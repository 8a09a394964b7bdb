//! The head of an archive and some of its blocks are an archive again, and restore just these.

use std::collections::BTreeMap;

use erpgo_dr_core::postgres::archive::{ArchiveContents, Section, Selection, TocEntry, use_list};
use erpgo_dr_core::postgres::throwaway::ThrowawayServer;
use erpgo_dr_core::postgres::{PostgresError, TableContents, TableName};

use crate::scan::{ODD, scan};
use crate::support::{MAJORS, connect, dump, restore, scratch, server};

/// A server with the odd database, and its archive.
struct Odd {
    major: u32,
    server: ThrowawayServer,
    archive: Vec<u8>,
    contents: ArchiveContents,
    _scratch: tempfile::TempDir,
}

impl Odd {
    async fn start(major: u32) -> Self {
        let scratch = scratch();
        let server = server(major, &scratch).await;
        let client = connect(&server, "postgres").await;
        client.batch_execute("create database odd").await.unwrap();
        connect(&server, "odd").await.batch_execute(ODD).await.unwrap();
        let archive = dump(major, &server, "odd", &["--compress=0"]).await;
        let contents = scan(&archive, 1 << 16);
        Self { major, server, archive, contents, _scratch: scratch }
    }

    async fn create(&self, database: &str) {
        let client = connect(&self.server, "postgres").await;
        client.batch_execute(&format!("create database {database} template template0")).await.unwrap();
    }

    fn head(&self) -> Vec<u8> {
        self.archive[..usize::try_from(self.contents.head.length).unwrap()].to_vec()
    }

    /// An archive of the head and these blocks.
    fn subset(&self, blocks: impl IntoIterator<Item = std::ops::Range<u64>>) -> Vec<u8> {
        let mut subset = self.head();
        for block in blocks {
            let range = usize::try_from(block.start).unwrap()..usize::try_from(block.end).unwrap();
            subset.extend_from_slice(&self.archive[range]);
        }
        subset
    }

    /// Restores these entries from a pipe.
    async fn restore(&self, database: &str, archive: Vec<u8>, entries: &[&TocEntry], options: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        std::fs::write(&list, use_list(entries.iter().copied())).unwrap();
        let list = format!("--use-list={}", list.display());
        let options: Vec<&str> = options.iter().copied().chain([list.as_str()]).collect();
        restore(self.major, &self.server, database, &options, Some(archive)).await;
    }

    async fn dumped(&self, database: &str) -> ArchiveContents {
        scan(&dump(self.major, &self.server, database, &["--compress=0"]).await, 1 << 16)
    }

    fn select(&self, tables: &[(&str, &str)], schemas: &[&str]) -> Result<Selection, PostgresError> {
        let tables: Vec<TableName> = tables.iter().map(|(schema, name)| TableName::new(*schema, *name)).collect();
        let schemas: Vec<String> = schemas.iter().map(|&schema| schema.to_owned()).collect();
        self.contents.head.select(&self.contents.tables, &tables, &schemas)
    }
}

type Fingerprints = BTreeMap<(String, String), (u64, u64, u64)>;

fn fingerprints(tables: &[TableContents]) -> Fingerprints {
    let mut map = Fingerprints::new();
    for table in tables {
        let entry = map.entry((table.schema.clone(), table.name.clone())).or_default();
        entry.0 += table.rows;
        entry.1 += table.bytes;
        entry.2 = entry.2.wrapping_add(table.checksum);
    }
    map
}

fn names(entries: &[TocEntry]) -> Vec<String> {
    let name = |entry: &TocEntry| format!("{} {} {}", entry.description, entry.namespace, entry.tag);
    let mut names: Vec<String> = entries.iter().filter(|entry| entry.description != "DATABASE").map(name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_database_comes_back_by_its_head_and_its_blocks_in_parallel() {
    for major in MAJORS {
        let odd = Odd::start(major).await;
        odd.create("copy").await;
        let entries = &odd.contents.head.entries;
        restore(major, &odd.server, "copy", &["--section=pre-data"], Some(odd.head())).await;

        // Entries of this section that have no block (large objects' metadata, sequences) come first.
        let without: Vec<&TocEntry> =
            entries.iter().filter(|entry| entry.section == Section::Data && !entry.has_data).collect();
        odd.restore("copy", odd.head(), &without, &["--section=data"]).await;
        let lanes = (0..3).map(|lane| {
            let odd = &odd;
            let blocks: Vec<_> = odd.contents.tables.iter().skip(lane).step_by(3).collect();
            let chosen: Vec<&TocEntry> = blocks
                .iter()
                .map(|block| entries.iter().find(|entry| entry.dump_id == block.dump_id).unwrap())
                .collect();
            let archive = odd.subset(blocks.iter().map(|block| block.offset..block.offset + block.length));
            async move { odd.restore("copy", archive, &chosen, &["--section=data"]).await }
        });
        futures::future::join_all(lanes).await;

        let file = odd._scratch.path().join("head");
        std::fs::write(&file, odd.head()).unwrap();
        let file = file.display().to_string();
        restore(major, &odd.server, "copy", &["--section=post-data", "--jobs=2", &file], None).await;

        let copy = odd.dumped("copy").await;
        assert_eq!(fingerprints(&copy.tables), fingerprints(&odd.contents.tables));
        assert_eq!(names(&copy.head.entries), names(entries));
        odd.server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_table_comes_back_with_all_that_is_its_own() {
    for major in MAJORS {
        let odd = Odd::start(major).await;
        for (schema, table, drop) in [
            ("public", "orders", "orders"),
            ("public", "pair of", "\"pair of\""),
            ("public", "parts", "parts"),
            ("Odd.Schema", "Mixed Case", "\"Odd.Schema\".\"Mixed Case\""),
        ] {
            let selection = odd.select(&[(schema, table)], &[]).unwrap();
            let client = connect(&odd.server, "odd").await;
            client.batch_execute(&format!("drop table {drop} cascade")).await.unwrap();
            drop_client(client);
            let archive = odd.subset(selection.blocks.iter().map(|block| block.range.clone()));
            odd.restore("odd", archive, &selection.entries.iter().collect::<Vec<_>>(), &[]).await;

            let after = odd.dumped("odd").await;
            let again = after.head.select(&after.tables, &[TableName::new(schema, table)], &[]).unwrap();
            assert_eq!(names(&again.entries), names(&selection.entries));
            let before = fingerprints(&odd.contents.tables);
            for (name, fingerprint) in fingerprints(&after.tables) {
                assert_eq!(before.get(&name), Some(&fingerprint), "{name:?}");
            }
            assert_eq!(after.tables.len(), odd.contents.tables.len());
        }
        odd.server.stop().await.unwrap();
    }
}

fn drop_client(client: tokio_postgres::Client) {
    drop(client);
}

#[tokio::test]
async fn a_selection_holds_what_belongs_to_a_table_and_names_what_it_needs() {
    for major in MAJORS {
        let odd = Odd::start(major).await;

        let customers = odd.select(&[("public", "customers")], &[]).unwrap();
        let expected = [
            "COMMENT public COLUMN customers.name",
            "COMMENT public TABLE customers",
            "CONSTRAINT public customers customers_name_key",
            "CONSTRAINT public customers customers_pkey",
            "DEFAULT public customers id",
            "INDEX public customers_lower_idx",
            "SEQUENCE OWNED BY public customers_id_seq",
            "SEQUENCE SET public customers_id_seq",
            "SEQUENCE public customers_id_seq",
            "TABLE DATA public customers",
            "TABLE public customers",
            "TRIGGER public customers stamped",
        ];
        assert_eq!(names(&customers.entries), expected);
        assert_eq!(names(&customers.requires), ["FUNCTION public stamp()", "TYPE Odd.Schema mood"]);
        assert!(customers.schemas.iter().any(|schema| schema.name == "Odd.Schema"));
        assert!(customers.outward_foreign_keys.is_empty() && customers.blocks.len() == 1);

        let orders = names(&odd.select(&[("public", "orders")], &[]).unwrap().entries);
        for part in [
            "ACL public COLUMN orders.amount",
            "ACL public TABLE orders",
            "FK CONSTRAINT public orders orders_customer_fkey",
            "POLICY public orders own",
            "ROW SECURITY public orders",
            "RULE public orders quiet",
            "SEQUENCE SET public orders_id_seq",
            "SEQUENCE public orders_id_seq",
            "STATISTICS public orders_statistics",
        ] {
            assert!(orders.iter().any(|name| name == part), "{part} in {orders:?}");
        }
        assert!(!orders.iter().any(|name| name.contains("free_standing") || name.contains("VIEW")), "{orders:?}");

        let pair = names(&odd.select(&[("public", "pair")], &[]).unwrap().entries);
        assert_eq!(pair, ["CONSTRAINT public pair pair_pkey", "TABLE DATA public pair", "TABLE public pair"]);
        let longer = odd.select(&[("public", "pair of")], &[]).unwrap();
        assert_eq!(longer.entries.len(), 5, "{:?}", names(&longer.entries));
        assert_eq!(longer.outward_foreign_keys.len(), 1);
        assert_eq!(names(&longer.requires), ["FUNCTION public stamp()"]);
        let both = odd.select(&[("public", "pair"), ("public", "pair of")], &[]).unwrap();
        assert!(both.outward_foreign_keys.is_empty() && both.blocks.len() == 2);

        let parts = odd.select(&[("public", "parts")], &[]).unwrap();
        assert_eq!(parts.blocks.len(), 3);
        assert_eq!(parts.entries.iter().filter(|entry| entry.description == "TABLE ATTACH").count(), 3);
        assert_eq!(parts.entries.iter().filter(|entry| entry.description == "INDEX ATTACH").count(), 6);
        let one = odd.select(&[("public", "parts_2025")], &[]).unwrap();
        assert!(one.blocks.len() == 1 && !one.entries.iter().any(|entry| entry.description.contains("ATTACH")));

        let schema = odd.select(&[], &["Odd.Schema"]).unwrap();
        assert_eq!(schema.blocks.len(), 3);
        assert!(names(&schema.entries).contains(&"TYPE Odd.Schema mood".to_owned()));
        assert!(odd.select(&[], &["empty_one"]).unwrap().entries.is_empty());
        for missing in [odd.select(&[("public", "nowhere")], &[]), odd.select(&[], &["nowhere"])] {
            assert!(matches!(missing, Err(PostgresError::NotInBackup(_))));
        }
        odd.server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_table_comes_into_a_new_database_with_what_it_needs() {
    for major in MAJORS {
        let odd = Odd::start(major).await;
        odd.create("fresh").await;
        let selection = odd.select(&[("public", "customers"), ("public", "pair of"), ("public", "rich")], &[]).unwrap();
        let schemas = selection.schemas.iter().flat_map(|schema| &schema.entries);
        let inward = selection.entries.iter().filter(|e| !selection.outward_foreign_keys.contains(&e.dump_id));
        let entries: Vec<&TocEntry> = schemas.chain(&selection.requires).chain(inward).collect();
        let archive = odd.subset(selection.blocks.iter().map(|block| block.range.clone()));
        odd.restore("fresh", archive, &entries, &["--single-transaction"]).await;
        let fresh = fingerprints(&odd.dumped("fresh").await.tables);
        let expected = fingerprints(&odd.contents.tables);
        for name in ["customers", "pair of"] {
            let name = ("public".to_owned(), name.to_owned());
            assert_eq!(fresh[&name], expected[&name]);
        }
        odd.server.stop().await.unwrap();
    }
}
