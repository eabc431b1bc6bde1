//! Acceptance case 23: a burst of commands on one key through all instances, of which the owner dies.

use std::collections::BTreeSet;

use proto::catalog::v1::catalog_event::Event;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::catalog::v1::{AddChapterRequest, Book, CreateBookRequest, GetBookRequest, GetCommandOutcomeRequest};
use tokio::task::JoinSet;

use super::{Cluster, GATEWAY, NAMES, PARTITIONS, unique};
use crate::shop::{eventually, timed};

const BURST: i64 = 100;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn each_command_of_a_burst_sees_its_predecessors_and_its_outcome_is_known_everywhere_after_a_takeover() {
    let mut cluster = Cluster::start().await;
    let library = |cluster: &Cluster, name: &str| CatalogServiceClient::new(cluster.channel(name));
    let book = Book { title: "Notes".to_owned(), ..Default::default() };
    let request = CreateBookRequest { book: Some(book), request_id: unique("book") };
    let book = library(&cluster, "a").create_book(timed(request)).await.unwrap().into_inner().book.unwrap();
    let partition = event_log::partition_for_key(book.book_id.as_bytes(), PARTITIONS);
    let owner = cluster.owner("a", "catalog", partition.try_into().unwrap()).await;
    let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != owner).chain([GATEWAY]).collect();

    let mut burst = JoinSet::new();
    for (number, through) in (1..=BURST).zip(others.iter().cycle()) {
        let mut library = library(&cluster, through);
        let request = AddChapterRequest {
            book_id: book.book_id.clone(),
            title: format!("Chapter {number}"),
            request_id: format!("r-{number}"),
            ..Default::default()
        };
        burst.spawn(async move {
            let answer = library.add_chapter(timed(request)).await?.into_inner();
            Ok::<_, tonic::Status>(answer.chapter_id)
        });
    }
    // In the middle of it.
    let read = GetBookRequest { book_id: book.book_id.clone(), ..Default::default() };
    eventually("some chapters", async || {
        let found = library(&cluster, others[0]).get_book(timed(read.clone())).await.ok()?.into_inner().book?;
        (!found.chapters.is_empty()).then_some(())
    })
    .await;
    cluster.kill(&owner);
    let given = burst.join_all().await.into_iter().collect::<Result<BTreeSet<_>, _>>().unwrap();
    assert_eq!(given, (1..=BURST).collect(), "no number twice, none left out");

    cluster.add(&[&owner]).await;
    for (number, asked) in (1..=BURST).zip([&owner, "b", GATEWAY].into_iter().cycle()) {
        let request = GetCommandOutcomeRequest {
            book_id: book.book_id.clone(),
            request_id: format!("r-{number}"),
            ..Default::default()
        };
        let outcome = library(&cluster, asked).get_command_outcome(timed(request)).await.unwrap().into_inner();
        let [event] = &outcome.events[..] else { panic!("{outcome:?}") };
        let Some(Event::ChapterAdded(added)) = &event.event else { panic!("{event:?}") };
        assert_eq!(added.chapter.as_ref().unwrap().title, format!("Chapter {number}"));
    }
}
