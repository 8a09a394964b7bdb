//! When steps are done, how often they are tried, and what is refused beforehand.

use erpgo_dr_core::runbook::{Choice, Ending, NoObserver, RunOptions, Runbook, RunbookError, Values, run_runbook};

use crate::support::{Site, runbook};

#[tokio::test]
async fn later_steps_look_at_how_earlier_ones_ended() {
    let site = Site::new().await;
    let runbook = runbook(
        r#"
        [variables]
        option = { type = "text", optional = true }
        mode = { type = "text", default = "a" }
        [[steps]]
        id = "fails"
        title = "F"
        command = { run = ["false"] }
        on-failure = "continue"
        [[steps]]
        id = "because"
        title = "B"
        command = { run = ["true"] }
        when = [{ step = "fails", is = "failed" }, { check = { command = { run = ["true"], check = true } } }]
        [[steps]]
        id = "not-because"
        title = "N"
        command = { run = ["true"] }
        when = [{ step = "fails", is = "succeeded" }]
        [[steps]]
        id = "named-option"
        title = "O"
        command = { run = ["echo", "{{ option }}"] }
        [[steps]]
        id = "unset"
        title = "U"
        command = { run = ["true"] }
        when = [{ variable = "option", set = false }, { variable = "mode", equals = "a" }]
        [[steps]]
        id = "check-fails"
        title = "C"
        command = { run = ["true"] }
        when = [{ check-fails = { command = { run = ["false"], check = true } } }]
        [[steps]]
        id = "not-failed"
        title = "N"
        command = { run = ["true"] }
        when = [{ step = "because", is-not = "failed" }]
        [[steps]]
        id = "check-passes"
        title = "P"
        command = { run = ["true"] }
        when = [{ check-fails = { command = { run = ["true"], check = true } } }]
        "#,
    );
    let ends = site.completes(&runbook, &[]).await;
    let expected = ["fails failed", "because succeeded", "not-because skipped", "named-option skipped"];
    assert_eq!(ends[..4], expected);
    assert_eq!(ends[4..], ["unset succeeded", "check-fails succeeded", "not-failed succeeded", "check-passes skipped"]);
    let with_option = site.completes(&runbook, &[("option", "x"), ("mode", "b")]).await;
    assert_eq!(with_option[3..5], ["named-option succeeded", "unset skipped"]);
}

