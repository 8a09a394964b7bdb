//! Rows that break what the catalogue says of them: columns that must have a value, and check constraints.
//!
//! One reading of a table serves all its rules. Rules of inherited constraints are each table's own, so that no row counts twice.

use serde::Deserialize;

use super::super::PostgresError;
use super::finding::IntegrityKind;
use super::session::{PRIMARY_KEY, SAMPLES, Session, TextRow, Trouble, cell, firsts, key, list, number, table};
use super::{NOT_SYSTEM, READABLE};
use crate::postgres::quoting::identifier;

/// What must hold for each row of a table.
struct Rule {
    kind: IntegrityKind,
    name: String,
    /// True for rows that break it.
    broken: String,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    expression: String,
}

fn tables() -> String {
    format!(
        "SELECT n.nspname, c.relname,
            (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped)::text,
            (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', k.conname,
                        'expression', pg_catalog.pg_get_expr(k.conbin, k.conrelid)) ORDER BY k.conname)
             FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c')::text,
            {PRIMARY_KEY}
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND {READABLE} AND {NOT_SYSTEM} ORDER BY 1, 2"
    )
}

pub(super) async fn check(session: &mut Session<'_>) -> Result<(), PostgresError> {
    for row in session.list("list the rules of tables", &tables()).await? {
        let rules = rules(&row);
        if rules.is_empty() {
            continue;
        }
        session.locate(cell(&row, 0), cell(&row, 1));
        let place = (cell(&row, 0), cell(&row, 1));
        match session.begin_look(&[&format!("ONLY {}", table(place.0, place.1))]).await? {
            Ok(()) => {
                look(session, &row, &rules).await?;
                session.end_look().await?;
            }
            Err(trouble) => session.note(trouble, place, "its rows"),
        }
    }
    Ok(())
}

async fn look(session: &mut Session<'_>, row: &TextRow, rules: &[Rule]) -> Result<(), PostgresError> {
    let place = (cell(row, 0), cell(row, 1));
    match count(session, place, rules).await? {
        Ok(counts) => report(session, row, rules, &counts).await?,
        // One check that fails by itself must not hide the others.
        Err(Trouble::Prevented(_)) if rules.len() > 1 => {
            for rule in rules {
                match count(session, place, std::slice::from_ref(rule)).await? {
                    Ok(counts) => report(session, row, std::slice::from_ref(rule), &counts).await?,
                    Err(trouble) => session.note(trouble, place, &format!("{:?} of its rows", rule.name)),
                }
            }
        }
        Err(trouble) => session.note(trouble, place, "its rows"),
    }
    Ok(())
}

/// What must have a value is asked for by a function: of a column that cannot be null, the planner takes `IS NULL` for false, unread.
fn rules(row: &TextRow) -> Vec<Rule> {
    let columns = list::<String>(row, 2).into_iter().map(|column| {
        let broken = format!("pg_catalog.num_nulls({}) > 0", identifier(&column));
        Rule { kind: IntegrityKind::MissingValues, name: column, broken }
    });
    let checks = list::<Check>(row, 3).into_iter().map(|check| {
        let broken = format!("NOT ({})", check.expression);
        Rule { kind: IntegrityKind::BrokenCheck, name: check.name, broken }
    });
    columns.chain(checks).collect()
}

async fn count(
    session: &Session<'_>,
    (schema, name): (&str, &str),
    rules: &[Rule],
) -> Result<Result<Vec<u64>, Trouble>, PostgresError> {
    let counts = rules.iter().map(|rule| format!("pg_catalog.count(*) FILTER (WHERE {})", rule.broken));
    let sql = format!("SELECT {} FROM ONLY {}", counts.collect::<Vec<_>>().join(", "), table(schema, name));
    let answer = session.ask("check the rows of a table", &sql).await?;
    Ok(answer.map(|rows| (0..rules.len()).map(|at| rows.first().map_or(0, |row| number(row, at))).collect()))
}

async fn report(session: &mut Session<'_>, row: &TextRow, rules: &[Rule], counts: &[u64]) -> Result<(), PostgresError> {
    let (schema, name, primary) = (cell(row, 0), cell(row, 1), list::<String>(row, 4));
    for (rule, count) in rules.iter().zip(counts) {
        match rule.kind {
            IntegrityKind::MissingValues => session.found.checked.not_null_columns += 1,
            _ => session.found.checked.check_constraints += 1,
        }
        if *count == 0 {
            continue;
        }
        let alias = identifier(name);
        let sql = format!(
            "SELECT {} FROM ONLY {} WHERE {} LIMIT {SAMPLES}",
            key(&alias, &primary),
            table(schema, name),
            rule.broken
        );
        let samples = session.ask("look at rows", &sql).await?.map_or_else(|_| Vec::new(), |rows| firsts(&rows));
        let message = match rule.kind {
            IntegrityKind::MissingValues => {
                "rows have no value in a column that must have one: the server let none in, so that pages or the catalogue \
                 were altered. Restore these rows from before; a dump of the table cannot be restored as it is"
            }
            _ => {
                "rows break a check constraint: they are from before it, or the constraint or a function that it calls was changed. \
                 Correct them; a dump of the table cannot be restored as it is"
            }
        };
        let finding = session.finding(rule.kind, message.to_owned());
        session.add(finding.of(schema, name).constraint(&rule.name).rows(*count, samples));
    }
    Ok(())
}
