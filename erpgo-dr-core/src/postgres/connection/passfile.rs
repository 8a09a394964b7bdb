//! Looks a password up in a file as libpq does ("The Password File" in PostgreSQL's manual).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::super::PostgresError;
use super::settings::ConnectionSettings;

/// Returns the password of the first line that matches, if one does.
pub(super) fn look_up(settings: &ConnectionSettings, path: &Path) -> Result<Option<SecretString>, PostgresError> {
    let file_error = |action| move |source| PostgresError::File { path: path.to_owned(), action, source };
    let mode = std::fs::metadata(path).map_err(file_error("look at it"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(PostgresError::InvalidSettings(format!(
            "password file {} can be read by others: its mode must be 0600 or less",
            path.display()
        )));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file_error("read it"))?);
    Ok(text.lines().find_map(|line| matching(line, settings)))
}

fn matching(line: &str, settings: &ConnectionSettings) -> Option<SecretString> {
    if line.starts_with('#') {
        return None;
    }
    let port = settings.port.to_string();
    let user = settings.user.as_deref()?;
    // libpq takes the name `localhost` for its default socket; ours is always named by its folder.
    let wanted = [settings.host.as_str(), &port, &settings.database, user];
    let mut rest = line;
    for want in wanted {
        let (field, tail) = take_field(rest)?;
        if *field != want && !rest.starts_with("*:") {
            return None;
        }
        rest = tail;
    }
    take_field(&format!("{rest}:")).map(|(password, _)| SecretString::from(password.as_str()))
}

/// Takes what stands before the next `:`; a backslash makes the next character an ordinary one.
fn take_field(text: &str) -> Option<(Zeroizing<String>, &str)> {
    let mut field = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ':' => return Some((field, &text[at + 1..])),
            '\\' => field.extend(characters.next().map(|(_, next)| next)),
            other => field.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn password(line: &str) -> Option<String> {
        let settings = ConnectionSettings::new("h:1").database("d").user("u");
        matching(line, &settings).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn the_first_four_fields_decide() {
        assert_eq!(password(r"h\:1:5432:d:u:a\:b\\c").as_deref(), Some(r"a:b\c"));
        assert_eq!(password("*:*:*:u:x").as_deref(), Some("x"));
        for line in ["#*:*:*:*:x", r"h\:1:5433:d:u:x", "*:*:e:u:x", "*:*:*", "", r"\*:*:*:*:x"] {
            assert_eq!(password(line), None, "{line}");
        }
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = look_up(&ConnectionSettings::default(), file.path()).unwrap_err();
        assert!(matches!(error, PostgresError::InvalidSettings(_)), "{error}");
    }
}
