//! Writes the pages of the book that are made and not written: every option of every command, and every key of `erpgo-dr.toml`.
//!
//! `cargo run --example reference -- FOLDER`

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: reference FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("commands.md"), commands())?;
    std::fs::write(folder.join("configuration.md"), configuration()?)?;
    Ok(())
}

fn commands() -> String {
    let mut command = erpgo_dr_cli::command().disable_help_subcommand(true).term_width(100);
    command.build();
    let mut page = "# Every option of every command\n\nMade of what `--help` says.\n".to_owned();
    describe(&mut command, "erpgo-dr", &mut page);
    page
}

fn describe(command: &mut clap::Command, name: &str, page: &mut String) {
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", command.render_long_help().to_string().trim_end());
    for subcommand in command.get_subcommands_mut() {
        let name = format!("{name} {}", subcommand.get_name());
        describe(subcommand, &name, page);
    }
}

fn configuration() -> Result<String, serde_json::Error> {
    let schema = serde_json::to_value(schemars::schema_for!(erpgo_dr_cli::config::Config))?;
    let mut page = "# Every key of erpgo-dr.toml\n\nMade of what `erpgo-dr config schema` says. The same with an example for each is in the \
                    [reference](../cli.md#erpgo-drtoml).\n"
        .to_owned();
    table("erpgo-dr.toml", &schema, &mut page);
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        if definition["properties"].is_object() {
            table(name, definition, &mut page);
        }
    }
    Ok(page)
}

fn table(name: &str, schema: &Value, page: &mut String) {
    let _ = write!(page, "\n## {name}\n\n{}\n\n| key | value | |\n|---|---|---|\n", text(&schema["description"]));
    let empty = Map::new();
    for (key, value) in schema["properties"].as_object().unwrap_or(&empty) {
        let _ = writeln!(page, "| `{key}` | {} | {} |", kind(value), text(&value["description"]));
    }
}

/// Says in a word what a value is, with a link to its table where it is one.
fn kind(value: &Value) -> String {
    if let Some(name) = value["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = value[choice].as_array() {
            let kinds = choices.iter().filter(|choice| choice["type"] != "null").map(kind);
            return kinds.collect::<Vec<_>>().join(" or ");
        }
    }
    if value["type"] == "array" {
        return format!("a list: {}", kind(&value["items"]));
    }
    let types = match &value["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        other => other.as_str().into_iter().collect::<Vec<_>>(),
    };
    types.join(" or ")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}
