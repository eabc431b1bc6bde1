//! Who may call what, and how often: the check of bearer tokens and of quotas at the entry.
//!
//! Always: what is not allowed to a caller is refused before its message is read, and nothing that is said or logged of it
//! holds a token. Health can be asked by anybody, since probes have no tokens; everything else needs one, reflection too.
//! Only calls of the public API count towards a quota.

use http::Request;
use service_host::access::{Holder, Role, Standing};
use service_host::{AccessTokens, Code, PeerAddress, Problem};
use tokio::time::Instant;
use tonic::body::Body;
use tracing::Span;

use crate::config::RateLimitConfig;
use crate::quota::{Caller, Quota};
use crate::table::Method;

/// gRPC's health service.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// Calls that the guard turned away.
const REFUSED: &str = "ordermesh_gateway_calls_refused_total";

/// Checks callers by their tokens and quotas, or by one of both.
#[derive(Debug)]
pub(crate) struct Guard {
    tokens: Option<AccessTokens>,
    quota: Option<Quota>,
}

impl Guard {
    /// None when there is nothing to check.
    pub(crate) fn new(tokens: Option<AccessTokens>, rate_limit: &RateLimitConfig) -> Option<Self> {
        let quota = Quota::new(rate_limit);
        if tokens.is_none() && quota.is_none() {
            return None;
        }
        metrics::describe_counter!(REFUSED, "calls that were turned away for their token or quota, by reason");
        Some(Self { tokens, quota })
    }

    /// Lets a call in, and says by what. `method` is none for what is not of the public API.
    ///
    /// # Errors
    /// UNAUTHENTICATED, PERMISSION_DENIED or RATE_LIMITED.
    pub(crate) fn admit(&self, request: &Request<Body>, method: Option<&Method>) -> Result<Option<Standing>, Problem> {
        let path = request.uri().path();
        if path.starts_with(HEALTH) {
            return Ok(None);
        }
        let authorised = self.tokens.as_ref().map(|tokens| authorised(tokens, request, method)).transpose();
        let admitted = authorised.and_then(|authorised| {
            let (holder, standing) = authorised.unzip();
            if let (Some(quota), Some(_)) = (&self.quota, method) {
                let caller = holder.map_or_else(|| caller_at(request), |holder: Holder| Caller::Holder(holder.name));
                quota.take(caller, Instant::now()).map_err(Problem::rate_limited)?;
            }
            Ok(standing)
        });
        admitted.inspect_err(|refused| {
            metrics::counter!(REFUSED, "reason" => refused.reason.clone()).increment(1);
            if refused.code != Code::PermissionDenied {
                // Not louder: whoever can connect could fill the log.
                tracing::debug!(path, reason = %refused.reason, "call is refused");
            }
        })
    }
}

/// The caller, if its token allows the call.
fn authorised(
    tokens: &AccessTokens,
    request: &Request<Body>,
    method: Option<&Method>,
) -> Result<(Holder, Standing), Problem> {
    let needed = method.map_or(Role::Read, |method| method.needed);
    let standing = tokens.standing(request.headers(), needed)?;
    let holder = standing.holder()?;
    Span::current().record("enduser.id", &*holder.name);
    if let Err(refused) = holder.may(needed) {
        let (caller, path) = (&*holder.name, request.uri().path());
        tracing::info!(caller, role = %holder.role, %needed, path, "call is refused");
        return Err(refused);
    }
    Ok((holder, standing))
}

fn caller_at(request: &Request<Body>) -> Caller {
    request.extensions().get::<PeerAddress>().map_or(Caller::Unknown, |peer| Caller::at(peer.0.ip()))
}
