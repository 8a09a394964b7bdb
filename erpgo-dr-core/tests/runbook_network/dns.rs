//! Records that a step changes, at a real name server, seen by another program and by servers that keep answers.

use std::time::{Duration, Instant};

use erpgo_dr_core::runbook::{Ending, Outcome, RunbookError};
use erpgo_dr_testkit::Bind;

use crate::support::{Site, runbook};

/// A step that makes records; `more` are further fields of it, or others than these.
fn step(bind: &Bind, kind: &str, values: &str, more: &str) -> String {
    action(&bind.address(), Bind::ZONE, Bind::NAME, kind, values, more)
}

fn action(server: &str, zone: &str, name: &str, kind: &str, values: &str, more: &str) -> String {
    format!(
        "[[steps]]\nid = \"switch\"\ntitle = \"Switch\"\ntimeout = \"20s\"\n[steps.dns]\nserver = \"{server}\"\nzone = \"{zone}\"\n\
         name = \"{name}\"\ntype = \"{kind}\"\nvalues = {values}\nttl = 1\nkey = \"key\"\n{}{more}\n",
        if more.contains("key-name") { "" } else { "key-name = \"drkey\"\n" }
    )
}

#[tokio::test]
async fn records_are_replaced_and_brought_back_and_the_journal_says_what_they_were() {
    let (bind, site) = (Bind::start(), Site::new().await);
    let undo = step(&bind, "A", "[\"192.0.2.1\"]", "").replace("[steps.dns]", "[steps.undo.dns]");
    let undo = undo.split_once("[steps.undo").unwrap().1;
    let steps = format!("{}[steps.undo{undo}", step(&bind, "A", "[\"192.0.2.2\", \"192.0.2.3\"]", ""));
    let run = site.run(&steps, Bind::SECRET).await;
    let said = "app.ex.test. A: it was 192.0.2.1; it is 192.0.2.2, 192.0.2.3";
    assert_eq!(run.last(), (Outcome::Succeeded, said));
    assert_eq!(bind.dig(Bind::NAME, "A"), ["192.0.2.2", "192.0.2.3"]);
    let undone = site.undo(&run, Bind::SECRET).await;
    assert_eq!(undone.standing.ending, Ending::Undone);
    assert_eq!(bind.dig(Bind::NAME, "A"), ["192.0.2.1"]);
}

#[tokio::test]
async fn every_type_is_made_and_removed_by_either_key() {
    let (bind, site) = (Bind::start(), Site::new().await);
    let text = format!("v=1 {}", "x".repeat(300));
    let texts = format!("\"{}\" \"{}\"", &text[..255], &text[255..]);
    for (kind, name, value, shown) in [
        ("AAAA", "six.ex.test", "2001:db8::2", "2001:db8::2"),
        ("CNAME", "alias.ex.test.", "app.ex.test.", "app.ex.test."),
        ("TXT", "text.ex.test.", text.as_str(), texts.as_str()),
    ] {
        for (key, algorithm) in Bind::KEYS {
            let more = format!("key-name = \"{key}\"\nalgorithm = \"{algorithm}\"");
            let change = |values: &str| action(&bind.address(), Bind::ZONE, name, kind, values, &more);
            let made = site.run(&change(&format!("[\"{value}\"]")), Bind::SECRET).await;
            assert_eq!(made.last().0, Outcome::Succeeded, "{}", made.last().1);
            assert_eq!(bind.dig(name, kind), [shown]);
            let removed = site.run(&change("[]"), Bind::SECRET).await;
            assert!(removed.last().1.ends_with("it is no record"), "{}", removed.last().1);
            assert!(bind.dig(name, kind).is_empty());
        }
    }
}

