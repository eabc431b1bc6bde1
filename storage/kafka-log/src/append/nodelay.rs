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
    linux::for_each(&ports.collect::<Vec<u16>>(), |socket| {
        // Refused, the connection works all the same.
        let _ = rustix::net::sockopt::set_tcp_nodelay(socket, true);
    });
}

/// Elsewhere the connections stay as they are: large appends on loopback are slow there.
#[cfg(not(target_os = "linux"))]
pub(super) fn set(_metadata: &Metadata) {}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a socket that rskafka keeps to itself has to be borrowed by its number")]
mod linux {
    use std::net::SocketAddr;
    use std::os::fd::BorrowedFd;

    use rustix::net::getpeername;

    /// Does something to every connection of this process to one of these ports.
    pub(super) fn for_each(ports: &[u16], mut act: impl FnMut(BorrowedFd<'_>)) {
        let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return };
        let numbers = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok());
        // The directory is read to its end before anything is looked at: its own descriptor is among the numbers.
        for number in numbers.collect::<Vec<i32>>() {
            // SAFETY: the number is not -1, and it is used for two system calls that leave memory alone, never read, written or
            // closed. If its owner closes it before them they fail; if another file gets the number, that one is asked for its
            // peer in turn, and only a connection to a broker's port is changed, in a way that costs nobody anything.
            let socket = unsafe { BorrowedFd::borrow_raw(number) };
            let peer = getpeername(socket).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok());
            if peer.is_some_and(|peer| ports.contains(&peer.port())) {
                act(socket);
            }
        }
    }
}

/// Whether it is set, of each connection of this process to a port.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn of(port: u16) -> Vec<bool> {
    let mut found = Vec::new();
    linux::for_each(&[port], |socket| {
        found.push(rustix::net::sockopt::tcp_nodelay(socket).expect("a socket has the option"))
    });
    found
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_to_brokers_wait_for_no_acknowledgement_and_others_stay_as_they_are() {
        let [broker, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [to_broker, to_other] =
            [&broker, &other].map(|listener| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let address = broker.local_addr().unwrap().to_string();
        set(&Metadata { brokers: [(0, address)].into(), ..Metadata::default() });
        assert!(to_broker.nodelay().unwrap());
        assert!(!to_other.nodelay().unwrap());
    }
}
