//! Linearizability from the clients' side alone. The value that an increment returns, and the value that a read returns, say
//! where in the one order of a key they took place. That order must agree with the order in real time: whatever began after
//! something had been answered stands behind it. For a counter that is all there is to check.

use std::collections::BTreeMap;

use bytes::Bytes;

use testkit::simulation::{Verdict, fail};

#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Largest value that anyone has been told, by key.
    told: BTreeMap<Bytes, u64>,
    /// Which effect was told which value.
    given: BTreeMap<(Bytes, u64), Bytes>,
    begun: BTreeMap<Bytes, u64>,
}

impl Calls {
    /// What a call on this key that begins now must see.
    pub(crate) fn begin(&self, key: &Bytes) -> u64 {
        self.told.get(key).copied().unwrap_or(0)
    }

    /// An increment is sent for the first time.
    pub(crate) fn begin_add(&mut self, key: &Bytes) -> u64 {
        *self.begun.entry(key.clone()).or_default() += 1;
        self.begin(key)
    }

    pub(crate) fn added(&mut self, key: &Bytes, effect: &Bytes, floor: u64, value: u64) -> Verdict {
        let before = self.given.insert((key.clone(), value), effect.clone());
        if before.as_ref().is_some_and(|other| other != effect) {
            return fail("linearizable", format!("{key:?} gave {value} to {before:?} and to {effect:?}"));
        }
        if value <= floor {
            return fail("linearizable", format!("{effect:?} got {value} although {floor} had been told before"));
        }
        self.tell(key, value)
    }

    pub(crate) fn read(&mut self, key: &Bytes, floor: u64, value: u64) -> Verdict {
        if value < floor {
            return fail(
                "linearizable",
                format!("a read of {key:?} got {value} although {floor} had been told before"),
            );
        }
        self.tell(key, value)
    }

    fn tell(&mut self, key: &Bytes, value: u64) -> Verdict {
        let begun = self.begun.get(key).copied().unwrap_or(0);
        if value > begun {
            return fail("linearizable", format!("{key:?} is {value}, but {begun} increments were ever sent"));
        }
        let told = self.told.entry(key.clone()).or_default();
        *told = (*told).max(value);
        Ok(())
    }
}
