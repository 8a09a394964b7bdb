//! What was done is taken back, the last step first.

use erpgo_dr_core::runbook::{Choice, Ending, NoObserver, RunbookError, Values, undo_run};

use crate::support::{Site, ends, runbook};

const STEPS: &str = r#"
[variables]
folder = { type = "path" }
[services.app]
stop = ["sh", "-c", 'echo stop >> "$1/log"', "sh", "{{ folder }}"]
start = ["sh", "-c", 'echo start >> "$1/log"', "sh", "{{ folder }}"]
[[steps]]
id = "look"
title = "L"
command = { run = ["true"], check = true }
[[steps]]
id = "stop"
title = "S"
service = { name = "app", do = "stop" }
[[steps]]
id = "existing"
title = "E"
write-file = { path = "{{ folder }}/existing", text = "new", mode = "644" }
[[steps]]
id = "missing"
title = "M"
write-file = { path = "{{ folder }}/missing", text = "new" }
[[steps]]
id = "told"
title = "T"
command = { run = ["sh", "-c", 'echo do >> "$1/log"', "sh", "{{ folder }}"] }
undo = { command = { run = ["sh", "-c", 'echo undo >> "$1/log"', "sh", "{{ folder }}"] } }
[[steps]]
id = "skipped"
title = "K"
command = { run = ["true"] }
when = [{ step = "told", is = "failed" }]
[[steps]]
id = "last"
title = "F"
command = { run = ["sh", "-c", 'test -e "$1/go"', "sh", "{{ folder }}"] }
"#;

#[tokio::test]
async fn everything_is_as_it_was() {
    let site = Site::new().await;
    std::fs::write(site.path("existing"), "old").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(site.path("existing"), mode).unwrap();
    let folder = site.folder.path().display().to_string();
    let standing = site.run(&runbook(STEPS), &[("folder", &folder)]).await;
    assert_eq!((standing.ending, standing.step.unwrap().as_str()), (Ending::Stopped, "last"));
    assert_eq!((site.read("existing"), site.read("missing")), ("new".to_owned(), "new".to_owned()));
    // The one step without a way back had failed: people say that there is nothing to take back.
    let undone = site.undo(&standing.run).await;
    assert_eq!(undone.ending, Ending::Undone);
    assert!(site.asked()[0].text.contains("has no way back of its own"));
    assert_eq!(site.read("log"), "stop\ndo\nundo\nstart\n");
    assert_eq!((site.read("existing"), site.path("missing").exists()), ("old".to_owned(), false));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(site.path("existing")).unwrap().permissions().mode() & 0o777, 0o640);
    let names: Vec<_> =
        std::fs::read_dir(site.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
    let back: Vec<String> = ends(&site.journal(&standing.run).await).split_off(7);
    assert_eq!(back, ["last skipped", "told succeeded", "missing succeeded", "existing succeeded", "stop succeeded"]);
    let again = undo_run(&standing.run, &Values::default(), &site.surroundings, &NoObserver).await;
    assert!(matches!(again, Err(RunbookError::Ended(_))));
}

#[tokio::test]
async fn a_step_without_a_way_back_holds_the_rest_until_people_have_seen_to_it() {
    let site = Site::new().await;
    let folder = site.folder.path().display().to_string();
    let standing = site.run(&runbook(STEPS), &[("folder", &folder)]).await;
    site.answers([Choice::No]);
    let held = site.undo(&standing.run).await;
    assert_eq!((held.ending, held.step.unwrap().as_str()), (Ending::UndoStopped, "last"));
    assert_eq!(site.read("log"), "stop\ndo\n");
    // Resuming a run that is being taken back goes on taking back.
    assert_eq!(site.resume(&standing.run).await.ending, Ending::Undone);
    assert_eq!(site.read("log"), "stop\ndo\nundo\nstart\n");
}

#[tokio::test]
async fn a_way_back_that_fails_is_for_people_and_holds_nothing_up_for_ever() {
    let site = Site::new().await;
    let folder = site.folder.path().display().to_string();
    let steps = runbook(
        r#"
        [variables]
        folder = { type = "path" }
        [[steps]]
        id = "first"
        title = "F"
        write-file = { path = "{{ folder }}/first", text = "x" }
        [[steps]]
        id = "nowhere"
        title = "N"
        write-file = { path = "{{ folder }}/no/where", text = "x" }
        on-failure = "continue"
        [[steps]]
        id = "stuck"
        title = "S"
        command = { run = ["true"] }
        undo = { command = { run = ["false"] } }
        "#,
    );
    let standing = site.run(&steps, &[("folder", &folder)]).await;
    assert_eq!(standing.failed.iter().map(|step| step.as_str()).collect::<Vec<_>>(), ["nowhere"]);
    assert_eq!(site.undo(&standing.run).await.ending, Ending::Undone);
    let asked = site.asked();
    assert!(asked.len() == 1 && asked[0].text.contains("could not be taken back: run true"), "{asked:?}");
    assert!(!site.path("first").exists());
}
