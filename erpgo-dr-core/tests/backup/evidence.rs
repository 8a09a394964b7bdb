//! Evidence: collected from real servers, proven whole, handed out, and found out once a byte of it is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use erpgo_dr_core::ErrorKind;
use erpgo_dr_core::ops::evidence::{
    Custodian, CustodyAction, EvidenceOptions, EvidenceReport, collect_evidence, export_evidence, list_evidence,
    note_evidence, verify_evidence, verify_exported_evidence,
};
use erpgo_dr_core::ops::{self, BackupOptions};
use erpgo_dr_testkit::postgres::MAJORS;

use super::support::{NO_PROGRESS, Site};

fn ann() -> Custodian {
    Custodian::new("ann", "desk")
}

fn bob() -> Custodian {
    Custodian::new("bob", "lab")
}

/// What a breach rehearsal collects.
fn options(site: &Site) -> EvidenceOptions {
    let log = site.folder.path().join("sshd.log");
    fs::write(&log, "Accepted password for root from 203.0.113.7\n").unwrap();
    let line = |line: &[&str]| line.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>();
    EvidenceOptions::new(ann())
        .with_label(Some("rehearsal".to_owned()))
        .with_server(Some(site.server.url("erp").parse().unwrap()))
        .with_tables(["audit.log".to_owned(), "nowhere.nothing".to_owned()])
        .with_queries([
            ("recent".to_owned(), "SELECT 1 AS one, 'a,\"b' AS two;".to_owned()),
            ("wrong".to_owned(), "SELECT nonsense".to_owned()),
        ])
        .with_programs([
            ("words".to_owned(), line(&["/bin/echo", "$HOME;", "two words"])),
            ("fails".to_owned(), line(&["/bin/sh", "-c", "echo before; echo why >&2; exit 3"])),
            ("absent".to_owned(), line(&["/no/such/program"])),
        ])
        .with_files([log, PathBuf::from("/no/such/file")])
}

