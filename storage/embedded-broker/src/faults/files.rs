//! Faults of what is done beside appends: reads, new segments, and the small files that are replaced.

use super::*;

/// A full disk may have room again; other faults are for a person.
fn assert_told<T: std::fmt::Debug>(result: Result<T, Error>, errno: Errno, place: &str) {
    let as_promised = match &result {
        Err(Error::Unavailable(message)) => errno == Errno::NOSPC && message.contains(place),
        Err(Error::Failed(message)) => errno == Errno::IO && message.contains(place),
        _ => false,
    };
    assert!(as_promised, "{errno}: {result:?}");
}

const ERRNOS: [Errno; 2] = [Errno::NOSPC, Errno::IO];

#[tokio::test]
async fn a_segment_that_cannot_be_created_leaves_no_trace() {
    for sync in BOTH {
        let mut bench = Bench::small(sync).await;
        let mut refusals = 0;
        for number in 0..8 {
            // Not every append begins a segment.
            for errno in ERRNOS {
                bench.disk.plan(|plan| plan.create = Some(errno));
                let end = bench.log.latest(&bench.partition).await.unwrap();
                let appended = bench.append(-1).await;
                if bench.disk.plan.lock().unwrap().create.take().is_none() {
                    refusals += 1;
                    assert_told(appended, errno, "events/0");
                    assert_eq!(bench.log.latest(&bench.partition).await.unwrap(), end);
                } else {
                    assert_eq!(appended.unwrap(), end);
                }
            }
            bench.append(number).await.unwrap();
        }
        let numbers = bench.numbers().await;
        assert_eq!(numbers.iter().copied().filter(|number| *number >= 0).collect::<Vec<_>>(), Vec::from_iter(0..8));
        assert!(refusals > 4, "the first and some rolls");
        bench.reopen();
        assert_eq!(bench.numbers().await, numbers);
    }
}

#[tokio::test]
async fn a_read_that_fails_is_told_and_the_next_one_finds_everything() {
    let mut bench = Bench::small(SyncPolicy::Os).await;
    for number in 0..8 {
        bench.append(number).await.unwrap();
    }
    // Sealed segments, and the one that is written.
    for offset in [0, 7] {
        bench.disk.plan(|plan| plan.read = Some(Errno::IO));
        let fetched = fetch(&bench.log, &bench.partition, offset, Duration::ZERO).await.pop().unwrap();
        assert_told(fetched.result, Errno::IO, "events/0");
        assert_eq!(bench.numbers().await, Vec::from_iter(0..8));
    }
    bench.append(8).await.unwrap();
    bench.reopen();
    assert_eq!(bench.numbers().await, Vec::from_iter(0..9));
}

#[tokio::test]
async fn a_table_that_cannot_be_written_has_no_new_topic() {
    for errno in ERRNOS {
        let mut bench = Bench::new(SyncPolicy::Os).await;
        bench.append(0).await.unwrap();
        let spec = TopicSpec { name: "more".into(), partitions: 1, cleanup: Cleanup::Never };
        bench.disk.plan(|plan| plan.replace = Some(("meta.json", errno)));
        assert_told(bench.log.ensure_topic(&spec).await, errno, "meta.json");
        assert_eq!(bench.log.topics().await.unwrap().len(), 1);
        bench.reopen();
        assert_eq!(bench.log.topics().await.unwrap().len(), 1);
        bench.log.ensure_topic(&spec).await.unwrap();
        bench.reopen();
        assert_eq!(bench.log.topics().await.unwrap().len(), 2);
        assert_eq!(bench.numbers().await, [0]);
    }
}

#[tokio::test]
async fn a_start_that_cannot_be_noted_removes_nothing() {
    for errno in ERRNOS {
        let mut bench = Bench::small(SyncPolicy::Group).await;
        for number in 0..8 {
            bench.append(number).await.unwrap();
        }
        bench.disk.plan(|plan| plan.replace = Some(("start-offset", errno)));
        assert_told(bench.log.delete_before(&bench.partition, Offset(5)).await, errno, "events/0");
        assert_eq!(bench.log.earliest(&bench.partition).await.unwrap(), Offset(0));
        assert_eq!(bench.numbers().await.len(), 8);
        bench.reopen();
        assert_eq!(bench.numbers().await.len(), 8);
        bench.log.delete_before(&bench.partition, Offset(5)).await.unwrap();
        bench.reopen();
        assert_eq!(bench.log.earliest(&bench.partition).await.unwrap(), Offset(5));
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_written_costs_no_append_and_is_made_later() {
    for sync in BOTH {
        let mut bench = Bench::small(sync).await;
        bench.disk.plan(|plan| plan.replace = Some((".idx", Errno::NOSPC)));
        for number in 0..8 {
            bench.append(number).await.unwrap();
        }
        bench.log.close().await;
        let folder = bench.directory.path().join("topics/events/0");
        let count = |extension: &str| {
            let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
            files.filter(|path| path.extension().is_some_and(|found| found == extension)).count()
        };
        assert_eq!(count("idx"), 0);
        assert!(count("log") > 2);
        bench.reopen();
        assert_eq!(bench.numbers().await, Vec::from_iter(0..8));
        bench.log.close().await;
        assert_eq!((count("idx"), count("tmp")), (count("log"), 0));
    }
}

#[tokio::test]
async fn a_want_of_descriptors_refuses_an_append_and_costs_nothing_else() {
    let mut bench = Bench::small(SyncPolicy::Group).await;
    let mut refusals = 0;
    for number in 0..8 {
        // The directory of the topic, then that of the partition.
        bench.disk.plan(|plan| plan.open = Some((2, Errno::MFILE)));
        let begins_segment = loop {
            let left_before = bench.disk.plan.lock().unwrap().open.unwrap().0;
            match bench.append(number).await {
                Ok(_) => break left_before < 2,
                Err(Error::Unavailable(message)) => assert!(message.contains("events/0"), "{message}"),
                Err(error) => panic!("{error:?}"),
            }
        };
        refusals += u32::from(begins_segment);
    }
    assert!(refusals > 2, "the first and some rolls");
    assert_eq!(bench.numbers().await, Vec::from_iter(0..8));
    bench.reopen();
    assert_eq!(bench.numbers().await, Vec::from_iter(0..8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_want_of_descriptors_puts_off_what_nobody_waits_for() {
    let bench = Bench::small(SyncPolicy::Os).await;
    bench.disk.plan(|plan| plan.open = Some((1, Errno::MFILE)));
    for number in 0..8 {
        bench.append(number).await.unwrap();
    }
    // The first segment was to be finished.
    until(|| bench.disk.plan.lock().unwrap().open.unwrap().0 == 0).await;
    bench.append(8).await.unwrap();
    assert_eq!(bench.numbers().await, Vec::from_iter(0..9));
    bench.log.close().await;
    let folder = bench.directory.path().join("topics/events/0");
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let (indices, segments): (Vec<_>, Vec<_>) = files.partition(|path| path.extension().unwrap() == "idx");
    assert_eq!(indices.len(), segments.len(), "all are finished in the end");
}
