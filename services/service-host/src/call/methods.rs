//! The methods that metrics and spans may name. What is not in the API is `_OTHER`, for callers can invent any number of
//! names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram};
use prost::Message;
use prost_types::FileDescriptorSet;

use crate::Api;

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
    /// Which of the servers of the process was called.
    door: &'static str,
    seconds: Histogram,
    ok: Counter,
}

impl std::fmt::Debug for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Methods {
    /// Every method of the API, of the server that is called `door`.
    pub(super) fn of(api: &Api, door: &'static str) -> Self {
        let sets = api.sets().map(|set| FileDescriptorSet::decode(set).expect("the compiler wrote a descriptor set"));
        let mut known = HashMap::new();
        for file in sets.flat_map(|set| set.file) {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    known.insert(format!("/{name}"), Method::new(name, door));
                }
            }
        }
        Self { known, other: Method::new(OTHER.to_owned(), door) }
    }

    pub(super) fn find(&self, path: &str) -> Method {
        self.known.get(path).unwrap_or(&self.other).clone()
    }
}

impl Method {
    fn new(name: String, door: &'static str) -> Self {
        let seconds = metrics::histogram!("ordermesh_rpc_duration_seconds", "method" => name.clone(), "door" => door);
        let ok = metrics::counter!("ordermesh_rpc_total", "method" => name.clone(), "code" => "OK", "door" => door);
        Self(Arc::new(Measured { name, door, seconds, ok }))
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
            let method = self.0.name.clone();
            metrics::counter!("ordermesh_rpc_total", "method" => method, "code" => code, "door" => self.0.door)
                .increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

    use super::*;

    #[test]
    fn methods_of_services_that_a_program_adds_have_their_names() {
        let method = MethodDescriptorProto { name: Some("Get".to_owned()), ..Default::default() };
        let service =
            ServiceDescriptorProto { name: Some("Points".to_owned()), method: vec![method], ..Default::default() };
        let file =
            FileDescriptorProto { package: Some("shop".to_owned()), service: vec![service], ..Default::default() };
        let added = FileDescriptorSet { file: vec![file] }.encode_to_vec().leak();
        let path = "/shop.Points/Get";
        assert_eq!(Methods::of(&Api::of_the_mesh(), "clients").find(path).name(), OTHER);
        let methods = Methods::of(&Api::of_the_mesh().and(added), "clients");
        assert_eq!((methods.find(path).name(), methods.find("/shop.Points/Set").name()), ("shop.Points/Get", OTHER));
        let own = "ordermesh.orders.v1.OrderService/GetOrder";
        assert_eq!(methods.find(&format!("/{own}")).name(), own);
    }
}
