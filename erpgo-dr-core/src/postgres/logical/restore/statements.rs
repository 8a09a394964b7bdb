//! Splits the SQL text of pg_dumpall into statements.
//!
//! psql would do that too, but it also obeys backslash commands, and it tells a statement that may fail from one
//! that may not by nothing but the text of its message.

/// Returns the statements of `sql`, without comments between them, psql's commands, and the semicolons.
pub(super) fn split(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut rest = sql;
    loop {
        rest = rest.trim_start();
        // A backslash at the beginning: `\restrict`, which newer versions of pg_dumpall write for psql.
        if rest.starts_with("--") || rest.starts_with('\\') {
            rest = rest.split_once('\n').map_or("", |(_, behind)| behind);
            continue;
        }
        let end = statement_end(rest);
        let statement = rest[..end].trim_end();
        if !statement.is_empty() {
            statements.push(statement);
        }
        match rest.get(end + 1..) {
            Some(behind) => rest = behind,
            None => return statements,
        }
    }
}

/// Finds the semicolon that ends the statement, or the end of the text.
fn statement_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            b';' => return at,
            b'"' => closing_quote(bytes, at, false),
            b'\'' => closing_quote(bytes, at, is_escape_string(bytes, at)),
            b'-' if bytes[at..].starts_with(b"--") => {
                memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length)
            }
            _ => at + 1,
        };
    }
    bytes.len()
}

/// Returns where the text behind a quoted string begins. A doubled quote closes one and opens the next.
fn closing_quote(bytes: &[u8], opening: usize, escapes: bool) -> usize {
    let mut at = opening + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte == bytes[opening] => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Whether the quote at `at` begins a string of the form `E'...'`.
fn is_escape_string(bytes: &[u8], at: usize) -> bool {
    let prefix = at.checked_sub(1).map(|before| bytes[before]);
    let before = at.checked_sub(2).map(|before| bytes[before]);
    matches!(prefix, Some(b'E' | b'e')) && !before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_postgresql_ends_them() {
        let sql = r#"--
-- it's a comment;
--
\restrict abc
SET a = 'b;c';
CREATE ROLE "od;d""
name";
ALTER ROLE x PASSWORD 'it''s; -- no';
COMMENT ON ROLE x IS E'a\'; \\' ; -- behind
COMMENT ON ROLE y IS '\';
\unrestrict abc
"#;
        let statements = split(sql);
        assert_eq!(
            statements,
            [
                "SET a = 'b;c'",
                "CREATE ROLE \"od;d\"\"\nname\"",
                "ALTER ROLE x PASSWORD 'it''s; -- no'",
                r"COMMENT ON ROLE x IS E'a\'; \\'",
                r"COMMENT ON ROLE y IS '\'",
            ]
        );
    }

    #[test]
    fn what_is_cut_short_is_the_last_statement() {
        assert_eq!(split("SELECT 1; SELECT 'x"), ["SELECT 1", "SELECT 'x"]);
        assert_eq!(split(r"SELECT E'\"), [r"SELECT E'\"]);
        assert!(split(" -- nothing").is_empty());
    }
}
