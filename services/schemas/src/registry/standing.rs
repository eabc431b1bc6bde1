//! How the registration of each topic stands, for people who look at the schemas of the mesh and for metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How one topic stands with the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// The registry has not answered yet.
    Pending,
    /// It is registered.
    Registered {
        /// Its number there.
        id: u32,
    },
    /// The registry does not take it. It is tried further on, since people may change that.
    Refused {
        /// What the registry says.
        reason: String,
    },
}

/// How all topics stand. Empty without a registry.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<Mutex<BTreeMap<String, Registration>>>);

impl Standing {
    /// Nothing of these topics is registered yet.
    pub(super) fn pending<'a>(topics: impl Iterator<Item = &'a str>) -> Self {
        let topics = topics.map(|topic| (topic.to_owned(), Registration::Pending)).collect();
        let standing = Self(Arc::new(Mutex::new(topics)));
        standing.measure(&standing.lock());
        standing
    }

    /// How a topic stands; none if it is not to be registered.
    #[must_use]
    pub fn of(&self, topic: &str) -> Option<Registration> {
        self.lock().get(topic).cloned()
    }

    pub(super) fn set(&self, topic: &str, registration: Registration) {
        let mut topics = self.lock();
        topics.insert(topic.to_owned(), registration);
        self.measure(&topics);
    }

    /// What stands behind a refusal of something that all of them need.
    pub(super) fn refuse_rest(&self, reason: &str) {
        let mut topics = self.lock();
        for registration in topics.values_mut().filter(|found| !matches!(found, Registration::Registered { .. })) {
            *registration = Registration::Refused { reason: reason.to_owned() };
        }
        self.measure(&topics);
    }

    fn measure(&self, topics: &BTreeMap<String, Registration>) {
        let count = |is_it: fn(&Registration) -> bool| topics.values().filter(|found| is_it(found)).count() as f64;
        let registered = count(|found| matches!(found, Registration::Registered { .. }));
        let refused = count(|found| matches!(found, Registration::Refused { .. }));
        metrics::gauge!("ordermesh_schemas_registered").set(registered);
        metrics::gauge!("ordermesh_schemas_refused").set(refused);
        metrics::gauge!("ordermesh_schemas_pending").set(topics.len() as f64 - registered - refused);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Registration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_what_all_need_is_one_of_all_that_are_not_registered() {
        let standing = Standing::pending(["a", "b"].into_iter());
        standing.set("a", Registration::Registered { id: 7 });
        standing.refuse_rest("no");
        assert_eq!(standing.of("a"), Some(Registration::Registered { id: 7 }));
        assert_eq!(standing.of("b"), Some(Registration::Refused { reason: "no".to_owned() }));
        assert_eq!((standing.of("c"), Standing::default().of("a")), (None, None));
    }
}
