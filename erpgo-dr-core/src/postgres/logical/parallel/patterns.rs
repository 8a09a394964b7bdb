//! pg_dump's patterns for names: the exact one of a table, and which names a pattern may mean.

/// Returns the pattern that means this table and no other.
///
/// Between double quotes no character has a meaning of its own but the quote, which is doubled (`patternToSQLRegex`).
pub(super) fn exact(schema: &str, name: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quoted(schema), quoted(name))
}

/// Translates patterns into regular expressions of the server, which match the names of all tables that a pattern matches.
///
/// A schema in a pattern is left aside: tables of the same name in other schemas are taken for matches too.
pub(super) fn name_expressions(patterns: &[String]) -> Vec<String> {
    patterns.iter().map(|pattern| name_expression(pattern)).collect()
}

fn name_expression(pattern: &str) -> String {
    let mut expression = String::new();
    let mut quoted = false;
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => expression.push('"'),
            '"' => quoted = !quoted,
            // What was there names a database or a schema.
            '.' if !quoted => expression.clear(),
            '*' if !quoted => expression.push_str(".*"),
            '?' if !quoted => expression.push('.'),
            '$' => expression.push_str("\\$"),
            special if quoted && "|*+?()[]{}.^\\".contains(special) => expression.extend(['\\', special]),
            '[' if characters.peek() == Some(&']') => expression.push_str("\\["),
            other if !quoted && other.is_ascii_uppercase() => expression.push(other.to_ascii_lowercase()),
            other => expression.push(other),
        }
    }
    format!("^({expression})$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_pg_dump() {
        for (pattern, expression) in [
            ("Log*", "^(log.*)$"),
            ("audit.log?", "^(log.)$"),
            ("db.a.\"B.*\"\"$\"", "^(B\\.\\*\"\\$)$"),
            ("(a|b)[0-9]", "^((a|b)[0-9])$"),
            ("a[]", "^(a\\[])$"),
        ] {
            assert_eq!(name_expression(pattern), expression, "{pattern}");
        }
        assert_eq!(exact("a", "b\"c.*"), "\"a\".\"b\"\"c.*\"");
    }
}
