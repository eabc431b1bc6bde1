//! Reports as messages and back. What an unknown version says of a role counts as nothing.

use proto::mesh::v1 as mesh;

use crate::{Report, RestoreReport, Role, TaskId, TaskReport};

pub(super) fn peer_report(report: &Report) -> mesh::PeerReport {
    let tasks = report.tasks.iter().map(|(task, told)| mesh::PeerTask {
        service: task.service.to_string(),
        partition: task.partition,
        role: role(told.role).into(),
        epoch: told.epoch,
        applied_offset: told.applied,
        lag_records: told.lag,
        warm: told.is_warm,
        restore_done_records: told.restore.map_or(0, |restore| restore.done),
        restore_all_records: told.restore.map_or(0, |restore| restore.all),
    });
    mesh::PeerReport {
        instance: report.instance.to_string(),
        address: report.address.clone(),
        life: report.life,
        sequence: report.sequence,
        leaving: report.is_leaving,
        tasks: tasks.collect(),
    }
}

pub(super) fn report(report: mesh::PeerReport) -> Report {
    let tasks = report.tasks.into_iter().map(|told| {
        let role = match told.role() {
            mesh::Role::Active => Role::Active,
            mesh::Role::Standby => Role::Standby,
            mesh::Role::Unspecified => Role::Idle,
        };
        let (epoch, applied, lag) = (told.epoch, told.applied_offset, told.lag_records);
        let task = TaskId::new(told.service, told.partition);
        let (done, all) = (told.restore_done_records, told.restore_all_records);
        let restore = (all > 0).then_some(RestoreReport { done, all });
        (task, TaskReport { role, epoch, applied, lag, is_warm: told.warm, restore })
    });
    Report {
        instance: report.instance.into(),
        address: report.address,
        life: report.life,
        sequence: report.sequence,
        is_leaving: report.leaving,
        tasks: tasks.collect(),
    }
}

fn role(role: Role) -> mesh::Role {
    match role {
        Role::Active => mesh::Role::Active,
        Role::Standby => mesh::Role::Standby,
        Role::Idle => mesh::Role::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_restore_arrives_and_no_restore_is_none() {
        let told = |restore| TaskReport { role: Role::Standby, epoch: 3, applied: 7, lag: 9, is_warm: false, restore };
        for restore in [None, Some(RestoreReport { done: 0, all: 5 }), Some(RestoreReport { done: 4, all: 5 })] {
            let sent = Report {
                instance: "a".into(),
                address: "a:1".to_owned(),
                life: 1,
                sequence: 2,
                is_leaving: false,
                tasks: [(TaskId::new("orders", 0), told(restore))].into(),
            };
            assert_eq!(report(peer_report(&sent)), sent);
        }
    }
}
