//! An action within an action.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::Action;

/// An action within an action. Cloning shares it.
///
/// Its type is hidden behind one that says by itself that it may go to other threads: a type that holds itself in several places has the
/// compiler ask for that again and again, for minutes.
#[derive(Clone)]
pub struct Nested(Arc<dyn Any + Send + Sync>);

impl From<Action> for Nested {
    fn from(action: Action) -> Self {
        Self(Arc::new(action))
    }
}

impl Deref for Nested {
    type Target = Action;

    fn deref(&self) -> &Action {
        self.0.downcast_ref().expect("it is made of an action only")
    }
}

impl PartialEq for Nested {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Action::deserialize(deserializer).map(Self::from)
    }
}
