//! Who is told when a recovery takes long: level by level, once each, and how it ended.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use erpgo_dr_core::runbook::{
    Answer, Choice, Contact, Ending, Entry, Escalation, EscalationLevel, Event, NoObserver, Notifier, NotifyError,
    Operator, Question, RunObserver, RunOptions, Runbook, RunbookError, Standing, Surroundings, Values, report,
    resume_run, run_runbook,
};
use erpgo_dr_core::types::RunId;
use tokio::sync::watch;

use crate::support::{Site, runbook};

/// Somebody with a telephone, which may be off.
#[derive(Debug, Clone)]
struct Phone {
    name: &'static str,
    off: bool,
    calls: Arc<Mutex<Vec<(&'static str, String)>>>,
    count: watch::Sender<usize>,
}

#[async_trait]
impl Notifier for Phone {
    async fn tell(&self, message: &str) -> Result<(), NotifyError> {
        if self.off {
            return Err(NotifyError { reason: "the telephone is off".to_owned() });
        }
        self.calls.lock().unwrap().push((self.name, message.to_owned()));
        self.count.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Answers when so many were told, and then as it is to.
#[derive(Debug)]
struct Patient {
    until: usize,
    choice: Choice,
    count: watch::Receiver<usize>,
}

#[async_trait]
impl Operator for Patient {
    fn name(&self) -> String {
        "patient".to_owned()
    }

    async fn ask(&self, _question: &Question) -> Answer {
        self.count.clone().wait_for(|count| *count >= self.until).await.unwrap();
        Answer::new(self.choice, "patient", None)
    }
}

/// An office: everybody's calls in one book.
struct Office {
    site: Site,
    calls: Arc<Mutex<Vec<(&'static str, String)>>>,
    count: watch::Sender<usize>,
}

impl Office {
    async fn new() -> Self {
        Self { site: Site::new().await, calls: Arc::default(), count: watch::channel(0).0 }
    }

    fn phone(&self, name: &'static str, off: bool) -> Contact {
        let phone = Phone { name, off, calls: Arc::clone(&self.calls), count: self.count.clone() };
        Contact::new(name, Arc::new(phone))
    }

    /// Sets who is told when, and that the operator answers when so many calls were made.
    fn surroundings(&self, levels: Vec<EscalationLevel>, until: usize, choice: Choice) -> Surroundings {
        let operator = Patient { until, choice, count: self.count.subscribe() };
        let escalation = Escalation::new("db1", levels).unwrap();
        Surroundings::new(Arc::clone(&self.site.surroundings.repository), Arc::new(operator))
            .with_escalation(Some(Arc::new(escalation)))
    }

    fn calls(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

fn level(after: &str, contacts: Vec<Contact>) -> EscalationLevel {
    EscalationLevel::new(after.parse().unwrap(), contacts)
}

fn by_hand() -> Runbook {
    runbook(
        r#"
        [objectives]
        rto = "5m"
        [[steps]]
        id = "look"
        title = "Look"
        manual = { instructions = "look" }
        "#,
    )
}

async fn run(surroundings: &Surroundings, options: &RunOptions, observer: &dyn RunObserver) -> Standing {
    let book = by_hand();
    let values = book.values([]).unwrap();
    run_runbook(&book, values, surroundings, options, observer).await.unwrap()
}

#[tokio::test]
async fn levels_are_told_while_people_are_waited_for_and_how_it_ended() {
    let office = Office::new().await;
    let oncall = office.phone("oncall", false).with_role(Some("On-Call Engineer".to_owned()));
    let oncall = oncall.with_reached_at(vec!["+49 30 1".to_owned()]);
    let levels = vec![
        level("0s", vec![oncall]),
        level("1s", vec![office.phone("dba", false), office.phone("security", false)]),
        level("1h", vec![office.phone("cto", false)]),
    ];
    let surroundings = office.surroundings(levels, 3, Choice::Yes);
    let standing = run(&surroundings, &RunOptions::default(), &NoObserver).await;
    assert_eq!(standing.ending, Ending::Completed);

    let calls = office.calls();
    let names: Vec<_> = calls.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["oncall", "dba", "security", "oncall", "dba", "security"]);
    assert!(calls[0].1.starts_with("erpgo-dr on db1: level 1 of 3: "), "{calls:?}");
    let second = &calls[1].1;
    assert!(second.contains(&format!("run {}", standing.run)) && second.contains("at the step look"), "{second}");
    assert!(second.contains("within 5m") && second.contains("oncall (On-Call Engineer, +49 30 1)"), "{second}");
    assert!(calls[3..].iter().all(|(_, message)| message.contains(" is over, ")), "{calls:?}");

    let report = report(&surroundings.repository, &standing.run).await.unwrap();
    let told: Vec<_> = report.told.iter().map(|told| (told.level, told.contact.as_str())).collect();
    let end = [(None, "oncall"), (None, "dba"), (None, "security")];
    assert_eq!(told[..3], [(Some(1), "oncall"), (Some(2), "dba"), (Some(2), "security")]);
    assert_eq!(told[3..], end);
    assert!(report.to_markdown().contains("dba (level 2)"));
}

#[tokio::test]
async fn a_level_of_which_nobody_is_reached_passes_to_the_next_one_at_once() {
    let office = Office::new().await;
    let levels = vec![level("0s", vec![office.phone("oncall", true)]), level("1h", vec![office.phone("dba", false)])];
    let surroundings = office.surroundings(levels, 1, Choice::No);
    let drill = RunOptions::default().with_drill(true);
    let standing = run(&surroundings, &drill, &NoObserver).await;
    assert_eq!(standing.ending, Ending::Stopped);
    let calls = office.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[0].1.starts_with("DRILL: ") && calls[0].1.contains("Could not be reached: oncall."), "{calls:?}");
    let resume = format!("STOPPED at the step look and needs somebody: `erpgo-dr runbook resume {}`", standing.run);
    assert!(calls[1].1.contains(&resume), "{calls:?}");
    let report = report(&surroundings.repository, &standing.run).await.unwrap();
    assert_eq!(report.told[0].failed.as_deref(), Some("the telephone is off"));
    assert!(report.to_html().contains("oncall could not be told (level 1): the telephone is off"));
}

#[tokio::test]
async fn nobody_is_told_twice_after_a_crash_and_time_counts_from_the_incident() {
    let office = Office::new().await;
    let levels =
        || vec![level("30m", vec![office.phone("oncall", false)]), level("2h", vec![office.phone("dba", false)])];
    // It began an hour ago: the first level is due at once, and the second one later.
    let never = office.surroundings(levels(), usize::MAX, Choice::Yes);
    let options = RunOptions::default().with_incident(Some(Utc::now() - TimeDelta::hours(1)));
    let (seen, mut told) = watch::channel(None);
    let observer = Watched(seen);
    let cut_off = async { drop(told.wait_for(Option::is_some).await.unwrap()) };
    tokio::select! {
        biased;
        () = cut_off => {}
        standing = run(&never, &options, &observer) => panic!("{standing:?}"),
    }
    assert_eq!(office.calls().len(), 1);

    let run = told.borrow().clone().unwrap();
    let surroundings = office.surroundings(levels(), 1, Choice::Yes);
    let standing = resume_run(&run, &Values::default(), &surroundings, &NoObserver).await.unwrap();
    assert_eq!(standing.ending, Ending::Completed);
    let calls = office.calls();
    assert_eq!(calls.len(), 1, "how it ended, and nothing else: {calls:?}");
    assert!(calls[0].0 == "oncall" && calls[0].1.contains(" is over, "), "{calls:?}");
}

#[tokio::test]
async fn whoever_was_not_reached_is_tried_again_when_the_run_goes_on() {
    let office = Office::new().await;
    let off = vec![level("0s", vec![office.phone("oncall", true)])];
    let standing = run(&office.surroundings(off, 0, Choice::No), &RunOptions::default(), &NoObserver).await;
    assert_eq!((standing.ending, office.calls().len()), (Ending::Stopped, 0));
    let on = vec![level("0s", vec![office.phone("oncall", false)])];
    let surroundings = office.surroundings(on, 1, Choice::Yes);
    let standing = resume_run(&standing.run, &Values::default(), &surroundings, &NoObserver).await.unwrap();
    assert_eq!(standing.ending, Ending::Completed);
    let calls = office.calls();
    assert!(calls.len() == 2 && calls[0].1.contains("level 1 of 1") && calls[1].1.contains(" is over, "), "{calls:?}");
}

/// Gives word of the run when somebody was told.
struct Watched(watch::Sender<Option<RunId>>);

impl RunObserver for Watched {
    fn recorded(&self, run: &RunId, entry: &Entry) {
        if matches!(entry.event, Event::Told { .. }) {
            self.0.send_replace(Some(run.clone()));
        }
    }
}

#[tokio::test]
async fn levels_that_cannot_be_followed_are_refused() {
    let office = Office::new().await;
    let someone = || vec![office.phone("oncall", false)];
    for levels in [
        vec![level("0s", Vec::new())],
        vec![level("15m", someone()), level("15m", someone())],
        vec![level("15m", someone()), level("1m", someone())],
    ] {
        let refused = Escalation::new("db1", levels);
        assert!(matches!(refused, Err(RunbookError::Escalation(_))), "{refused:?}");
    }
    let escalation = Escalation::new("db1", vec![level("0s", someone()), level("1m", vec![office.phone("dba", true)])]);
    let told = escalation.unwrap().test().await;
    let failed: Vec<_> = told.iter().map(|told| (told.level, told.failed.is_some())).collect();
    assert_eq!(failed, [(1, false), (2, true)]);
    assert!(office.calls()[0].1.contains("this is a test"));
}
