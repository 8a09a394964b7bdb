//! Figures of the business: written down in a backup's snapshot, compared later, and asked of what is restored.

use erpgo_dr_core::ops::{self, BackupOptions, check_figures};
use erpgo_dr_core::postgres::{ConnectionSettings, DatabaseDriver as _, DumpOptions, Figure};

use super::support::{NO_PROGRESS, Site};

fn figure(name: &str, query: &str, max_change: Option<f64>) -> Figure {
    let (name, database, query) = (name.to_owned(), "erp".to_owned(), query.to_owned());
    Figure { name, database, query, max_change }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_written_down_compared_and_asked_of_what_is_restored() {
    let site = Site::new(17).await;
    let settings: ConnectionSettings = site.server.url("erp").parse().unwrap();
    let figures = vec![
        figure("orders", "SELECT count(*) FROM erp.orders;", Some(0.2)),
        figure("credit", "SELECT sum(credit) FROM erp.customers", None),
        figure("broken", "SELECT nothing FROM nowhere", None),
        figure("two", "SELECT * FROM generate_series(1, 2)", None),
        figure("float", "SELECT sum(id * 0.1::float8) FROM erp.customers", None),
    ];
    let dump = DumpOptions::new().database("erp").figures(figures.clone());
    let driver = site.driver().dump_options(dump);
    let report = ops::backup(&site.repository, &driver, &BackupOptions::default(), NO_PROGRESS).await.unwrap();
    let catalogue = site.repository.catalogue().await.unwrap();
    let manifest = site.repository.manifest(&catalogue.entries[0].summary).await.unwrap();
    let told = &manifest.contents.databases[0].figures;
    let orders = site.server.psql("erp", "SELECT count(*) FROM erp.orders");
    assert_eq!(told[0].value.as_deref(), Some(orders.as_str()));
    assert_eq!(
        told[1].value.as_deref(),
        Some(site.server.psql("erp", "SELECT sum(credit) FROM erp.customers").as_str())
    );
    assert!(told[2].failed.as_ref().unwrap().contains("nowhere"), "{told:?}");
    assert!(told[3].failed.as_ref().unwrap().contains("2 rows"), "{told:?}");
    assert_eq!(manifest.contents.warnings.len(), 2, "{:?}", manifest.contents.warnings);

    let same = check_figures(&site.repository, &settings, &figures[..2], 5).await.unwrap();
    assert!(same.passed() && same.figures.iter().all(|figure| figure.change == Some(0.0)), "{same:?}");
    assert_eq!(same.figures[0].earlier[0].backup, report.id);
    let verdict = ops::restore_test(&site.repository, &report.id, &site.restore_test(), NO_PROGRESS).await.unwrap();
    assert!(verdict.passed, "{verdict:?}");

    site.server.psql("erp", "DELETE FROM erp.order_items; DELETE FROM erp.orders WHERE id % 2 = 0");
    let wrong = check_figures(&site.repository, &settings, &figures, 5).await.unwrap();
    assert!(!wrong.passed());
    assert!(wrong.figures[0].finding.as_ref().unwrap().contains("may change by 20.0 %"), "{wrong:?}");
    assert!(wrong.figures[1].finding.is_none() && wrong.figures[2].finding.is_some(), "{wrong:?}");
    let other = [figure("orders", "SELECT count(*) + 1 FROM erp.orders", Some(0.0))];
    let other = check_figures(&site.repository, &settings, &other, 5).await.unwrap();
    assert!(other.figures[0].earlier.is_empty() && other.passed(), "another query is another figure: {other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_with_other_figures_is_found() {
    let site = Site::new(18).await;
    // What depends on the moment is not what it was.
    let moment = figure("moment", "SELECT extract(epoch FROM clock_timestamp())", None);
    let driver = site.driver().dump_options(DumpOptions::new().database("erp").figures(vec![moment.clone()]));
    assert_eq!(driver.probe().await.unwrap().major(), 18);
    let id = ops::backup(&site.repository, &driver, &BackupOptions::default(), NO_PROGRESS).await.unwrap().id;
    let verdict = ops::restore_test(&site.repository, &id, &site.restore_test(), NO_PROGRESS).await.unwrap();
    assert!(!verdict.passed && verdict.findings[0].contains("the figure moment is "), "{verdict:?}");
    let part = DumpOptions::new().database("erp").include_schemas(vec!["erp".to_owned()]).figures(vec![moment]);
    let driver = site.driver().dump_options(part);
    let id = ops::backup(&site.repository, &driver, &BackupOptions::default(), NO_PROGRESS).await.unwrap().id;
    let catalogue = site.repository.catalogue().await.unwrap();
    let entry = catalogue.entries.iter().find(|entry| *entry.id() == id).unwrap();
    let manifest = site.repository.manifest(&entry.summary).await.unwrap();
    assert!(manifest.contents.databases[0].figures.is_empty(), "a part of a database has no figures");
}
