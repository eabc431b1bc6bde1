//! Request bodies in every cut, whole and damaged.

use futures::FutureExt;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

const BYTES_MAX: usize = 4096;

fn parts(pieces: Vec<Vec<u8>>) -> Body {
    let frames = pieces.into_iter().map(|piece| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(piece))));
    Body::new(StreamBody::new(futures::stream::iter(frames)))
}

fn read(pieces: Vec<Vec<u8>>, memory: &Memory) -> Result<Message, Problem> {
    // Bodies made of pieces never wait.
    Message::read(&HeaderMap::new(), parts(pieces), memory, BYTES_MAX).now_or_never().unwrap()
}

fn memory() -> Memory {
    Memory::new(64 * 1024)
}

#[test]
fn a_message_is_read_however_it_is_cut() {
    let whole = frame(b"some message").to_vec();
    for cut in 0..=whole.len() {
        let message = read(vec![whole[..cut].to_vec(), whole[cut..].to_vec()], &memory()).unwrap();
        assert_eq!(message.payload(), b"some message");
        assert_eq!(message.frame(), whole);
    }
    let bytes = whole.iter().map(|byte| vec![*byte]).collect();
    assert_eq!(read(bytes, &memory()).unwrap().payload(), b"some message");
    assert_eq!(read(vec![frame(b"").to_vec()], &memory()).unwrap().payload(), b"");
}

#[test]
fn bodies_that_are_no_single_message_are_invalid() {
    let whole = frame(b"some message").to_vec();
    let two = [whole.clone(), whole.clone()].concat();
    for pieces in
        [vec![], vec![vec![]], vec![whole[..3].to_vec()], vec![whole[..9].to_vec()], vec![two], vec![vec![7; 20]]]
    {
        let problem = read(pieces.clone(), &memory()).unwrap_err();
        assert_eq!((problem.code, problem.reason.as_ref()), (Code::InvalidArgument, "INVALID_FIELD"), "{pieces:?}");
    }
}

#[test]
fn too_large_messages_are_refused_by_their_prefix_alone() {
    assert_eq!(read(vec![frame(&[0; BYTES_MAX]).to_vec()], &memory()).unwrap().payload().len(), BYTES_MAX);
    let too_large = [0_u8].into_iter().chain(4097_u32.to_be_bytes()).collect::<Vec<_>>();
    let problem = read(vec![too_large], &memory()).unwrap_err();
    assert_eq!((problem.code, problem.reason.as_ref()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(problem.metadata["limit_bytes"], "4096");
}

#[test]
fn compressed_messages_are_refused_as_grpc_wants_it() {
    let headers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip"))]);
    let body = parts(vec![frame(b"m").to_vec()]);
    let problem = Message::read(&headers, body, &memory(), BYTES_MAX).now_or_never().unwrap().unwrap_err();
    assert_eq!((problem.code, problem.reason.as_ref()), (Code::Unimplemented, UNSUPPORTED_COMPRESSION));

    let problem = read(vec![vec![1, 0, 0, 0, 1, 0]], &memory()).unwrap_err();
    assert_eq!((problem.code, problem.reason.as_ref()), (Code::Internal, UNSUPPORTED_COMPRESSION));
}

#[test]
fn memory_is_bounded_and_given_back() {
    let memory = Memory::new(8 * 1024);
    let large = || read(vec![frame(&[0; 4000]).to_vec()], &memory);
    let held = [large().unwrap(), large().unwrap()];
    assert_eq!(large().unwrap_err().reason, "OVERLOADED");
    drop(held);
    assert!(large().is_ok());
}

#[test]
fn what_is_announced_takes_no_memory_before_it_comes() {
    let memory = Memory::new(8 * 1024);
    // As much as there is, announced by each of them.
    let announced = [vec![0], 4000_u32.to_be_bytes().to_vec()].concat();
    let mut begun: Vec<_> = (0..4)
        .map(|_| {
            let pieces = [announced.clone(), vec![0; 100]].into_iter();
            let pieces = pieces.map(|piece| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(piece))));
            let pieces = futures::StreamExt::chain(futures::stream::iter(pieces), futures::stream::pending());
            let memory = memory.clone();
            Box::pin(async move {
                Message::read(&HeaderMap::new(), Body::new(StreamBody::new(pieces)), &memory, BYTES_MAX).await
            })
        })
        .collect();
    assert!(begun.iter_mut().all(|reading| reading.now_or_never().is_none()), "none is refused, and none is whole");
    let whole = read(vec![frame(&[0; 4000]).to_vec()], &memory);
    assert_eq!(whole.unwrap().payload().len(), 4000);
    // What has come is counted: 1 KiB of each is the least.
    let large = || read(vec![frame(&[0; 4000]).to_vec()], &memory);
    let held = large().unwrap();
    assert_eq!(large().unwrap_err().reason, "OVERLOADED");
    drop((held, begun));
    assert!([large(), large()].iter().all(Result::is_ok), "what breaks off gives its memory back");
}
