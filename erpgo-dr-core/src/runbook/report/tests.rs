//! Reports of journals that are written here entry by entry.

use chrono::TimeDelta;
use pulldown_cmark::{Event as Markdown, Options, Parser, Tag};

use super::super::journal::{Beginning, Ending, Entry, Event, Purpose};
use super::super::model::Outcome;
use super::super::operator::{Answer, Question, QuestionKind};
use super::*;

const RUNBOOK: &str = r#"
name = "failover"
title = "Fail over"
objectives = { rto = "5m", rpo = "1m" }
[[steps]]
id = "fence"
title = "Fence the old primary"
manual = { instructions = "pull the plug" }
[[steps]]
id = "restart"
title = "Restart it"
counts = "rto"
on-failure = "continue"
command = { run = ["true"] }
[[steps]]
id = "promote"
title = "Promote the standby"
counts = "rto"
command = { run = ["true"] }
[[steps]]
id = "measure"
title = "Measure the loss"
counts = "rpo"
command = { run = ["true"] }
[[steps]]
id = "tell"
title = "Tell people"
command = { run = ["true"] }
"#;

/// A journal that grows by an entry a call.
struct Story {
    entries: Vec<Entry>,
    start: DateTime<Utc>,
}

impl Story {
    fn begin(text: &str, by: &str, incident_before: i64) -> Self {
        let start: DateTime<Utc> = "2026-11-27T03:00:00Z".parse().unwrap();
        let incident = start - TimeDelta::seconds(incident_before);
        let (runbook, values) = ("failover".parse().unwrap(), Default::default());
        let (text, by) = (text.to_owned(), by.to_owned());
        let beginning = Beginning {
            format: 1,
            process: crate::runbook::ProcessMark::default(),
            runbook,
            text,
            by,
            incident,
            drill: true,
            values,
        };
        Self { entries: Vec::new(), start }.then(0, Event::Begun(Box::new(beginning)))
    }

    fn then(mut self, second: i64, event: Event) -> Self {
        let (number, at) = (self.entries.len() as u32, self.start + TimeDelta::seconds(second));
        self.entries.push(Entry { number, at, previous: None, event });
        self
    }

    fn started(self, second: i64, step: &str, purpose: Purpose, doing: &str) -> Self {
        let (step, doing) = (step.parse().unwrap(), doing.to_owned());
        self.then(second, Event::Started { step, purpose, attempt: 1, doing })
    }

    fn ended(self, second: i64, step: &str, purpose: Purpose, outcome: Outcome, output: &str) -> Self {
        self.lost(second, step, purpose, outcome, output, None)
    }

    fn lost(
        self,
        second: i64,
        step: &str,
        purpose: Purpose,
        outcome: Outcome,
        output: &str,
        loss: Option<Loss>,
    ) -> Self {
        let (step, output) = (step.parse().unwrap(), output.to_owned());
        self.then(
            second,
            Event::Ended {
                step,
                purpose,
                attempt: 1,
                outcome,
                unsure: false,
                unchanged: false,
                output,
                stored: None,
                loss,
            },
        )
    }

    fn done(self, from: i64, to: i64, step: &str) -> Self {
        self.started(from, step, Purpose::Do, "do it").ended(to, step, Purpose::Do, Outcome::Succeeded, "")
    }

    fn finished(self, second: i64, ending: Ending) -> Self {
        self.then(second, Event::Finished { ending, step: None })
    }

    fn report(&self) -> IncidentReport {
        IncidentReport::from_entries(&RunId::generate(self.start), &self.entries, ContentHash::of(b"last")).unwrap()
    }
}

fn loss(recovered_to: &str, bytes: Option<u64>) -> Option<Loss> {
    Some(Loss { recovered_to: Some(recovered_to.parse().unwrap()), bytes })
}

/// Begins a minute after the incident, and fences in the first ten seconds of it.
fn fenced() -> Story {
    Story::begin(RUNBOOK, "ann", 60).done(0, 10, "fence")
}

