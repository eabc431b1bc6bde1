//! Reports as messages and back. What an unknown version says of a role counts as nothing.

use proto::mesh::v1 as mesh;

use crate::{Report, Role, TaskId, TaskReport};

pub(super) fn peer_report(report: &Report) -> mesh::PeerReport {
    let tasks = report.tasks.iter().map(|(task, told)| mesh::PeerTask {
        service: task.service.to_string(),
        partition: task.partition,
        role: role(told.role).into(),
        epoch: told.epoch,
        applied_offset: told.applied,
        lag_records: told.lag,
        warm: told.is_warm,
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
        (task, TaskReport { role, epoch, applied, lag, is_warm: told.warm })
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
