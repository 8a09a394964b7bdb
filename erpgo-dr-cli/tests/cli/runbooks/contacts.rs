//! Who is told when a recovery takes long: listed, tried, told, and told how it ended.

use super::desk;

#[test]
fn contacts_are_listed_tried_and_told() {
    let (desk, folder) = desk();
    assert!(desk.ok(&["runbook", "contacts"]).contains("nobody is told"));
    let heard = desk.path("heard");
    let contact = |name: &str, command: &str| {
        format!("[[contact]]\nname = '{name}'\nrole = 'On-Call Engineer'\nphone = '+49 1'\ncommand = {command}\n")
    };
    let listens = format!("['tee', '-a', '{}']", heard.display());
    let levels =
        "[[escalation.level]]\nafter = '0s'\ntell = ['oncall']\n[[escalation.level]]\nafter = '1h'\ntell = ['cto']\n";
    let oncall = contact("oncall", &listens);
    desk.configure(&format!("{oncall}{}{levels}", contact("cto", "['false']")));
    let listed = desk.json(&["runbook", "contacts"]);
    assert_eq!(listed["result"]["contacts"][1]["after"], "1h");
    assert!(listed["result"]["contacts"][0]["told"].is_null() && !heard.exists());

    let tried = desk.run(&["runbook", "contacts", "--test"]);
    assert_eq!(tried.code, 1, "one could not be told: {}", tried.stderr);
    assert!(tried.stdout.contains("told") && tried.stdout.contains("exit status: 1"), "{}", tried.stdout);
    assert!(std::fs::read_to_string(&heard).unwrap().contains("this is a test"));

    std::fs::write(desk.path("go"), "").unwrap();
    let stopped = desk.run(&["runbook", "run", "mine.toml", "--set", &folder]);
    assert_eq!(stopped.code, 1, "nobody is there to confirm: {}", stopped.stderr);
    assert!(stopped.stderr.contains("oncall was told (level 1 of escalation)"), "{}", stopped.stderr);
    let told = std::fs::read_to_string(&heard).unwrap();
    assert!(told.contains("level 1 of 2: Mine") && told.contains("STOPPED at the step three"), "{told}");
    let report = desk.ok(&["runbook", "report", "latest"]);
    assert!(report.contains("oncall (level 1)") && report.contains("oncall (how it ended)"), "{report}");

    for (wrong, says) in [
        (format!("{oncall}{levels}"), "cto is no contact"),
        (format!("{oncall}{oncall}"), "two are called oncall"),
        (format!("[[contact]]\nname = 'oncall'\nemail = 'a@ex.test'\n{levels}"), "no way to tell them"),
    ] {
        desk.configure(&wrong);
        let refused = desk.fails(&["runbook", "contacts"], 2, "usage", "config check");
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    let runs_all_the_same = desk.run(&["runbook", "run", "mine.toml", "--set", &folder]);
    assert_eq!(runs_all_the_same.code, 1, "nobody is there to confirm: {}", runs_all_the_same.stderr);
    assert!(runs_all_the_same.stderr.contains("nobody is told when this takes long"), "{}", runs_all_the_same.stderr);
}
