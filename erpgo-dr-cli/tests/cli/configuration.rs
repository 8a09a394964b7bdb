//! Where settings come from, and which wins.

use crate::support::Desk;

#[test]
fn an_option_wins_over_the_environment_and_that_over_the_file() {
    let mut desk = Desk::new();
    let location = |desk: &Desk, arguments: &[&str]| {
        let run = desk.run(&[&["list"], arguments].concat());
        assert_eq!(run.code, 4, "{}", run.stderr);
        run.stderr.lines().next().unwrap().to_owned()
    };
    std::fs::write(desk.path("old.env"), "BACKUP_STORAGE_TYPE=local\nPOSTGRES_BACKUPS_PATH=/nowhere/old\n").unwrap();
    std::fs::write(desk.path("empty.toml"), "env_file = \"old.env\"\n").unwrap();
    assert!(location(&desk, &["--config", "empty.toml"]).ends_with("/nowhere/old/erpgo-dr"));
    assert!(location(&desk, &["--env-file", "old.env"]).ends_with("/repository"), "the file wins over old names");
    desk.set("ERPGO_DR_REPOSITORY", "/nowhere/environment");
    assert!(location(&desk, &[]).ends_with("/nowhere/environment"));
    assert!(location(&desk, &["-r", "/nowhere/option"]).ends_with("/nowhere/option"));
}

#[test]
fn the_old_names_are_enough_for_a_backup() {
    let server = erpgo_dr_testkit::postgres::PgServerOptions::new(17).password("pa ss'word").start();
    let desk = Desk::new();
    std::fs::remove_file(desk.path("erpgo-dr.toml")).unwrap();
    let folder = desk.path("old");
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "# production\nexport POSTGRES_DB=postgres\nPOSTGRES_USER=postgres\nPOSTGRES_PASSWORD=\"pa ss'word\"\n\
         POSTGRES_PRIMARY_HOST=127.0.0.1 # primary\nPOSTGRES_PORT={}\nBACKUP_ENCRYPTION_KEY=old-key-1234\n\
         BACKUP_STORAGE_TYPE=local\nPOSTGRES_BACKUPS_PATH={}\nBACKUP_RETENTION_DAILY_DAYS=3\nBACKUP_SCHEDULE=0 0 * * *\n\
         SLACK_WEBHOOK_URL=https://hooks.example/secret\nNOTIFICATION_EMAIL=ops@ex.test\nBACKUP_TYPO=1\n",
        server.port(),
        folder.display()
    );
    std::fs::write(desk.path(".env.production"), text).unwrap();
    let bin = server.bin().display().to_string();
    let run = |arguments: &[&str]| {
        let run = desk.run(&[&["--env-file", ".env.production", "--bin-dir", &bin], arguments].concat());
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        run
    };
    let made = run(&["init"]);
    for expected in ["NOTIFICATION_EMAIL has no effect", "BACKUP_TYPO not known"] {
        assert!(made.stderr.contains(expected), "{}", made.stderr);
    }
    assert!(made.stdout.contains("passphrase"), "{}", made.stdout);
    let taken = run(&["-vv", "backup"]);
    assert!(taken.stdout.contains("(mac): ok"), "{}", taken.stdout);
    for secret in ["old-key-1234", "pa ss", "hooks.example"] {
        assert!(!taken.stderr.contains(secret) && !taken.stdout.contains(secret), "{}", taken.stderr);
    }
    assert!(run(&["prune", "--dry-run"]).stdout.contains("3 daily, 4 weekly, 12 monthly"));
}

/// Reads the example of the reference, as JSON.
fn example(text: &str) -> serde_json::Value {
    serde_json::to_value(toml::from_str::<toml::Value>(text).unwrap()).unwrap()
}

