//! What comes from outside the mesh and could be accepted, but never be stored or sent again: it is a dead letter, or is left out,
//! before it is in a commit that nobody could carry out.

use task_runtime::driver::Driver;
use task_runtime::{Context, Definition, Input, ProcessError, StoreId};

const SEEN: StoreId = StoreId::new(1, "seen");

/// Keeps each record under its own key, sets a timer for it, and tells of it.
fn keeper() -> Definition {
    let keep = |ctx: &mut Context<'_>, input: &Input<'_>| -> Result<(), ProcessError> {
        let key = input.record.key.clone().unwrap_or_default();
        ctx.put(SEEN, &key, "seen");
        ctx.emit("told", b"k", "told")
    };
    let remind = |ctx: &mut Context<'_>, input: &Input<'_>| -> Result<(), ProcessError> {
        ctx.schedule("remind", input.record.key.as_deref().unwrap_or_default(), 1_000);
        Ok(())
    };
    Definition::new("keeper")
        .store(SEEN)
        .output("told")
        .input("news", keep)
        .input("dates", remind)
        .timer("remind", |_, _| Ok(()))
}

fn topics(driver: &mut Driver) -> Vec<String> {
    driver.emitted().into_iter().map(|emitted| emitted.topic.to_string()).collect()
}

#[test]
fn a_record_whose_row_no_store_takes_is_a_dead_letter_and_nothing_of_it_stays() {
    let mut driver = Driver::new(keeper());
    let (long, fitting) = ([b'k'; 40 * 1024], [b'k'; 32 * 1024 - 1]);
    for topic in ["news", "dates"] {
        driver.record(topic, &long, "value");
    }
    assert_eq!(topics(&mut driver), ["keeper-dead-letters"; 2]);
    assert_eq!((driver.get(SEEN, &long), driver.next_timer_ms()), (None, None));
    driver.record("news", &fitting, "value");
    assert_eq!(topics(&mut driver), ["told"]);
    assert!(driver.get(SEEN, &fitting).is_some(), "one byte of the limit is the store's own");
}

#[test]
fn a_trace_context_that_is_none_goes_nowhere() {
    let mut driver = Driver::new(keeper());
    let real = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for traceparent in [real, &"x".repeat(3 << 20)] {
        driver.record_with("news", Some(b"k"), "value", &[("traceparent", traceparent)]);
    }
    let told = driver.emitted();
    let handed_on: Vec<Option<usize>> = (told.iter())
        .map(|told| told.headers.iter().find(|header| header.name == "traceparent").map(|header| header.value.len()))
        .collect();
    assert_eq!(handed_on, [Some(real.len()), None]);
}

#[test]
fn a_replayed_record_has_the_place_that_it_had_at_first() {
    let note = |ctx: &mut Context<'_>, input: &Input<'_>| {
        ctx.put(SEEN, &input.record.key.clone().unwrap_or_default(), format!("{}/{}", input.topic, input.offset.0));
        Ok(())
    };
    let mut driver = Driver::new(Definition::new("keeper").store(SEEN).input("news", note).replayable());
    let of_news = ("ordermesh-replay-topic", "news");
    let cases: [(&str, &str, &str); 3] =
        [("k", "41", "news/41"), ("no-number", "x", "news/1"), ("too-large", "18446744073709551616", "news/2")];
    for (key, offset, place) in cases {
        let headers = [of_news, ("ordermesh-replay-offset", offset)];
        driver.record_with("keeper-replays", Some(key.as_bytes()), "value", &headers);
        assert_eq!(driver.get(SEEN, key.as_bytes()).unwrap(), place, "{key}");
    }
    // Of a version that did not tell.
    driver.record_with("keeper-replays", Some(b"older"), "value", &[of_news]);
    assert_eq!(driver.get(SEEN, b"older").unwrap(), "news/3");
}
