//! The report of a run, from the journal in a repository.

use erpgo_dr_core::runbook::{RunState, StepState, report};
use erpgo_dr_core::types::RunId;

use crate::support::Site;

const STEPS: &str = "
[[steps]]
id = \"look\"
title = \"Look around\"
command = { run = [\"/bin/echo\", \"<b>found</b> {{ word }}\"], check = true }
[[steps]]
id = \"fail\"
title = \"Fail\"
command = { run = [\"/bin/false\"] }
[[steps]]
id = \"never\"
title = \"Never\"
command = { run = [\"/bin/true\"] }
";

#[tokio::test]
async fn a_run_is_reported_from_its_journal() {
    let site = Site::new().await;
    let run = site.run(STEPS, "a secret that no step says").await;
    let told = report(&site.repository, &run.standing.run).await.unwrap();
    assert_eq!((told.ending, told.entries, told.begun_by.as_str()), (RunState::Stopped, run.entries.len(), "ann"));
    assert_eq!(told.stands_at, run.standing.step);
    let outcomes: Vec<_> = told.steps.iter().map(|step| step.outcome).collect();
    assert_eq!(outcomes, [StepState::Succeeded, StepState::Failed, StepState::Pending]);
    assert_eq!(told.steps[0].attempts[0].output, "<b>found</b> w");
    let (html, markdown) = (told.to_html(), told.to_markdown());
    assert!(html.contains("&lt;b&gt;found&lt;/b&gt; w") && !html.contains("<b>found"));
    assert!(markdown.contains("exit status: 1"), "{markdown}");
    assert!(markdown.contains(&told.last_entry.to_hex()));
    assert!(report(&site.repository, &RunId::generate(told.began)).await.is_err());
}
