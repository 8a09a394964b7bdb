//! Each kind of check and change, on what it is for.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

use erpgo_dr_testkit::postgres::PgServer;

use crate::support::{Site, output_of, runbook};

#[tokio::test(flavor = "multi_thread")]
async fn statements_run_and_answers_are_compared() {
    let server = PgServer::start(15);
    let site = Site::new().await;
    let runbook = runbook(
        r#"
        [variables]
        server = { type = "server" }
        name = { type = "text", default = "O'Neill; DROP TABLE people" }
        table = { type = "text", default = "people" }
        ids = { type = "list", default = ["1", "3"] }
        count = { type = "integer", optional = true }
        [[steps]]
        id = "make"
        title = "M"
        sql = { on = "server", query = "CREATE TABLE {{ table | identifier }} (id int, name text); INSERT INTO people VALUES (1, {{ name }}), (2, 'b'), (3, NULL)" }
        [[steps]]
        id = "count"
        title = "C"
        sql = { on = "server", query = "SELECT count(*), 'x' FROM people WHERE id IN ({{ ids }})" }
        store = "count"
        [[steps]]
        id = "rows"
        title = "R"
        sql = { on = "server", query = "SELECT id, name FROM people ORDER BY id LIMIT {{ count }}" }
        [[steps]]
        id = "true"
        title = "T"
        sql-check = { on = "server", query = "SELECT count(*) = 3 FROM people" }
        [[steps]]
        id = "text"
        title = "T"
        sql-check = { on = "server", query = "SELECT name FROM people WHERE id = 1", returns = "{{ name }}" }
        [[steps]]
        id = "range"
        title = "R"
        sql-check = { on = "server", query = "SELECT count(*) FROM people", at-least = 3, at-most = 3, rows = 1 }
        [[steps]]
        id = "other-database"
        title = "O"
        sql-check = { on = "server", database = "template1", query = "SELECT current_database()", returns = "template1" }
        "#,
    );
    let url = server.url("postgres");
    let standing = site.run(&runbook, &[("server", &url)]).await;
    let journal = site.journal(&standing.run).await;
    assert_eq!(standing.ending, erpgo_dr_core::runbook::Ending::Completed, "{journal:#?}");
    assert_eq!(output_of(&journal, "make"), "3 rows changed");
    assert_eq!(output_of(&journal, "count"), "2|x");
    assert_eq!(output_of(&journal, "rows"), "1|O'Neill; DROP TABLE people\n2|b");
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM people"), "3", "a value is no statement");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_does_not_hold_says_what_it_found() {
    let server = PgServer::start(18);
    let site = Site::new().await;
    let url = server.url("postgres");
    let fails = [
        ("sql-check = { on = 'server', query = 'SELECT 1 = 2' }", "expected true, found f"),
        ("sql-check = { on = 'server', query = 'SELECT 5', at-least = 6 }", "expected at least 6, found 5"),
        ("sql-check = { on = 'server', query = 'SELECT 5', at-most = 4 }", "expected at most 4, found 5"),
        ("sql-check = { on = 'server', query = 'SELECT 5 WHERE false', at-most = 4 }", "found no rows"),
        ("sql-check = { on = 'server', query = 'SELECT NULL', returns = '5' }", "expected 5, found NULL"),
        ("sql-check = { on = 'server', query = 'SELECT 5', rows = 2 }", "expected 2 rows, found 1 rows"),
        ("sql-check = { on = 'server', query = 'CREATE TABLE t (n int)' }", "read-only transaction"),
        ("sql-check = { on = 'server', query = 'SELECT nonsense' }", "column \"nonsense\" does not exist"),
        ("sql-check = { on = 'server', query = 'SELECT pg_sleep(9)' }\ntimeout = '300ms'", ""),
        ("pg-ready = { on = 'server', to = 'follow' }", "found a primary that takes writes"),
        ("pg-ready = { on = 'away', to = 'write' }", "found cannot connect to"),
        ("tcp-ready = { host = '127.0.0.1', port = '1' }", "127.0.0.1:1: Connection refused"),
    ];
    for (step, expected) in fails {
        let runbook = runbook(&format!(
            "[variables]\nserver = {{ type = 'server' }}\naway = {{ type = 'server' }}\n[[steps]]\nid = 'a'\ntitle = 'A'\n{step}"
        ));
        let away = "postgresql://postgres@127.0.0.1:1/postgres";
        let found = site.fails(&runbook, &[("server", &url), ("away", away)]).await;
        assert!(found.contains(expected), "{step}: {found}");
    }
    let sleeping = server
        .psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND pid <> pg_backend_pid()");
    assert_eq!(sleeping, "0", "a statement ends with its step's time");
}

