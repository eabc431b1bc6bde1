//! What the compiler cannot check: which crate may use which, who writes which topic, the shape of the files, the least
//! versions that are safe. A rule that fails here is explained in CONTRIBUTING.md.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate beside the services may use of the others.
const MAY_USE: [(&str, &[&str]); 15] = [
    ("proto", &[]),
    ("credentials", &[]),
    ("event-log", &[]),
    ("embedded-broker", &["event-log"]),
    ("kafka-log", &["credentials", "event-log"]),
    ("state-store", &["event-log"]),
    ("task-runtime", &["event-log", "state-store"]),
    ("service-host", &["credentials", "proto", "task-runtime"]),
    ("gateway", &["proto", "service-host"]),
    ("membership", &["kafka-log", "proto", "service-host"]),
    ("schemas", &["credentials", "event-log", "proto", "service-host", "task-runtime"]),
    // The campaign reads topics through the port of logs, like a reader outside of the mesh, and changelogs by the reader rule.
    ("loadtest", &["embedded-broker", "event-log", "kafka-log", "proto", "task-runtime"]),
    ("testkit", &["event-log", "membership", "ordermesh", "proto", "service-host", "state-store", "task-runtime"]),
    // The only one that composes: it may use every crate but these.
    ("ordermesh", &["! loadtest", "! loyalty-example", "! testkit"]),
    // A program of somebody else's: it takes the whole mesh, and adds a service.
    ("loyalty-example", &["ordermesh", "proto", "service-host", "task-runtime"]),
];
/// What each service may use: never another service.
const SERVICES_MAY_USE: [&str; 3] = ["proto", "service-host", "task-runtime"];
/// What tests may use beside what their crate may: nothing in production code does.
const TESTS_MAY_USE: [(&str, &str); 8] = [
    ("gateway", "testkit"),
    ("kafka-log", "state-store"),
    ("kafka-log", "task-runtime"),
    ("loyalty-example", "testkit"),
    ("ordermesh", "testkit"),
    ("schemas", "testkit"),
    ("task-runtime", "embedded-broker"),
    ("task-runtime", "testkit"),
];
/// Dependencies that few may have, so that the rest can be built and tested without them.
const ONLY_USED_BY: [(&str, &[&str]); 5] = [
    ("fjall", &["state-store"]),
    ("kafka-protocol", &["embedded-broker", "kafka-log", "membership"]),
    ("rskafka", &["kafka-log"]),
    ("metrics-exporter-prometheus", &["service-host"]),
    ("anyhow", &["loadtest", "ordermesh"]),
];
/// Storage and the runtime know bytes, not protobuf or gRPC.
const KNOW_BYTES_ONLY: [&str; 6] =
    ["credentials", "event-log", "embedded-broker", "kafka-log", "state-store", "task-runtime"];
/// What domain rules must not know: they are told the time, and are called by somebody else.
const NOT_IN_DOMAIN: [&str; 9] =
    ["tokio", "tonic", "prost", "serde", "proto", "task_runtime", "SystemTime", "Instant", "uuid"];

/// Longest file, in lines.
const LINES_MAX: usize = 600;
/// Files that are longer. It only gets shorter.
const LONGER: [&str; 0] = [];

/// Least versions without known holes, wherever a crate is in the tree. Each names its advisory.
const LEAST: [(&str, &str, &str); 12] = [
    ("aws-lc-sys", "0.39.0", "RUSTSEC-2026-0044 to -0048"),
    ("bytes", "1.11.1", "RUSTSEC-2026-0007, overflow in reserve"),
    ("crossbeam-channel", "0.5.15", "RUSTSEC-2025-0024, double free"),
    ("h2", "0.4.18", "RUSTSEC-2026-0258, empty DATA frames, and the floods before"),
    ("lz4_flex", "0.12.1", "RUSTSEC-2026-0041, leaks memory on invalid data"),
    ("ring", "0.17.12", "RUSTSEC-2025-0009, panic"),
    ("rustls", "0.23.18", "RUSTSEC-2024-0336 and -0399, endless loop and panic"),
    ("rustls-webpki", "0.103.13", "RUSTSEC-2026-0104, panic on a revocation list"),
    ("time", "0.3.47", "RUSTSEC-2026-0009"),
    ("tokio", "1.44.2", "RUSTSEC-2025-0023, unsound broadcast"),
    ("tonic", "0.14.0", "RUSTSEC-2024-0376, accept loop"),
    ("tracing-subscriber", "0.3.20", "RUSTSEC-2025-0055, control characters in logs"),
];
/// Crates that must not be in the tree at all.
const NEVER: [(&str, &str); 3] = [
    ("openssl-sys", "needs a library of the system; rustls does not"),
    ("native-tls", "brings openssl"),
    ("protobuf", "RUSTSEC-2024-0437; messages are prost's"),
];