#[test]
fn a_whole_run_is_measured_from_the_incident() {
    let story = fenced()
        .started(10, "restart", Purpose::Do, "run true")
        .ended(20, "restart", Purpose::Do, Outcome::Failed, "no")
        .done(20, 90, "promote")
        .started(90, "measure", Purpose::Do, "run true")
        .lost(91, "measure", Purpose::Do, Outcome::Succeeded, "", loss("2026-11-27T02:57:00Z", Some(4096)))
        .then(
            91,
            Event::Skipped {
                step: "tell".parse().unwrap(),
                purpose: Purpose::Do,
                why: "nobody is there".to_owned(),
                done: false,
            },
        )
        .finished(92, Ending::Completed);
    let report = story.report();
    assert_eq!((report.ending, report.drill, report.begun_by.as_str()), (RunState::Completed, true, "ann"));
    // One that failed does not matter where a later one did it.
    assert_eq!((report.rto_seconds, report.rto_met), (Some(150.0), Some(true)));
    assert_eq!((report.rpo_seconds, report.rpo_bytes, report.rpo_met), (Some(120.0), Some(4096), Some(false)));
    let outcomes: Vec<_> = report.steps.iter().map(|step| step.outcome).collect();
    use StepState as S;
    assert_eq!(outcomes, [S::Succeeded, S::Failed, S::Succeeded, S::Succeeded, S::Skipped]);
    assert_eq!(report.steps[2].seconds, Some(70.0));
    assert_eq!(report.steps[4].skipped.as_deref(), Some("nobody is there"));
    assert_eq!((report.entries, report.last_entry), (story.entries.len(), ContentHash::of(b"last")));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["ending"], "completed");
    assert_eq!(json["steps"][1]["outcome"], "failed");
    assert_eq!(json["objectives"]["rto"], "5m");
}

#[test]
fn what_was_not_reached_has_no_figure() {
    let early = fenced().finished(20, Ending::Stopped).report();
    assert_eq!((early.rto_seconds, early.rto_met, early.rpo_met), (None, None, None));
    let late = fenced().finished(241, Ending::Stopped).report();
    assert_eq!((late.rto_seconds, late.rto_met), (None, Some(false)));
    // The first of two steps that count is not the last.
    let half = fenced().done(10, 20, "restart").finished(21, Ending::Stopped).report();
    assert_eq!(half.rto_seconds, None);
    let cut = fenced().started(10, "restart", Purpose::Do, "run true").report();
    assert_eq!((cut.ending, cut.ended, cut.steps[1].outcome), (RunState::CutOff, None, StepState::CutOff));
}

#[test]
fn nothing_is_lost_where_no_byte_is_missing() {
    let idle = |recovered: &str, bytes| {
        let story = fenced().started(10, "measure", Purpose::Do, "run true");
        story.lost(11, "measure", Purpose::Do, Outcome::Succeeded, "", loss(recovered, bytes)).report()
    };
    let hours_ago = "2026-11-26T20:00:00Z";
    let none = idle(hours_ago, Some(0));
    assert_eq!((none.rpo_seconds, none.rpo_met), (Some(0.0), Some(true)));
    assert_eq!(idle(hours_ago, None).rpo_met, Some(false));
    // Commits after the incident are no loss below zero.
    assert_eq!(idle("2026-11-27T03:00:00Z", None).rpo_seconds, Some(0.0));
    let unknown = fenced().started(10, "measure", Purpose::Do, "run true");
    let only_bytes = Some(Loss { recovered_to: None, bytes: Some(7) });
    let unknown = unknown.lost(11, "measure", Purpose::Do, Outcome::Succeeded, "", only_bytes).report();
    assert_eq!((unknown.rpo_seconds, unknown.rpo_bytes, unknown.rpo_met), (None, Some(7), None));
}

