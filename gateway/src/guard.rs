//! Who may call what: the check of bearer tokens at the entry.
//!
//! Always: what is not allowed to a caller is refused before its message is read, and nothing that is said or logged of it
//! holds a token. Health can be asked by anybody, since probes have no tokens; everything else needs one, reflection too.

use http::HeaderMap;
use service_host::access::Role;
use service_host::{AccessTokens, Code, Problem};
use tracing::Span;

use crate::table::Method;

/// gRPC's health service.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// Calls that the guard turned away.
const REFUSED: &str = "ordermesh_gateway_calls_refused_total";

/// Checks callers by their tokens.
#[derive(Debug, Clone)]
pub(crate) struct Guard(AccessTokens);

impl Guard {
    pub(crate) fn new(tokens: AccessTokens) -> Self {
        metrics::describe_counter!(REFUSED, "calls that were turned away for their token, by reason");
        Self(tokens)
    }

    /// Lets a call in. `method` is none for what is not of the public API.
    ///
    /// # Errors
    /// UNAUTHENTICATED or PERMISSION_DENIED.
    pub(crate) fn admit(&self, headers: &HeaderMap, path: &str, method: Option<&Method>) -> Result<(), Problem> {
        if path.starts_with(HEALTH) {
            return Ok(());
        }
        let admitted = self.0.holder(headers).and_then(|holder| {
            Span::current().record("enduser.id", &*holder.name);
            let needed = method.map_or(Role::Read, |method| method.needed);
            if holder.role >= needed {
                return Ok(());
            }
            let caller = &*holder.name;
            tracing::info!(caller, role = %holder.role, %needed, path, "call is refused");
            Err(Problem::role_missing(holder.role, needed))
        });
        admitted.inspect_err(|refused| {
            metrics::counter!(REFUSED, "reason" => refused.reason.clone()).increment(1);
            if refused.code == Code::Unauthenticated {
                // Not louder: whoever can connect could fill the log.
                tracing::debug!(path, reason = %refused.reason, "call is refused");
            }
        })
    }
}