#[test]
fn editors_find_what_we_would() {
    let desk = Desk::new();
    // Also where what is to be checked is broken.
    desk.configure("nonsense");
    let schema: serde_json::Value = serde_json::from_str(&desk.ok(&["config", "schema"])).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let reference = include_str!("../../../docs/cli.md");
    let text = reference.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let faults: Vec<_> = validator.iter_errors(&example(text)).map(|error| error.to_string()).collect();
    assert_eq!(faults, Vec::<String>::new());
    for wrong in [
        "repositry = 'x'",
        "threads = 'many'",
        "[agent]\nlease = '2 minutes'",
        "[[agent.job]]\nkind = 'bakup'",
        "[[escalation.level]]\nafter = '1m'",
        "[[drill]]\nscenario = 'flood'\nevery = 'month'",
        "[retention]\nhourly = 3",
    ] {
        assert!(!validator.is_valid(&example(wrong)), "{wrong}");
        assert!(erpgo_dr_cli::config::Config::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_configuration_is_checked_for_what_leads_nowhere() {
    let desk = Desk::new();
    assert!(desk.ok(&["config", "check"]).contains("makes sense"));
    let text = "[retention]\ndaily = 0\nweekly = 0\nmonthly = 0\n[[agent.job]]\nkind = 'prune'\ndeep = true\n\
        [[contact]]\nname = 'a'\n[[contact]]\nname = 'a'\n\
        [[escalation.level]]\nafter = '1h'\ntell = ['a', 'b']\n[[escalation.level]]\nafter = '1m'\ntell = []\n";
    std::fs::write(desk.path("other.toml"), text).unwrap();
    let checked = desk.run(&["config", "check", "other.toml"]);
    assert_eq!(checked.code, 1, "{}", checked.stderr);
    for fault in [
        "[retention]: the retention settings keep nothing",
        "[[agent.job]] prune: `deep` means nothing",
        "[[contact]]: two are called a",
        "[[contact]] a: there is no way",
        "[[escalation.level]] 1h: b is no contact",
        "[[escalation.level]] 1m does not come after 1h",
        "[[escalation.level]] 1m tells nobody",
    ] {
        assert!(checked.stdout.contains(fault), "{fault}: {}", checked.stdout);
    }
    for wrong in [
        "[[agent.job]]\nkind = 'prune'\nschedule = '99 1 * * *'",
        "[[agent.job]]\nkind = 'prune'\nschedule = '0 1 * * *'\ntime_zone = 'Mars/X'",
        "[[agent.job]]\nkind = 'prune'\nschedule = '0 1 * * *'\nname = 'a b'",
        "[[agent.job]]\nkind = 'summary'\nschedule = '0 1 * * *'",
        "[agent.notify.email]\nserver = 'a'\nfrom = 'a@ex.test'",
        "[escalation.mail]\nserver = 'a'\nfrom = 'a@ex.test'\nuser = 'a'",
    ] {
        std::fs::write(desk.path("other.toml"), wrong).unwrap();
        assert_eq!(desk.run(&["config", "check", "other.toml"]).code, 1, "{wrong}");
    }
    std::fs::write(desk.path("other.toml"), "repositry = 'x'\n").unwrap();
    desk.fails(&["config", "check", "other.toml"], 2, "config", "docs/cli.md");
}

#[test]
fn the_example_in_the_reference_is_read_and_has_every_table() {
    let reference = include_str!("../../../docs/cli.md");
    let example = reference.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config = erpgo_dr_cli::config::Config::parse(example).unwrap();
    assert!(!config.replicas.is_empty() && !config.checks.is_empty() && config.retention.is_some());
    // Comments may hold settings too: with their marks taken off they are right as well.
    let all: String = example
        .lines()
        .map(|line| {
            line.strip_prefix("#").filter(|rest| rest.contains(" = ") && !rest.starts_with(' ')).unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(all, example);
    erpgo_dr_cli::config::Config::parse(&all).unwrap();
}

#[test]
fn the_reference_lists_every_command_and_global_option() {
    let reference = include_str!("../../../docs/cli.md");
    let mut command = erpgo_dr_cli::command();
    command.build();
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("`{}`", subcommand.get_name());
        assert!(reference.contains(&name), "docs/cli.md does not name {name}");
    }
    for option in command.get_arguments().filter_map(clap::Arg::get_long) {
        assert!(reference.contains(&format!("--{option}")), "docs/cli.md does not name --{option}");
    }
    for variable in command.get_arguments().filter_map(|argument| argument.get_env()) {
        assert!(reference.contains(variable.to_str().unwrap()), "docs/cli.md does not name {variable:?}");
    }
}
