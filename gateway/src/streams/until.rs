//! When a stream must end that could go on: the process drains, or its caller's token is taken back.

use std::future::Future;
use std::pin::Pin;

use service_host::Problem;
use service_host::access::Standing;
use tokio_util::sync::CancellationToken;

/// The end of a stream, waited for as often as one likes.
pub(crate) struct Until(Pin<Box<dyn Future<Output = Problem> + Send>>);

impl Until {
    pub(crate) fn new(draining: CancellationToken, standing: Option<Standing>) -> Self {
        let lost = async move {
            match standing {
                Some(standing) => standing.lost().await,
                None => std::future::pending().await,
            }
        };
        Self(Box::pin(async move {
            tokio::select! {
                biased;
                () = draining.cancelled() => Problem::shutting_down(),
                problem = lost => problem,
            }
        }))
    }

    /// Returns at the end, with what to say. Not again after it has.
    pub(super) fn over(&mut self) -> impl Future<Output = Problem> + Send {
        self.0.as_mut()
    }
}
