//! The broker of a campaign: a Kafka of several nodes, started and killed with `tools/kafka.sh`.
//!
//! Each node has a listener for the nodes themselves and this driver, and one for each instance, all of them behind proxies: so
//! a node can be cut off from everybody, and an instance from all nodes.
//!
//! Always: what was started is stopped when this is dropped, and nothing else is.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::proxy::Proxy;

/// A running Kafka.
#[derive(Debug)]
pub struct Kafka {
    script: PathBuf,
    folder: PathBuf,
    /// For each node, from node 1: the proxy of the nodes and the driver, then one for each instance.
    nodes: Vec<Vec<Proxy>>,
}

impl Kafka {
    /// Starts `nodes` nodes with their data under `folder`, for so many instances.
    ///
    /// # Errors
    /// When the script fails, with what it said.
    pub async fn start(script: &Path, folder: &Path, nodes: usize, instances: usize) -> anyhow::Result<Self> {
        let mut kafka = Self { script: script.to_owned(), folder: folder.to_owned(), nodes: Vec::new() };
        kafka.run(&["start", &kafka.folder_text(), &nodes.to_string()]).await?;
        let mut listeners = Vec::new();
        for node in 1..=nodes {
            let port: u16 = kafka.read(node, "port")?.parse().context("the port of a node")?;
            let mut ports = vec![port];
            ports.extend(free_ports(node, instances)?);
            let mut proxies = Vec::new();
            for port in &ports {
                proxies.push(Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).await?);
            }
            kafka.nodes.push(proxies);
            listeners.push(ports);
        }
        // The nodes must advertise the proxies, whose ports are known only now.
        for (node, ports) in (1..).zip(&listeners) {
            kafka.kill(node).await?;
            let file = kafka.folder.join(format!("{node}/server.properties"));
            let text = std::fs::read_to_string(&file)?;
            std::fs::write(&file, behind_proxies(&text, ports, &kafka.nodes[node - 1]))?;
        }
        let restarts = (1..=nodes).map(|node| kafka.restart(node));
        for restarted in futures::future::join_all(restarts).await {
            restarted?;
        }
        Ok(kafka)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Addresses of all nodes for this driver.
    pub fn bootstrap(&self) -> String {
        self.addresses(0)
    }

    /// Addresses of all nodes for an instance, by its number.
    pub fn bootstrap_of(&self, instance: usize) -> String {
        self.addresses(1 + instance)
    }

    fn addresses(&self, listener: usize) -> String {
        self.nodes.iter().map(|node| node[listener].address.to_string()).collect::<Vec<_>>().join(",")
    }

    /// The proxies before a node, by its number from 0.
    pub fn before_node(&self, node: usize) -> impl Iterator<Item = &Proxy> {
        self.nodes[node].iter()
    }

    /// The proxies before all nodes that an instance comes through, by its number.
    pub fn before_instance(&self, instance: usize) -> impl Iterator<Item = &Proxy> {
        self.nodes.iter().map(move |node| &node[1 + instance])
    }

    /// All proxies.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.nodes.iter().flatten()
    }

    /// Kills a node with -9.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self, node: usize) -> anyhow::Result<()> {
        self.run(&["kill", &self.folder_text(), &node.to_string()]).await.map(drop)
    }

    /// Starts a killed node again, and waits until it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&self, node: usize) -> anyhow::Result<()> {
        self.run(&["restart", &self.folder_text(), &node.to_string()]).await.map(drop)
    }

    /// Stops (SIGSTOP) or continues (SIGCONT) a node.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, node: usize, stop: bool) -> anyhow::Result<()> {
        let pid = self.read(node, "pid")?.parse().ok().and_then(Pid::from_raw).context("the process of a node")?;
        Ok(kill_process(pid, if stop { Signal::STOP } else { Signal::CONT })?)
    }

    /// The node that leads a partition now.
    ///
    /// # Errors
    /// When nobody says.
    pub async fn leader(&self, topic: &str, partition: u32) -> anyhow::Result<usize> {
        let arguments = ["tool", "topics", "--bootstrap-server", &self.bootstrap(), "--describe", "--topic", topic];
        let told = self.run(&arguments).await?;
        let wanted = format!("Partition: {partition}\t");
        let line = told.lines().find(|line| line.contains(&wanted)).context("the partition is not described")?;
        let (_, leader) = line.split_once("Leader: ").context("no leader is told")?;
        let node: usize = leader.split_whitespace().next().unwrap_or_default().parse().context("there is no leader")?;
        ensure!((1..=self.len()).contains(&node), "node {node} leads, which was not started here");
        Ok(node)
    }

    fn folder_text(&self) -> String {
        self.folder.display().to_string()
    }

    fn read(&self, node: usize, file: &str) -> anyhow::Result<String> {
        let path = self.folder.join(format!("{node}/{file}"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(text.trim().to_owned())
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.script);
        command.args(arguments).stdin(Stdio::null());
        let named = arguments.join(" ");
        let output = tokio::task::spawn_blocking(move || command.output()).await?;
        let output = output.with_context(|| format!("{} cannot be run", self.script.display()))?;
        if !output.status.success() {
            bail!("{} {named}: {}", self.script.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for node in 1..=self.len() {
            // A stopped process does not hear that it is to end.
            let _ = self.pause(node, false);
        }
        let _ = Command::new(&self.script).arg("stop").arg(&self.folder).stdin(Stdio::null()).output();
    }
}

/// Ports that are free now, and below those that outgoing connections are given: a node that is killed finds them free again.
fn free_ports(node: usize, count: usize) -> anyhow::Result<Vec<u16>> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // Apart from those of other nodes, which do not listen yet, and of other campaigns.
    let first = 12_000 + (std::process::id() as usize * 7 + node * 50) % 7_000;
    let ports: Vec<u16> =
        (first..20_000).filter_map(|port| u16::try_from(port).ok()).filter(is_free).take(count).collect();
    ensure!(ports.len() == count, "no ports are free above {first}");
    Ok(ports)
}

/// The properties of a node with a listener for each of these ports, advertised at the proxies before them.
fn behind_proxies(properties: &str, ports: &[u16], proxies: &[Proxy]) -> String {
    let name = |number: usize| if number == 0 { "PLAINTEXT".to_owned() } else { format!("INSTANCE{number}") };
    let more = || (1..).zip(&ports[1..]);
    let lines = properties.lines().map(|line| match line.split_once('=') {
        Some(("listeners", given)) => {
            let listeners = more().map(|(number, port)| format!(",{}://127.0.0.1:{port}", name(number)));
            format!("listeners={given}{}\n", listeners.collect::<String>())
        }
        Some(("advertised.listeners", _)) => {
            let advertised = proxies.iter().enumerate();
            let advertised = advertised.map(|(number, proxy)| format!("{}://{}", name(number), proxy.address));
            format!("advertised.listeners={}\n", advertised.collect::<Vec<_>>().join(","))
        }
        Some(("listener.security.protocol.map", given)) => {
            let map = more().map(|(number, _)| format!(",{}:PLAINTEXT", name(number)));
            format!("listener.security.protocol.map={given}{}\n", map.collect::<String>())
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}
