//! `ordermesh topology`: the instances and tasks of a mesh as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, anyhow};
use proto::mesh::v1::topology_service_client::TopologyServiceClient;
use proto::mesh::v1::{
    GetTopologyRequest, InstanceState, Role, Topology, TopologyReplica, TopologyTask, WatchTopologyRequest,
};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::connect::{Bearer, TlsFlags, TokenFlags, broken};
use crate::dev::say;

/// How long the connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks a gateway and prints what it sees.
pub(crate) async fn run(address: &str, watch: bool, tls: &TlsFlags, token: &TokenFlags) -> anyhow::Result<()> {
    let mut client = client(address, tls, token).await?;
    let refused = |status: Status| refused(address, &status);
    if !watch {
        let answer = client.get_topology(GetTopologyRequest {}).await.map_err(refused)?.into_inner();
        say(table(&answer.topology.context("the answer is empty")?));
        return Ok(());
    }
    let mut answers = client.watch_topology(WatchTopologyRequest {}).await.map_err(refused)?.into_inner();
    while let Some(answer) = answers.message().await.map_err(refused)? {
        say(table(&answer.topology.unwrap_or_default()));
    }
    Ok(())
}

/// What asks a gateway for what it knows of the mesh.
pub(crate) type Client = TopologyServiceClient<InterceptedService<Channel, Bearer>>;

/// Connects to a gateway.
pub(crate) async fn client(address: &str, tls: &TlsFlags, token: &TokenFlags) -> anyhow::Result<Client> {
    let url = tls.url(address)?;
    let authorization = token.authorization(&url)?;
    let channel = tls.connect(&url, CONNECT_TIMEOUT).await?;
    Ok(TopologyServiceClient::with_interceptor(channel, Bearer(authorization)))
}

/// What is to be said when a gateway does not answer as wanted.
pub(crate) fn refused(address: &str, status: &Status) -> anyhow::Error {
    anyhow!("{address} does not show the topology: {}", broken(status).unwrap_or_else(|| status.message()))
}

/// Two tables: the instances, and for each service and partition who owns it with which epoch, and who follows.
fn table(topology: &Topology) -> String {
    let mut instances = vec![row(["INSTANCE", "STATE", "ACTIVE", "STANDBY", "ZONE", "BUILD", "ADDRESS"])];
    for instance in &topology.instances {
        let state = match instance.state() {
            InstanceState::Alive => "alive",
            InstanceState::Leaving => "leaving",
            InstanceState::Silent => "silent",
            InstanceState::Unspecified => "?",
        };
        let (active, standby) = (instance.active_tasks.to_string(), instance.standby_tasks.to_string());
        let known = [&instance.instance, state, &active, &standby, &instance.zone, &instance.build, &instance.address];
        instances.push(row(known));
    }
    let partitions: BTreeSet<i32> = topology.tasks.iter().map(|task| task.partition).collect();
    let mut services: BTreeMap<&str, BTreeMap<i32, &TopologyTask>> = BTreeMap::new();
    for task in &topology.tasks {
        services.entry(&task.service).or_default().insert(task.partition, task);
    }
    let mut tasks = vec![std::iter::once("SERVICE".to_owned()).chain(partitions.iter().map(i32::to_string)).collect()];
    for (service, of) in services {
        let cells = partitions.iter().map(|partition| of.get(partition).map_or_else(String::new, |task| cell(task)));
        tasks.push(std::iter::once(service.to_owned()).chain(cells).collect());
    }
    let generation = topology.generation;
    let seen_by =
        format!("seen by {}, generation {generation}; owner@epoch +standby (~ not warm, % restored)", topology.seen_by);
    format!("{}\n\n{}\n{seen_by}", aligned(&instances), aligned(&tasks))
}

fn cell(task: &TopologyTask) -> String {
    let owner = if task.owner.is_empty() { "-" } else { &task.owner };
    let standbys = task.replicas.iter().filter(|replica| replica.role() == Role::Standby);
    let standbys = standbys.map(|replica| format!(" +{}{}", replica.instance, warmth(replica)));
    format!("{owner}@{}{}", task.epoch, standbys.collect::<String>())
}

/// Nothing of one that could take over; of one that is being restored, how far it is.
fn warmth(replica: &TopologyReplica) -> String {
    let TopologyReplica { warm, restore_done_records: done, restore_all_records: all, .. } = *replica;
    match warm {
        true => String::new(),
        false if all > 0 => format!("~{}%", i128::from(done.clamp(0, all)) * 100 / i128::from(all)),
        false => "~".to_owned(),
    }
}

pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns as wide as their widest cell.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proto::mesh::v1::TopologyInstance;

    use super::*;

    #[test]
    fn a_topology_is_two_aligned_tables() {
        let instance = |name: &str, active| TopologyInstance {
            instance: name.to_owned(),
            address: "h:1".to_owned(),
            state: InstanceState::Alive.into(),
            build: "1".to_owned(),
            active_tasks: active,
            ..Default::default()
        };
        let follows = TopologyReplica { instance: "b".to_owned(), role: Role::Standby.into(), ..Default::default() };
        let (restore_done_records, restore_all_records) = (1_999, 3_000);
        let restores =
            TopologyReplica { instance: "c".to_owned(), restore_done_records, restore_all_records, ..follows.clone() };
        let task = TopologyTask {
            service: "orders".to_owned(),
            partition: 0,
            owner: "alpha".to_owned(),
            epoch: 3,
            replicas: vec![follows, restores],
        };
        let topology = Topology {
            seen_by: "b".to_owned(),
            generation: 2,
            partitions: 1,
            instances: vec![instance("alpha", 1), instance("b", 0)],
            tasks: vec![task],
        };
        let expected = "\
INSTANCE  STATE  ACTIVE  STANDBY  ZONE  BUILD  ADDRESS
alpha     alive  1       0              1      h:1
b         alive  0       0              1      h:1

SERVICE  0
orders   alpha@3 +b~ +c~66%
seen by b, generation 2; owner@epoch +standby (~ not warm, % restored)";
        assert_eq!(table(&topology), expected);
    }
}
