//! Which part a task plays in this process, and the orders that change it while the process runs.

/// The part of one task in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It claims the task and processes.
    Active,
    /// It follows the changelog with a store of its own, serves reads that need no owner, and takes over quickly.
    Standby,
    /// It does nothing; what its store holds stays on the disk.
    Idle,
}

impl Role {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Idle => "idle",
        }
    }
}

/// Who says which tasks a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// Nobody else runs tasks: each is active here from the start, one that was fenced claims again, and calls wait while a
    /// task is restored.
    Alone,
    /// Membership does, through [`crate::Roster::assign`]. Each task begins with this role; one that was deposed becomes a
    /// standby and waits for the next order; calls to a task that is being restored are sent away.
    Managed(Role),
}

impl Assignment {
    pub(crate) fn initial(self) -> Role {
        match self {
            Self::Alone => Role::Active,
            Self::Managed(role) => role,
        }
    }
}

/// The newest order. The number tells whether another came after one that was found to be out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) role: Role,
    pub(crate) number: u64,
}
