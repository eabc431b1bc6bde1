//! Dead letters: what the services could not process, and its way back to them. Keyed by the id of the letter.
//!
//! A task holds the letters of its partition of every service's dead-letter topic. The id of a letter is made so that it belongs
//! to that partition, hence a call with the id finds the task that holds the letter. It reads every `<service>-dead-letters` and
//! owns every `<service>-replays`: see [`topics`]. What may be replayed stands in [`domain`].

mod config;
pub mod domain;
mod grpc;
mod processors;
mod stores;
pub mod topics;
mod wire;

use proto::mesh::v1::dead_letter_service_server::DeadLetterServiceServer;
use service_host::Owner;
use task_runtime::Definition;

pub use config::Config;
pub use grpc::DeadLetters;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "dead-letters";

/// What a task of dead letters does for these services.
#[must_use]
pub fn definition(config: &Config, services: &[&Definition]) -> Definition {
    let definition = services
        .iter()
        .fold(Definition::new(SERVICE), |definition, service| definition.output(service.replays().as_str()));
    let definition = stores::ALL.iter().fold(definition, |definition, store| definition.store(*store));
    let definition = processors::letters::register(definition, services);
    processors::commands::register(definition, config)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, config: &Config) -> DeadLetterServiceServer<DeadLetters> {
    DeadLetterServiceServer::new(DeadLetters::new(owner.keyed_by("dead_letter_id"), config.clone()))
}
