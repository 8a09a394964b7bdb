//! What is said to Route 53, and what it says (API version 2013-04-01).

use quick_xml::escape::escape;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::RecordKind;

/// The records of a name and type that are there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// What they say, in the order of the alphabet.
    pub(super) values: Vec<String>,
    pub(super) ttl: Option<u32>,
}

impl Found {
    pub(super) fn says(&self, values: &[String]) -> bool {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        sorted == self.values
    }
}

/// A change of the records of a name and type.
pub(super) struct Change<'c> {
    pub(super) name: &'c str,
    pub(super) kind: RecordKind,
    pub(super) before: &'c Found,
    pub(super) values: &'c [String],
    pub(super) ttl: u32,
}

impl Change<'_> {
    /// Writes the request: what was is removed, which works only while it is so, and what is to be is made, in one.
    pub(super) fn to_xml(&self) -> String {
        let mut changes = String::new();
        // To remove and to make the same in one is no change for some.
        if self.before.says(self.values) && self.before.ttl == Some(self.ttl) {
            changes.push_str(&self.part("UPSERT", self.values, self.ttl));
            return Self::request(&changes);
        }
        if !self.before.values.is_empty() {
            changes.push_str(&self.part("DELETE", &self.before.values, self.before.ttl.unwrap_or(0)));
        }
        if !self.values.is_empty() {
            changes.push_str(&self.part("CREATE", self.values, self.ttl));
        }
        Self::request(&changes)
    }

    fn request(changes: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Comment>erpgo-dr</Comment><Changes>{changes}</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"#
        )
    }

    fn part(&self, action: &str, values: &[String], ttl: u32) -> String {
        let value =
            |value: &String| format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", escape(value.as_str()));
        let values: String = values.iter().map(value).collect();
        let (name, kind) = (escape(self.name), self.kind.as_str());
        format!(
            "<Change><Action>{action}</Action><ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><TTL>{ttl}</TTL><ResourceRecords>{values}</ResourceRecords></ResourceRecordSet></Change>"
        )
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    resource_record_sets: Sets,
}

