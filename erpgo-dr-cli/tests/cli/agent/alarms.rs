//! The database is stopped: attempts, one alarm by mail, and one word that all is well again.

use erpgo_dr_testkit::SmtpServer;

use super::{Service, history, wait_for};
use crate::support::Desk;

#[test]
fn a_stopped_database_is_one_mail_and_its_return_another() {
    let (desk, mut server) = Desk::with_server(17);
    let mail = SmtpServer::start();
    let job = |host: &str| {
        format!(
            "[agent]\nhost = \"{host}\"\ntick = \"100ms\"\n[agent.notify.email]\nserver = \"{}\"\nfrom = \"dr@ex.test\"\n\
             to = [\"ops@ex.test\"]\n[[agent.job]]\nkind = \"backup\"\nschedule = \"*/3 * * * * *\"\ndatabases = [\"erp\"]\n\
             retries = 2\nbackoff = \"300ms\"\n",
            mail.address()
        )
    };
    server.stop();
    desk.configure(&job("db1"));
    let service = Service::start(&desk, "first", &[], &[]);
    wait_for("the alarm", || mail.messages().len() == 1);
    let message = mail.messages().remove(0);
    assert!(message.contains("erpgo-dr on db1: ALARM: backup") && message.contains("ops@ex.test"), "{message}");
    let runs = history(&desk);
    let attempts: Vec<_> = runs.iter().take(3).map(|run| run["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert!(runs[0]["ending"]["retry_at"].is_string() && runs[2]["ending"]["retry_at"].is_null());
    // It fails on, and after a restart too: nobody is told again.
    wait_for("further failures", || history(&desk).len() > 4);
    assert_eq!(service.stop().code, 0);
    let service = Service::start(&desk, "second", &[], &[]);
    let before = history(&desk).len();
    wait_for("failures of the second process", || history(&desk).len() > before + 3);
    assert_eq!(mail.messages().len(), 1);

    server.restart();
    wait_for("the second mail", || mail.messages().len() == 2);
    let cleared = mail.messages().remove(1);
    assert!(cleared.contains("cleared: backup is well again"), "{cleared}");
    let succeeded = || history(&desk).iter().filter(|run| run["state"] == "succeeded").count();
    let count = succeeded();
    wait_for("further backups", || succeeded() > count);
    assert_eq!(service.stop().code, 0);
    assert_eq!(mail.messages().len(), 2, "told once each");
}
