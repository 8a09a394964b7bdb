//! Records that a step changes in Route 53, as an emulator of it has them.

use erpgo_dr_core::runbook::{Ending, Outcome};
use erpgo_dr_testkit::{Bind, Ministack};

use crate::support::Site;

fn action(aws: &Ministack, zone: &str, name: &str, kind: &str, values: &str, more: &str) -> String {
    format!(
        "[[steps]]\nid = \"switch\"\ntitle = \"Switch\"\ntimeout = \"60s\"\n[steps.dns]\nhosted-zone = \"{zone}\"\n\
         name = \"{name}\"\ntype = \"{kind}\"\nvalues = {values}\nttl = 30\naccess-key = \"AKIDEXAMPLE\"\n\
         secret-key = \"key\"\nendpoint = \"{}\"\n{more}\n",
        aws.endpoint()
    )
}

async fn start() -> (Ministack, String) {
    let started = tokio::task::spawn_blocking(|| {
        let aws = Ministack::start();
        let zone = aws.create_hosted_zone("ex.test.");
        (aws, zone)
    });
    started.await.unwrap()
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[tokio::test(flavor = "multi_thread")]
async fn records_are_replaced_in_one_change_and_brought_back() {
    let ((aws, zone), site) = (start().await, Site::new().await);
    let (first, second) = ("[\"192.0.2.1\"]", "[\"192.0.2.2\", \"192.0.2.3\"]");
    let made = site.run(&action(&aws, &zone, "app.ex.test", "A", first, ""), SECRET).await;
    assert_eq!(made.last(), (Outcome::Succeeded, "app.ex.test. A: it was no record; it is 192.0.2.1"));
    let undo = action(&aws, &zone, "app.ex.test", "A", first, "").replace("[steps.dns]", "[steps.undo.dns]");
    let undo = undo.split_once("[steps.undo").unwrap().1;
    let steps = format!("{}[steps.undo{undo}", action(&aws, &zone, "app.ex.test", "A", second, ""));
    let run = site.run(&steps, SECRET).await;
    assert_eq!(run.last(), (Outcome::Succeeded, "app.ex.test. A: it was 192.0.2.1; it is 192.0.2.2, 192.0.2.3"));
    let listed = aws.records(&zone);
    assert!(listed.contains("192.0.2.3") && !listed.contains("192.0.2.1<"), "{listed}");
    assert!(!format!("{:?}", run.entries).contains(SECRET));
    assert_eq!(site.undo(&run, SECRET).await.standing.ending, Ending::Undone);
    let listed = aws.records(&zone);
    assert!(listed.contains("192.0.2.1<") && !listed.contains("192.0.2.3"), "{listed}");
    // What is so already is not changed, and what is not there not removed.
    let same = site.run(&action(&aws, &zone, "app.ex.test", "A", first, ""), SECRET).await;
    assert_eq!(same.last().1, "app.ex.test. A: it was 192.0.2.1; it is 192.0.2.1");
    for said in ["it was 192.0.2.1; it is no record", "it was no record; it is no record"] {
        let removed = site.run(&action(&aws, &zone, "app.ex.test", "A", "[]", ""), SECRET).await;
        assert_eq!(removed.last(), (Outcome::Succeeded, format!("app.ex.test. A: {said}").as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_made_and_removed_and_what_is_foreign_is_left_alone() {
    let ((aws, zone), site) = (start().await, Site::new().await);
    let long = format!("v=1 \\\"quoted\\\" <{}>", "x".repeat(300));
    for (kind, name, value) in [
        ("AAAA", "six.ex.test", "2001:db8::2"),
        ("CNAME", "*.ex.test.", "app.ex.test"),
        ("TXT", "text.ex.test.", long.as_str()),
    ] {
        let change = |values: &str| action(&aws, &zone, name, kind, values, "");
        for (values, end) in [(format!("[\"{value}\"]"), ""), ("[]".to_owned(), "it is no record")] {
            let run = site.run(&change(&values), SECRET).await;
            let (outcome, said) = run.last();
            assert!(outcome == Outcome::Succeeded && said.ends_with(end), "{kind}: {said}");
            assert_eq!(aws.records(&zone).contains(&format!("<Type>{kind}</Type>")), end.is_empty(), "{kind}");
        }
    }
    // Who has a routing policy of their own keeps it.
    let weighted = "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>\
        <Change><Action>CREATE</Action><ResourceRecordSet><Name>app.ex.test.</Name><Type>A</Type><SetIdentifier>eu</SetIdentifier>\
        <Weight>10</Weight><TTL>30</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.9</Value></ResourceRecord></ResourceRecords>\
        </ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>";
    aws.route53("POST", &format!("/hostedzone/{zone}/rrset/"), weighted);
    let run = site.run(&action(&aws, &zone, "app.ex.test", "A", "[\"192.0.2.1\"]", ""), SECRET).await;
    let (outcome, said) = run.last();
    assert!(outcome == Outcome::Failed && said.contains("with a routing policy"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_and_resolvers_are_waited_for() {
    let ((aws, zone), site) = (start().await, Site::new().await);
    let run = site.run(&action(&aws, "Z0NOTTHERE", "app.ex.test", "A", "[\"192.0.2.1\"]", ""), SECRET).await;
    let (outcome, said) = run.last();
    assert!(outcome == Outcome::Failed && said.contains("404 NoSuchHostedZone"), "{said}");
    let run = site.run(&action(&aws, "../x", "app.ex.test", "A", "[\"192.0.2.1\"]", ""), SECRET).await;
    assert!(run.last().1.contains("is no hosted zone"), "{}", run.last().1);
    // A name server that shows the record already, and one that will not.
    let bind = Bind::start();
    let resolvers = format!("resolvers = [\"{}\"]", bind.address());
    let run = site.run(&action(&aws, &zone, Bind::NAME, "A", "[\"192.0.2.1\"]", &resolvers), SECRET).await;
    assert_eq!(run.last().1, "app.ex.test. A: it was no record; it is 192.0.2.1, as 1 more name servers show");
    let short = action(&aws, &zone, Bind::NAME, "A", "[\"192.0.2.7\"]", &resolvers).replace("60s", "8s");
    let run = site.run(&short, SECRET).await;
    assert!(run.last().1.contains("to show app.ex.test. as 192.0.2.7"), "{}", run.last().1);
}
