//! What the gateway relies on without knowing any method by name, and the naming that clients expect.

use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor, Value,
};

use crate::{is_ours, pool};

/// `idempotency_level = NO_SIDE_EFFECTS`.
const NO_SIDE_EFFECTS: i32 = 1;

/// The services that clients call; those that instances call on each other are none of the gateway's.
fn services() -> Vec<ServiceDescriptor> {
    let internal = pool().get_extension_by_name("ordermesh.options.v1.internal").unwrap();
    let is_public = |service: &ServiceDescriptor| {
        is_ours(service.parent_file().name()) && service.options().get_extension(&internal).as_bool() != Some(true)
    };
    pool().services().filter(is_public).collect()
}

fn methods() -> Vec<MethodDescriptor> {
    let services = services();
    assert!(!services.is_empty());
    services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn routing(method: &MethodDescriptor) -> Option<DynamicMessage> {
    let extension = pool().get_extension_by_name("ordermesh.options.v1.routing").unwrap();
    let options = method.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).as_message().unwrap().clone())
}

/// Whether the instance that is asked answers from what it knows of the mesh: no partition is asked.
fn is_about_the_mesh(method: &MethodDescriptor) -> bool {
    routing(method).is_some_and(|routing| flag(&routing, "this_instance"))
}

fn is_list(method: &MethodDescriptor) -> bool {
    method.name().starts_with("List")
}

fn is_watch(method: &MethodDescriptor) -> bool {
    method.name().starts_with("Watch")
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).unwrap().as_str().unwrap().to_owned()
}

fn flag(message: &DynamicMessage, field: &str) -> bool {
    message.get_field_by_name(field).unwrap().as_bool().unwrap()
}

/// The field that a path such as `order.order_id` leads to.
fn follow(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let field = message.get_field_by_name(first)?;
    match rest {
        None => Some(field),
        Some(rest) => follow(field.kind().as_message()?, rest),
    }
}

#[test]
fn every_service_names_its_role() {
    let pool = pool();
    let extension = pool.get_extension_by_name("ordermesh.options.v1.role").unwrap();
    for service in services() {
        let options = service.options();
        let role = options.get_extension(&extension);
        assert!(role.as_str().is_some_and(|role| !role.is_empty()), "{} has no role", service.full_name());
    }
}

#[test]
fn every_method_has_a_key_or_asks_all_partitions() {
    for method in methods() {
        let name = method.full_name().to_owned();
        let routing = routing(&method).unwrap_or_else(|| panic!("{name} has no routing"));
        let (key, all) = (text(&routing, "key"), flag(&routing, "all_partitions"));
        if is_about_the_mesh(&method) {
            assert!(key.is_empty() && !all, "{name} asks no partition");
            continue;
        }
        assert!(key.is_empty() == all, "{name} has either a key or all partitions");
        let may_ask_all = is_list(&method) || is_watch(&method) && key.is_empty();
        assert_eq!(all, may_ask_all, "{name}: lists, and watches without a key, ask all partitions");
        assert!(!flag(&routing, "generate_key") || !key.is_empty(), "{name}: only a key can be made");
        for key in [key, text(&routing, "alternative_key")].iter().filter(|key| !key.is_empty()) {
            let field = follow(&method.input(), key).unwrap_or_else(|| panic!("{name} has no field {key}"));
            assert!(field.kind() == Kind::String && !field.is_list(), "{name}: {key} is one string");
        }
    }
}

#[test]
fn reads_and_only_reads_have_no_side_effects() {
    for method in methods() {
        let options = method.options();
        let level = options.get_field_by_name("idempotency_level").unwrap();
        let reads = ["Get", "List", "Watch"].iter().any(|verb| method.name().starts_with(verb));
        assert_eq!(level.as_ref() == &Value::EnumNumber(NO_SIDE_EFFECTS), reads, "{}", method.full_name());
    }
}