#[tokio::test]
async fn it_is_waited_until_a_resolver_forgets_the_old_answer() {
    let (bind, site) = (Bind::start(), Site::new().await);
    let resolver = Bind::resolver_of(&bind);
    let step = step(&bind, "A", "[\"192.0.2.2\"]", &format!("resolvers = [\"{}\"]", resolver.address()));
    let asked = Instant::now();
    assert_eq!(resolver.dig(Bind::NAME, "A"), ["192.0.2.1"]);
    let run = site.run(&step, Bind::SECRET).await;
    assert_eq!(run.last().0, Outcome::Succeeded, "{}", run.last().1);
    assert_eq!(resolver.dig(Bind::NAME, "A"), ["192.0.2.2"]);
    // It was kept for two seconds, of which the first began before it was asked.
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_resolver_that_never_shows_it_is_named_with_what_it_shows() {
    let (bind, other, site) = (Bind::start(), Bind::start(), Site::new().await);
    let more = format!("resolvers = [\"{}\"]", other.address());
    let step = step(&bind, "A", "[\"192.0.2.2\"]", &more).replace("\"20s\"", "\"2s\"");
    let run = site.run(&step, Bind::SECRET).await;
    let failure = run.failure();
    for told in [other.address().as_str(), "found 192.0.2.1", "it was 192.0.2.1 before", "as 192.0.2.2 within 1s"] {
        assert!(failure.contains(told), "{failure}");
    }
    // The change itself was made, and is in the journal.
    assert_eq!(bind.dig(Bind::NAME, "A"), ["192.0.2.2"]);
}

#[tokio::test]
async fn what_a_server_refuses_is_named_and_changes_nothing() {
    let (bind, site) = (Bind::start(), Site::new().await);
    let values = "[\"192.0.2.2\"]";
    let good = step(&bind, "A", values, "");
    let outside = action(&bind.address(), "other.test.", "app.other.test.", "A", values, "");
    let unknown = step(&bind, "A", values, "key-name = \"nobody\"");
    for (steps, key, named) in [
        (&good, "d3JvbmcgYnV0IHdlbGwgZm9ybWVk", "NOTAUTH (BADSIG)"),
        (&unknown, Bind::SECRET, "NOTAUTH (BADKEY)"),
        (&outside, Bind::SECRET, "REFUSED"),
        (&good, "not base64!", "the secret key is not base64"),
    ] {
        let run = site.run(steps, key).await;
        assert!(run.failure().contains(named), "{}", run.failure());
        assert_eq!(run.standing.ending, Ending::Stopped);
    }
    // Its own zone, but another name than the key's: the question is answered, and the update is not.
    let root = action(&bind.address(), "test.", "app.test.", "A", values, "");
    let run = site.run(&root, Bind::SECRET).await;
    assert!(run.failure().contains("REFUSED"), "{}", run.failure());
    assert_eq!(bind.dig(Bind::NAME, "A"), ["192.0.2.1"]);
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_named() {
    let (bind, site) = (Bind::start(), Site::new().await);
    let address = bind.address();
    let gone = step(&bind, "A", "[\"192.0.2.2\"]", "");
    drop(bind);
    let run = site.run(&gone, Bind::SECRET).await;
    assert!(run.failure().starts_with(&format!("the name server {address}: ")), "{}", run.failure());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = silent.local_addr().unwrap().to_string();
    let run = site.run(&gone.replace(&address, &other), Bind::SECRET).await;
    assert!(run.failure().contains("no answer within 5 s"), "{}", run.failure());
}

#[test]
fn a_key_that_is_no_secret_is_a_fault_of_the_runbook() {
    let values = "[\"192.0.2.2\"]";
    let step = |more: &str| action("ns.ex.test", Bind::ZONE, Bind::NAME, "A", values, more);
    assert!(runbook(&step("")).check().is_ok());
    let faults = |steps: &str| match runbook(steps).check() {
        Err(RunbookError::Faulty { faults, .. }) => faults.join("; "),
        other => panic!("{other:?}"),
    };
    assert!(faults(&step("").replace("key = \"key\"", "key = \"word\"")).contains("word is no secret"));
    assert!(faults(&step("").replace("key = \"key\"", "key = \"none\"")).contains("there is no variable none"));
    let seen = step("").replace("192.0.2.2", "{{ key }}");
    assert!(faults(&seen).contains("the secret key would be seen there"));
}
