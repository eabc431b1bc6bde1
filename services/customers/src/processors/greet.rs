//! Sends greetings: stores them for the list and tells the topic `greetings`. One to everyone is one greeting, kept by the
//! task in which the key lies that the gateway has made for it.

use prost::Message;
use proto::customers::v1 as pb;
use service_host::input::decode;
use service_host::{Problem, reply};
use task_runtime::{Command, Context, Definition, ProcessError, Reply};

use crate::stores::{CUSTOMERS, GREETED, GREETINGS, broadcast_key, greeting_id, greeting_key};
use crate::topics;
use crate::wire;
use crate::wire::requests::GREET;

pub(crate) fn register(definition: Definition) -> Definition {
    definition.command(GREET, process)
}

fn process(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let request: pb::SendGreetingRequest = decode("SendGreetingRequest", &command.payload)?;
    let pb::SendGreetingRequest { customer_id, message, .. } = request;
    let refuse = |problem: &Problem| Ok(Reply(reply::encode_problem(problem)));
    let (key, greeting_id) = if customer_id.is_empty() {
        let greeting_id = String::from_utf8_lossy(&command.attachment).into_owned();
        let key = broadcast_key(&greeting_id);
        // Only a client that chooses the key itself gets here twice.
        if ctx.get(GREETINGS, &key)?.is_some() {
            return refuse(&Problem::already_exists("greeting", &greeting_id));
        }
        (key, greeting_id)
    } else {
        if ctx.get(CUSTOMERS, customer_id.as_bytes())?.is_none() {
            return refuse(&Problem::not_found("customer", &customer_id));
        }
        let number = next_number(ctx, &customer_id)?;
        (greeting_key(&customer_id, number), greeting_id(&customer_id, number))
    };
    let now_ms = ctx.now_ms();
    let row = pb::GreetingRow { message: message.clone(), time_ms: now_ms };
    ctx.put(GREETINGS, &key, row.encode_to_vec());
    let topic_key = if customer_id.is_empty() { greeting_id.clone() } else { customer_id.clone() };
    let greeting = Some(pb::Greeting { greeting_id, customer_id, message, time: Some(wire::timestamp(now_ms)) });
    let event = pb::GreetingSent { greeting: greeting.clone() };
    ctx.emit(topics::GREETINGS, topic_key.as_bytes(), event.encode_to_vec())?;
    Ok(Reply(reply::encode_ok(&pb::SendGreetingResponse { greeting, ..Default::default() })))
}

/// Counts the greetings of a customer from 1.
fn next_number(ctx: &mut Context<'_>, customer_id: &str) -> Result<u64, ProcessError> {
    let row = ctx.get(GREETED, customer_id.as_bytes())?;
    let row = row.map(|row| decode::<pb::GreetingCountRow>("GreetingCountRow", &row)).transpose()?;
    let count = row.unwrap_or_default().count + 1;
    ctx.put(GREETED, customer_id.as_bytes(), pb::GreetingCountRow { count }.encode_to_vec());
    Ok(count)
}
