//! Records that are changed by a signed dynamic update.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::super::super::error::ActionError;
use super::super::super::span::Span;
use super::super::super::template::Template;
use super::super::super::values::{Value, VariableKind};
use super::super::{Done, Scope, Uses, View};
use super::exchange::{NameServer, Signer};
use super::records::RecordSet;
use super::{LAST_WORD, MARGIN, RecordKind, seconds_or_span, unusable, wait};

/// Replaces all records of one name and type by a signed dynamic update (RFC 2136, RFC 8945), and waits until name servers show them.
///
/// ```toml
/// dns = { server = "{{ ns }}:53", zone = "ex.test.", name = "app.ex.test.", type = "A", values = ["{{ address }}"], ttl = "30s", key-name = "drkey", key = "tsig_key", resolvers = ["10.0.0.2"] }
/// ```
///
/// The records are read first, and are replaced only while they are still those: `it was ...; it is ...` stands in the journal. Questions
/// and updates go by TCP. Then the server, and each of `resolvers`, is asked until it answers with nothing but the new records:
/// no longer than the TTL of the old ones (of the zone's denials, where there were none) and 30 seconds more, or than the step's time.
/// A step whose old records live longer than a quarter of an hour needs a `timeout` that is longer too.
///
/// It has no way back of its own: after a crash nobody would know which records were the first. Write it, with the old values:
///
/// ```toml
/// undo = { dns = { server = "{{ ns }}:53", ..., values = ["{{ old_address }}"], ... } }
/// ```
///
/// Records of other types stay. A server does not take a `CNAME` beside them, and that shows as records that did not change.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct DnsUpdate {
    /// The name server that takes updates of the zone: `host`, `host:port` or `[address]:port`.
    pub server: Template,
    /// The zone: `ex.test.`
    pub zone: Template,
    /// The name, with its zone: `app.ex.test.`
    pub name: Template,
    /// The type of the records.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// What the records are to say, one each; a list alone in one becomes as many as it has items. With none, the records are removed.
    pub values: Vec<Template>,
    /// How long resolvers may keep them: `"30s"`, or a number of seconds.
    #[serde(deserialize_with = "seconds_or_span")]
    pub ttl: Span,
    /// The name of the key that signs, as the server has it.
    pub key_name: Template,
    /// The variable, of the type `secret`, with the key in base64.
    pub key: String,
    /// What the key is for.
    #[serde(default)]
    pub algorithm: KeyAlgorithm,
    /// Name servers that are to show the records, beside the one that takes the update: written as `server` is.
    #[serde(default)]
    pub resolvers: Vec<Template>,
}

/// How updates are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

impl DnsUpdate {
    pub(super) fn describe(&self, view: &View<'_>) -> String {
        let shown =
            |texts: &[Template]| texts.iter().map(|text| text.shown(view.values)).collect::<Vec<_>>().join(", ");
        let (name, kind) = (self.name.shown(view.values), self.kind.as_str());
        let server = self.server.shown(view.values);
        let change = match self.values.is_empty() {
            true => format!("remove {name} {kind} at {server}"),
            false => format!("make {name} {kind} {} for {} at {server}", shown(&self.values), self.ttl),
        };
        match self.resolvers.is_empty() {
            true => change,
            false => format!("{change}, and wait until {} shows it", shown(&self.resolvers)),
        }
    }

    pub(super) fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.server, &self.zone, &self.name, &self.key_name]);
        uses.visible(&self.values);
        uses.visible(&self.resolvers);
        uses.secrets.push(&self.key);
    }

    pub(super) async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let deadline = Instant::now() + scope.timeout.duration().saturating_sub(LAST_WORD);
        let (wanted, signer) = (self.wanted(scope)?, self.signer(scope)?);
        let server = NameServer::new(scope.text(&self.server)?);
        let mut resolvers = Vec::new();
        for resolver in &self.resolvers {
            resolvers.extend(resolver.arguments(scope.values)?.into_iter().map(NameServer::new));
        }
        let before = server.ask_signed(&wanted, &signer).await?;
        let same_ttl = before.ttl.is_none_or(|ttl| ttl == wanted.ttl);
        if before.set != wanted.records || !same_ttl {
            server.update(&wanted, &before.set, &signer).await?;
        }
        let longest = Duration::from_secs(u64::from(before.kept.max(wanted.ttl))) + MARGIN;
        let deadline = deadline.min(Instant::now() + longest);
        for shown_by in std::iter::once(&server).chain(&resolvers) {
            wait(shown_by, &wanted, &before.set, deadline).await?;
        }
        let others = match resolvers.len() {
            0 => String::new(),
            count => format!(", as {count} more name servers show"),
        };
        let (name, kind) = (&wanted.name, self.kind.as_str());
        Ok(Done::said(format!("{name} {kind}: it was {}; it is {}{others}", before.set, wanted.records)))
    }

    fn wanted(&self, scope: &Scope<'_>) -> Result<RecordSet, ActionError> {
        let mut values = Vec::new();
        for value in &self.values {
            values.extend(value.arguments(scope.values)?);
        }
        let ttl =
            u32::try_from(self.ttl.duration().as_secs()).map_err(|_| unusable(format!("a TTL of {}", self.ttl)))?;
        RecordSet::new(&scope.text(&self.zone)?, &scope.text(&self.name)?, self.kind, &values, ttl)
    }

    fn signer(&self, scope: &Scope<'_>) -> Result<Signer, ActionError> {
        let secret = scope.values.value(&self.key).filter(|value| value.kind() == VariableKind::Secret);
        let secret = secret.and_then(Value::expose).map(zeroize::Zeroizing::new);
        let secret = secret.ok_or_else(|| unusable(format!("the variable {} has no secret", self.key)))?;
        let key = data_encoding::BASE64.decode(secret.trim().as_bytes());
        let key = key.map_err(|_| unusable(format!("the secret {} is not base64", self.key)))?;
        let clock = scope.surroundings.repository.environment().clock.clone();
        Signer::new(&scope.text(&self.key_name)?, key, self.algorithm, clock)
    }
}
