//! Records in Amazon Route 53.

mod client;
mod messages;

use std::fmt;
use std::time::Duration;

use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::super::super::error::ActionError;
use super::super::super::span::Span;
use super::super::super::template::Template;
use super::super::super::values::{Value, VariableKind};
use super::super::{Done, Scope, Uses, View, http};
use super::exchange::NameServer;
use super::records::RecordSet;
use super::{LAST_WORD, MARGIN, RecordKind, seconds_or_span, unusable, wait};
use client::Client;
use messages::{Change, Found};

/// Where Route 53 is asked: it is one for all regions.
const ENDPOINT: &str = "https://route53.amazonaws.com";
/// How long it is waited between two questions: Route 53 takes five of an account a second.
const PAUSE: Duration = Duration::from_secs(1);

/// Replaces all records of one name and type in Amazon Route 53, and waits until all of its name servers have them.
///
/// ```toml
/// dns = { hosted-zone = "Z0123456789ABC", name = "app.ex.test.", type = "A", values = ["{{ address }}"], ttl = "30s", access-key = "{{ aws_access_key }}", secret-key = "aws_secret_key" }
/// ```
///
/// The records are read first, and are replaced in one change that Route 53 makes only while they are still those. Records with a routing
/// policy, and aliases, are left alone: the step fails. It may be done with `route53:ListResourceRecordSets`,
/// `route53:ChangeResourceRecordSets` and `route53:GetChange`. As for an update of a name server, the way back is for the runbook to write.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Route53 {
    /// The identifier of the hosted zone: `Z0123456789ABC`.
    pub hosted_zone: Template,
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
    /// The identifier of the key.
    pub access_key: Template,
    /// The variable, of the type `secret`, with the key.
    pub secret_key: String,
    /// The variable, of the type `secret`, with the token of a session, if the key is of one.
    pub session_token: Option<String>,
    /// Another address than Amazon's.
    pub endpoint: Option<Template>,
    /// The PEM file of the authorities to trust instead of the operating system's.
    pub authorities: Option<Template>,
    /// Name servers that are to show the records, beside Route 53's own: `host`, `host:port` or `[address]:port`.
    #[serde(default)]
    pub resolvers: Vec<Template>,
}

impl Route53 {
    pub(super) fn describe(&self, view: &View<'_>) -> String {
        let shown =
            |texts: &[Template]| texts.iter().map(|text| text.shown(view.values)).collect::<Vec<_>>().join(", ");
        let (name, kind) = (self.name.shown(view.values), self.kind.as_str());
        let zone = self.hosted_zone.shown(view.values);
        let change = match self.values.is_empty() {
            true => format!("remove {name} {kind} from the zone {zone} of Route 53"),
            false => {
                format!("make {name} {kind} {} for {} in the zone {zone} of Route 53", shown(&self.values), self.ttl)
            }
        };
        match self.resolvers.is_empty() {
            true => change,
            false => format!("{change}, and wait until {} shows it", shown(&self.resolvers)),
        }
    }

    pub(super) fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.hosted_zone, &self.name, &self.access_key]);
        uses.visible(self.values.iter().chain(&self.resolvers));
        uses.visible(self.endpoint.iter().chain(&self.authorities));
        uses.secrets.push(&self.secret_key);
        uses.secrets.extend(self.session_token.as_deref());
    }

    pub(super) async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let deadline = Instant::now() + scope.timeout.duration().saturating_sub(LAST_WORD);
        let (wanted, client) = (self.wanted(scope)?, self.client(scope)?);
        let before = client.find(&wanted.name.to_ascii(), self.kind).await?;
        let values = wanted.records.written();
        let ttl = wanted.ttl;
        let is_so = before.says(&values) && (before.ttl == Some(ttl) || values.is_empty());
        // An attempt that was cut off may have made the change, which its name servers need not have yet: the same is made once more, so
        // that there is a change to wait for.
        let unsure = scope.again && is_so && !values.is_empty();
        if !is_so || unsure {
            let name = wanted.name.to_ascii();
            let change = Change { name: &name, kind: self.kind, before: &before, values: &values, ttl };
            let change = client.change(&change).await?;
            in_sync(&client, &change, deadline, &before).await?;
        }
        let longest = Duration::from_secs(u64::from(before.ttl.unwrap_or(0).max(ttl))) + MARGIN;
        let deadline = deadline.min(Instant::now() + longest);
        let mut others = 0_usize;
        for resolver in &self.resolvers {
            for resolver in resolver.arguments(scope.values)? {
                wait(&NameServer::new(resolver), &wanted, &before, deadline).await?;
                others += 1;
            }
        }
        let others = if others == 0 { String::new() } else { format!(", as {others} more name servers show") };
        let (name, kind) = (&wanted.name, self.kind.as_str());
        Ok(Done::said(format!("{name} {kind}: it was {before}; it is {}{others}", wanted.records)))
    }

    fn wanted(&self, scope: &Scope<'_>) -> Result<RecordSet, ActionError> {
        let mut values = Vec::new();
        for value in &self.values {
            values.extend(value.arguments(scope.values)?);
        }
        let ttl =
            u32::try_from(self.ttl.duration().as_secs()).map_err(|_| unusable(format!("a TTL of {}", self.ttl)))?;
        // Route 53 itself knows which zone it is.
        let name = scope.text(&self.name)?;
        RecordSet::new(&name, &name, self.kind, &values, ttl)
    }

    fn client(&self, scope: &Scope<'_>) -> Result<Client, ActionError> {
        let secret = |name: &String| {
            let value = scope.values.value(name).filter(|value| value.kind() == VariableKind::Secret);
            let text = value.and_then(Value::expose).map(|text| text.trim().to_owned());
            text.ok_or_else(|| unusable(format!("the variable {name} has no secret")))
        };
        let key_id = scope.text(&self.access_key)?;
        let token = self.session_token.as_ref().map(secret).transpose()?;
        // They become headers.
        if let Some(unfit) = [Some(&key_id), token.as_ref()].into_iter().flatten().find(|text| !is_graphic(text)) {
            return Err(unusable(format!("a key, or the token of a session, of {} characters", unfit.chars().count())));
        }
        let credential = AwsCredential { key_id, secret_key: secret(&self.secret_key)?, token };
        let endpoint = scope.optional(self.endpoint.as_ref())?.unwrap_or_else(|| ENDPOINT.to_owned());
        let zone = scope.text(&self.hosted_zone)?;
        let zone = zone.trim_start_matches("/hostedzone/");
        if zone.is_empty() || !zone.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(unusable(format!("{zone:?} is no hosted zone")));
        }
        Ok(Client::new(http::client(scope, self.authorities.as_ref())?, &endpoint, zone, credential))
    }
}

fn is_graphic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Waits until all name servers of Route 53 have a change.
async fn in_sync(client: &Client, change: &str, deadline: Instant, before: &Found) -> Result<(), ActionError> {
    loop {
        let found = match client.status(change).await {
            Ok(status) if status == "INSYNC" => return Ok(()),
            Ok(status) => status,
            Err(error) => error.to_string(),
        };
        if Instant::now() + PAUSE >= deadline {
            let expected = format!("all name servers of Route 53 to have the change {change} in time");
            let found = format!("{found}; before the change it was {before}");
            return Err(ActionError::Unexpected { expected, found });
        }
        sleep(PAUSE).await;
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&if self.values.is_empty() { "no record".to_owned() } else { self.values.join(", ") })
    }
}
