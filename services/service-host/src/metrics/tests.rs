//! One test, since a process has one recorder.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn metrics_are_shown_with_the_buckets_of_times_and_counts_and_the_process_itself() {
    let handle = install().unwrap();
    assert!(install().is_err(), "a second recorder is refused");
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, handle, shutdown.clone()));

    metrics::histogram!("ordermesh_test_seconds").record(0.000_07);
    for name in COUNTED {
        metrics::histogram!(name).record(7.0);
    }
    let response = ask(address, "/metrics").await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("ordermesh_test_seconds_bucket{le=\"0.00005\"} 0"), "{response}");
    assert!(response.contains("ordermesh_test_seconds_bucket{le=\"0.0001\"} 1"), "{response}");
    for name in COUNTED {
        assert!(response.contains(&format!("{name}_bucket{{le=\"5\"}} 0")), "{response}");
        assert!(response.contains(&format!("{name}_bucket{{le=\"10\"}} 1")), "{response}");
        assert!(!response.contains(&format!("{name}_bucket{{le=\"0.")), "{response}");
    }
    assert!(
        response.contains("process_resident_memory_bytes ") && response.contains("process_open_fds "),
        "{response}"
    );
    assert!(ask(address, "/").await.starts_with("HTTP/1.1 404"));

    shutdown.cancel();
    server.await.unwrap();
}
