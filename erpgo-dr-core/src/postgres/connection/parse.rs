//! Reads the two kinds of connection string that libpq knows: URIs, and lists of `keyword=value`.

use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::super::PostgresError;
use super::settings::{ConnectionSettings, SslMode};

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// Parses `postgresql://user:password@host:port/database?sslmode=...` or `host=... port=... dbname='...'`.
///
/// # Errors
/// [`PostgresError::InvalidSettings`] names the keyword, never the value of a password. Keywords of libpq that
/// this library does not support are errors too: none is ignored.
impl FromStr for ConnectionSettings {
    type Err = PostgresError;

    fn from_str(text: &str) -> Result<Self, PostgresError> {
        Self::default().overlaid(text)
    }
}

impl ConnectionSettings {
    /// Takes over what a connection string says; what it leaves open stays as it is.
    ///
    /// # Errors
    /// As parsing one.
    pub fn overlaid(mut self, text: &str) -> Result<Self, PostgresError> {
        match SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
            Some(rest) => parse_uri(&mut self, rest)?,
            None => parse_keywords(&mut self, text)?,
        }
        self.validate()?;
        Ok(self)
    }
}

fn parse_uri(settings: &mut ConnectionSettings, text: &str) -> Result<(), PostgresError> {
    let (rest, query) = text.split_once('?').map_or((text, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, path)| (a, Some(path)));
    let (user, address) = authority.split_once('@').map_or((None, authority), |(user, a)| (Some(user), a));
    if let Some(user) = user {
        let (name, password) = user.split_once(':').map_or((user, None), |(name, pw)| (name, Some(pw)));
        set_if_given(settings, "user", name)?;
        set_if_given(settings, "password", password.unwrap_or(""))?;
    }
    let (host, port) = split_address(address)?;
    set_if_given(settings, "host", host)?;
    set_if_given(settings, "port", port)?;
    set_if_given(settings, "dbname", path.unwrap_or(""))?;
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
        let (keyword, value) =
            pair.split_once('=').ok_or_else(|| invalid("a parameter of the URI has no value".to_owned()))?;
        set(settings, &decode(keyword, "a parameter's name")?, &decode(value, keyword)?)?;
    }
    Ok(())
}

/// Splits `host:port`, where an IPv6 address stands in brackets.
fn split_address(text: &str) -> Result<(&str, &str), PostgresError> {
    let Some(rest) = text.strip_prefix('[') else {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    };
    let (host, rest) = rest.split_once(']').ok_or_else(|| invalid("an IPv6 address lacks its `]`".to_owned()))?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Ok((host, "")),
        None => Err(invalid("unexpected text behind an IPv6 address".to_owned())),
    }
}

fn set_if_given(settings: &mut ConnectionSettings, keyword: &str, value: &str) -> Result<(), PostgresError> {
    if value.is_empty() {
        return Ok(());
    }
    set(settings, keyword, &decode(value, keyword)?)
}

fn decode(text: &str, what: &str) -> Result<String, PostgresError> {
    let wrong = || invalid(format!("{what} is not percent-encoded UTF-8"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2).ok_or_else(wrong)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| wrong())?;
        bytes.extend(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn parse_keywords(settings: &mut ConnectionSettings, text: &str) -> Result<(), PostgresError> {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (keyword, tail) = rest
            .split_once('=')
            .ok_or_else(|| invalid("expected a URI (postgresql://...) or keyword=value pairs".to_owned()))?;
        let (value, tail) = take_value(keyword.trim(), tail.trim_start())?;
        set(settings, keyword.trim(), &value)?;
        rest = tail.trim_start();
    }
    Ok(())
}

/// Takes a value, bare or in single quotes; a backslash makes the next character an ordinary one.
fn take_value<'a>(keyword: &str, text: &'a str) -> Result<(String, &'a str), PostgresError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            space if !quoted && space.is_whitespace() => return Ok((value, &text[at..])),
            other => value.push(other),
        }
    }
    if quoted { Err(invalid(format!("the value of {keyword} lacks its closing quote"))) } else { Ok((value, "")) }
}

