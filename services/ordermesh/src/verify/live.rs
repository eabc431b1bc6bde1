//! The stores of a mesh that runs: every replica of every task beside the others, and beside its changelog where that can be read.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{Changelogs, Config};
use anyhow::{Context, bail};
use proto::mesh::v1::{GetDigestsRequest, GetDigestsResponse, GetTopologyRequest, Role, Topology};
use tonic::{Request, Status};

use super::compare::{Replica, Told, Verdict, role};
use crate::connect::{TlsFlags, TokenFlags};
use crate::dev::say;
use crate::topology::{self, Client, aligned, row};

/// How often replicas are asked again, all services together, that did not stand at one offset when they were asked.
const ROUNDS_MAX: usize = 100;
/// How often a service's changelogs are asked: what a replica needs may be trimmed away meanwhile, but not time after time.
const REBUILDS_MAX: usize = 3;
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(250);
/// How long an answer may take. An instance that does not answer the one that is asked holds it up.
const ANSWER_WAIT: Duration = Duration::from_secs(15);

/// Compares, and prints what was found; an error unless every replica agrees.
pub(super) async fn run(mut config: Config, addr: &str, tls: &TlsFlags, token: &TokenFlags) -> anyhow::Result<()> {
    let mut mesh = Mesh { client: topology::client(addr, tls, token).await?, addr, rounds_left: ROUNDS_MAX };
    let topology = mesh.topology().await?;
    config.mesh.partitions = u32::try_from(topology.partitions).unwrap_or_default();
    let changelogs = match config.kafka.brokers.is_empty() {
        true => None,
        false => Some(Changelogs::of_brokers(&config).await?),
    };
    let services: BTreeSet<&String> = topology.tasks.iter().map(|task| &task.service).collect();
    let mut rows = vec![row(["TASK", "INSTANCE", "ROLE", "EPOCH", "OFFSET", "ROWS", "DIGEST", ""])];
    let (mut all, mut bad, mut unknown, mut silent) = (0_usize, 0_usize, 0_usize, BTreeSet::new());
    for service in services {
        let Findings { told, replicas, unreachable } = mesh.compare(service, changelogs.as_ref()).await?;
        silent.extend(unreachable);
        for replica in replicas {
            let verdict = told.verdict(&replica);
            all += 1;
            bad += usize::from(verdict.is_bad());
            unknown += usize::from(!verdict.is_bad() && !verdict.is_good());
            rows.push(line(service, &replica, &told, &verdict));
        }
    }
    say(aligned(&rows));
    judge(all, bad, unknown, &silent)?;
    match changelogs {
        Some(_) => say(format_args!("{all} replicas hold what their changelogs say")),
        None => say(format_args!("{all} replicas agree; --brokers compares them with their changelogs too")),
    }
    Ok(())
}

/// Whether this ends well, and what to do if not.
fn judge(all: usize, bad: usize, unknown: usize, silent: &BTreeSet<String>) -> anyhow::Result<()> {
    if bad > 0 {
        bail!(
            "{bad} of {all} replicas do not hold what they must: stop the instance, and `ordermesh state verify --data` with --brokers \
             says whether its stores are at fault. Those are made anew when its directory `state` is deleted"
        );
    }
    if !silent.is_empty() {
        bail!("these instances do not answer, so that not everything was compared: {}", join(silent));
    }
    if unknown > 0 || all == 0 {
        bail!(
            "{unknown} of {all} replicas could not be compared: name the --brokers; of a mesh on a log of its own, stop the process and \
             look at its directory with --data"
        );
    }
    Ok(())
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A mesh, by one of its gateways.
struct Mesh<'a> {
    client: Client,
    addr: &'a str,
    rounds_left: usize,
}

/// What was found of one service.
struct Findings {
    told: Told,
    replicas: BTreeSet<Replica>,
    unreachable: Vec<String>,
}

