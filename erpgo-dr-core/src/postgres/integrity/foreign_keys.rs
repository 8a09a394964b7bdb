//! Rows that refer to rows which are not there: of every foreign key, whatever was done to keep it from being enforced.
//!
//! Of a partitioned table on either side the catalogue has a constraint for each partition. The one that was declared is looked at, and no
//! row counts twice.

use serde::Deserialize;

use super::super::PostgresError;
use super::READABLE;
use super::finding::IntegrityKind;
use super::session::{PRIMARY_KEY, SAMPLES, Session, TextRow, cell, firsts, key, list, number, table};
use crate::postgres::quoting::identifier;

/// A pair of columns, and the operator by which the constraint compares them.
#[derive(Debug, Clone, Deserialize)]
struct Pair {
    own: String,
    other: String,
    operator_schema: String,
    operator: String,
    /// The collation to compare by, where the columns have different ones.
    collation: Option<(String, String)>,
}

struct ForeignKey {
    schema: String,
    relation: String,
    name: String,
    /// Where its rows are.
    own: String,
    /// Where the rows are that they refer to.
    other: String,
    is_full: bool,
    pairs: Vec<Pair>,
    primary: Vec<String>,
}

fn foreign_keys() -> String {
    format!(
        "SELECT n.nspname, c.relname, k.conname, c.relkind, fn.nspname, f.relname, f.relkind, k.confmatchtype,
            coalesce((pg_catalog.to_jsonb(k) ->> 'conperiod')::boolean, false),
            (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                'own', a.attname, 'other', p.attname, 'operator_schema', os.nspname, 'operator', o.oprname,
                'collation', CASE WHEN a.attcollation <> p.attcollation AND l.oid IS NOT NULL
                                  THEN pg_catalog.json_build_array(ls.nspname, l.collname) END) ORDER BY u.place)
             FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop))
                  WITH ORDINALITY AS u(own, other, operator, place)
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.own
             JOIN pg_catalog.pg_attribute AS p ON p.attrelid = k.confrelid AND p.attnum = u.other
             JOIN pg_catalog.pg_operator AS o ON o.oid = u.operator
             JOIN pg_catalog.pg_namespace AS os ON os.oid = o.oprnamespace
             LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = p.attcollation
             LEFT JOIN pg_catalog.pg_namespace AS ls ON ls.oid = l.collnamespace)::text,
            {PRIMARY_KEY}
         FROM pg_catalog.pg_constraint AS k
         JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_class AS f ON f.oid = k.confrelid JOIN pg_catalog.pg_namespace AS fn ON fn.oid = f.relnamespace
         WHERE k.contype = 'f' AND k.conparentid = 0 AND {READABLE} ORDER BY 1, 2, 3"
    )
}

pub(super) async fn check(session: &mut Session<'_>) -> Result<(), PostgresError> {
    for row in session.list("list the foreign keys", &foreign_keys()).await? {
        let key = ForeignKey::of(&row);
        session.locate(&key.schema, &key.relation);
        if cell(&row, 8) == "t" {
            let reason = "a foreign key of periods is not looked at".to_owned();
            session.skip(Some((&key.schema, &key.relation)), &format!("foreign key {:?}", key.name), reason);
            continue;
        }
        match session.begin_look(&[&key.own, &key.other]).await? {
            Ok(()) => {
                look(session, &key).await?;
                session.end_look().await?;
            }
            Err(trouble) => {
                session.note(trouble, (&key.schema, &key.relation), &format!("foreign key {:?}", key.name));
            }
        }
    }
    Ok(())
}

async fn look(session: &mut Session<'_>, key: &ForeignKey) -> Result<(), PostgresError> {
    let counted = match session.ask("look for orphans", &key.count()).await? {
        Ok(rows) => rows.first().map_or(0, |row| number(row, 0)),
        Err(trouble) => {
            session.note(trouble, (&key.schema, &key.relation), &format!("foreign key {:?}", key.name));
            return Ok(());
        }
    };
    session.found.checked.foreign_keys += 1;
    if counted == 0 {
        return Ok(());
    }
    let samples = session.ask("look at orphans", &key.samples()).await?;
    let samples = samples.map_or_else(|_| Vec::new(), |rows| firsts(&rows));
    let message = format!(
        "rows refer to rows of {} that are not there: these were removed, or the others brought in, while the foreign key was not enforced \
         (not validated, its triggers off, session_replication_role), or data is lost. Bring back what is missing from a restored copy, or \
         remove the orphans; a dump of the tables cannot be restored as it is",
        key.other.trim_start_matches("ONLY ")
    );
    let finding = session.finding(IntegrityKind::Orphans, message);
    session.add(finding.of(&key.schema, &key.relation).constraint(&key.name).rows(counted, samples));
    Ok(())
}