#[test]
fn who_went_on_who_answered_and_what_was_taken_back_is_told() {
    let step = || "fence".parse::<StepId>().unwrap();
    let question = Question { step: step(), kind: QuestionKind::Interrupted, text: "Was it done?".to_owned() };
    let answer = |choice, by: &str| Event::Answered { step: step(), answer: Answer::new(choice, by, None) };
    let story = Story::begin(RUNBOOK, "ann", 0)
        .started(1, "fence", Purpose::Do, "by hand: pull the plug")
        .then(100, Event::Resumed { by: "bob".to_owned(), process: crate::runbook::ProcessMark::default() })
        .then(101, Event::Asked { question })
        .then(110, answer(Choice::Again, "bob"))
        .started(110, "fence", Purpose::Do, "by hand: pull the plug")
        .then(120, answer(Choice::Yes, "carl"))
        .ended(120, "fence", Purpose::Do, Outcome::Succeeded, "carl said yes")
        .finished(121, Ending::Stopped)
        .then(200, Event::UndoBegun { by: "dora".to_owned(), process: crate::runbook::ProcessMark::default() })
        .started(201, "fence", Purpose::Undo, "plug it in")
        .then(202, answer(Choice::Yes, "emil"))
        .ended(202, "fence", Purpose::Undo, Outcome::Succeeded, "")
        .finished(203, Ending::Undone);
    let report = story.report();
    let continued: Vec<_> = report.continued.iter().map(|found| (found.by.as_str(), found.undo)).collect();
    assert_eq!(continued, [("bob", false), ("dora", true)]);
    assert_eq!(report.ending, RunState::Undone);
    let fence = &report.steps[0];
    assert_eq!((fence.attempts.len(), fence.undo_attempts.len(), fence.seconds), (2, 1, Some(119.0)));
    assert_eq!(fence.attempts[0].outcome, StepState::CutOff);
    let questions: Vec<_> =
        fence.questions.iter().map(|found| (found.text.as_str(), found.by.as_deref(), found.choice)).collect();
    let by_hand = "by hand: pull the plug";
    assert_eq!(
        questions,
        [
            ("Was it done?", Some("bob"), Some(Choice::Again)),
            (by_hand, Some("carl"), Some(Choice::Yes)),
            ("plug it in", Some("emil"), Some(Choice::Yes))
        ]
    );
    let markdown = report.to_markdown();
    for told in ["Resumed: 2026-11-27 03:01:40 UTC by bob", "carl said yes", "plug it in", "Undo begun"] {
        assert!(markdown.contains(told), "{told} is not in {markdown}");
    }
}

#[test]
fn a_journal_of_another_shape_is_refused() {
    let run = RunId::generate(Utc::now());
    let hash = ContentHash::of(b"");
    assert!(matches!(IncidentReport::from_entries(&run, &[], hash), Err(RunbookError::NoSuchRun(_))));
    let strange = fenced().done(11, 12, "elsewhere");
    let refused = IncidentReport::from_entries(&run, &strange.entries, hash);
    assert!(matches!(refused, Err(RunbookError::Journal { number: 3, .. })), "{refused:?}");
}

const HOSTILE: &str = "<script>alert(1)</script> | <img src=x onerror=a> \" ' [x](http://x.test) ![y](z) `` ``` \u{1b}[2J\u{202e} &lt; *b* \
                       https://evil.test\n```\n# Heading\n- item\n\n<b>bold</b> | a | b |\n</pre></details>";