impl Mesh<'_> {
    /// Asks the replicas of a service until each of them has been compared, or has been asked often enough.
    async fn compare(&mut self, service: &str, changelogs: Option<&Changelogs>) -> anyhow::Result<Findings> {
        let mut told = Told::default();
        let mut rebuilds_left = REBUILDS_MAX;
        loop {
            let GetDigestsResponse { digests, unreachable } = self.digests(service).await?;
            told.add(digests);
            // Looked at again each time: tasks may move meanwhile.
            let replicas = replicas(&self.topology().await?, service);
            if let Some(changelogs) = changelogs {
                rebuilds_left -= 1;
                let partitions: BTreeSet<i32> = replicas.iter().map(|(partition, _)| *partition).collect();
                for partition in partitions {
                    rebuild(&mut told, changelogs, service, partition).await;
                }
            }
            let is_done = |replica: &Replica| {
                let is_alone = changelogs.is_none() && replicas.iter().filter(|(of, _)| *of == replica.0).count() < 2;
                is_alone || !matches!(told.verdict(replica), Verdict::Unknown(_))
            };
            if self.rounds_left == 0 || rebuilds_left == 0 || replicas.iter().all(is_done) {
                return Ok(Findings { told, replicas, unreachable });
            }
            self.rounds_left -= 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn digests(&mut self, service: &str) -> anyhow::Result<GetDigestsResponse> {
        let request = within(GetDigestsRequest { service: service.to_owned() });
        let answer = self.client.get_digests(request).await;
        Ok(answer.map_err(|status| self.refused(&status))?.into_inner())
    }

    async fn topology(&mut self) -> anyhow::Result<Topology> {
        let answer = self.client.get_topology(within(GetTopologyRequest {})).await;
        let answer = answer.map_err(|status| self.refused(&status))?.into_inner();
        answer.topology.context("the answer is empty")
    }

    fn refused(&self, status: &Status) -> anyhow::Error {
        topology::refused(self.addr, status)
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_WAIT);
    request
}

/// Everybody who has a role for a task of the service. A task that nobody has shows as one of nobody.
fn replicas(topology: &Topology, service: &str) -> BTreeSet<Replica> {
    let tasks = || topology.tasks.iter().filter(|task| task.service == service);
    let told = tasks().flat_map(|task| {
        let has_role = task.replicas.iter().filter(|replica| replica.role() != Role::Unspecified);
        has_role.map(|replica| (task.partition, replica.instance.clone()))
    });
    let mut replicas: BTreeSet<Replica> = told.collect();
    let with_one: BTreeSet<i32> = replicas.iter().map(|(partition, _)| *partition).collect();
    let without = (0..topology.partitions).filter(|partition| !with_one.contains(partition));
    replicas.extend(without.map(|partition| (partition, String::new())));
    replicas
}

/// Asks the changelog of a task what its replicas must hold.
async fn rebuild(told: &mut Told, changelogs: &Changelogs, service: &str, partition: i32) {
    let offsets = told.unproven(partition);
    if offsets.is_empty() {
        return;
    }
    let offsets = offsets.into_iter().map(|offset| u64::try_from(offset).unwrap_or_default()).collect();
    match changelogs.rebuild(service, u32::try_from(partition).unwrap_or_default(), offsets).await {
        Ok(all) => {
            for rebuilt in all {
                let offset = i64::try_from(rebuilt.offset).unwrap_or_default();
                told.rebuilt(partition, offset, format!("{:032x}", rebuilt.digest));
            }
        }
        Err(problem) => told.cannot_rebuild(partition, problem),
    }
}

fn line(service: &str, replica: &Replica, told: &Told, verdict: &Verdict) -> Vec<String> {
    let (partition, instance) = replica;
    let verdict = match verdict {
        Verdict::AsRebuilt => "ok".to_owned(),
        Verdict::As(others) => format!("as {}", others.join(", ")),
        Verdict::DiffersFromChangelog => "DIFFERS from its changelog".to_owned(),
        Verdict::DiffersFrom(other) => format!("DIFFERS from {other}"),
        Verdict::Unknown(why) => format!("not compared: {why}"),
    };
    let task = format!("{service}/{partition}");
    let instance = if instance.is_empty() { "-" } else { instance };
    let Some(last) = told.last(replica) else {
        return row([&task, instance, "", "", "", "", "", &verdict]);
    };
    let (epoch, offset, rows) = (last.epoch.to_string(), last.applied_offset.to_string(), last.rows.to_string());
    // Half of it is enough to tell two apart by eye.
    let digest = last.digest.get(..16).unwrap_or(&last.digest);
    row([&task, instance, role(last), &epoch, &offset, &rows, digest, &verdict])
}

#[cfg(test)]
mod tests {
    use proto::mesh::v1::{TopologyReplica, TopologyTask};

    use super::*;

    #[test]
    fn it_ends_well_only_if_everything_was_compared_and_agrees() {
        let nobody = BTreeSet::new();
        judge(8, 0, 0, &nobody).unwrap();
        let refused = |all, bad, unknown, silent: &[&str]| {
            let silent = silent.iter().map(|name| (*name).to_owned()).collect();
            judge(all, bad, unknown, &silent).unwrap_err().to_string()
        };
        assert!(refused(8, 1, 2, &["c"]).contains("1 of 8 replicas do not hold"));
        assert!(refused(8, 0, 0, &["c"]).contains("do not answer"));
        assert!(refused(8, 0, 2, &[]).contains("2 of 8 replicas could not be compared"));
        assert!(refused(0, 0, 0, &[]).contains("0 of 0"));
    }

    #[test]
    fn a_task_that_nobody_has_is_not_forgotten() {
        let replica =
            TopologyReplica { instance: "a".to_owned(), role: Role::Active.into(), ..TopologyReplica::default() };
        let task =
            TopologyTask { service: "orders".to_owned(), partition: 1, replicas: vec![replica], ..Default::default() };
        let topology = Topology { partitions: 2, tasks: vec![task], ..Default::default() };
        let expected = BTreeSet::from([(0, String::new()), (1, "a".to_owned())]);
        assert_eq!(replicas(&topology, "orders"), expected);
    }
}
