//! Which replicas of a service's tasks agree, by what they have told of themselves.
//!
//! Two stores of a task are compared where both stood at the same offset of the same life of its changelog, whenever each of them
//! told it: what was told once stays true. A store that was made anew from the changelog counts at every offset.

use std::collections::BTreeMap;

use proto::mesh::v1::{ReplicaDigest, Role};

/// A partition of the service, and the instance.
pub(super) type Replica = (i32, String);

/// What is to be said of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds what its changelog says.
    AsRebuilt,
    /// It holds what these others hold.
    As(Vec<String>),
    /// Its changelog says something else.
    DiffersFromChangelog,
    /// This other one holds something else. Which of the two is wrong, the changelog must say.
    DiffersFrom(String),
    /// Nothing can be said, for this reason.
    Unknown(String),
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::AsRebuilt | Self::As(_))
    }

    pub(super) fn is_bad(&self) -> bool {
        matches!(self, Self::DiffersFromChangelog | Self::DiffersFrom(_))
    }
}

/// What the replicas of one service have told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    replicas: BTreeMap<Replica, Vec<ReplicaDigest>>,
    /// What changelogs say, by partition and offset.
    rebuilt: BTreeMap<(i32, i64), String>,
    /// Why the state of a partition cannot be made anew.
    problems: BTreeMap<i32, String>,
}

impl Told {
    pub(super) fn add(&mut self, digests: Vec<ReplicaDigest>) {
        for digest in digests {
            let told = self.replicas.entry((digest.partition, digest.instance.clone())).or_default();
            // One that stands still tells the same again.
            if told.last() != Some(&digest) {
                told.push(digest);
            }
        }
    }

    /// The changelog says that this is the digest of a partition's state at an offset.
    pub(super) fn rebuilt(&mut self, partition: i32, offset: i64, digest: String) {
        self.rebuilt.insert((partition, offset), digest);
        self.problems.remove(&partition);
    }

    /// The state of a partition cannot be made anew.
    pub(super) fn cannot_rebuild(&mut self, partition: i32, problem: String) {
        self.problems.insert(partition, problem);
    }

