//! The methods of the public API with what the gateway has to know of each, read from the descriptors at start: what is
//! not annotated is refused then, not when the first caller comes.

use std::collections::{HashMap, HashSet};
use std::fmt;

use http::Uri;
use metrics::Counter;
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, ExtensionDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

use service_host::access::Role;

use crate::StartError;

/// Calls that were sent to an owner once more.
const RETRIES: &str = "ordermesh_gateway_retries_total";

/// Where a field stands in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldPath {
    /// As people write it: `order.order_id`.
    pub(crate) text: String,
    /// Field numbers from the outside in.
    pub(crate) numbers: Vec<u32>,
}

/// Which task answers a method.
#[derive(Debug)]
pub(crate) enum Routing {
    /// The owner of the key.
    Key {
        path: FieldPath,
        /// Holds the key when there is none at `path`.
        alternative: Option<FieldPath>,
        generate: bool,
    },
    /// All, page by page.
    AllPartitions(ListShape),
    /// All, as one stream.
    AllStreams(StreamShape),
    /// This instance, whatever it owns.
    ThisInstance,
}

/// Field numbers of a watch's request and response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamShape {
    /// `resume_token` of the request.
    pub(crate) request_token: u32,
    pub(crate) resume_token: u32,
    pub(crate) snapshot_complete: u32,
}

/// Field numbers of a list's request and response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListShape {
    pub(crate) page_size: u32,
    pub(crate) page_token: u32,
    pub(crate) require_complete: u32,
    pub(crate) items: u32,
    pub(crate) next_page_token: u32,
    pub(crate) unreachable: u32,
}

/// One method.
pub(crate) struct Method {
    /// As it is called: `/ordermesh.orders.v1.OrderService/GetOrder`.
    pub(crate) uri: Uri,
    /// The role whose tasks answer it.
    pub(crate) role: String,
    pub(crate) routing: Routing,
    /// Field number of `request_id`, where the method has one.
    pub(crate) request_id: Option<u32>,
    /// Field number of how fresh the answer must be, where the method asks.
    pub(crate) consistency: Option<u32>,
    /// Repeating it changes nothing.
    pub(crate) no_side_effects: bool,
    pub(crate) server_streaming: bool,
    /// What a caller must be allowed to.
    pub(crate) needed: Role,
    pub(crate) retries: Counter,
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method").field("uri", &self.uri).field("routing", &self.routing).finish_non_exhaustive()
    }
}

/// All methods by path.
#[derive(Debug)]
pub(crate) struct Table {
    methods: HashMap<String, Method>,
    /// Services that instances have for each other.
    internal: HashSet<String>,
}

/// Where the services stand that are about the mesh itself, not about what is traded on it.
const OF_THE_MESH: &str = "ordermesh.mesh.";

impl Table {
    /// Reads a serialised `FileDescriptorSet` with its options.
    pub(crate) fn new(descriptors: &[u8]) -> Result<Self, StartError> {
        metrics::describe_counter!(RETRIES, "calls that were sent to an owner once more, by method");
        let pool = DescriptorPool::decode(descriptors).map_err(StartError::Descriptors)?;
        let annotations = Annotations {
            routing: extension(&pool, "ordermesh.options.v1.routing")?,
            role: extension(&pool, "ordermesh.options.v1.role")?,
        };
        let internal = extension(&pool, "ordermesh.options.v1.internal")?;
        let is_public =
            |service: &ServiceDescriptor| service.options().get_extension(&internal).as_bool() != Some(true);
        let internal_services = pool.services().filter(|service| !is_public(service));
        let internal_services = internal_services.map(|service| service.full_name().to_owned()).collect();
        let methods = pool.services().filter(is_public).flat_map(|service| service.methods().collect::<Vec<_>>());
        let methods = methods.map(|method| {
            let method = annotations.method(&method)?;
            Ok((method.uri.path().to_owned(), method))
        });
        Ok(Self { methods: methods.collect::<Result<_, _>>()?, internal: internal_services })
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Method> {
        self.methods.get(path)
    }

    /// Whether a path is of a service that instances have for each other.
    pub(crate) fn is_internal(&self, path: &str) -> bool {
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        self.internal.contains(service)
    }

    pub(crate) fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.values()
    }
}

