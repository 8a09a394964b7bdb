//! A run that is cut off anywhere goes on from the truth.

use std::sync::Mutex;
use std::time::Duration;

use erpgo_dr_core::runbook::{
    Choice, Ending, Entry, Event, NoObserver, RunObserver, RunOptions, Runbook, RunbookError, Values, resume_run,
    run_runbook,
};
use erpgo_dr_core::types::RunId;
use tokio::sync::Notify;

use crate::support::{Site, ends, runbook};

/// Gives word when entry `number` is durable.
struct CutAt {
    number: u32,
    run: Mutex<Option<RunId>>,
    reached: Notify,
}

impl RunObserver for CutAt {
    fn recorded(&self, run: &RunId, entry: &Entry) {
        *self.run.lock().unwrap() = Some(run.clone());
        if entry.number == self.number {
            self.reached.notify_one();
        }
    }
}

/// Steps of every sort: some may be done twice, one says itself whether it is done, and one must not be done twice.
fn steps() -> Runbook {
    runbook(
        r#"
        [variables]
        folder = { type = "path" }
        found = { type = "text", optional = true }
        [services.app]
        stop = ["sh", "-c", 'echo stopped > "$1/app"', "sh", "{{ folder }}"]
        start = ["sh", "-c", 'echo started > "$1/app"', "sh", "{{ folder }}"]
        [[steps]]
        id = "stop"
        title = "Stop"
        service = { name = "app", do = "stop" }
        [[steps]]
        id = "answer"
        title = "Answer"
        command = { run = ["sh", "-c", "sleep 0.02; echo forty-two"] }
        repeatable = true
        store = "found"
        [[steps]]
        id = "once"
        title = "Once"
        command = { run = ["sh", "-c", 'sleep 0.02; echo once >> "$1/once"', "sh", "{{ folder }}"] }
        [[steps]]
        id = "says-so"
        title = "Says so"
        command = { run = ["sh", "-c", 'sleep 0.02; echo said >> "$1/said"', "sh", "{{ folder }}"] }
        done = { command = { run = ["test", "-e", "{{ folder }}/said"], check = true } }
        [[steps]]
        id = "write"
        title = "Write"
        write-file = { path = "{{ folder }}/written", text = "the answer is {{ found }}" }
        [[steps]]
        id = "start"
        title = "Start"
        service = { name = "app", do = "start" }
        "#,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_cut_off_the_end_is_the_same() {
    let mut number = 0;
    loop {
        let site = Site::new().await;
        let folder = site.folder.path().display().to_string();
        let runbook = steps();
        let values = runbook.values([("folder", folder.as_str())]).unwrap();
        let cut = CutAt { number, run: Mutex::default(), reached: Notify::new() };
        let options = RunOptions::default();
        let ended = tokio::select! {
            biased;
            () = cut.reached.notified() => false,
            standing = run_runbook(&runbook, values, &site.surroundings, &options, &cut) => standing.unwrap().ending == Ending::Completed,
        };
        let run = cut.run.lock().unwrap().clone().unwrap();
        if ended {
            // Steps that end before anybody looks are passed in one go.
            let entries = site.journal(&run).await.len() as u32;
            assert!(entries > 12, "it has {entries} entries");
            if number >= entries {
                return;
            }
            number += 1;
            continue;
        }
        // Killed programs are gone when the run goes on.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let done = site.read("once") == "once\n";
        site.answers([if done { Choice::Yes } else { Choice::Again }]);
        match resume_run(&run, &Values::default(), &site.surroundings, &NoObserver).await {
            Ok(standing) => assert_eq!(standing.ending, Ending::Completed),
            Err(RunbookError::Ended(_)) => {}
            Err(error) => panic!("cut off at entry {number}: {error}"),
        }
        let left = ["app", "once", "said", "written"].map(|name| site.read(name));
        assert_eq!(left, ["started\n", "once\n", "said\n", "the answer is forty-two"], "cut off at entry {number}");
        let journal = site.journal(&run).await;
        assert!(matches!(journal.last().unwrap().event, Event::Finished { ending: Ending::Completed, .. }));
        number += 1;
    }
}

#[tokio::test]
async fn what_may_be_done_once_only_is_not_done_again_unasked() {
    let site = Site::new().await;
    let once = runbook("[[steps]]\nid = \"once\"\ntitle = \"O\"\ncommand = { run = [\"sleep\", \"5\"] }");
    let cut = CutAt { number: 1, run: Mutex::default(), reached: Notify::new() };
    let options = RunOptions::default();
    tokio::select! {
        biased;
        () = cut.reached.notified() => {}
        _ = run_runbook(&once, Values::default(), &site.surroundings, &options, &cut) => panic!("it sleeps"),
    }
    let run = cut.run.lock().unwrap().clone().unwrap();
    site.answers([Choice::No]);
    assert_eq!(site.resume(&run).await.ending, Ending::Stopped);
    site.answers([Choice::Yes]);
    assert_eq!(site.resume(&run).await.ending, Ending::Completed);
    assert_eq!(ends(&site.journal(&run).await), ["once found done"]);
    let again = resume_run(&run, &Values::default(), &site.surroundings, &NoObserver).await;
    assert!(matches!(again, Err(RunbookError::Ended(_))));
}

#[tokio::test]
async fn what_was_begun_is_taken_back_also_where_it_was_found_done() {
    let site = Site::new().await;
    let folder = site.folder.path().display().to_string();
    let step = runbook(
        r#"
        [variables]
        folder = { type = "path" }
        [[steps]]
        id = "make"
        title = "M"
        command = { run = ["sh", "-c", 'touch "$1/made"; sleep 5', "sh", "{{ folder }}"] }
        done = { command = { run = ["test", "-e", "{{ folder }}/made"], check = true } }
        undo = { command = { run = ["rm", "{{ folder }}/made"] } }
        "#,
    );
    let values = step.values([("folder", folder.as_str())]).unwrap();
    let cut = CutAt { number: 1, run: Mutex::default(), reached: Notify::new() };
    let options = RunOptions::default();
    tokio::select! {
        () = async { while !site.path("made").exists() { tokio::time::sleep(Duration::from_millis(10)).await } } => {}
        _ = run_runbook(&step, values, &site.surroundings, &options, &cut) => panic!("it sleeps"),
    }
    let run = cut.run.lock().unwrap().clone().unwrap();
    assert_eq!(site.resume(&run).await.ending, Ending::Completed);
    assert_eq!(ends(&site.journal(&run).await), ["make found done"]);
    assert_eq!(site.undo(&run).await.ending, Ending::Undone);
    assert!(!site.path("made").exists());
}

#[tokio::test]
async fn a_program_that_outlived_its_process_is_named_first() {
    let site = Site::new().await;
    let step =
        runbook("[[steps]]\nid = \"a\"\ntitle = \"A\"\ncommand = { run = [\"sleep\", \"5\"] }\nrepeatable = true");
    let cut = CutAt { number: 1, run: Mutex::default(), reached: Notify::new() };
    let options = RunOptions::default();
    tokio::select! {
        biased;
        () = cut.reached.notified() => {}
        _ = run_runbook(&step, Values::default(), &site.surroundings, &options, &cut) => panic!("it sleeps"),
    }
    let run = cut.run.lock().unwrap().clone().unwrap();
    // As one that a killed process left behind: what is dropped here is killed.
    let mut left =
        std::process::Command::new("sleep").arg("60").env("ERPGO_DR_STEP", format!("{run}/a")).spawn().unwrap();
    site.answers([Choice::No]);
    assert_eq!(site.resume(&run).await.ending, Ending::Stopped);
    let asked = site.asked().remove(0).text;
    assert!(asked.contains(&format!("a program of it still runs (process {})", left.id())), "{asked}");
    left.kill().unwrap();
    left.wait().unwrap();
    assert_eq!(site.resume(&run).await.ending, Ending::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_go_on_one_is_told() {
    let site = Site::new().await;
    let text = "[[steps]]\nid = \"a\"\ntitle = \"A\"\ncommand = { run = [\"sleep\", \"0.3\"] }\nrepeatable = true";
    let slow = runbook(text);
    let cut = CutAt { number: 1, run: Mutex::default(), reached: Notify::new() };
    let options = RunOptions::default();
    tokio::select! {
        biased;
        () = cut.reached.notified() => {}
        _ = run_runbook(&slow, Values::default(), &site.surroundings, &options, &cut) => panic!("it sleeps"),
    }
    let run = cut.run.lock().unwrap().clone().unwrap();
    let values = Values::default();
    let one = resume_run(&run, &values, &site.surroundings, &NoObserver);
    let other = resume_run(&run, &values, &site.surroundings, &NoObserver);
    let (one, other) = tokio::join!(one, other);
    let busy = [&one, &other].iter().filter(|outcome| matches!(outcome, Err(RunbookError::Busy(_)))).count();
    let completed = [&one, &other].iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((busy, completed), (1, 1), "{one:?} {other:?}");
}
