//! Three services in a chain, small enough to be checked completely. Every effect has a name and every service counts how
//! often it has carried each name out: the only right count is one.
//!
//! ```text
//! clients -> first -> first-out -> second -> second-out -> third <- outside <- producers that know nothing of us
//! ```

use bytes::Bytes;
use event_log::Record;
use task_runtime::{Command, Context, Definition, Input, ProcessError, Reply, StoreId, Timer};
use xxhash_rust::xxh3::xxh3_64;

/// Value of a counter by key: what clients add to and read.
pub(crate) const COUNTS: StoreId = StoreId::new(1, "counts");
/// How often each effect was carried out, and the counter's value after it.
pub(crate) const EFFECTS: StoreId = StoreId::new(2, "effects");

pub(crate) const SERVICES: [&str; 3] = ["first", "second", "third"];
pub(crate) const OUTSIDE: &str = "outside";
pub(crate) const BAD: &[u8] = b"bad";

/// Commands.
pub(crate) const ADD: &str = "Add";
pub(crate) const SUM: &str = "Sum";
pub(crate) const POISON: &str = "Poison";

pub(crate) fn definition(service: usize) -> Definition {
    match service {
        0 => Definition::new(SERVICES[0])
            .store(COUNTS)
            .store(EFFECTS)
            .output("first-out")
            .command(ADD, add)
            .command(SUM, sum)
            .command(POISON, poison)
            .timer("remind", remind),
        1 => Definition::new(SERVICES[1])
            .store(EFFECTS)
            .output("second-out")
            .input("first-out", pass_on)
            .timer("later", later),
        _ => {
            Definition::new(SERVICES[2]).store(EFFECTS).input("second-out", arrive).input(OUTSIDE, arrive_from_outside)
        }
    }
}

pub(crate) fn definitions() -> Vec<Definition> {
    (0..SERVICES.len()).map(definition).collect()
}

/// The first byte of the value of an effect is how often it was carried out.
pub(crate) fn times(effect: &[u8]) -> u8 {
    effect.first().copied().unwrap_or(0)
}

pub(crate) fn number(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_be_bytes)
}

/// Row of a store as it stands in a changelog.
pub(crate) fn row(store: u8, key: &[u8]) -> Bytes {
    let mut row = vec![0x80 | store];
    row.extend_from_slice(key);
    row.into()
}

fn carry_out(context: &mut Context<'_>, effect: &[u8], count: u64) -> Result<(), ProcessError> {
    let before = context.get(EFFECTS, effect)?.map_or(0, |value| times(&value));
    let mut value = vec![before.saturating_add(1)];
    value.extend_from_slice(&count.to_be_bytes());
    context.put(EFFECTS, effect, value);
    Ok(())
}

fn add(context: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let count = context.get(COUNTS, &command.key)?.map_or(0, |value| number(&value)) + 1;
    context.put(COUNTS, &command.key, Bytes::copy_from_slice(&count.to_be_bytes()));
    let effect = &command.payload;
    carry_out(context, effect, count)?;
    context.emit("first-out", effect, effect.clone())?;
    let dice = xxh3_64(effect);
    if dice.is_multiple_of(3) {
        context.schedule("remind", effect, context.now_ms() + i64::try_from(dice % 700).unwrap_or(0));
    }
    Ok(Reply(Bytes::copy_from_slice(&count.to_be_bytes())))
}

fn sum(context: &mut Context<'_>, _: &Command) -> Result<Reply, ProcessError> {
    let rows = context.scan(COUNTS, b"k", 1_000)?;
    let sum: u64 = rows.iter().map(|(_, value)| number(value)).sum();
    Ok(Reply(Bytes::copy_from_slice(&sum.to_be_bytes())))
}

fn poison(context: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    carry_out(context, &command.payload, 0)?;
    context.emit("first-out", &command.payload, command.payload.clone())?;
    context.schedule("remind", &command.payload, context.now_ms());
    Err(ProcessError::poison("asked to"))
}

fn remind(context: &mut Context<'_>, timer: &Timer<'_>) -> Result<(), ProcessError> {
    let effect = reminder(timer.key);
    carry_out(context, &effect, 0)?;
    context.emit("first-out", timer.key, effect)
}

/// Everything that follows from a command with this effect.
pub(crate) fn effects_of(effect: &[u8]) -> Vec<Vec<u8>> {
    let reminded = xxh3_64(effect).is_multiple_of(3).then(|| reminder(effect));
    [effect.to_vec()].into_iter().chain(reminded).collect()
}

/// Name of what the timer of an effect does.
pub(crate) fn reminder(effect: &[u8]) -> Vec<u8> {
    [b"t/", effect].concat()
}

fn pass_on(context: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let effect = input.value()?.clone();
    carry_out(context, &effect, 0)?;
    if xxh3_64(&effect).is_multiple_of(4) {
        context.schedule("later", &effect, context.now_ms() + 150);
        return Ok(());
    }
    send_on(context, &effect)
}

fn later(context: &mut Context<'_>, timer: &Timer<'_>) -> Result<(), ProcessError> {
    send_on(context, timer.key)
}

fn send_on(context: &mut Context<'_>, effect: &[u8]) -> Result<(), ProcessError> {
    // Another key than it came with: every task of one service sends to every task of the next.
    let key: Vec<u8> = effect.iter().rev().copied().collect();
    context.emit("second-out", &key, Bytes::copy_from_slice(effect))
}

fn arrive(context: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    carry_out(context, &input.value()?.clone(), 0)
}

fn arrive_from_outside(context: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    carry_out(context, &from_outside(context.partition(), input.offset.0), 0)?;
    if input.value()?.as_ref() == BAD {
        return Err(ProcessError::poison("it is bad"));
    }
    Ok(())
}

/// Name of the effect of a record that has no source.
pub(crate) fn from_outside(partition: u32, offset: u64) -> Vec<u8> {
    format!("x/{partition}/{offset}").into_bytes()
}

pub(crate) fn outside_record(value: &'static [u8], timestamp_ms: i64) -> Record {
    Record { key: None, value: Some(Bytes::from_static(value)), headers: Vec::new(), timestamp_ms }
}
