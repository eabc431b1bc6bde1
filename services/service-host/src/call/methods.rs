//! The methods that metrics and spans may name. What is not in the API is `_OTHER`, for callers can invent any number of
//! names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram};
use prost::Message;
use prost_types::FileDescriptorSet;

/// Name of all methods that are not ours.
const OTHER: &str = "_OTHER";

#[derive(Debug)]
pub(super) struct Methods {
    known: HashMap<String, Method>,
    other: Method,
}

/// One method, with its metrics at hand.
#[derive(Debug, Clone)]
pub(crate) struct Method(Arc<Measured>);

struct Measured {
    /// `package.Service/Method`.
    name: String,
    seconds: Histogram,
    ok: Counter,
}

impl std::fmt::Debug for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Methods {
    /// Every method of the API.
    pub(super) fn of_the_api() -> Self {
        let files = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).expect("the compiler wrote a descriptor set");
        let mut known = HashMap::new();
        for file in &files.file {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    known.insert(format!("/{name}"), Method::new(name));
                }
            }
        }
        Self { known, other: Method::new(OTHER.to_owned()) }
    }

    pub(super) fn find(&self, path: &str) -> Method {
        self.known.get(path).unwrap_or(&self.other).clone()
    }
}

impl Method {
    fn new(name: String) -> Self {
        let seconds = metrics::histogram!("ordermesh_rpc_duration_seconds", "method" => name.clone());
        let ok = metrics::counter!("ordermesh_rpc_total", "method" => name.clone(), "code" => "OK");
        Self(Arc::new(Measured { name, seconds, ok }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn ended(&self, code: tonic::Code, took: Duration) {
        self.0.seconds.record(took.as_secs_f64());
        if code == tonic::Code::Ok {
            self.0.ok.increment(1);
        } else {
            let code = crate::Code::from(code).name();
            metrics::counter!("ordermesh_rpc_total", "method" => self.0.name.clone(), "code" => code).increment(1);
        }
    }
}