impl ForeignKey {
    fn of(row: &TextRow) -> Self {
        // A table's children by inheritance are not under its constraint; partitions are.
        let only = |kind: usize| if cell(row, kind) == "p" { "" } else { "ONLY " };
        Self {
            schema: cell(row, 0).to_owned(),
            relation: cell(row, 1).to_owned(),
            name: cell(row, 2).to_owned(),
            own: format!("{}{}", only(3), table(cell(row, 0), cell(row, 1))),
            other: format!("{}{}", only(6), table(cell(row, 4), cell(row, 5))),
            is_full: cell(row, 7) == "f",
            pairs: list(row, 9),
            primary: list(row, 10),
        }
    }

    /// Conditions on `f` of which orphans meet exactly one.
    fn conditions(&self) -> Vec<String> {
        let columns: Vec<String> = self.pairs.iter().map(|pair| format!("f.{}", identifier(&pair.own))).collect();
        let equal = self.pairs.iter().map(|pair| {
            let collation = pair.collation.as_ref().map_or_else(String::new, |(schema, name)| {
                format!(" COLLATE {}.{}", identifier(schema), identifier(name))
            });
            let operator = format!("OPERATOR({}.{})", identifier(&pair.operator_schema), pair.operator);
            format!("p.{} {operator} (f.{}{collation})", identifier(&pair.other), identifier(&pair.own))
        });
        let equal = equal.collect::<Vec<_>>().join(" AND ");
        let given = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let mut conditions = vec![format!("{given} AND NOT EXISTS (SELECT FROM {} AS p WHERE {equal})", self.other)];
        if self.is_full && columns.len() > 1 {
            let nulls = format!("pg_catalog.num_nulls({})", columns.join(", "));
            conditions.push(format!("{nulls} > 0 AND {nulls} < {}", columns.len()));
        }
        conditions
    }

    fn count(&self) -> String {
        let counts = self.conditions().into_iter();
        let counts = counts.map(|condition| format!("(SELECT count(*) FROM {} AS f WHERE {condition})", self.own));
        format!("SELECT {}", counts.collect::<Vec<_>>().join(" + "))
    }

    fn samples(&self) -> String {
        let mut columns = self.primary.clone();
        columns.extend(self.pairs.iter().map(|pair| pair.own.clone()).filter(|own| !self.primary.contains(own)));
        let rows = self.conditions().into_iter();
        let rows =
            rows.map(|condition| format!("SELECT {} FROM {} AS f WHERE {condition}", key("f", &columns), self.own));
        format!("{} LIMIT {SAMPLES}", rows.collect::<Vec<_>>().join(" UNION ALL "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(own: &str, other: &str) -> Pair {
        let (operator_schema, operator) = ("pg_catalog".to_owned(), "=".to_owned());
        Pair { own: own.to_owned(), other: other.to_owned(), operator_schema, operator, collation: None }
    }

    #[test]
    fn a_full_match_also_refuses_keys_that_are_null_in_part() {
        let mut key = ForeignKey {
            schema: "s".to_owned(),
            relation: "t".to_owned(),
            name: "k".to_owned(),
            own: "ONLY \"s\".\"t\"".to_owned(),
            other: "\"s\".\"u\"".to_owned(),
            is_full: false,
            pairs: vec![pair("a", "x"), pair("b\"", "y")],
            primary: vec!["a".to_owned()],
        };
        let [simple] = &key.conditions()[..] else { panic!("one") };
        assert_eq!(
            simple,
            "f.\"a\" IS NOT NULL AND f.\"b\"\"\" IS NOT NULL AND NOT EXISTS (SELECT FROM \"s\".\"u\" AS p WHERE \
             p.\"x\" OPERATOR(\"pg_catalog\".=) (f.\"a\") AND p.\"y\" OPERATOR(\"pg_catalog\".=) (f.\"b\"\"\"))"
        );
        key.is_full = true;
        assert_eq!(
            key.conditions()[1],
            "pg_catalog.num_nulls(f.\"a\", f.\"b\"\"\") > 0 AND pg_catalog.num_nulls(f.\"a\", f.\"b\"\"\") < 2"
        );
        key.pairs.truncate(1);
        assert_eq!(key.conditions().len(), 1, "one column is null or not");
    }
}
