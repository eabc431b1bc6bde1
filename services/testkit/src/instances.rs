//! Several instances of one mesh in this process, on one log in memory, with gateways on free ports and connections between
//! them as between machines. They are the production instances; only the log, and who says which of them there are, are the
//! test's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use event_log::MemoryLog;
use membership::{Assignor, Exchange, Member, Members, Peers, Role, Static, TaskId};
use ordermesh::{Config, Instance, Join, Membership, Security, Setup, definitions};
use service_host::{Clock, server};
use task_runtime::NoTracer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

/// Longest wait for anything to come about.
const PATIENCE: Duration = Duration::from_secs(60);

/// Instances that run.
#[derive(Debug)]
pub struct Instances {
    directory: TempDir,
    config: Config,
    log: MemoryLog,
    membership: Arc<Static>,
    members: Members,
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    instance: Instance,
    channel: Channel,
}

impl Instances {
    /// Starts instances with these names, and returns when each task has an owner.
    ///
    /// # Panics
    /// They do not start, which fails the test.
    pub async fn start(config: Config, names: &[&str]) -> Self {
        let assignor = Assignor { standbys: config.mesh.standbys, ..Assignor::default() };
        let membership = Arc::new(Static::new(assignor, config.mesh.partitions, Members::new()));
        let directory = tempfile::tempdir().expect("a test needs a temporary directory");
        let (log, members, running) = (MemoryLog::new(), Members::new(), BTreeMap::new());
        let mut this = Self { directory, config, log, membership, members, running };
        let mut listeners = Vec::new();
        for name in names {
            listeners.push(this.admit(name).await);
        }
        this.membership.replace(this.members.clone());
        for (name, listener) in names.iter().zip(listeners) {
            this.run(name, listener).await;
        }
        this.settled().await;
        this
    }

    /// Starts one more instance, or one that was stopped or killed, on the state that it left.
    ///
    /// # Panics
    /// It does not start.
    pub async fn add(&mut self, name: &str) {
        let listener = self.admit(name).await;
        self.membership.replace(self.members.clone());
        self.run(name, listener).await;
    }

    /// Stops an instance in an orderly way: it hands its tasks over and leaves.
    ///
    /// # Panics
    /// There is none of this name.
    pub async fn stop(&mut self, name: &str) {
        let stopped = self.running.remove(name).expect("the instance runs");
        stopped.instance.stop().await;
        self.members.remove(name);
        self.membership.replace(self.members.clone());
    }

    /// Ends an instance without a word. It stays a member, as it does in a group until its session is over.
    ///
    /// # Panics
    /// There is none of this name.
    pub async fn kill(&mut self, name: &str) {
        let killed = self.running.remove(name).expect("the instance runs");
        killed.instance.abandon().await;
    }

    /// A connection to the gateway of an instance.
    ///
    /// # Panics
    /// There is none of this name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Channel {
        self.running[name].channel.clone()
    }

    /// Where the gateway of an instance listens.
    ///
    /// # Panics
    /// There is none of this name.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        self.running[name].instance.address()
    }

    /// What an instance hears of the others.
    ///
    /// # Panics
    /// There is none of this name.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Exchange {
        self.running[name].instance.exchange().clone()
    }

    /// Returns when every instance sees what is suggested, and standbys are warm.
    ///
    /// # Panics
    /// It does not come about.
    pub async fn settled(&self) {
        let suggestion = self.membership.suggestions().borrow().clone();
        let as_suggested = |peers: &Peers, task: &TaskId, owner: &str| {
            let is_owned = peers.owner(task).is_some_and(|(of, _)| &*of.instance == owner);
            let standbys = suggestion.placement.standbys.get(task).into_iter().flatten();
            let follows = |id: &Arc<str>| {
                let told = peers.reports(tokio::time::Instant::now()).find(|(report, _)| report.instance == *id);
                let told = told.and_then(|(report, _)| report.tasks.get(task).copied());
                told.is_some_and(|told| told.role == Role::Standby && told.is_warm)
            };
            is_owned && standbys.into_iter().all(follows)
        };
        for (name, running) in &self.running {
            let exchange = running.instance.exchange();
            let mut changes = exchange.changes();
            let settled = async {
                while !exchange.look(|peers, _| {
                    suggestion.placement.active.iter().all(|(task, owner)| as_suggested(peers, task, owner))
                }) {
                    let _ = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await;
                }
            };
            let in_time = tokio::time::timeout(PATIENCE, settled).await;
            assert!(in_time.is_ok(), "{name} sees {:?}", exchange.look(|peers, _| peers.placement()));
        }
    }

    async fn admit(&mut self, name: &str) -> TcpListener {
        let listener = server::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port can be bound");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let member = Member { address, zone: String::new(), build: "test".to_owned(), services: self.services() };
        self.members.insert(name.into(), member);
        listener
    }

    fn services(&self) -> BTreeSet<Arc<str>> {
        definitions(&self.config).iter().map(|definition| definition.service().into()).collect()
    }

    async fn run(&mut self, name: &str, peers: TcpListener) {
        let mut config = self.config.clone();
        config.mesh.data = self.directory.path().join(name);
        config.mesh.instance = name.to_owned();
        let listener = server::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port can be bound");
        let security = Security::open(&config).expect("the files that the configuration names can be used");
        let setup = Setup { config, security, listener, clock: Clock::system(), tracer: Arc::new(NoTracer) };
        let join = Join {
            log: Arc::new(self.log.clone()),
            membership: Membership::Static(self.membership.clone()),
            peers,
            services: self.services(),
        };
        let instance = Instance::join(setup, join).await.expect("an instance starts");
        instance.running().await.expect("its tasks can be restored");
        let endpoint = Endpoint::from_shared(format!("http://{}", instance.address())).expect("an address is a URI");
        let channel = endpoint.connect().await.expect("an instance takes connections");
        self.running.insert(name.to_owned(), Running { instance, channel });
    }
}
