//! `rotate-secret`: a new secret, handed on to where it is needed without being seen.

use std::path::Path;

use async_trait::async_trait;
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::super::values::Value;
use super::command::Program;
use super::write_file::PendingSecret;
use super::{Act, Done, Nature, Scope, Uses, View, server};
use crate::postgres::{Client, quoting};

/// Bytes of randomness in a secret, at least.
const LEAST: usize = 16;
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Makes a secret and puts it into a variable, for the steps that follow; and into a file, a role's password or a program's
/// standard input.
///
/// Done again, it makes another one. Without `file` a run that was cut off has lost it, and must make another one too.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RotateSecret {
    /// The variable, of the type `secret`.
    pub variable: String,
    /// How many random bytes it is made of.
    #[serde(default = "bytes")]
    pub bytes: usize,
    /// How they are written.
    #[serde(default)]
    pub form: SecretForm,
    /// A file that gets nothing but the secret. A new one only its owner can read; one that is there keeps its owner and permissions.
    pub file: Option<Template>,
    /// The role whose password it becomes.
    pub role: Option<Template>,
    /// The variable of the role's server.
    pub on: Option<String>,
    /// A program that reads it from standard input, and its arguments.
    #[serde(default)]
    pub hand_to: Vec<Template>,
}

/// How random bytes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SecretForm {
    /// Letters and digits.
    #[default]
    Alphanumeric,
    /// Hexadecimal digits.
    Hex,
}

fn bytes() -> usize {
    32
}

#[async_trait]
impl Act for RotateSecret {
    fn nature(&self) -> Nature {
        Nature::change(60).repeatable().asking()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let mut places = Vec::new();
        places.extend(self.file.as_ref().map(|file| format!("the file {}", file.shown(view.values))));
        places.extend(self.role.as_ref().map(|role| format!("the password of {}", role.shown(view.values))));
        places.extend(self.hand_to.first().map(|program| format!("the input of {}", program.shown(view.values))));
        let places = if places.is_empty() { "no place but its variable".to_owned() } else { places.join(", ") };
        format!("make a new {}, and hand it to {places}", self.variable)
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.sets.push(&self.variable);
        uses.servers.extend(self.on.as_deref());
        uses.visible(&self.file);
        uses.visible(&self.role);
        uses.visible(&self.hand_to);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let secret = self.make();
        let mut places = Vec::new();
        let role = scope.optional(self.role.as_ref())?;
        // Before anything is written: the old secret must not be lost to a role that does not exist.
        let client = match &role {
            Some(role) => Some(self.session_for(scope, role).await?),
            None => None,
        };
        // Beside its file first: whatever knows the new secret, it is not lost.
        let pending = match scope.optional(self.file.as_ref())? {
            Some(path) => Some(PendingSecret::write(Path::new(&path), secret.expose_secret())?),
            None => None,
        };
        if let (Some(role), Some(client)) = (&role, client) {
            set_password(&client, role, &secret).await?;
            client.close().await;
            places.push(format!("the password of {role}"));
        }
        if let Some(pending) = pending {
            places.push(pending.settle()?.display().to_string());
        }
        if !self.hand_to.is_empty() {
            let mut program = Program::new(&self.hand_to, scope)?;
            program.input = Some(secret.expose_secret().to_owned());
            program.output(scope).await?;
            places.push(self.hand_to[0].shown(scope.values));
        }
        let output = format!("a new {} is in {}", self.variable, places.join(", "));
        Ok(Done { output, made: Some((self.variable.clone(), Value::Secret(secret))), ..Done::default() })
    }
}

impl RotateSecret {
    fn make(&self) -> SecretString {
        let mut random = rand::rng();
        let length = self.bytes.max(LEAST);
        let text: String = match self.form {
            SecretForm::Hex => (0..length).map(|_| format!("{:02x}", random.random::<u8>())).collect(),
            // Each of 62 characters is worth less than a byte: four characters for three.
            SecretForm::Alphanumeric => (0..length.div_ceil(3) * 4 + 1)
                .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
                .collect(),
        };
        SecretString::from(text)
    }

    /// Opens a session that may change a role's password, as far as that can be told.
    async fn session_for(&self, scope: &Scope<'_>, role: &str) -> Result<Client, ActionError> {
        let on = self.on.as_deref().ok_or_else(|| ActionError::Unusable("a role needs `on`, its server".to_owned()))?;
        let client = server::connect(scope.server(on, None)?, scope.timeout.duration()).await?;
        let sql = format!("SELECT FROM pg_catalog.pg_roles WHERE rolname = {}", quoting::literal(role));
        let found = server::run(&client, &sql, "look for a role").await?;
        match found.count {
            0 => Err(ActionError::Unexpected { expected: format!("a role {role}"), found: "none".to_owned() }),
            _ => Ok(client),
        }
    }

    /// Returns the secret that an earlier process made, where it left it in a file.
    pub(crate) fn made_before(&self, scope: &Scope<'_>) -> Option<(String, Value)> {
        let path = scope.optional(self.file.as_ref()).ok()??;
        let text = std::fs::read_to_string(path).ok()?;
        Some((self.variable.clone(), Value::Secret(SecretString::from(text))))
    }
}

/// Sets a role's password by its SCRAM verifier: the server, and its log, never see the password.
async fn set_password(client: &Client, role: &str, secret: &SecretString) -> Result<(), ActionError> {
    let verifier = postgres_protocol::password::scram_sha_256(secret.expose_secret().as_bytes());
    let sql = format!("ALTER ROLE {} PASSWORD {}", quoting::identifier(role), quoting::literal(&verifier));
    server::run(client, &sql, "set a password").await.map(drop)
}