    /// Where the replicas of a partition stood last, as far as the changelog has not been asked about it.
    pub(super) fn unproven(&self, partition: i32) -> Vec<i64> {
        let of = self.replicas.iter().filter(|((of, _), _)| *of == partition);
        let mut offsets: Vec<i64> = of.filter_map(|(_, told)| told.last()).map(|last| last.applied_offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets.retain(|offset| !self.rebuilt.contains_key(&(partition, *offset)));
        offsets
    }

    /// What a replica told last.
    pub(super) fn last(&self, replica: &Replica) -> Option<&ReplicaDigest> {
        self.replicas.get(replica)?.last()
    }

    pub(super) fn verdict(&self, replica: &Replica) -> Verdict {
        let Some(told) = self.replicas.get(replica).filter(|told| !told.is_empty()) else {
            return Verdict::Unknown("it tells nothing: it is being restored, or does not answer".to_owned());
        };
        let proven = told.iter().filter_map(|told| {
            self.rebuilt.get(&(told.partition, told.applied_offset)).map(|rebuilt| *rebuilt == told.digest)
        });
        let proven: Vec<bool> = proven.collect();
        if let Some(problem) = self.problems.get(&replica.0).filter(|_| proven.is_empty()) {
            return Verdict::Unknown(format!("the changelog cannot be read: {problem}"));
        }
        match proven.as_slice() {
            [] => self.beside_others(replica, told),
            proven if proven.iter().all(|agrees| *agrees) => Verdict::AsRebuilt,
            _ => Verdict::DiffersFromChangelog,
        }
    }

    fn beside_others(&self, (partition, instance): &Replica, told: &[ReplicaDigest]) -> Verdict {
        let others = self.replicas.iter().filter(|((of, other), _)| of == partition && other != instance);
        let (mut has_others, mut equal) = (false, Vec::new());
        for ((_, other), of_other) in others {
            has_others = true;
            let met = |a: &ReplicaDigest, b: &ReplicaDigest| {
                (a.applied_offset, &a.incarnation) == (b.applied_offset, &b.incarnation)
            };
            let pairs = told.iter().flat_map(|a| of_other.iter().filter(move |b| met(a, b)).map(move |b| (a, b)));
            let agree: Vec<bool> = pairs.map(|(a, b)| a.digest == b.digest).collect();
            match agree.as_slice() {
                [] => {}
                agree if agree.iter().all(|agrees| *agrees) => equal.push(other.clone()),
                _ => return Verdict::DiffersFrom(other.clone()),
            }
        }
        match (equal.is_empty(), has_others) {
            (false, _) => Verdict::As(equal),
            (true, true) => {
                Verdict::Unknown("no other stood where it did: try again, or name the --brokers".to_owned())
            }
            (true, false) => Verdict::Unknown("there is no other to compare it with: name the --brokers".to_owned()),
        }
    }
}

/// The role of a replica, for people.
pub(super) fn role(digest: &ReplicaDigest) -> &'static str {
    match digest.role() {
        Role::Active => "active",
        Role::Standby => "standby",
        Role::Unspecified => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(instance: &str, applied_offset: i64, digest: &str) -> ReplicaDigest {
        ReplicaDigest {
            instance: instance.to_owned(),
            partition: 0,
            applied_offset,
            digest: digest.to_owned(),
            incarnation: "i".to_owned(),
            ..Default::default()
        }
    }

    fn told(digests: &[(&str, i64, &str)]) -> Told {
        let mut told = Told::default();
        for (instance, offset, of) in digests {
            told.add(vec![digest(instance, *offset, of)]);
        }
        told
    }

    fn verdict(told: &Told, instance: &str) -> Verdict {
        told.verdict(&(0, instance.to_owned()))
    }

    #[test]
    fn replicas_are_compared_where_both_of_them_stood() {
        let told = told(&[("a", 1, "x"), ("b", 2, "y"), ("a", 2, "y"), ("c", 3, "z"), ("a", 4, "w")]);
        assert_eq!(verdict(&told, "a"), Verdict::As(vec!["b".to_owned()]));
        assert_eq!(verdict(&told, "b"), Verdict::As(vec!["a".to_owned()]));
        assert!(matches!(verdict(&told, "c"), Verdict::Unknown(why) if why.contains("try again")));
    }

    #[test]
    fn replicas_with_other_content_at_the_same_offset_differ_whatever_they_held_elsewhere() {
        let told = told(&[("a", 1, "x"), ("b", 1, "x"), ("a", 2, "y"), ("b", 2, "z")]);
        assert_eq!(verdict(&told, "a"), Verdict::DiffersFrom("b".to_owned()));
        assert!(verdict(&told, "b").is_bad() && !verdict(&told, "b").is_good());
    }

    #[test]
    fn replicas_of_another_life_of_the_changelog_are_not_compared() {
        let mut told = told(&[("a", 1, "x")]);
        told.add(vec![ReplicaDigest { incarnation: "j".to_owned(), ..digest("b", 1, "y") }]);
        assert!(matches!(verdict(&told, "a"), Verdict::Unknown(_)));
    }

    #[test]
    fn what_the_changelog_says_counts_more_than_what_the_others_say() {
        let mut told = told(&[("a", 1, "x"), ("b", 1, "y"), ("c", 2, "z")]);
        assert_eq!(told.unproven(0), [1, 2]);
        told.rebuilt(0, 1, "x".to_owned());
        told.rebuilt(0, 2, "z".to_owned());
        assert!(told.unproven(0).is_empty());
        assert_eq!((verdict(&told, "a"), verdict(&told, "c")), (Verdict::AsRebuilt, Verdict::AsRebuilt));
        assert_eq!(verdict(&told, "b"), Verdict::DiffersFromChangelog);
    }

    #[test]
    fn one_alone_or_unheard_or_without_its_changelog_is_not_said_to_agree() {
        let mut told = told(&[("a", 1, "x")]);
        assert!(matches!(verdict(&told, "a"), Verdict::Unknown(why) if why.contains("--brokers")));
        assert!(matches!(verdict(&told, "b"), Verdict::Unknown(why) if why.contains("restored")));
        told.cannot_rebuild(0, "trimmed".to_owned());
        assert!(matches!(verdict(&told, "a"), Verdict::Unknown(why) if why.contains("trimmed")));
    }
}
