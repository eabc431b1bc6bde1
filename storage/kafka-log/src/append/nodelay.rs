//! TCP_NODELAY for connections that rskafka makes and does not set it on.
//!
//! rskafka writes a request above 8 KiB in two pieces, and the kernel holds the end of the second back until the other side
//! acknowledges the first: 44 ms on loopback, at sizes that group commits make all the time. The crate gives nobody its
//! sockets, so they are found among the process's open files by the broker's port at their other end.

use crate::wire::cluster::Metadata;

/// Sets it on every connection of this process to a port of one of the brokers. It is called when a connection was made;
/// one that cannot be looked at or is gone meanwhile is left as it is.
#[cfg(target_os = "linux")]
pub(super) fn set(metadata: &Metadata) {
    let ports = metadata.brokers.values().filter_map(|address| address.rsplit_once(':')?.1.parse().ok());
    let ports: Vec<u16> = ports.collect();
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok());
    // The directory is read to its end before anything is looked at: its own descriptor is among the numbers.
    for number in numbers.collect::<Vec<i32>>() {
        linux::set_on(number, &ports);
    }
}

/// Elsewhere the connections stay as they are: large appends on loopback are slow there.
#[cfg(not(target_os = "linux"))]
pub(super) fn set(_metadata: &Metadata) {}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a socket that rskafka keeps to itself has to be borrowed by its number")]
mod linux {
    use std::net::SocketAddr;
    use std::os::fd::BorrowedFd;

    use rustix::net::{getpeername, sockopt};

    pub(super) fn set_on(number: i32, ports: &[u16]) {
        // SAFETY: the number is not -1, and it is used for two system calls that leave memory alone, never read, written or
        // closed. If its owner closes it before them they fail; if another file gets the number, that one is asked for its
        // peer in turn, and only a connection to a broker's port is changed, in a way that costs nobody anything.
        let socket = unsafe { BorrowedFd::borrow_raw(number) };
        let peer = getpeername(socket).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok());
        if peer.is_some_and(|peer| ports.contains(&peer.port())) {
            // Refused, the connection works all the same.
            let _ = sockopt::set_tcp_nodelay(socket, true);
        }
    }
}
