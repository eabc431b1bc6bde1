//! Where calls go: to the owner that the instances tell of, in this process or another.
//!
//! What is told may be some milliseconds old. An instance that is asked in vain names the owner that its changelog names,
//! and that counts until somebody tells of a later claim. Nobody is asked on a mere suspicion that it may be the owner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use event_log::partition_for_key;
use gateway::{Claim, Current, Hint, NoOwner, Owner, Owners, Upstream};
use membership::{Exchange, InstanceId, Life, TaskId};
use service_host::Dialer;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::roles::Roles;

/// Owners of all tasks, as this instance hears of them.
#[derive(Debug)]
pub(super) struct MeshOwners {
    me: InstanceId,
    partitions: u32,
    roles: Arc<Roles>,
    exchange: Exchange,
    dialer: Dialer,
    connections: usize,
    table: RwLock<Arc<Table>>,
    /// Instances by address, as connections to them are made.
    upstreams: Mutex<HashMap<String, Upstream>>,
    hints: Mutex<HashMap<(String, u32), Hint>>,
    /// Owners that could not be reached, and since when.
    unreachable: Mutex<HashMap<InstanceId, Instant>>,
}

/// What was told until one change.
#[derive(Debug, Default)]
struct Table {
    change: Option<u64>,
    roles: HashMap<String, Vec<Option<Told>>>,
}

#[derive(Debug, Clone)]
struct Told {
    claim: Claim,
    address: String,
    lives: bool,
}

impl MeshOwners {
    pub(super) fn new(
        me: InstanceId,
        partitions: u32,
        roles: Arc<Roles>,
        exchange: Exchange,
        dialer: Dialer,
        connections: usize,
    ) -> Self {
        Self {
            me,
            partitions,
            roles,
            exchange,
            dialer,
            connections,
            table: RwLock::default(),
            upstreams: Mutex::default(),
            hints: Mutex::default(),
            unreachable: Mutex::default(),
        }
    }

    /// The table as of the latest change: calls are many, and changes few.
    fn table(&self) -> Arc<Table> {
        let change = *self.exchange.changes().borrow();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner).clone();
        if table.change == Some(change) {
            return table;
        }
        let mut roles = HashMap::new();
        for role in self.roles.names() {
            let told = (0..self.partitions).map(|partition| self.told(role, partition));
            roles.insert(role.to_owned(), told.collect());
        }
        let table = Arc::new(Table { change: Some(change), roles });
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table.clone();
        table
    }

    fn told(&self, role: &str, partition: u32) -> Option<Told> {
        self.exchange.look(|peers, now| {
            let (report, told) = peers.owner(&TaskId::new(role, partition))?;
            Some(Told {
                claim: Claim { instance: report.instance.clone(), epoch: told.epoch },
                address: report.address.clone(),
                lives: matches!(peers.life(&report.instance, now), Life::Alive | Life::Leaving),
            })
        })
    }

    /// What an instance that was asked in vain has said, if nobody has told of a later claim since.
    fn hinted(&self, role: &str, partition: u32, told: Option<&Told>) -> Option<Told> {
        let mut hints = lock(&self.hints);
        let key = (role.to_owned(), partition);
        let hint = hints.get(&key)?;
        if told.is_some_and(|told| told.claim.epoch >= hint.claim.epoch) {
            hints.remove(&key);
            return None;
        }
        let (address, lives) = self.exchange.look(|peers, now| {
            let reports = peers.reports(now);
            let known = reports.filter(|(report, _)| report.instance == hint.claim.instance).last();
            match known {
                Some((report, life)) => (report.address.clone(), matches!(life, Life::Alive | Life::Leaving)),
                None => (hint.address.clone(), !hint.address.is_empty()),
            }
        });
        Some(Told { claim: hint.claim.clone(), address, lives })
    }

    fn is_unreachable(&self, instance: &InstanceId) -> bool {
        let mut unreachable = lock(&self.unreachable);
        let Some(since) = unreachable.get(instance).copied() else { return false };
        let has_spoken = self.exchange.look(|peers, _| peers.heard(instance).is_some_and(|heard| heard > since));
        if has_spoken {
            unreachable.remove(instance);
        }
        !has_spoken
    }

    fn way(&self, role: &str, instance: &InstanceId, address: &str) -> Result<Owner, NoOwner> {
        if *instance == self.me {
            return self.roles.local(role).map(Owner::Local).ok_or(NoOwner);
        }
        let mut upstreams = lock(&self.upstreams);
        if let Some(upstream) = upstreams.get(address) {
            return Ok(Owner::Remote(upstream.clone()));
        }
        match Upstream::new(&self.dialer, address, self.connections) {
            Ok(upstream) => {
                self.drop_old(&mut upstreams);
                upstreams.insert(address.to_owned(), upstream.clone());
                Ok(Owner::Remote(upstream))
            }
            Err(error) => {
                tracing::warn!(%instance, %error, "instance tells an address that is none");
                Err(NoOwner)
            }
        }
    }

    /// Instances that start again elsewhere leave connections behind.
    fn drop_old(&self, upstreams: &mut HashMap<String, Upstream>) {
        let known: Vec<String> =
            self.exchange.look(|peers, now| peers.reports(now).map(|(report, _)| report.address.clone()).collect());
        upstreams.retain(|address, _| known.contains(address));
    }
}

impl Owners for MeshOwners {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn partition_of(&self, key: &[u8]) -> u32 {
        partition_for_key(key, self.partitions)
    }

    fn owner(&self, role: &str, partition: u32) -> Result<Current, NoOwner> {
        let table = self.table();
        let told = table.roles.get(role).and_then(|role| role.get(partition as usize)).and_then(Option::as_ref);
        let hinted = self.hinted(role, partition, told);
        let Told { claim, address, lives } = hinted.as_ref().or(told).ok_or(NoOwner)?;
        if !lives || self.is_unreachable(&claim.instance) {
            return Err(NoOwner);
        }
        Ok(Current { owner: self.way(role, &claim.instance, address)?, claim: claim.clone() })
    }

    fn standbys(&self, role: &str, partition: u32) -> Vec<Owner> {
        let mut standbys: Vec<(InstanceId, String)> = self.exchange.look(|peers, now| {
            let standbys = peers.standbys(&TaskId::new(role, partition), now);
            standbys.into_iter().map(|report| (report.instance.clone(), report.address.clone())).collect()
        });
        standbys.sort_by_key(|(instance, _)| *instance != self.me);
        standbys.iter().filter_map(|(instance, address)| self.way(role, instance, address).ok()).collect()
    }

    fn heed(&self, role: &str, partition: u32, hint: &Hint) {
        // Only what lies within the mesh is kept, so that hints cannot pile up.
        if partition < self.partitions && self.roles.local(role).is_some() {
            let mut hints = lock(&self.hints);
            let kept = hints.entry((role.to_owned(), partition)).or_insert_with(|| hint.clone());
            if kept.claim.epoch < hint.claim.epoch {
                *kept = hint.clone();
            }
        }
    }

    fn unreachable(&self, claim: &Claim) {
        if claim.instance != self.me {
            lock(&self.unreachable).insert(claim.instance.clone(), Instant::now());
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.exchange.changes()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left behind is at worst a hint too many.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
