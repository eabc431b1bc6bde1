//! Takes every letter that a service writes, whatever it looks like.

use task_runtime::{Context, Definition, Input, ProcessError};

use crate::domain::LetterId;
use crate::stores::{LETTERS, WAITING, letter_key, waiting_key};
use crate::{topics, wire};

pub(crate) fn register(definition: Definition, services: &[&Definition]) -> Definition {
    services.iter().fold(definition, |definition, service| definition.patient(service.dead_letters().as_str(), process))
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let service = topics::service_of(input.topic.as_str());
    let id = LetterId::new(service, ctx.partition(), input.offset.0, |id| ctx.partition_of(id));
    let row = wire::row(&id, input);
    if let Some(key) = &row.key {
        ctx.put(WAITING, &waiting_key(service, &row.handled_as, key, id.offset), Vec::new());
    }
    ctx.put(LETTERS, &letter_key(&id), prost::Message::encode_to_vec(&row));
    Ok(())
}