fn hostile() -> IncidentReport {
    let text = RUNBOOK.replace("\"Fail over\"", &toml::Value::from(HOSTILE).to_string());
    let text = text.replace("\"Promote the standby\"", &toml::Value::from(HOSTILE).to_string());
    let step = || "fence".parse::<StepId>().unwrap();
    let question = Question { step: step(), kind: QuestionKind::Manual, text: HOSTILE.to_owned() };
    let answer = Answer::new(Choice::Yes, HOSTILE, Some(HOSTILE.to_owned()));
    Story::begin(&text, HOSTILE, 0)
        .then(1, Event::Asked { question })
        .then(2, Event::Answered { step: step(), answer })
        .started(3, "promote", Purpose::Do, HOSTILE)
        .ended(4, "promote", Purpose::Do, Outcome::Failed, HOSTILE)
        .then(5, Event::Resumed { by: HOSTILE.to_owned(), process: crate::runbook::ProcessMark::default() })
        .then(
            6,
            Event::Skipped { step: "tell".parse().unwrap(), purpose: Purpose::Do, why: HOSTILE.to_owned(), done: true },
        )
        .then(7, Event::UndoBegun { by: HOSTILE.to_owned(), process: crate::runbook::ProcessMark::default() })
        .started(8, "promote", Purpose::Undo, HOSTILE)
        .ended(9, "promote", Purpose::Undo, Outcome::Failed, HOSTILE)
        .then(
            10,
            Event::Skipped {
                step: "fence".parse().unwrap(),
                purpose: Purpose::Do,
                why: HOSTILE.to_owned(),
                done: false,
            },
        )
        .report()
}

#[test]
fn no_text_of_a_journal_becomes_html() {
    let html = hostile().to_html();
    for raw in ["<script", "<img", "<b>", "onerror=a>", "\u{1b}", "\u{202e}"] {
        assert!(!html.contains(raw), "{raw:?}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains("&amp;lt;"));
    for tag in ["pre", "details", "li", "svg", "text", "blockquote"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    // One file: nothing names another one.
    for outside in ["src=", "href=", "url(", "@import"] {
        let inside_texts = html.matches(outside).count();
        let of_the_texts = html.matches(&format!("&lt;img {outside}x")).count();
        assert_eq!(inside_texts, of_the_texts, "{outside}");
    }
}

#[test]
fn no_text_of_a_journal_becomes_markdown() {
    let markdown = hostile().to_markdown();
    assert!(!markdown.contains('\u{1b}') && !markdown.contains('\u{202e}'));
    let harmless = Story::begin(RUNBOOK, "ann", 0).done(1, 2, "fence").report().to_markdown();
    let parse = |text: &str| Parser::new_ext(text, Options::all()).map(Markdown::into_static).collect::<Vec<_>>();
    let (events, expected) = (parse(&markdown), parse(&harmless));
    let count =
        |events: &[Markdown<'_>], wanted: fn(&Markdown<'_>) -> bool| events.iter().filter(|e| wanted(e)).count();
    let never: fn(&Markdown<'_>) -> bool = |event| match event {
        Markdown::Html(_) | Markdown::InlineHtml(_) | Markdown::FootnoteReference(_) | Markdown::InlineMath(_) => true,
        Markdown::Code(_) | Markdown::DisplayMath(_) => true,
        Markdown::Start(tag) => matches!(tag, Tag::Link { .. } | Tag::Image { .. } | Tag::Emphasis | Tag::HtmlBlock),
        _ => false,
    };
    assert_eq!(count(&events, never), 0, "{markdown}");
    // Titles, tables and their cells are as many as without such texts; steps that were begun add their own.
    let cells: fn(&Markdown<'_>) -> bool = |event| matches!(event, Markdown::Start(Tag::TableCell | Tag::TableRow));
    assert_eq!(count(&events, cells), count(&expected, cells));
    let headings: fn(&Markdown<'_>) -> bool = |event| matches!(event, Markdown::Start(Tag::Heading { .. }));
    assert_eq!(count(&events, headings), 2 + 3);
    let blocks: fn(&Markdown<'_>) -> bool = |event| matches!(event, Markdown::Start(Tag::CodeBlock(_)));
    assert_eq!(count(&events, blocks), 4);
}

#[test]
fn the_picture_shows_the_objective_unless_it_is_far_away() {
    let near = fenced().done(10, 200, "promote").finished(201, Ending::Completed).report().to_html();
    assert!(near.contains("class=\"objective\"") && near.contains("Time since the incident"));
    let far = Story::begin(RUNBOOK, "ann", 9000).done(0, 10, "fence").finished(11, Ending::Completed).report();
    let far = far.to_html();
    assert!(!far.contains("class=\"objective\"") && far.contains("Time since the run began"));
}