struct Annotations {
    routing: ExtensionDescriptor,
    role: ExtensionDescriptor,
}

impl Annotations {
    fn method(&self, method: &MethodDescriptor) -> Result<Method, StartError> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let refuse = |reason: &str| StartError::Method { method: path.clone(), reason: reason.to_owned() };
        if method.is_client_streaming() {
            return Err(refuse("streams of requests cannot be routed"));
        }
        let role = method.parent_service().options().get_extension(&self.role).as_str().unwrap_or_default().to_owned();
        if role.is_empty() {
            return Err(refuse("its service has no option (ordermesh.options.v1.role)"));
        }
        let options = method.options();
        if !options.has_extension(&self.routing) {
            return Err(refuse("it has no option (ordermesh.options.v1.routing)"));
        }
        let routing = options.get_extension(&self.routing);
        let routing = routing.as_message().ok_or_else(|| refuse("its routing is no message"))?;
        let request = method.input();
        let routing = match (text(routing, "key"), flag(routing, "all_partitions")) {
            (key, false) if key.is_empty() && flag(routing, "this_instance") => Routing::ThisInstance,
            (key, false) if !key.is_empty() => {
                let path = key_path(&request, &key).ok_or_else(|| refuse("its key is no text field of the request"))?;
                let alternative = match text(routing, "alternative_key") {
                    none if none.is_empty() => None,
                    other => Some(
                        key_path(&request, &other)
                            .ok_or_else(|| refuse("its other key is no text field of the request"))?,
                    ),
                };
                Routing::Key { path, alternative, generate: flag(routing, "generate_key") }
            }
            (key, true) if key.is_empty() && !method.is_server_streaming() => {
                let shape = list_shape(&request, &method.output());
                Routing::AllPartitions(shape.ok_or_else(|| refuse("it does not have the fields of a list"))?)
            }
            (key, true) if key.is_empty() => {
                let shape = stream_shape(&request, &method.output());
                Routing::AllStreams(shape.ok_or_else(|| refuse("it does not have the fields of a watch"))?)
            }
            _ => return Err(refuse("it needs one of key, all_partitions and this_instance")),
        };
        let level = method.method_descriptor_proto().options.as_ref().map(|options| options.idempotency_level());
        let no_side_effects = level == Some(IdempotencyLevel::NoSideEffects);
        let needed = match method.parent_service().package_name().starts_with(OF_THE_MESH) {
            _ if no_side_effects => Role::Read,
            true => Role::Operate,
            false => Role::Write,
        };
        Ok(Method {
            role,
            needed,
            routing,
            request_id: request.get_field_by_name("request_id").map(|field| field.number()),
            consistency: request.get_field_by_name("consistency").map(|field| field.number()),
            no_side_effects,
            server_streaming: method.is_server_streaming(),
            retries: metrics::counter!(RETRIES, "method" => path.trim_start_matches('/').to_owned()),
            uri: Uri::try_from(&path).map_err(|_| refuse("its name cannot be a path"))?,
        })
    }
}