#[test]
fn dependencies_point_one_way() {
    let crates = Crates::read();
    let mut wrong = Vec::new();
    for package in &crates.packages {
        let name = package.name.as_str();
        let folder = package.folder.strip_prefix(root()).unwrap();
        if folder.file_name().unwrap() != name || folder.components().count() > 2 {
            wrong.push(format!(
                "{name} is in {}: the folder has the crate's name, two levels deep at most",
                folder.display()
            ));
        }
        for (dependency, kind) in &package.dependencies {
            let in_tests = kind == "dev" && TESTS_MAY_USE.contains(&(name, dependency.as_str()));
            let in_tests = in_tests || kind == "dev" && crates.is_service(name) && dependency == "testkit";
            let allowed = in_tests || dependency == name || crates.may_use(name, dependency);
            if crates.names.contains(dependency) && !allowed {
                wrong.push(format!("{name} must not use {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn special_dependencies_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for package in Crates::read().packages {
        for (dependency, kind) in &package.dependencies {
            let owners = ONLY_USED_BY.iter().find(|(special, _)| special == dependency);
            if owners.is_some_and(|(_, owners)| kind != "dev" && !owners.contains(&package.name.as_str())) {
                wrong.push(format!("{} must not use {dependency}", package.name));
            }
            let grpc = dependency.starts_with("tonic") || dependency.starts_with("prost") || dependency == "proto";
            if grpc && KNOW_BYTES_ONLY.contains(&package.name.as_str()) {
                wrong.push(format!("{} knows bytes only, and must not use {dependency}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn declared_dependencies_are_used() {
    let mut wrong = Vec::new();
    for package in Crates::read().packages {
        let folder = package.folder.strip_prefix(root()).unwrap();
        let code: String = files("rs").iter().filter(|file| file.starts_with(folder)).map(read).collect();
        for (dependency, _) in package.dependencies {
            if !code.contains(&dependency.replace('-', "_")) {
                wrong.push(format!("{} declares {dependency} and does not use it", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn domain_rules_know_nothing_but_the_domain() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files("rs") {
        let inside = file.components().any(|part| part.as_os_str() == "domain") || file.ends_with("domain.rs");
        if !inside {
            continue;
        }
        seen += 1;
        for (number, line) in read(&file).lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if let Some(word) = words.find(|word| NOT_IN_DOMAIN.contains(word)) {
                wrong.push(format!("{}:{} must not know {word}", file.display(), number + 1));
            }
        }
    }
    assert!(seen > 0, "there are no domain rules: has the layout changed?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_topic_is_written_by_one_service_and_read_from_one() {
    let definitions = ordermesh::definitions(&ordermesh::Config::default());
    let mut writers: BTreeMap<String, &str> = BTreeMap::new();
    for definition in &definitions {
        for topic in definition.output_topics() {
            let other = writers.insert(topic.to_string(), definition.service());
            assert_eq!(other, None, "{topic} is written by {} too", definition.service());
        }
    }
    for definition in &definitions {
        for topic in definition.input_topics() {
            // The runtime itself writes what a service cannot process.
            assert!(
                writers.contains_key(&topic.to_string()) || topic.as_str().ends_with("-dead-letters"),
                "nobody writes {topic}, which {} reads",
                definition.service()
            );
        }
    }
    let mut documented = BTreeMap::new();
    for row in read("docs/flow.md").lines().filter(|line| line.starts_with("| `") && !line.contains('<')) {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).skip(1);
        documented.insert(cells.next().unwrap(), cells.next().unwrap());
    }
    let writers: BTreeMap<String, String> =
        writers.into_iter().map(|(topic, service)| (topic, service.to_owned())).collect();
    // One row stands for those of all services.
    let writers: BTreeMap<_, _> = writers.into_iter().filter(|(topic, _)| !topic.ends_with("-replays")).collect();
    assert_eq!(documented, writers, "docs/flow.md says otherwise than the code");
}

#[test]
fn files_open_with_their_purpose_and_stay_readable() {
    let mut wrong = Vec::new();
    for file in files("rs") {
        let text = read(&file);
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not open with `//!`: what it is for, what always holds", file.display()));
        }
        let (lines, listed) = (text.lines().count(), LONGER.iter().any(|long| file == Path::new(long)));
        if lines > LINES_MAX && !listed {
            wrong.push(format!("{} has {lines} lines: split it", file.display()));
        }
        if lines <= LINES_MAX && listed {
            wrong.push(format!("{} is short now: take it off the list", file.display()));
        }
        for line in text.lines().filter(|line| line.trim_start().starts_with("#[ignore")) {
            if !line.contains("= \"needs ORDERMESH_TEST_") {
                wrong.push(format!("{} ignores a test that needs nothing from outside", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_to_do() {
    // In two pieces, for this file is read as well.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut wrong = Vec::new();
    for file in ["rs", "toml", "md", "proto", "sh"].into_iter().flat_map(files) {
        for (number, line) in read(&file).lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "an open end is an issue, not a comment:\n{}", wrong.join("\n"));
}

#[test]
fn decisions_are_numbered_from_one_without_gaps() {
    let mut numbers = Vec::new();
    for file in files("md").into_iter().filter(|file| file.starts_with("docs/adr")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (number, title) = name.split_once('-').unwrap_or((name, ""));
        assert!(number.len() == 4 && !title.is_empty(), "{} is not called NNNN-title.md", file.display());
        let number: usize = number.parse().unwrap();
        assert!(read(&file).starts_with(&format!("# {number}. ")), "{} opens with another number", file.display());
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
}

#[test]
fn documents_link_to_files_that_exist() {
    let mut wrong = Vec::new();
    for file in files("md") {
        let text = read(&file);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://") || target.contains(char::is_whitespace);
            if !outside && !root().join(file.parent().unwrap()).join(target).exists() {
                wrong.push(format!("{} links to {target}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names of our metrics in a text, without what a histogram adds to its own.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("ordermesh_"));
    let base = |word: &str| {
        let endings = ["_bucket", "_count", "_sum"].into_iter();
        endings.filter_map(|ending| word.strip_suffix(ending)).next().unwrap_or(word).to_owned()
    };
    ours.map(base).collect()
}

#[test]
fn panels_and_alerts_ask_for_metrics_that_there_are() {
    let code: String = files("rs").iter().map(read).collect();
    for file in ["deploy/grafana/dashboards/ordermesh.json", "deploy/prometheus/alerts.yml"] {
        let asked = metrics_in(&read(file));
        let missing: Vec<_> = asked.iter().filter(|name| !code.contains(&format!("\"{name}\""))).collect();
        assert!(!asked.is_empty() && missing.is_empty(), "{file} asks for what nobody counts: {missing:?}");
    }
    // What tells of a log in trouble is looked at: nobody reads it off a table of metrics.
    let faults = ["ordermesh_log_outage_seconds", "ordermesh_kafka_appends_unclear_total"];
    let shown = metrics_in(&read("deploy/grafana/dashboards/ordermesh.json"));
    let alerted = metrics_in(&read("deploy/prometheus/alerts.yml"));
    for fault in faults {
        assert!(shown.contains(fault) && alerted.contains(fault), "{fault} has no panel or no alert");
    }
}

#[test]
fn no_dependency_has_a_known_hole() {
    let mut wrong = Vec::new();
    let lock = read("Cargo.lock");
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(['=', ' ', '"']).to_owned()
    };
    for package in lock.split("[[package]]").skip(1) {
        let (name, version) = (field(package, "name"), field(package, "version"));
        for (_, least, why) in LEAST.iter().filter(|(crate_name, ..)| *crate_name == name) {
            if parts(&version) < parts(least) {
                wrong.push(format!("{name} {version} is below {least}: {why}"));
            }
        }
        for (_, why) in NEVER.iter().filter(|(crate_name, _)| *crate_name == name) {
            wrong.push(format!("{name} is in the tree: {why}"));
        }
        if package.contains("source = \"git") {
            wrong.push(format!("{name} comes from a git repository, not from a registry"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The numbers of a version; a pre-release counts as the release.
fn parts(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap();
    release.split('.').map(|part| part.parse().unwrap()).collect()
}

struct Crates {
    packages: Vec<Package>,
    names: BTreeSet<String>,
}

struct Package {
    name: String,
    folder: PathBuf,
    /// Name and kind: `normal`, `dev` or `build`.
    dependencies: Vec<(String, String)>,
}

impl Crates {
    fn read() -> Self {
        let arguments = ["metadata", "--no-deps", "--offline", "--format-version=1"];
        let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let packages = metadata["packages"].as_array().unwrap().iter().map(|package| Package {
            name: text(&package["name"]),
            folder: Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned(),
            dependencies: {
                let dependencies = package["dependencies"].as_array().unwrap().iter();
                let kind = |dependency: &Value| dependency["kind"].as_str().unwrap_or("normal").to_owned();
                dependencies.map(|dependency| (text(&dependency["name"]), kind(dependency))).collect()
            },
        });
        let packages: Vec<Package> = packages.collect();
        Self { names: packages.iter().map(|package| package.name.clone()).collect(), packages }
    }

    /// Crates under `services/` that have no rules of their own: the services themselves.
    fn is_service(&self, name: &str) -> bool {
        let package = self.packages.iter().find(|package| package.name == name).unwrap();
        package.folder.starts_with(root().join("services")) && !MAY_USE.iter().any(|(own, _)| *own == name)
    }

    fn may_use(&self, name: &str, dependency: &str) -> bool {
        match MAY_USE.iter().find(|(own, _)| *own == name) {
            Some((_, uses)) if uses.iter().any(|used| used.starts_with('!')) => {
                !uses.contains(&format!("! {dependency}").as_str())
            }
            Some((_, uses)) => uses.contains(&dependency),
            None => self.is_service(name) && SERVICES_MAY_USE.contains(&dependency),
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// Every file with this ending, relative to the root: what is built, stored or hidden is left out.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with('.') || ["target", "ordermesh-data"].contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