#[derive(Default, Deserialize)]
struct Sets {
    #[serde(rename = "ResourceRecordSet", default)]
    sets: Vec<Set>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Set {
    name: String,
    r#type: String,
    #[serde(rename = "TTL")]
    ttl: Option<u32>,
    resource_records: Option<Values>,
    set_identifier: Option<IgnoredAny>,
    alias_target: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Values {
    #[serde(rename = "ResourceRecord", default)]
    records: Vec<OneValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneValue {
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changed {
    change_info: ChangeInfo,
}

/// A change that was accepted.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeInfo {
    pub(super) id: String,
    pub(super) status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    #[serde(default)]
    error: Option<Reason>,
    /// `InvalidChangeBatch` has its own form.
    #[serde(default)]
    messages: Option<Messages>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reason {
    code: String,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Messages {
    #[serde(rename = "Message", default)]
    messages: Vec<String>,
}

/// Finds the records of a name and type in an answer; says why where they are none of ours to change.
pub(super) fn found(text: &str, name: &str, kind: RecordKind) -> Result<Result<Found, String>, quick_xml::DeError> {
    let listed: Listed = quick_xml::de::from_str(text)?;
    let ours = |set: &Set| set.r#type == kind.as_str() && plain(&set.name).eq_ignore_ascii_case(name);
    let mut sets = listed.resource_record_sets.sets.into_iter().filter(ours);
    let Some(set) = sets.next() else { return Ok(Ok(Found::default())) };
    if set.alias_target.is_some() || set.set_identifier.is_some() {
        return Ok(Err("records of an alias, or with a routing policy".to_owned()));
    }
    let mut values: Vec<String> =
        set.resource_records.into_iter().flat_map(|values| values.records).map(|record| record.value).collect();
    if kind == RecordKind::Cname {
        values.iter_mut().filter(|value| !value.ends_with('.')).for_each(|value| value.push('.'));
    }
    values.sort_unstable();
    Ok(Ok(Found { values, ttl: set.ttl }))
}

/// Route 53 writes a wildcard as its octal number.
fn plain(name: &str) -> String {
    name.replace(r"\052", "*")
}

pub(super) fn change_info(text: &str) -> Result<ChangeInfo, quick_xml::DeError> {
    quick_xml::de::from_str::<Changed>(text).map(|changed| changed.change_info)
}

/// Returns what a refusal says.
pub(super) fn refusal(text: &str) -> String {
    let kept = || text.trim().chars().take(300).collect();
    match quick_xml::de::from_str::<Failed>(text) {
        Ok(Failed { error: Some(Reason { code, message }), .. }) => {
            format!("{code}: {}", message.unwrap_or_default()).trim_end_matches([':', ' ']).to_owned()
        }
        Ok(Failed { messages: Some(messages), .. }) => messages.messages.join("; "),
        _ => kept(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_and_foreign_ones_left_alone() {
        let list = |inside: &str| {
            format!(
                "<ListResourceRecordSetsResponse><ResourceRecordSets>{inside}</ResourceRecordSets><IsTruncated>false</IsTruncated></ListResourceRecordSetsResponse>"
            )
        };
        let set = |name: &str, more: &str| {
            format!(
                "<ResourceRecordSet><Name>{name}</Name><Type>A</Type>{more}<TTL>30</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.2</Value></ResourceRecord><ResourceRecord><Value>192.0.2.1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
            )
        };
        let read = |text: &str, name: &str| found(text, name, RecordKind::A).unwrap();
        let one = read(&list(&set("app.ex.test.", "")), "App.ex.test.").unwrap();
        assert_eq!((one.ttl, one.says(&["192.0.2.2".to_owned(), "192.0.2.1".to_owned()])), (Some(30), true));
        assert_eq!(read(&list(&set("other.ex.test.", "")), "app.ex.test."), Ok(Found::default()));
        assert_eq!(read(&list(""), "app.ex.test."), Ok(Found::default()));
        assert!(read(&list(&set(r"\052.ex.test.", "")), "*.ex.test.").unwrap().ttl.is_some());
        assert!(read(&list(&set("app.ex.test.", "<SetIdentifier>eu</SetIdentifier>")), "app.ex.test.").is_err());
        let alias = "<AliasTarget><DNSName>x.</DNSName></AliasTarget>";
        assert!(read(&list(&set("app.ex.test.", alias)), "app.ex.test.").is_err());
    }

    #[test]
    fn what_is_so_already_is_made_once_more_so_that_there_is_a_change_to_wait_for() {
        let values = ["192.0.2.1".to_owned()];
        let before = Found { values: values.to_vec(), ttl: Some(7) };
        let xml =
            |ttl| Change { name: "t.ex.test.", kind: RecordKind::A, before: &before, values: &values, ttl }.to_xml();
        assert!(xml(7).contains("<Action>UPSERT</Action>") && !xml(7).contains("DELETE"));
        assert!(xml(8).contains("<Action>DELETE</Action>") && !xml(8).contains("UPSERT"));
    }

    #[test]
    fn a_change_removes_what_was_and_nothing_in_it_becomes_markup() {
        let before = Found { values: vec!["\"a<b\"".to_owned()], ttl: Some(5) };
        let values = ["\"new\"".to_owned()];
        let change = Change { name: "t.ex.test.", kind: RecordKind::Txt, before: &before, values: &values, ttl: 7 };
        let text = change.to_xml();
        assert!(text.contains("<Action>DELETE</Action>") && text.contains("<Action>CREATE</Action>"), "{text}");
        assert!(text.contains("a&lt;b") && text.contains("<TTL>5</TTL>") && text.contains("<TTL>7</TTL>"), "{text}");
        let made = Change { before: &Found::default(), ..change };
        assert!(!made.to_xml().contains("DELETE"));
    }

    #[test]
    fn what_is_refused_is_said() {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
        assert_eq!(refusal(error), "AccessDenied: no");
        let batch = "<InvalidChangeBatch><Messages><Message>it changed</Message></Messages></InvalidChangeBatch>";
        assert_eq!(refusal(batch), "it changed");
        assert_eq!(refusal("nonsense"), "nonsense");
        let changed = "<R><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status></ChangeInfo></R>";
        assert_eq!(change_info(changed).unwrap().id, "/change/C1");
    }
}
