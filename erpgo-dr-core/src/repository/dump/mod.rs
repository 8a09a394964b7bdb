//! Logical dump streams as objects: cut into parts on the way in, joined again on the way out.

mod sink;
mod source;

pub(crate) use sink::{DumpSink, DumpSinkOptions};
pub(crate) use source::DumpSource;

use crate::container::{ObjectIdentity, ObjectKind};
use crate::types::ObjectKey;

fn identity(key: &ObjectKey) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Dump, key.as_str())
}