#[test]
fn every_list_can_be_merged_by_concatenation() {
    let singular = |message: &MessageDescriptor, name: &str, number: u32, kind: Kind| {
        let field = message.get_field_by_name(name).unwrap_or_else(|| panic!("{} has no {name}", message.full_name()));
        let shape = (field.number(), field.kind() == kind, field.cardinality() != Cardinality::Repeated);
        assert_eq!(shape, (number, true, true), "{} {name}", message.full_name());
    };
    let repeated = |message: &MessageDescriptor, number: u32| {
        let field = message.get_field(number).unwrap_or_else(|| panic!("{} has no {number}", message.full_name()));
        assert!(field.is_list(), "{} is repeated", field.full_name());
        field
    };
    for method in methods().iter().filter(|method| is_list(method)) {
        let (request, response) = (method.input(), method.output());
        singular(&request, "page_size", 10, Kind::Int32);
        singular(&request, "page_token", 11, Kind::String);
        singular(&request, "require_complete", 12, Kind::Bool);
        assert_eq!(request.get_field_by_name("consistency").unwrap().number(), 13);
        assert!(repeated(&response, 1).name().ends_with('s'), "{} is a plural", response.full_name());
        singular(&response, "next_page_token", 2, Kind::String);
        assert_eq!((repeated(&response, 3).name(), repeated(&response, 4).name()), ("unreachable", "served_by"));
        assert_eq!(response.fields().count(), 4, "{} has what can be merged and nothing else", response.full_name());
    }
}

#[test]
fn fields_that_mean_the_same_have_the_same_number_everywhere() {
    for method in methods().into_iter().filter(|method| !is_about_the_mesh(method)) {
        let (request, response) = (method.input(), method.output());
        let number =
            |message: &MessageDescriptor, name: &str| message.get_field_by_name(name).map(|field| field.number());
        let name = method.full_name().to_owned();
        let reads = ["Get", "List"].iter().any(|verb| method.name().starts_with(verb));
        let changes = !reads && !is_watch(&method);
        assert_eq!(number(&request, "consistency"), reads.then_some(13), "{name} consistency");
        assert_eq!(method.is_server_streaming(), is_watch(&method), "{name}: watches, and nothing else, are streams");
        // The gateway puts tokens of partitions into the place of its own.
        assert_eq!(number(&request, "snapshot"), is_watch(&method).then_some(10), "{name} snapshot");
        assert_eq!(number(&request, "resume_token"), is_watch(&method).then_some(11), "{name} resume_token");
        let told = ["changes", "resume_token", "snapshot_complete"].map(|field| number(&response, field));
        assert_eq!(told, [2, 3, 4].map(|number| is_watch(&method).then_some(number)), "{name} messages");
        // Where the request_id of an earlier command is what the call asks for, it is no id of the call itself.
        if method.name() != "GetCommandOutcome" {
            assert_eq!(number(&request, "request_id"), changes.then_some(14), "{name} request_id");
        }
        assert!(number(&request, "wait_for").is_none_or(|number| number == 15), "{name} wait_for");
        assert_eq!(number(&response, "consistency_token"), changes.then_some(14), "{name} consistency_token");
        assert_eq!(number(&response, "served_by"), Some(if is_list(&method) { 4 } else { 15 }), "{name} served_by");
        assert_eq!(request.name(), format!("{}Request", method.name()));
        assert_eq!(response.name(), format!("{}Response", method.name()));
    }
}

#[test]
fn enum_values_begin_with_their_enum_and_zero_says_nothing() {
    for enum_ in pool().all_enums().filter(|found| is_ours(found.parent_file().name())) {
        let prefix = upper_snake(enum_.name());
        for value in enum_.values() {
            assert!(value.name().starts_with(&format!("{prefix}_")), "{} in {}", value.name(), enum_.full_name());
        }
        assert_eq!(enum_.get_value(0).unwrap().name(), format!("{prefix}_UNSPECIFIED"));
    }
}

#[test]
fn packages_follow_their_folders_and_have_no_cycles() {
    let pool = pool();
    let package_of = |file: &str| file.rsplit_once('/').unwrap().0.replace('/', ".");
    let mut imports = std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
    for file in pool.files().filter(|file| is_ours(file.name())) {
        assert_eq!(file.package_name(), package_of(file.name()));
        let ours = file.dependencies().map(|found| found.name().to_owned()).filter(|found| is_ours(found));
        let others = ours.map(|found| package_of(&found)).filter(|package| package != file.package_name());
        imports.entry(file.package_name().to_owned()).or_default().extend(others);
    }
    // A package that imports none of those left can be taken away; a cycle never can.
    while !imports.is_empty() {
        let free = imports.iter().find(|(_, others)| others.iter().all(|other| !imports.contains_key(other)));
        let free = free.unwrap_or_else(|| panic!("packages import each other: {imports:?}")).0.clone();
        imports.remove(&free);
    }
}

fn upper_snake(camel: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in camel.char_indices() {
        if index > 0 && letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}
