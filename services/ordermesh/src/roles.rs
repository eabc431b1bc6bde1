//! The roles of the mesh: what each does in its tasks, and which gRPC service stands before them. The only list of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use event_log::partition_for_key;
use gateway::{Claim, Current, LocalOwner, NoOwner, Owner, Owners};
use http::{Request, Response};
use service_host::config::LimitsConfig;
use service_host::{Addresses, KeyName, Watches};
use task_runtime::{Availability, Definition, Runtime, Tasks, Work};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::Config;
use crate::additions::{Addition, Served};
use crate::described::Topics;

/// What the tasks of all roles do.
#[must_use]
pub fn definitions(config: &Config) -> Vec<Definition> {
    assemble(config, |definition| definition)
}

/// The same with labels on what they write, and a look at the labels of what they read.
pub(crate) fn labelled(config: &Config, topics: &Topics) -> Vec<Definition> {
    assemble(config, |definition| definition.with_schemas(|topic| topics.schema(topic)))
}

fn assemble(config: &Config, finish: impl Fn(Definition) -> Definition) -> Vec<Definition> {
    let services: Vec<Definition> = services(config).into_iter().map(finish).collect();
    let dead_letters = dead_letters::definition(&config.dead_letters, &services.iter().collect::<Vec<_>>());
    services.into_iter().map(Definition::replayable).chain([dead_letters]).collect()
}

/// Those of the mesh and those that the program adds, without the one that keeps the dead letters of all.
pub(crate) fn services(config: &Config) -> Vec<Definition> {
    let of_the_mesh = [
        orders::definition(&config.orders),
        validation::definition(&config.validation),
        inventory::definition(&config.inventory),
        customers::definition(&config.customers),
        manufacturing::definition(&config.manufacturing),
        shipping::definition(&config.shipping),
        payments::definition(&config.payments),
        notifications::definition(&config.notifications),
        catalog::definition(&config.catalog),
    ];
    of_the_mesh.into_iter().chain(config.additions.iter().map(Addition::definition)).collect()
}

/// The roles of this process. In a process that is a mesh by itself they answer for all partitions.
pub(crate) struct Roles {
    partitions: u32,
    instance: Arc<str>,
    addresses: Addresses,
    limits: LimitsConfig,
    log: Availability,
    owners: HashMap<&'static str, LocalOwner>,
    services: HashMap<&'static str, LocalOwner>,
    tasks: HashMap<&'static str, Tasks>,
    changes: watch::Sender<u64>,
}

impl Roles {
    /// Puts the gRPC services before the tasks of a runtime that was started with [`definitions`], or with some of them.
    pub(crate) fn new(
        config: &Config,
        runtime: &Runtime,
        watches: &Watches,
        addresses: Addresses,
        log: Availability,
    ) -> Self {
        let mut roles = Self {
            partitions: config.mesh.partitions,
            instance: Arc::from(config.mesh.instance.as_str()),
            addresses,
            limits: config.limits.clone(),
            log,
            owners: HashMap::new(),
            services: HashMap::new(),
            tasks: HashMap::new(),
            changes: watch::Sender::new(0),
        };
        roles.add(runtime, orders::SERVICE, |owner| orders::server(owner, watches, &config.orders));
        roles.add(runtime, validation::SERVICE, |owner| validation::server(owner, &config.validation));
        roles.add(runtime, inventory::SERVICE, |owner| inventory::server(owner, &config.inventory));
        roles.add(runtime, customers::SERVICE, |owner| customers::server(owner, &config.customers));
        roles.add(runtime, manufacturing::SERVICE, |owner| manufacturing::server(owner, &config.manufacturing));
        roles.add(runtime, shipping::SERVICE, |owner| shipping::server(owner, watches, &config.shipping));
        roles.add(runtime, payments::SERVICE, payments::server);
        roles.add(runtime, dead_letters::SERVICE, |owner| dead_letters::server(owner, &config.dead_letters));
        roles.add(runtime, notifications::SERVICE, |owner| notifications::server(owner, &config.notifications));
        roles.add(runtime, catalog::SERVICE, |owner| catalog::server(owner, &config.catalog));
        for addition in config.additions.iter() {
            roles.mount(runtime, addition.service(), |owner| addition.serve(owner, watches));
        }
        roles
    }

    fn add<S>(&mut self, runtime: &Runtime, role: &'static str, server: impl FnOnce(service_host::Owner) -> S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible> + NamedService,
        S: Clone + Send + std::marker::Sync + 'static,
        S::Future: Send,
    {
        self.mount(runtime, role, |owner| Served::by(server(owner)));
    }

    fn mount(&mut self, runtime: &Runtime, role: &'static str, serve: impl FnOnce(service_host::Owner) -> Served) {
        let Some(tasks) = runtime.tasks(role) else { return };
        self.tasks.insert(role, tasks.clone());
        let owner = service_host::Owner::new(tasks, self.instance.clone());
        let owner = owner.with_addresses(self.addresses.clone()).with_limits(self.limits.fields());
        let owner = owner.with_log(self.log.clone(), self.limits.log_wait_max);
        let Served { name, owner } = serve(owner);
        self.owners.insert(role, owner.clone());
        self.services.insert(name, owner);
    }

    /// Names of the gRPC services, for the health service.
    pub(crate) fn services(&self) -> Vec<&'static str> {
        self.services.keys().copied().collect()
    }

    /// Names of the roles.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.owners.keys().copied()
    }

    /// What answers for a role here.
    pub(crate) fn local(&self, role: &str) -> Option<LocalOwner> {
        self.owners.get(role).cloned()
    }

    /// The tasks of a role here.
    pub(crate) fn tasks(&self, role: &str) -> Option<&Tasks> {
        self.tasks.get(role)
    }

    /// A gRPC service by its name, such as `ordermesh.orders.v1.OrderService`.
    pub(crate) fn service(&self, name: &str) -> Option<&LocalOwner> {
        self.services.get(name)
    }
}

/// What the key of a piece of work names, for its span.
#[must_use]
pub fn key_name(work: &Work<'_>) -> KeyName {
    match (work.service, work.name) {
        (_, orders::topics::ORDERS_BY_CUSTOMER) => KeyName::Customer,
        (notifications::SERVICE, _) if work.operation == "process" => KeyName::Customer,
        (customers::SERVICE, _) => KeyName::Customer,
        (inventory::SERVICE, _) if work.operation != "timer" => KeyName::Product,
        (orders::SERVICE | validation::SERVICE | shipping::SERVICE, _) if work.operation != "timer" => KeyName::Order,
        (manufacturing::SERVICE, _) if work.operation != "timer" => KeyName::Order,
        (payments::SERVICE, _) if work.operation != "timer" => KeyName::Order,
        _ => KeyName::Other,
    }
}

impl Owners for Roles {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn partition_of(&self, key: &[u8]) -> u32 {
        partition_for_key(key, self.partitions)
    }

    fn owner(&self, role: &str, partition: u32) -> Result<Current, NoOwner> {
        if partition >= self.partitions {
            return Err(NoOwner);
        }
        let owner = self.local(role).map(Owner::Local).ok_or(NoOwner)?;
        Ok(Current { owner, claim: Claim { instance: self.instance.clone(), epoch: 0 } })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roles").field("partitions", &self.partitions).field("owners", &self.owners.keys()).finish()
    }
}
