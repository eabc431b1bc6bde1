//! HTTP/2 frame by frame, for peers that do what no library would.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;
/// POST http://a/, all but the authority from the static table (RFC 7541, appendix A).
pub(super) const REQUEST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'a'];

/// A frame (RFC 9113, section 4.1).
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The next frame that the server sends: its kind, flags, stream and payload.
pub(super) async fn receive(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await?;
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
    connection.read_exact(&mut payload).await?;
    Ok((kind, flags, u32::from_be_bytes([s0, s1, s2, s3]), payload))
}

/// A connection, with what is first sent on it.
pub(super) async fn connect(address: SocketAddr, opening: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[]), opening].concat();
    stream.write_all(&preface).await.unwrap();
    stream
}
