//! Roles and tablespaces that a server has already, and which statements of pg_dumpall would change them.

use std::collections::HashSet;

/// The names that were there before a restore.
#[derive(Debug, Default)]
pub(super) struct Existing {
    pub(super) roles: HashSet<String>,
    pub(super) tablespaces: HashSet<String>,
}

/// A word of a statement. A quoted one is a name or a string, and never a keyword.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Plain(String),
    Quoted(String),
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Plain(text) if text == keyword)
    }

    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Quoted(text) => text,
        }
    }
}

impl Existing {
    /// Returns whether a statement changes what was there: its attributes, settings, comments and memberships.
    ///
    /// `CREATE` does not: it fails where there is one. A role that was not there may be made a member of one that was.
    pub(super) fn is_changed_by(&self, statement: &str) -> bool {
        if self.roles.is_empty() && self.tablespaces.is_empty() {
            return false;
        }
        let words = words(statement);
        let Some(verb) = words.first() else { return false };
        let named = |keywords: [&str; 2]| {
            let at = words.windows(2).position(|pair| pair[0].is(keywords[0]) && pair[1].is(keywords[1]));
            at.and_then(|at| words.get(at + 2)).map(Word::text)
        };
        let is_role = |name: Option<&str>| name.is_some_and(|name| self.roles.contains(name));
        let is_tablespace = |name: Option<&str>| name.is_some_and(|name| self.tablespaces.contains(name));
        match verb.text() {
            "ALTER" => is_role(named(["ALTER", "ROLE"])) || is_tablespace(named(["ALTER", "TABLESPACE"])),
            "GRANT" | "REVOKE" if named(["ON", "TABLESPACE"]).is_some() => is_tablespace(named(["ON", "TABLESPACE"])),
            "GRANT" => is_role(behind(&words, "TO")),
            "REVOKE" => is_role(behind(&words, "FROM")),
            "COMMENT" | "SECURITY" => is_role(named(["ON", "ROLE"])) || is_tablespace(named(["ON", "TABLESPACE"])),
            _ => false,
        }
    }
}

fn behind<'a>(words: &'a [Word], keyword: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word.is(keyword))?;
    words.get(at + 1).map(Word::text)
}

fn words(statement: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut characters = statement.chars().peekable();
    while let Some(first) = characters.next() {
        match first {
            space if space.is_whitespace() => {}
            quote @ ('"' | '\'') => {
                let mut text = String::new();
                while let Some(character) = characters.next() {
                    // A doubled quote is one of the text.
                    if character == quote && characters.next_if_eq(&quote).is_none() {
                        break;
                    }
                    text.push(character);
                }
                words.push(Word::Quoted(text));
            }
            first => {
                let mut text = String::from(first);
                while let Some(character) = characters.next_if(|character| !character.is_whitespace()) {
                    text.push(character);
                }
                words.push(Word::Plain(text));
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_told_from_what_is_new() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let existing = Existing { roles: set(&["alice", "Odd \" TO bob", "admins"]), tablespaces: set(&["fast"]) };
        let changing = [
            "ALTER ROLE alice WITH LOGIN PASSWORD 'x'",
            "ALTER ROLE alice SET work_mem TO '1MB'",
            "ALTER ROLE \"Odd \"\" TO bob\" WITH SUPERUSER",
            "COMMENT ON ROLE alice IS 'y'",
            "SECURITY LABEL FOR selinux ON ROLE alice IS 'z'",
            "GRANT newcomers TO alice WITH INHERIT TRUE GRANTED BY postgres",
            "GRANT newcomers TO \"Odd \"\" TO bob\"",
            "GRANT SET ON PARAMETER log_min_messages TO alice",
            "ALTER TABLESPACE fast SET (random_page_cost=1)",
            "GRANT ALL ON TABLESPACE fast TO bob",
            "REVOKE ALL ON TABLESPACE fast FROM PUBLIC",
        ];
        for statement in changing {
            assert!(existing.is_changed_by(statement), "{statement}");
        }
        let new = [
            "CREATE ROLE alice",
            "ALTER ROLE bob WITH LOGIN PASSWORD 'ALTER ROLE alice'",
            "ALTER ROLE \"alice2\" WITH LOGIN",
            "COMMENT ON ROLE bob IS 'ON ROLE alice'",
            "GRANT alice TO bob WITH INHERIT TRUE GRANTED BY alice",
            "GRANT \"Odd \"\" TO bob\" TO bob",
            "GRANT ALL ON TABLESPACE slow TO alice",
            "SET client_encoding = 'UTF8'",
        ];
        for statement in new {
            assert!(!existing.is_changed_by(statement), "{statement}");
        }
        assert!(!Existing::default().is_changed_by(changing[0]));
    }
}