fn extension(pool: &DescriptorPool, name: &str) -> Result<ExtensionDescriptor, StartError> {
    pool.get_extension_by_name(name).ok_or_else(|| StartError::Extension(name.to_owned()))
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn flag(message: &DynamicMessage, field: &str) -> bool {
    message.get_field_by_name(field).and_then(|value| value.as_bool()).unwrap_or_default()
}

fn key_path(request: &MessageDescriptor, text: &str) -> Option<FieldPath> {
    let mut numbers = Vec::new();
    let mut message = Some(request.clone());
    for name in text.split('.') {
        let field = message?.get_field_by_name(name)?;
        if field.cardinality() == Cardinality::Repeated {
            return None;
        }
        numbers.push(field.number());
        message = match field.kind() {
            Kind::Message(inner) => Some(inner),
            Kind::String => None,
            _ => return None,
        };
    }
    message.is_none().then(|| FieldPath { text: text.to_owned(), numbers })
}

fn list_shape(request: &MessageDescriptor, response: &MessageDescriptor) -> Option<ListShape> {
    let number = |message: &MessageDescriptor, name: &str| Some(message.get_field_by_name(name)?.number());
    let mut items = response
        .fields()
        .filter(|field| field.is_list() && matches!(field.kind(), Kind::Message(_)) && field.name() != "served_by");
    let items = items.next().filter(|_| items.next().is_none())?.number();
    Some(ListShape {
        page_size: number(request, "page_size")?,
        page_token: number(request, "page_token")?,
        require_complete: number(request, "require_complete")?,
        items,
        next_page_token: number(response, "next_page_token")?,
        unreachable: number(response, "unreachable")?,
    })
}

fn stream_shape(request: &MessageDescriptor, response: &MessageDescriptor) -> Option<StreamShape> {
    let number = |message: &MessageDescriptor, name: &str| Some(message.get_field_by_name(name)?.number());
    Some(StreamShape {
        request_token: number(request, "resume_token")?,
        resume_token: number(response, "resume_token")?,
        snapshot_complete: number(response, "snapshot_complete")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_public_api_is_annotated() {
        let table = Table::new(proto::FILE_DESCRIPTOR_SET).unwrap();
        let create = table.get("/ordermesh.orders.v1.OrderService/CreateOrder").unwrap();
        assert_eq!(create.role, "orders");
        assert!(!create.no_side_effects);
        assert_eq!(create.request_id, Some(14));
        let Routing::Key { path, alternative: None, generate: true } = &create.routing else {
            panic!("{:?}", create.routing)
        };
        assert_eq!(path, &FieldPath { text: "order.order_id".to_owned(), numbers: vec![1, 1] });

        let outcome = table.get("/ordermesh.catalog.v1.CatalogService/GetCommandOutcome").unwrap();
        let Routing::Key { alternative: Some(other), .. } = &outcome.routing else { panic!("{:?}", outcome.routing) };
        assert_eq!(other, &FieldPath { text: "book_id".to_owned(), numbers: vec![3] });

        let list = table.get("/ordermesh.inventory.v1.InventoryService/ListProducts").unwrap();
        assert!(list.no_side_effects);
        let Routing::AllPartitions(shape) = &list.routing else { panic!("{:?}", list.routing) };
        let expected = ListShape {
            page_size: 10,
            page_token: 11,
            require_complete: 12,
            items: 1,
            next_page_token: 2,
            unreachable: 3,
        };
        assert_eq!(shape, &expected);
        assert!(table.get("/ordermesh.orders.v1.OrderService/Nothing").is_none());
        let topology = table.get("/ordermesh.mesh.v1.TopologyService/WatchTopology").unwrap();
        assert!(matches!(topology.routing, Routing::ThisInstance));
    }

    #[test]
    fn what_instances_tell_each_other_is_not_for_clients() {
        let table = Table::new(proto::FILE_DESCRIPTOR_SET).unwrap();
        assert!(table.get("/ordermesh.mesh.v1.PeerService/Heartbeat").is_none());
        assert!(table.is_internal("/ordermesh.mesh.v1.PeerService/Heartbeat"));
        assert!(!table.is_internal("/ordermesh.orders.v1.OrderService/GetOrder"));
    }

    #[test]
    fn a_role_is_needed_by_what_a_method_changes() {
        let table = Table::new(proto::FILE_DESCRIPTOR_SET).unwrap();
        for method in table.methods() {
            let (path, name) = (method.uri.path(), method.uri.path().rsplit('/').next().unwrap());
            let reads = ["Get", "List", "Watch"].iter().any(|verb| name.starts_with(verb));
            let expected = match reads {
                true => Role::Read,
                false if path.starts_with("/ordermesh.mesh.v1.") => Role::Operate,
                false => Role::Write,
            };
            assert_eq!(method.needed, expected, "{path}");
        }
        let replay = table.get("/ordermesh.mesh.v1.DeadLetterService/ReplayDeadLetter").unwrap();
        assert_eq!(replay.needed, Role::Operate);
    }

    #[test]
    fn a_service_without_annotations_is_refused_at_start() {
        // The health service knows nothing of our options, so the start cannot succeed with it alone.
        let descriptors = prost_reflect::prost_types::FileDescriptorSet::default();
        let error = Table::new(&prost::Message::encode_to_vec(&descriptors)).unwrap_err();
        assert!(matches!(error, StartError::Extension(_)), "{error}");
    }
}