#[tokio::test(flavor = "multi_thread")]
async fn integrity_is_checked_and_a_copy_is_not_its_original() {
    let (server, other) = (PgServer::start(17), PgServer::start(17));
    let site = Site::new().await;
    server.psql(
        "postgres",
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int CONSTRAINT b_a REFERENCES a); SET session_replication_role = replica;
         INSERT INTO b VALUES (7); ALTER TABLE a ADD CONSTRAINT late CHECK (id > 0) NOT VALID",
    );
    let (url, away) = (server.url("postgres"), "postgresql://postgres@127.0.0.1:1/postgres");
    let socket = format!("host={} port={} user=postgres dbname=postgres", server.socket_dir().display(), server.port());
    let other = other.url("postgres");
    let values = [("server", url.as_str()), ("again", &socket), ("other", &other), ("away", away)];
    let runbook = |step: &str| {
        let servers = ["server", "again", "other", "away"].map(|name| format!("{name} = {{ type = 'server' }}\n"));
        runbook(&format!("[variables]\n{}[[steps]]\nid = 'a'\ntitle = 'A'\ncheck-integrity = {step}", servers.concat()))
    };
    let found = site.fails(&runbook("{ on = 'server', database = 'postgres' }"), &values).await;
    assert!(found.contains("orphans in postgres.public.b (b_a): 1"), "{found}");
    assert!(found.contains("not-validated in postgres.public.a (late)"), "{found}");
    let found = site.fails(&runbook("{ on = 'server', other-than = 'again' }"), &values).await;
    assert!(found.contains("server and again are one server"), "{found}");
    for other in ["other", "away"] {
        let step = format!("{{ on = 'server', other-than = '{other}', tolerate = ['orphans', 'not-validated'] }}");
        let said = site.completes(&runbook(&step), &values).await;
        assert_eq!(said.len(), 1, "{said:?}");
    }
    let found = site.fails(&runbook("{ on = 'away' }"), &values).await;
    assert!(found.contains("cannot connect"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_for_reading_writing_or_following() {
    let server = PgServer::start(17);
    let site = Site::new().await;
    let url = server.url("postgres");
    let port = server.port().to_string();
    let read_only = format!("{url}?options=-c%20default_transaction_read_only%3Don");
    let runbook = runbook(
        r#"
        [variables]
        server = { type = "server" }
        read_only = { type = "server" }
        port = { type = "integer" }
        [[steps]]
        id = "read"
        title = "R"
        pg-ready = { on = "read_only" }
        [[steps]]
        id = "write"
        title = "W"
        pg-ready = { on = "server", to = "write" }
        [[steps]]
        id = "no-write"
        title = "N"
        pg-ready = { on = "read_only", to = "write" }
        on-failure = "continue"
        [[steps]]
        id = "port"
        title = "P"
        tcp-ready = { host = "127.0.0.1", port = "{{ port }}" }
        "#,
    );
    let ends = site.completes(&runbook, &[("server", &url), ("read_only", &read_only), ("port", &port)]).await;
    assert_eq!(ends, ["read succeeded", "write succeeded", "no-write failed", "port succeeded"]);
}

/// A web server that answers everything alike, and keeps what it was asked.
fn web_server(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            loop {
                let read = stream.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..read]);
                let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                if read == 0 || body.len() >= length.unwrap_or(0) {
                    break;
                }
            }
            kept.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn web_servers_are_asked_and_told() {
    let site = Site::new().await;
    let (well, asked) = web_server("HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\nI am well.\n");
    let (ill, _) =
        web_server("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\nconnection: close\r\n\r\nno disk\n");
    let (moved, _) = web_server(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let head = "[variables]\nurl = { type = 'url' }\ntoken = { type = 'secret' }\n[[steps]]\nid = 'a'\ntitle = 'A'\n";
    let step = |step: &str| runbook(&format!("{head}{step}"));
    let check = step(
        "http-check = { url = '{{ url }}/health', contains = 'well', headers = { Authorization = 'Bearer {{ token }}' } }",
    );
    let given = |url: &'static str| [("url", url), ("token", "t0ps3cret")];
    let (well, ill, moved) = (&*well.leak(), &*ill.leak(), &*moved.leak());
    site.completes(&check, &given(well)).await;
    let request = asked.lock().unwrap().pop().unwrap();
    assert!(
        request.starts_with("GET /health HTTP/1.1\r\n") && request.contains("uthorization: Bearer t0ps3cret"),
        "{request}"
    );
    assert_eq!(site.fails(&check, &given(ill)).await, "expected 200, found 503 Service Unavailable no disk");
    assert_eq!(site.fails(&check, &given(moved)).await, "expected 200, found 302 Found");
    let other = step("http-check = { url = '{{ url }}', contains = 'ill' }");
    assert_eq!(site.fails(&other, &given(well)).await, "expected an answer with \"ill\", found I am well.");
    site.completes(&step("http-check = { url = '{{ url }}', status = 503 }"), &given(ill)).await;
    let away = site.fails(&check, &given("http://127.0.0.1:1")).await;
    assert!(away.contains("Connection refused") && away.starts_with("http://127.0.0.1:1/health"), "{away}");

    let hook = runbook(
        "[variables]\nhook = { type = 'secret' }\n[[steps]]\nid = 'a'\ntitle = 'A'\n\
         notify = { message = 'It is \"done\".', webhook = '{{ hook }}' }",
    );
    asked.lock().unwrap().clear();
    site.completes(&hook, &[("hook", &format!("{well}/services/T0/secret"))]).await;
    let request = asked.lock().unwrap().pop().unwrap();
    assert!(
        request.starts_with("POST /services/T0/secret ") && request.ends_with(r#"{"text":"It is \"done\"."}"#),
        "{request}"
    );
    let refused = site.fails(&hook, &[("hook", &format!("{ill}/secret-path"))]).await;
    assert_eq!(refused, "the web hook: it answered 503 Service Unavailable");
    let gone = site.fails(&hook, &[("hook", "http://127.0.0.1:1/secret-path")]).await;
    assert!(gone.contains("Connection refused") && !gone.contains("secret-path"), "{gone}");
}

#[tokio::test]
async fn programs_get_arguments_and_no_shell() {
    let site = Site::new().await;
    let runbook = runbook(
        r#"
        [variables]
        word = { type = "text", default = "$(touch /tmp/no); `id` 'x'" }
        many = { type = "list", default = ["a b", "c"] }
        said = { type = "text", optional = true }
        [[steps]]
        id = "arguments"
        title = "A"
        command = { run = ["printf", "<%s>", "{{ word }}", "{{ many }}", "--all={{ many }}"] }
        store = "said"
        [[steps]]
        id = "environment"
        title = "E"
        command = { run = ["env"], environment = { WORD = "{{ word }}" } }
        [[steps]]
        id = "input"
        title = "I"
        command = { run = ["cat"], input = "{{ said }}", folder = "/" }
        [[steps]]
        id = "tell"
        title = "T"
        notify = { message = "told", command = ["cat"] }
        "#,
    );
    let standing = site.run(&runbook, &[]).await;
    let journal = site.journal(&standing.run).await;
    let said = "<$(touch /tmp/no); `id` 'x'><a b><c><--all=a b,c>";
    assert_eq!(output_of(&journal, "arguments"), said);
    assert_eq!(output_of(&journal, "input"), said);
    let environment = output_of(&journal, "environment");
    let names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(names, ["ERPGO_DR_STEP", "PATH", "WORD"], "nothing else is handed on");
    assert_eq!(output_of(&journal, "tell"), "told");
}

#[tokio::test]
async fn a_service_that_keeps_its_pipe_open_does_not_hold_the_step() {
    let site = Site::new().await;
    let runbook = runbook(
        r#"
        [[steps]]
        id = "start"
        title = "S"
        command = { run = ["sh", "-c", 'setsid sleep 20 & echo started'] }
        timeout = "10s"
        "#,
    );
    let standing = site.run(&runbook, &[]).await;
    assert_eq!(output_of(&site.journal(&standing.run).await, "start"), "started");
}
