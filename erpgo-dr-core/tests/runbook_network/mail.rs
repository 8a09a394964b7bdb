//! Mail that a step sends, to a real mail server.

use erpgo_dr_core::runbook::{Outcome, RunbookError};
use erpgo_dr_testkit::SmtpServer;

use crate::support::{Site, runbook};

fn step(server: &str, more: &str) -> String {
    format!(
        "[[steps]]\nid = \"tell\"\ntitle = \"Tell\"\n[steps.notify]\nmessage = \"Recovery begins: {{{{ word }}}} übersteht es.\"\n\
         [steps.notify.email]\nserver = \"{server}\"\nfrom = \"Recovery <dr@ex.test>\"\nto = [\"ops@ex.test\", \"Ann <ann@ex.test>\"]\n\
         subject = \"Recovery of {{{{ word }}}}\"\n{more}\n"
    )
}

#[tokio::test]
async fn a_mail_arrives_with_its_subject_and_text() {
    let (server, site) = (SmtpServer::start(), Site::new().await);
    let run = site.run(&step(&server.address(), ""), "unused").await;
    assert_eq!(run.last(), (Outcome::Succeeded, "Recovery begins: w übersteht es."));
    let [message] = server.messages().try_into().unwrap();
    for part in [
        "X-Recipients: ops@ex.test,ann@ex.test",
        "Subject: Recovery of w\r\n",
        "From: Recovery <dr@ex.test>\r\n",
        &format!("Message-ID: <{}.tell@ex.test>", run.standing.run),
        "Recovery begins: w =C3=BCbersteht es.",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
}

#[tokio::test]
async fn a_protected_server_wants_its_certificate_trusted_and_a_password() {
    let (server, site) = (SmtpServer::start_protected(), Site::new().await);
    let login = format!("user = \"{}\"\npassword = \"key\"\ntls = \"starttls\"\n", SmtpServer::USER);
    let trusting = format!("{login}authorities = \"{}\"", server.authorities().display());
    let sent = site.run(&step(&server.address(), &trusting), SmtpServer::PASSWORD).await;
    assert_eq!(sent.last().0, Outcome::Succeeded, "{}", sent.last().1);
    assert_eq!(server.messages().len(), 1);
    let wrong = site.run(&step(&server.address(), &trusting), "guessed").await;
    assert!(wrong.failure().contains("refuses") && wrong.failure().contains("535"), "{}", wrong.failure());
    // Without being told to, nobody trusts it; and it does not take what is not protected.
    let stranger = site.run(&step(&server.address(), &login), SmtpServer::PASSWORD).await;
    assert!(stranger.failure().to_lowercase().contains("certificate"), "{}", stranger.failure());
    let plain = site.run(&step(&server.address(), "tls = \"none\""), "unused").await;
    assert!(plain.failure().contains("refuses"), "{}", plain.failure());
    assert_eq!(server.messages().len(), 1);
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_where_it_is_asked_for() {
    let (server, site) = (SmtpServer::start(), Site::new().await);
    let run = site.run(&step(&server.address(), "tls = \"starttls\""), "unused").await;
    assert!(run.failure().contains(&server.address()), "{}", run.failure());
    assert!(server.messages().is_empty());
}

#[tokio::test]
async fn who_is_away_and_what_is_refused_is_named() {
    let (server, site) = (SmtpServer::start(), Site::new().await);
    let address = server.address();
    let refused = site.run(&step(&address, "").replace("ann@", "nobody@"), "unused").await;
    assert!(refused.failure().contains("there is no such mailbox"), "{}", refused.failure());
    let nonsense = site.run(&step(&address, "").replace("\"ops@ex.test\"", "\"ops\""), "unused").await;
    assert!(nonsense.failure().contains("\"ops\" is no mail address"), "{}", nonsense.failure());
    drop(server);
    let away = site.run(&step(&address, ""), "unused").await;
    assert!(away.failure().starts_with(&format!("the mail server {address}: ")), "{}", away.failure());
}

#[test]
fn a_password_that_is_no_secret_is_a_fault_of_the_runbook() {
    let wrong = runbook(&step("smtp.ex.test", "user = \"dr\"\npassword = \"word\"")).check();
    assert!(matches!(wrong, Err(RunbookError::Faulty { faults, .. }) if faults[0].contains("word is no secret")));
}