fn item<'r>(report: &'r EvidenceReport, name: &str) -> &'r ops::evidence::EvidenceItem {
    let named = |item: &&ops::evidence::EvidenceItem| item.name.split_once('-').unwrap().1 == name;
    report.manifest.items.iter().find(named).unwrap_or_else(|| panic!("{name}: {report:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_collected_on_every_version_is_whole_and_told_apart_from_what_is_not() {
    for major in MAJORS {
        let site = Site::new(major).await;
        let backup =
            ops::backup(&site.repository, &site.driver(), &BackupOptions::default(), NO_PROGRESS).await.unwrap();
        let before = site.server.psql("erp", "SELECT pg_current_wal_insert_lsn()");
        let options = options(&site).with_backups([backup.id.clone()]);
        let report = collect_evidence(&site.repository, &options, NO_PROGRESS).await.unwrap();
        let broken: Vec<&str> = (report.manifest.items.iter())
            .filter(|item| item.error.is_some())
            .map(|item| item.name.split_once('-').unwrap().1)
            .collect();
        let expected = ["nowhere.nothing.csv", "wrong.csv", "server.log", "absent.txt", "fails.txt", "file"];
        assert_eq!(broken, expected, "PostgreSQL {major}: {report:#?}");
        assert!(!report.is_complete());
        let why = |name: &str| item(&report, name).error.clone().unwrap();
        assert!(why("wrong.csv").contains("nonsense"), "{}", why("wrong.csv"));
        assert!(why("fails.txt").contains("exit status: 3"), "{}", why("fails.txt"));
        assert_eq!(item(&report, "fails.txt").bytes, 7, "what came before the end is kept");
        assert!(item(&report, "audit.log.csv").bytes > 100);
        assert_eq!(site.server.psql("erp", "SELECT pg_current_wal_insert_lsn()"), before, "nothing was written there");

        let folder = site.folder.path().join("out");
        let id = &report.manifest.id;
        export_evidence(&site.repository, id, &folder, &bob(), NO_PROGRESS).await.unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(&item(&report, name).name)).unwrap();
        assert_eq!(read("words.txt"), "$HOME; two words\n", "no shell is asked");
        assert_eq!(read("fails.err.txt"), "why\n", "what goes to standard error is kept as well");
        assert_eq!(read("recent.csv"), "one,two\n1,\"a,\"\"b\"\n");
        assert_eq!(read("sshd.log"), "Accepted password for root from 203.0.113.7\n");
        assert!(read("roles.csv").contains("pg_monitor") && !read("roles.csv").contains("SCRAM-SHA-256$"));
        let rows = site.server.psql("erp", "SELECT count(*) FROM audit.log").parse::<usize>().unwrap();
        assert!(read("audit.log.csv").lines().count() > rows, "all rows and the names of columns");
        assert!(read("settings.csv").contains("data_directory"));
        assert!(read("hba.csv").lines().count() > 1);

        let catalogue = site.repository.catalogue().await.unwrap();
        let hold = catalogue.find(&backup.id).unwrap().hold.clone();
        assert!(hold.unwrap().reason.contains(id.as_str()), "what belongs to evidence is not pruned");
        let verdict = verify_evidence(&site.repository, id, None, &bob(), NO_PROGRESS).await.unwrap();
        assert!(verdict.is_sound(), "{verdict:#?}");
        assert_eq!(verdict.sound as usize, report.manifest.items.len());
        note_evidence(&site.repository, id, &ann(), "a copy went to the police").await.unwrap();
        let again = verify_evidence(&site.repository, id, None, &bob(), NO_PROGRESS).await.unwrap();
        let actions: Vec<CustodyAction> = again.custody.iter().map(|entry| entry.action).collect();
        use CustodyAction::{Collected, Exported, Noted, Verified};
        assert_eq!(actions, [Collected, Exported, Verified, Noted, Verified]);
        assert_eq!(list_evidence(&site.repository).await.unwrap().evidence, [report]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_log_is_read_over_the_connection() {
    let site = Site::new(17).await;
    site.server.psql("postgres", "ALTER SYSTEM SET logging_collector = on");
    let mut site = site;
    tokio::task::block_in_place(|| site.server.restart());
    let _ = site.server.try_psql("erp", "SELECT 'a mark of the intruder' FROM nowhere");
    let options = EvidenceOptions::new(ann()).with_server(Some(site.server.url("erp").parse().unwrap()));
    let report = collect_evidence(&site.repository, &options, NO_PROGRESS).await.unwrap();
    assert!(report.is_complete(), "{report:#?}");
    let folder = site.folder.path().join("out");
    export_evidence(&site.repository, &report.manifest.id, &folder, &bob(), NO_PROGRESS).await.unwrap();
    let logs = report.manifest.items.iter().filter(|item| item.what.starts_with("the server's log"));
    let log: String = logs.map(|item| fs::read_to_string(folder.join(&item.name)).unwrap()).collect();
    assert!(log.contains("a mark of the intruder"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_asked_leaves_the_rest() {
    let site = Site::new(17).await;
    let options = options(&site).with_server(Some("host=/nowhere dbname=erp".parse().unwrap()));
    let report = collect_evidence(&site.repository, &options, NO_PROGRESS).await.unwrap();
    assert!(report.manifest.server.as_ref().unwrap().unreachable.is_some());
    assert!(item(&report, "words.txt").error.is_none());
    assert!(item(&report, "roles.csv").error.is_some());
    let verdict = verify_evidence(&site.repository, &report.manifest.id, None, &bob(), NO_PROGRESS).await.unwrap();
    assert!(verdict.is_sound(), "what was had is what was had: {verdict:?}");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn flip(path: &Path, at: usize) -> Vec<u8> {
    let whole = fs::read(path).unwrap();
    let mut altered = whole.clone();
    altered[at] ^= 1;
    fs::write(path, altered).unwrap();
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_that_is_changed_is_found_wherever_it_is() {
    let site = Site::new(17).await;
    let options = EvidenceOptions::new(ann()).with_programs([
        ("a".to_owned(), vec!["/bin/echo".to_owned(), "first".to_owned()]),
        ("b".to_owned(), vec!["/bin/echo".to_owned(), "second".to_owned()]),
    ]);
    let id = collect_evidence(&site.repository, &options, NO_PROGRESS).await.unwrap().manifest.id;
    let stored = site.folder.path().join("repository/evidence").join(id.as_str());
    let all = files(&stored);
    assert_eq!(all.len(), 6, "two items for each program, a manifest, an entry of custody: {all:?}");
    for path in &all {
        let length = fs::metadata(path).unwrap().len() as usize;
        for at in [0, length / 3, length / 2, length - 1] {
            let whole = flip(path, at);
            let verdict = verify_evidence(&site.repository, &id, None, &bob(), NO_PROGRESS).await;
            let found = match &verdict {
                Ok(verdict) => !verdict.is_sound(),
                Err(error) => error.kind() == ErrorKind::Integrity,
            };
            assert!(found, "byte {at} of {}: {verdict:?}", path.display());
            fs::write(path, whole).unwrap();
        }
    }
    // Items of one bundle in each other's places.
    let [first, second] = [1, 3].map(|number| stored.join(format!("items/{number:06}")));
    let (one, two) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
    fs::write(&first, &two).unwrap();
    fs::write(&second, &one).unwrap();
    let swapped = verify_evidence(&site.repository, &id, None, &bob(), NO_PROGRESS).await.unwrap();
    assert_eq!((swapped.sound, swapped.findings.len()), (2, 2), "{swapped:?}");
    assert_eq!(swapped.custody.last().unwrap().action, CustodyAction::FoundAltered);
    let folder = site.folder.path().join("out");
    let refused = export_evidence(&site.repository, &id, &folder, &bob(), NO_PROGRESS).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Integrity);
    assert!(!folder.exists(), "nothing of it is handed out");
    fs::write(&first, &one).unwrap();
    fs::remove_file(&second).unwrap();
    let lost = verify_evidence(&site.repository, &id, None, &bob(), NO_PROGRESS).await.unwrap();
    assert_eq!((lost.sound, lost.findings.len()), (3, 1), "{lost:?}");
    fs::write(&second, &two).unwrap();
    fs::remove_file(stored.join("custody/000001")).unwrap();
    let gap = verify_evidence(&site.repository, &id, None, &bob(), NO_PROGRESS).await.unwrap();
    assert!(gap.findings.iter().any(|finding| finding.contains("custody")), "{gap:?}");
    // As a kill before the manifest leaves it: items and a word of custody, and no bundle.
    fs::remove_file(stored.join("manifest")).unwrap();
    let none = verify_evidence(&site.repository, &id, None, &bob(), NO_PROGRESS).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    assert_eq!(list_evidence(&site.repository).await.unwrap(), ops::evidence::EvidenceListing::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_handed_out_are_checked_with_and_without_this_software() {
    let site = Site::new(17).await;
    let report = collect_evidence(&site.repository, &options(&site), NO_PROGRESS).await.unwrap();
    let (folder, id) = (site.folder.path().join("out"), &report.manifest.id);
    let export = export_evidence(&site.repository, id, &folder, &bob(), NO_PROGRESS).await.unwrap();
    let key = Some(export.public_key);
    let sound = verify_exported_evidence(&folder, key, NO_PROGRESS).await.unwrap();
    assert!(sound.is_sound() && sound.sound as usize == report.manifest.items.len(), "{sound:?}");
    let openssl = |folder: &Path| {
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-verify", "-pubin", "-inkey", "public-key.pem", "-rawin", "-in", "manifest.json"]);
        command.args(["-sigfile", "manifest.sig"]).current_dir(folder).output().unwrap()
    };
    assert!(openssl(&folder).status.success(), "{:?}", openssl(&folder));
    let sums =
        Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&folder).output().unwrap();
    assert!(sums.status.success(), "{sums:?}");

    for path in files(&folder).iter().filter(|path| fs::metadata(path).unwrap().len() > 0) {
        let name = path.file_name().unwrap();
        let whole = flip(path, fs::metadata(path).unwrap().len() as usize / 2);
        let verdict = verify_exported_evidence(&folder, key, NO_PROGRESS).await;
        let found =
            verdict.as_ref().map_or_else(|error| error.kind() == ErrorKind::Integrity, |found| !found.is_sound());
        assert!(found, "{name:?}: {verdict:?}");
        if name == "manifest.json" {
            assert!(!openssl(&folder).status.success());
        }
        fs::write(path, whole).unwrap();
    }
    fs::write(folder.join("more.txt"), "smuggled in").unwrap();
    let more = verify_exported_evidence(&folder, key, NO_PROGRESS).await.unwrap();
    assert_eq!(more.findings, ["more.txt: it is not of the bundle"]);
    fs::remove_file(folder.join("more.txt")).unwrap();
    // A bundle that somebody else has signed is of one piece, and not ours.
    let other = Site::new(15).await;
    let theirs = collect_evidence(&other.repository, &EvidenceOptions::new(bob()), NO_PROGRESS).await.unwrap();
    let forged = other.folder.path().join("out");
    export_evidence(&other.repository, &theirs.manifest.id, &forged, &bob(), NO_PROGRESS).await.unwrap();
    assert!(verify_exported_evidence(&forged, None, NO_PROGRESS).await.unwrap().is_sound());
    assert!(!verify_exported_evidence(&forged, key, NO_PROGRESS).await.unwrap().is_sound());
    fs::remove_file(forged.join("manifest.sig")).unwrap();
    let unsigned = verify_exported_evidence(&forged, None, NO_PROGRESS).await.unwrap();
    assert!(unsigned.findings[0].contains("manifest.sig"), "{unsigned:?}");
    let twice = export_evidence(&site.repository, id, &folder, &bob(), NO_PROGRESS).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
    assert!(folder.join("manifest.json").exists(), "what is there stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_somebody_got_into_does_not_lie_about_itself() {
    let site = Site::new(17).await;
    let psql = |sql: &str| site.server.psql("erp", sql);
    psql(
        "CREATE SCHEMA evil; CREATE FUNCTION evil.pg_get_userbyid(oid) RETURNS name LANGUAGE sql AS 'SELECT ''FORGED''::name'",
    );
    psql("ALTER ROLE postgres SET search_path = evil, pg_catalog, public");
    psql(
        "CREATE TABLE public.kept (id int); INSERT INTO public.kept VALUES (1), (2); ALTER TABLE public.kept ENABLE ROW LEVEL SECURITY",
    );
    psql(
        "CREATE POLICY half ON public.kept USING (id = 1); CREATE ROLE watcher LOGIN; GRANT SELECT ON public.kept TO watcher",
    );
    psql("ALTER SYSTEM SET primary_conninfo = 'host=elsewhere password=hunter2'");
    psql("SELECT pg_reload_conf()");
    let url = site.server.url("erp");
    let options = EvidenceOptions::new(ann())
        .with_server(Some(url.parse().unwrap()))
        .with_tables(["a.b.c.d".to_owned(), "public.kept".to_owned()])
        .with_queries([
            ("out".to_owned(), "SELECT 1) TO PROGRAM 'touch /tmp/erpgo-dr-broken-out' --".to_owned()),
            ("two".to_owned(), "SELECT 1; COMMIT".to_owned()),
            ("writes".to_owned(), "INSERT INTO public.kept VALUES (3) RETURNING id".to_owned()),
            ("comment".to_owned(), "SELECT 7 AS seven -- as agreed".to_owned()),
        ]);
    let report = collect_evidence(&site.repository, &options, NO_PROGRESS).await.unwrap();
    for name in ["a.b.c.d.csv", "out.csv", "two.csv", "writes.csv"] {
        assert!(item(&report, name).error.is_some(), "{name}: {report:#?}");
    }
    assert!(!Path::new("/tmp/erpgo-dr-broken-out").exists(), "no program is run by a query");
    for name in ["public.kept.csv", "comment.csv", "grants.csv"] {
        assert_eq!(item(&report, name).error, None, "what failed before it does not matter: {report:#?}");
    }
    assert_eq!(psql("SELECT count(*) FROM public.kept"), "2");
    let folder = site.folder.path().join("out");
    export_evidence(&site.repository, &report.manifest.id, &folder, &bob(), NO_PROGRESS).await.unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(&item(&report, name).name)).unwrap();
    assert_eq!((read("comment.csv").as_str(), read("public.kept.csv").as_str()), ("seven\n7\n", "id\n1\n2\n"));
    for path in files(&folder) {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        // In the source of the function itself it may stand.
        assert!(!text.contains("FORGED") || path.to_string_lossy().contains("functions"), "{}", path.display());
        assert!(!text.contains("hunter2"), "{}", path.display());
    }
    // Rows that a policy hides are not left out without a word.
    let watcher = url.parse::<erpgo_dr_core::postgres::ConnectionSettings>().unwrap().user("watcher");
    let options = EvidenceOptions::new(ann()).with_server(Some(watcher)).with_tables(["public.kept".to_owned()]);
    let report = collect_evidence(&site.repository, &options, NO_PROGRESS).await.unwrap();
    assert!(item(&report, "public.kept.csv").error.as_ref().unwrap().contains("row"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_locked_table_does_not_hold_up_the_rest() {
    let site = Site::new(17).await;
    site.server.psql("erp", "CREATE TABLE locked (id int)");
    let mut holder = site.server.client("psql");
    holder.args(["-d", "erp", "-c", "BEGIN; LOCK TABLE locked; SELECT pg_sleep(300)"]);
    let mut holder = holder.stdout(std::process::Stdio::null()).spawn().unwrap();
    let query = "SELECT count(*) FROM pg_locks WHERE relation = 'locked'::regclass AND granted";
    while site.server.psql("erp", query) != "1" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let options = EvidenceOptions::new(ann())
        .with_server(Some(site.server.url("erp").parse().unwrap()))
        .with_tables(["public.locked".to_owned(), "audit.log".to_owned()])
        .with_patience(std::time::Duration::from_secs(3));
    let report = collect_evidence(&site.repository, &options, NO_PROGRESS).await.unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(item(&report, "public.locked.csv").error.is_some(), "{report:#?}");
    assert_eq!(item(&report, "audit.log.csv").error, None, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_an_epoch_that_had_ended_or_by_another_key_is_found_out() {
    let mut site = Site::new(17).await;
    let before = collect_evidence(&site.repository, &EvidenceOptions::new(ann()), NO_PROGRESS).await.unwrap();
    let old = site.repository.clone();
    // Identifiers of epochs tell time to the second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let recipient = erpgo_dr_core::crypto::keys::generate_identity().recipient;
    let slots = [("owner".parse().unwrap(), erpgo_dr_core::crypto::keys::Wrapper::Recipients(vec![recipient]))];
    site.repository.begin_epoch(&slots).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let forged = collect_evidence(&old, &EvidenceOptions::new(bob()), NO_PROGRESS).await.unwrap();
    let verdict = verify_evidence(&site.repository, &forged.manifest.id, None, &ann(), NO_PROGRESS).await.unwrap();
    assert!(verdict.findings.iter().any(|finding| finding.contains("had ended")), "{verdict:?}");
    let sound = verify_evidence(&site.repository, &before.manifest.id, None, &ann(), NO_PROGRESS).await.unwrap();
    assert!(sound.is_sound(), "it was made while its epoch lasted: {sound:?}");
    let after = collect_evidence(&site.repository, &EvidenceOptions::new(ann()), NO_PROGRESS).await.unwrap();
    let key = Some(after.manifest.public_key);
    assert!(verify_evidence(&site.repository, &after.manifest.id, key, &ann(), NO_PROGRESS).await.unwrap().is_sound());
    assert!(
        !verify_evidence(&site.repository, &before.manifest.id, key, &ann(), NO_PROGRESS).await.unwrap().is_sound()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bundle_that_is_altered_does_not_hide_the_others() {
    let site = Site::new(17).await;
    let [first, second] = [ann(), bob()].map(EvidenceOptions::new);
    let first = collect_evidence(&site.repository, &first, NO_PROGRESS).await.unwrap();
    let second = collect_evidence(&site.repository, &second, NO_PROGRESS).await.unwrap();
    let manifest = site.folder.path().join("repository/evidence").join(first.manifest.id.as_str()).join("manifest");
    let length = fs::metadata(&manifest).unwrap().len() as usize;
    flip(&manifest, length / 2);
    let listing = list_evidence(&site.repository).await.unwrap();
    assert_eq!(listing.evidence, [second]);
    assert_eq!(listing.unreadable[0].id, first.manifest.id);
}
