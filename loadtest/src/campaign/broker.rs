//! The broker of a campaign: a Kafka of several nodes, each behind a proxy, started and killed with `tools/kafka.sh`.
//!
//! Always: what was started is stopped when this is dropped, and nothing else is.

use std::net::SocketAddr;
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
    /// One proxy for each node, from node 1.
    pub proxies: Vec<Proxy>,
}

impl Kafka {
    /// Starts `nodes` nodes with their data under `folder`, and puts a proxy before each.
    ///
    /// # Errors
    /// When the script fails, with what it said.
    pub async fn start(script: &Path, folder: &Path, nodes: usize) -> anyhow::Result<Self> {
        let mut kafka = Self { script: script.to_owned(), folder: folder.to_owned(), proxies: Vec::new() };
        kafka.run(&["start", &kafka.folder_text(), &nodes.to_string()]).await?;
        for node in 1..=nodes {
            let port: u16 = kafka.read(node, "port")?.parse().context("the port of a node")?;
            kafka.proxies.push(Proxy::start(SocketAddr::from(([127, 0, 0, 1], port))).await?);
        }
        // The nodes must advertise the proxies, whose ports are known only now.
        for (node, proxy) in (1..).zip(&kafka.proxies) {
            kafka.kill(node).await?;
            let file = kafka.folder.join(format!("{node}/server.properties"));
            let text = std::fs::read_to_string(&file)?;
            let lines = text.lines().map(|line| match line.starts_with("advertised.listeners=") {
                true => format!("advertised.listeners=PLAINTEXT://{}\n", proxy.address),
                false => format!("{line}\n"),
            });
            std::fs::write(&file, lines.collect::<String>())?;
        }
        let restarts = (1..=nodes).map(|node| kafka.restart(node));
        for restarted in futures::future::join_all(restarts).await {
            restarted?;
        }
        Ok(kafka)
    }

    /// Addresses of all nodes, as instances are told.
    pub fn bootstrap(&self) -> String {
        self.proxies.iter().map(|proxy| proxy.address.to_string()).collect::<Vec<_>>().join(",")
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
        ensure!((1..=self.proxies.len()).contains(&node), "node {node} leads, which was not started here");
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
        for node in 1..=self.proxies.len() {
            // A stopped process does not hear that it is to end.
            let _ = self.pause(node, false);
        }
        let _ = Command::new(&self.script).arg("stop").arg(&self.folder).stdin(Stdio::null()).output();
    }
}
