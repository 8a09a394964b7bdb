//! Secrets: made and handed on, and in no journal, log or list of processes.

use erpgo_dr_core::runbook::{
    Ending, NoObserver, RunOptions, RunbookError, Value, VariableKind, resume_run, run_runbook,
};
use erpgo_dr_testkit::postgres::PgServerOptions;

use crate::support::{Site, runbook};

#[tokio::test(flavor = "multi_thread")]
async fn a_role_gets_a_new_password_that_nobody_saw() {
    let server = PgServerOptions::new(17).password("the old one").setting("log_statement", "all").start();
    let site = Site::new().await;
    let runbook = runbook(
        r#"
        [variables]
        server = { type = "server" }
        password = { type = "secret", optional = true }
        file = { type = "path" }
        out = { type = "path" }
        [[steps]]
        id = "role"
        title = "R"
        sql = { on = "server", query = "CREATE ROLE app LOGIN" }
        [[steps]]
        id = "rotate"
        title = "R"
        rotate-secret = { variable = "password", role = "app", on = "server", file = "{{ file }}", hand-to = ["sh", "-c", 'wc -c > "$1"', "sh", "{{ out }}"] }
        [[steps]]
        id = "leak"
        title = "L"
        command = { run = ["sh", "-c", 'echo "it is $WORD"'], environment = { WORD = "{{ password }}" } }
        [[steps]]
        id = "wait"
        title = "W"
        command = { run = ["test", "-e", "{{ out }}.go"] }
        [[steps]]
        id = "again"
        title = "A"
        command = { run = ["sh", "-c", 'cmp - "$1"', "sh", "{{ file }}"], input = "{{ password }}" }
        "#,
    );
    let (file, out) = (site.path("secret").display().to_string(), site.path("out").display().to_string());
    let url = server.url("postgres").replace("postgres@", "postgres:the%20old%20one@");
    let given = [("server", url.as_str()), ("file", &file), ("out", &out)];
    let standing = site.run(&runbook, &given).await;
    assert_eq!((standing.ending, standing.step.unwrap().as_str()), (Ending::Stopped, "wait"));
    let secret = site.read("secret");
    assert!(secret.len() >= 43, "32 bytes of randomness: {}", secret.len());
    assert_eq!(site.read("out").trim(), secret.len().to_string());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let journal = serde_json::to_string(&site.journal(&standing.run).await).unwrap();
    assert!(!journal.contains(&secret) && !journal.contains("the old one"), "{journal}");
    assert!(journal.contains("it is [password]"), "{journal}");
    assert!(!server.log().contains(&secret) && server.log().contains("SCRAM-SHA-256"));
    let login = format!("postgresql://app:{secret}@127.0.0.1:{}/postgres", server.port());
    let settings: erpgo_dr_core::postgres::ConnectionSettings = login.parse().unwrap();
    settings.connect().await.unwrap().close().await;

    // Another process knows the new secret from its file, and has to be told the server's password.
    std::fs::write(site.path("out.go"), "").unwrap();
    let untold = resume_run(&standing.run, &Default::default(), &site.surroundings, &NoObserver).await;
    assert!(matches!(untold, Err(RunbookError::MissingValues { names }) if names == ["server"]));
    let mut told = erpgo_dr_core::runbook::Values::default();
    told.set("server", VariableKind::Server.parse("server", &url).unwrap());
    let resumed = resume_run(&standing.run, &told, &site.surroundings, &NoObserver).await.unwrap();
    assert_eq!(resumed.ending, Ending::Completed);
}

#[tokio::test]
async fn a_failure_tells_no_secret() {
    let site = Site::new().await;
    let runbook = runbook(
        r#"
        [variables]
        token = { type = "secret" }
        [[steps]]
        id = "fail"
        title = "F"
        command = { run = ["sh", "-c", 'echo "bad token $T" >&2; exit 3'], environment = { T = "{{ token }}" } }
        "#,
    );
    let mut values = erpgo_dr_core::runbook::Values::default();
    values.set("token", Value::Secret("s3cr3t-token".into()));
    let standing =
        run_runbook(&runbook, values, &site.surroundings, &RunOptions::default(), &NoObserver).await.unwrap();
    let journal = serde_json::to_string(&site.journal(&standing.run).await).unwrap();
    assert!(journal.contains("sh ended with exit status: 3: bad token [token]"), "{journal}");
    assert!(!journal.contains("s3cr3t"), "{journal}");
}