fn set(settings: &mut ConnectionSettings, keyword: &str, value: &str) -> Result<(), PostgresError> {
    match keyword {
        "host" => value.clone_into(&mut settings.host),
        "port" => settings.port = value.parse().map_err(|_| invalid(format!("port {value:?} is not a number")))?,
        "user" => settings.user = Some(value.to_owned()),
        "password" => settings.password = Some(SecretString::from(value)),
        "passfile" => settings.passfile = Some(value.into()),
        "dbname" => value.clone_into(&mut settings.database),
        "sslmode" => {
            let mode = SslMode::parse(value).ok_or_else(|| {
                invalid(format!("sslmode {value:?} (known: disable, prefer, require, verify-ca, verify-full)"))
            })?;
            settings.ssl_mode = Some(mode);
        }
        "sslrootcert" => settings.ssl_root_cert = Some(value.into()),
        "connect_timeout" => {
            let seconds = value.parse().map_err(|_| invalid(format!("connect_timeout {value:?} is not in seconds")))?;
            settings.connect_timeout = Duration::from_secs(seconds);
        }
        "application_name" => value.clone_into(&mut settings.application_name),
        "options" => settings.options = Some(value.to_owned()),
        other => return Err(invalid(format!("keyword {other:?} is not supported"))),
    }
    Ok(())
}

fn invalid(text: String) -> PostgresError {
    PostgresError::InvalidSettings(text)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn parse(text: &str) -> ConnectionSettings {
        text.parse().unwrap()
    }

    #[test]
    fn a_uri_may_hold_everything() {
        let settings = parse(
            "postgresql://al%40ice:p%3aw%2F@[2001:db8::1]:6000/my%20db?sslmode=require&application_name=x&options=-c%20a%3db",
        );
        assert_eq!(settings.to_string(), "al@ice@[2001:db8::1]:6000/my db");
        assert_eq!(settings.password.as_ref().unwrap().expose_secret(), "p:w/");
        assert_eq!(settings.ssl_mode, Some(SslMode::Require));
        assert_eq!(settings.options.as_deref(), Some("-c a=b"));
    }

    #[test]
    fn what_a_string_leaves_open_stays() {
        let settings = parse("host=/run/pg user=u dbname=erp").overlaid("postgresql://db.example:6000").unwrap();
        assert_eq!(settings.to_string(), "u@db.example:6000/erp");
        assert_eq!(settings.overlaid("dbname=other").unwrap().to_string(), "u@db.example:6000/other");
    }

    #[test]
    fn a_uri_may_hold_next_to_nothing() {
        assert_eq!(parse("postgres://").to_string(), "localhost:5432/postgres");
        assert_eq!(parse("postgres://h").to_string(), "h:5432/postgres");
        assert_eq!(parse("postgresql:///erp?host=/run/postgresql").to_string(), "/run/postgresql:5432/erp");
        assert_eq!(parse("postgresql://%2Frun%2Fpg/erp").to_string(), "/run/pg:5432/erp");
    }

    #[test]
    fn keywords_are_quoted_as_in_libpq() {
        let settings = parse(r"host = db  port=6000 dbname='my \'d\\b' password='a b' user=u\ x connect_timeout=9");
        assert_eq!(settings.to_string(), r"u x@db:6000/my 'd\b");
        assert_eq!(settings.password.as_ref().unwrap().expose_secret(), "a b");
        assert_eq!(settings.connect_timeout, Duration::from_secs(9));
    }

    #[test]
    fn what_is_wrong_is_refused_without_telling_the_password() {
        for text in [
            "postgresql://u:hunter2@h:port/db",
            "postgresql://u:hunter2%4@h",
            "postgresql://u:hunter2@[::1/db",
            "postgresql://u:hunter2@h1,h2/db",
            "postgresql://u:hunter2@h?sslmode=maybe",
            "postgresql://u:hunter2@h?sslmode",
            "postgresql://u:hunter2@h/%00",
            "host=h password='hunter2",
            "host=h password=hunter2 sslcompression=1",
            "host=h password=hunter2 dbname=''",
            "hunter2",
        ] {
            let error = text.parse::<ConnectionSettings>().unwrap_err();
            assert!(matches!(error, PostgresError::InvalidSettings(_)), "{text}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
