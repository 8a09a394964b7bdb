//! The records of one name and type: as a runbook writes them, and as messages have them.

use std::fmt;
use std::str::FromStr as _;

use hickory_proto::op::update_message::{UpdateMessage as _, delete_rrset};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::super::super::error::ActionError;
use super::{RecordKind, unusable};

/// The most bytes of one string of a text record (RFC 1035, 3.3).
const STRING: usize = 255;

/// What all records of a name and type are to be.
#[derive(Debug)]
pub(super) struct RecordSet {
    pub(super) zone: Name,
    pub(super) name: Name,
    pub(super) kind: RecordType,
    pub(super) records: Records,
    pub(super) ttl: u32,
}

/// What records say, each once. Their order says nothing.
#[derive(Debug)]
pub(super) struct Records(Vec<RData>);

/// What a name server answered.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) set: Records,
    /// The TTL of the records, if there are any.
    pub(super) ttl: Option<u32>,
    /// For how many seconds this answer may be kept: of a denial too.
    pub(super) kept: u32,
}

impl RecordSet {
    /// Reads what a runbook says.
    pub(super) fn new(
        zone: &str,
        name: &str,
        kind: RecordKind,
        values: &[String],
        ttl: u32,
    ) -> Result<Self, ActionError> {
        let (zone, name) = (absolute(zone)?, absolute(name)?);
        if !zone.zone_of(&name) {
            return Err(unusable(format!("{name} is not in the zone {zone}")));
        }
        let mut records = Vec::new();
        for value in values {
            let read =
                read(kind, value).ok_or_else(|| unusable(format!("{value:?} is no value of {}", kind.as_str())))?;
            if !records.contains(&read) {
                records.push(read);
            }
        }
        if kind == RecordKind::Cname && records.len() > 1 {
            return Err(unusable(format!("{name} can have one CNAME only")));
        }
        let kind = match kind {
            RecordKind::A => RecordType::A,
            RecordKind::Aaaa => RecordType::AAAA,
            RecordKind::Cname => RecordType::CNAME,
            RecordKind::Txt => RecordType::TXT,
        };
        Ok(Self { zone, name, kind, records: Records(records), ttl })
    }

    /// Builds the question for the records.
    pub(super) fn question(&self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.kind));
        message
    }

    /// Builds the update that replaces the records, if they are still what they were (RFC 2136, 2.4 and 2.5).
    pub(super) fn update(&self, before: &Records) -> Message {
        let any = Record::update0(self.name.clone(), 0, self.kind);
        let mut message = delete_rrset(any.clone(), self.zone.clone(), false);
        if before.0.is_empty() {
            let mut none = any;
            none.dns_class = DNSClass::NONE;
            message.add_pre_requisite(none);
        }
        message.add_pre_requisites(before.of(&self.name, 0).collect::<Vec<_>>());
        message.add_updates(self.records.of(&self.name, self.ttl).collect::<Vec<_>>());
        message
    }

    /// Picks the records out of an answer.
    pub(super) fn found_in(&self, answer: &Message) -> Found {
        let ours = |record: &&Record| record.name == self.name && record.record_type() == self.kind;
        let records: Vec<&Record> = answer.answers.iter().filter(ours).collect();
        let ttl = records.iter().map(|record| record.ttl).min();
        let denied = answer.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        });
        let set = Records(records.into_iter().map(|record| record.data.clone()).collect());
        Found { set, ttl, kept: ttl.or(denied).unwrap_or(0) }
    }
}

impl Records {
    /// Returns what they say as zone files have it, each value by itself.
    pub(super) fn written(&self) -> Vec<String> {
        let quoted = |string: &[u8]| {
            let escaped = string.iter().map(|byte| match byte {
                b'"' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                other => format!("\\{other:03o}"),
            });
            format!("\"{}\"", escaped.collect::<String>())
        };
        let written = |data: &RData| match data {
            RData::TXT(text) => text.txt_data.iter().map(|string| quoted(string)).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        self.0.iter().map(written).collect()
    }

    fn of<'r>(&'r self, name: &'r Name, ttl: u32) -> impl Iterator<Item = Record> + 'r {
        self.0.iter().map(move |data| Record::from_rdata(name.clone(), ttl, data.clone()))
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|record| other.0.contains(record))
    }
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        f.pad(&if texts.is_empty() { "no record".to_owned() } else { texts.join(", ") })
    }
}

fn absolute(text: &str) -> Result<Name, ActionError> {
    let name = Name::from_str(text).ok().filter(|name| !name.is_root() && !text.is_empty());
    let mut name = name.ok_or_else(|| unusable(format!("{text:?} is no name of DNS")))?;
    name.set_fqdn(true);
    Ok(name)
}

fn read(kind: RecordKind, value: &str) -> Option<RData> {
    Some(match kind {
        RecordKind::A => RData::A(A(value.parse().ok()?)),
        RecordKind::Aaaa => RData::AAAA(AAAA(value.parse().ok()?)),
        RecordKind::Cname => RData::CNAME(CNAME(absolute(value).ok()?)),
        RecordKind::Txt if value.is_empty() => RData::TXT(TXT::from_bytes(vec![b""])),
        RecordKind::Txt => RData::TXT(TXT::from_bytes(value.as_bytes().chunks(STRING).collect())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: RecordKind, values: &[&str]) -> Result<RecordSet, ActionError> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        RecordSet::new("ex.test", "app.ex.test.", kind, &values, 30)
    }

    #[test]
    fn values_are_read_by_their_type() {
        let shown = |kind, values: &[&str]| set(kind, values).unwrap().records.to_string();
        assert_eq!(shown(RecordKind::A, &["192.0.2.2", "192.0.2.1", "192.0.2.2"]), "192.0.2.1, 192.0.2.2");
        assert_eq!(shown(RecordKind::Aaaa, &["2001:db8:0::1"]), "2001:db8::1");
        assert_eq!(shown(RecordKind::Cname, &["other.ex.test"]), "other.ex.test.");
        assert_eq!(shown(RecordKind::A, &[]), "no record");
        let long = "x".repeat(300);
        let RData::TXT(text) = &set(RecordKind::Txt, &[&long]).unwrap().records.0[0] else { panic!() };
        assert_eq!(text.txt_data.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, 45]);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (kind, values) in [
            (RecordKind::A, ["2001:db8::1"].as_slice()),
            (RecordKind::A, &["example.test"]),
            (RecordKind::Aaaa, &["192.0.2.1"]),
            (RecordKind::Cname, &[""]),
            (RecordKind::Cname, &["a.test", "b.test"]),
        ] {
            assert!(matches!(set(kind, values), Err(ActionError::Unusable(_))), "{values:?}");
        }
        let outside = RecordSet::new("ex.test.", "app.other.test.", RecordKind::A, &[], 30);
        assert!(matches!(outside, Err(ActionError::Unusable(_))));
    }

    #[test]
    fn an_update_requires_what_was_read() {
        let (old, new) = (set(RecordKind::A, &["192.0.2.1"]).unwrap(), set(RecordKind::A, &["192.0.2.2"]).unwrap());
        let replacing = new.update(&old.records);
        assert_eq!(replacing.prerequisites()[0].data, old.records.0[0]);
        assert_eq!(replacing.updates().len(), 2);
        let creating = new.update(&Records(Vec::new()));
        assert_eq!(creating.prerequisites()[0].dns_class, DNSClass::NONE);
    }
}
