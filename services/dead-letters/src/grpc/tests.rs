//! The methods over real tasks on a log in memory, beside a service that cannot process what it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use service_host::headers;
use task_runtime::{Definition, ProcessError};
use testkit::Running;

use super::*;

const PARTITIONS: u32 = 3;

/// A service that takes nothing while it is ill.
#[derive(Debug, Clone, Default)]
struct Patient {
    is_well: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
}

impl Patient {
    fn definition(&self) -> Definition {
        let Self { is_well, taken } = self.clone();
        let definition = Definition::new("patient").input("food", move |_, _| {
            if is_well.load(Ordering::SeqCst) {
                taken.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            Err(ProcessError::poison("no appetite"))
        });
        definition.replayable()
    }
}

struct Fixture {
    patient: Patient,
    running: Running,
    service: DeadLetters,
}

impl Fixture {
    async fn start() -> Self {
        let patient = Patient::default();
        let definition = patient.definition();
        let letters = crate::definition(&Config::default(), &[&definition]);
        let running = Running::start_all(vec![letters, definition], PARTITIONS).await;
        let service = DeadLetters::new(Owner::new(running.tasks(), "here"), Config::default());
        Self { patient, running, service }
    }

    async fn list(&self, request: pb::ListDeadLettersRequest) -> Vec<pb::DeadLetter> {
        let mut found = Vec::new();
        for partition in 0..PARTITIONS {
            let mut request = Request::new(request.clone());
            request.metadata_mut().insert(headers::PARTITION, partition.into());
            found.extend(self.service.list_dead_letters(request).await.unwrap().into_inner().dead_letters);
        }
        found
    }

    async fn wait_for_letters(&self, count: usize) -> Vec<pb::DeadLetter> {
        let all = async {
            loop {
                let letters = self.list(pb::ListDeadLettersRequest::default()).await;
                if letters.len() == count {
                    return letters;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("every letter arrives")
    }

    async fn replay(&self, id: &str) -> Result<pb::DeadLetter, Problem> {
        let request = pb::ReplayDeadLetterRequest { dead_letter_id: id.into(), request_id: String::new() };
        let answer = self.service.replay_dead_letter(Request::new(request)).await;
        answer.map(|answer| answer.into_inner().dead_letter.unwrap()).map_err(|status| Problem::from(&status))
    }
}

#[tokio::test]
async fn every_letter_of_every_partition_is_found_by_its_id_and_goes_back_once() {
    let fixture = Fixture::start().await;
    for number in 0..20 {
        fixture.running.record("food", format!("meal-{number}").as_bytes(), vec![b'x'; 10_000]).await;
    }
    let letters = fixture.wait_for_letters(20).await;
    assert!(letters.iter().all(|letter| letter.reason == "no appetite" && letter.topic == "food"));
    assert!(letters.iter().all(|letter| letter.value.as_ref().unwrap().len() == 4096 && letter.value_bytes == 10_000));
    let one = pb::ListDeadLettersRequest { dead_letter_id: letters[7].dead_letter_id.clone(), ..Default::default() };
    let one = fixture.list(one).await;
    assert_eq!((one.len(), one[0].value.as_ref().unwrap().len()), (1, 10_000));

    fixture.patient.is_well.store(true, Ordering::SeqCst);
    for letter in &letters {
        for _ in 0..2 {
            assert_eq!(fixture.replay(&letter.dead_letter_id).await.unwrap().state(), pb::DeadLetterState::Replayed);
        }
    }
    let all = async {
        while fixture.patient.taken.load(Ordering::SeqCst) < 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("every record goes back");
    let waiting = |state: pb::DeadLetterState| pb::ListDeadLettersRequest { state: state.into(), ..Default::default() };
    assert_eq!(fixture.list(waiting(pb::DeadLetterState::Waiting)).await, []);
    assert_eq!(fixture.list(waiting(pb::DeadLetterState::Replayed)).await.len(), 20);
    fixture.running.stop().await;
    assert_eq!(fixture.patient.taken.load(Ordering::SeqCst), 20, "none went back twice");
}

#[tokio::test]
async fn a_record_that_fails_again_is_a_letter_again() {
    let fixture = Fixture::start().await;
    fixture.running.record("food", b"meal", &b"soup"[..]).await;
    let first = fixture.wait_for_letters(1).await.pop().unwrap();
    fixture.replay(&first.dead_letter_id).await.unwrap();
    let letters = fixture.wait_for_letters(2).await;
    let again = letters.iter().find(|letter| letter.topic == "patient-replays").unwrap();
    assert_eq!((again.value.as_deref(), again.state()), (Some(&b"soup"[..]), pb::DeadLetterState::Waiting));
    fixture.patient.is_well.store(true, Ordering::SeqCst);
    fixture.replay(&again.dead_letter_id).await.unwrap();
    let taken = async {
        while fixture.patient.taken.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken).await.expect("it is taken in the end");
    fixture.running.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_once() {
    let fixture = Fixture::start().await;
    let request = pb::ReplayDeadLetterRequest { dead_letter_id: String::new(), request_id: " ".into() };
    let status = fixture.service.replay_dead_letter(Request::new(request)).await.unwrap_err();
    let fields: Vec<_> = Problem::from(&status).violations.into_iter().map(|violation| violation.field).collect();
    assert_eq!(fields, ["request_id", "dead_letter_id"]);
    let request = pb::ListDeadLettersRequest { service: "a b".into(), state: 9, page_size: -1, ..Default::default() };
    let mut request = Request::new(request);
    request.metadata_mut().insert(headers::PARTITION, 0.into());
    let status = fixture.service.list_dead_letters(request).await.unwrap_err();
    let fields: Vec<_> = Problem::from(&status).violations.into_iter().map(|violation| violation.field).collect();
    assert_eq!(fields, ["service", "state", "page_size"]);
    assert_eq!(fixture.replay("patient.0.0.0").await.unwrap_err().reason, "DEAD_LETTER_NOT_FOUND");
    fixture.running.stop().await;
}