#[tokio::test]
async fn a_step_is_tried_as_often_as_it_says_and_no_longer_than_it_may() {
    let site = Site::new().await;
    let counter = site.path("counter").display().to_string();
    let third = runbook(
        r#"
        [variables]
        counter = { type = "path" }
        [[steps]]
        id = "third"
        title = "T"
        command = { run = ["sh", "-c", 'echo x >> "$1"; test $(wc -l < "$1") -ge 3', "sh", "{{ counter }}"] }
        retries = 2
        pause = "10ms"
        "#,
    );
    let ends = site.completes(&third, &[("counter", &counter)]).await;
    assert_eq!(ends, ["third failed", "third failed", "third succeeded"]);
    let slow = runbook(
        r#"
        [[steps]]
        id = "slow"
        title = "S"
        command = { run = ["sh", "-c", "sleep 300 & sleep 300"] }
        timeout = "300ms"
        "#,
    );
    assert_eq!(site.fails(&slow, &[]).await, "not done within 300ms");
    let children = std::process::Command::new("pgrep").args(["-fx", "sleep 300"]).output().unwrap();
    assert_eq!(String::from_utf8(children.stdout).unwrap(), "", "what a step started ends with its time");
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_asked_first() {
    let site = Site::new().await;
    let marker = site.path("marker").display().to_string();
    let asks = runbook(
        r#"
        [variables]
        marker = { type = "path" }
        [[steps]]
        id = "touch"
        title = "T"
        command = { run = ["touch", "{{ marker }}"] }
        ask = true
        "#,
    );
    site.answers([Choice::No]);
    let standing = site.run(&asks, &[("marker", &marker)]).await;
    assert_eq!((standing.ending, standing.step.unwrap().as_str()), (Ending::Stopped, "touch"));
    assert!(!site.path("marker").exists());
    assert_eq!(site.asked()[0].text, format!("run touch {marker}"));
    assert_eq!(site.resume(&standing.run).await.ending, Ending::Completed);
    assert!(site.path("marker").exists());
}

#[tokio::test]
async fn nothing_is_done_of_a_runbook_with_faults() {
    let site = Site::new().await;
    let faulty = |steps: &str| {
        let text = format!(
            "name = \"x\"\ntitle = \"X\"\n[variables]\nsecret = {{ type = \"secret\", optional = true }}\n\
             db = {{ type = \"server\", optional = true }}\nword = {{ type = \"text\", optional = true }}\n{steps}"
        );
        Runbook::from_toml(&text)
    };
    let wrong = [
        ("[[steps]]\nid='a'\ntitle='A'\ncommand={run=['x','{{ secret }}']}", "the secret secret would be seen there"),
        ("[[steps]]\nid='a'\ntitle='A'\ncommand={run=['{{ nobody }}']}", "there is no variable nobody"),
        ("[[steps]]\nid='a'\ntitle='A'\ncommand={run=['{{ db }}']}", "db is a server, which is no text"),
        ("[[steps]]\nid='a'\ntitle='A'\nsql={on='secret',query='x'}", "secret is no server"),
        ("[[steps]]\nid='a'\ntitle='A'\nservice={name='web',do='stop'}", "there is no service web"),
        ("[[steps]]\nid='a'\ntitle='A'\nwait-for={check={command={run=['x']}}}", "which does not only look"),
        (
            "[[steps]]\nid='a'\ntitle='A'\ncommand={run=['x']}\nwhen=[{step='b',is='failed'}]",
            "there is no earlier step b",
        ),
        ("[[steps]]\nid='a'\ntitle='A'\ncommand={run=['x']}\nstore='db'", "no step returns a server"),
        ("[[steps]]\nid='a'\ntitle='A'\ncommand={run=['x']}\ntimeout='0s'", "no time"),
        ("[[steps]]\nid='a'\ntitle='A'\nrotate-secret={variable='db'}", "db is no secret"),
        ("[[steps]]\nid='a'\ntitle='A'\nsql={on='db',query=\"SELECT '{{ word }}'\"}", "word stands within quotes"),
        (
            "[[steps]]\nid='a'\ntitle='A'\nsql={on='db',query='SELECT {{ secret }}'}",
            "the secret secret would be seen there",
        ),
    ];
    for (steps, fault) in wrong {
        let runbook = faulty(steps).unwrap();
        let options = RunOptions::default();
        let refused = run_runbook(&runbook, Values::default(), &site.surroundings, &options, &NoObserver);
        let error = refused.await.unwrap_err();
        assert!(matches!(error, RunbookError::Faulty { .. }) && error.to_string().contains(fault), "{error}");
    }
    let unreadable = [
        ("[[steps]]\nid='a'\ntitle='A'\nrum={}", "\"rum\" is neither an action nor a setting"),
        ("[[steps]]\nid='a'\ntitle='A'", "a step has one action, not none"),
        ("[[steps]]\nid='a'\ntitle='A'\nmanual={instructions='x'}\nconfirm={question='y'}", "not confirm, manual"),
        ("[[steps]]\nid='A'\ntitle='A'\nmanual={instructions='x'}", "cannot name a step"),
        ("[[steps]]\nid='a'\ntitle='A'\nmanual={instructions='x'}\ntimeout='5'", "not a length of time"),
        ("[[steps]]\nid='a'\ntitle='A'\nmanual={instruction='x'}", "unknown field"),
        ("[[steps]]\nid='a'\ntitle='A'\nmanual={instructions='x'}\nwhen=[{step='b'}]", "a condition is"),
        ("[[steps]]\nid='a'\ntitle='A'\nsql-check={on='db',query='x',retunrs='1'}", "unknown field"),
    ];
    for (steps, fault) in unreadable {
        let error = faulty(steps).unwrap_err();
        assert!(matches!(error, RunbookError::Syntax { .. }) && error.to_string().contains(fault), "{error}");
    }
    let needs =
        runbook("[variables]\na = { type = \"text\" }\n[[steps]]\nid='s'\ntitle='S'\nmanual={instructions='{{ a }}'}");
    assert!(matches!(needs.values([]), Err(RunbookError::MissingValues { names }) if names == ["a"]));
    assert!(matches!(needs.values([("b", "x")]), Err(RunbookError::UnknownVariable { .. })));
    assert!(erpgo_dr_core::runbook::list_runs(&site.surroundings.repository).await.unwrap().is_empty());
}
