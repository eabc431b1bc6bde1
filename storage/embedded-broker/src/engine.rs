//! The engine behind the doors: the topics with their partitions, and what these share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use event_log::{Error, TopicName, TopicPartition, TopicSpec};

use crate::disk::Disk;
use crate::files::OpenFiles;
use crate::meters::Meters;
use crate::partition::Partition;
use crate::sync::{self, Syncer};
use crate::table::{self, DirectoryLock};
use crate::tail::Budget;
use crate::{Config, SyncPolicy};

#[derive(Debug)]
pub(crate) struct Engine {
    config: Config,
    disk: Arc<dyn Disk>,
    /// Looked up by every call: with this many topics, finding one in an ordered map is mostly comparing beginnings of names.
    topics: RwLock<HashMap<TopicName, Topic>>,
    /// Held for reading while something but an append changes files, for writing while the log is closed.
    changing: RwLock<()>,
    /// Held while the table of topics is changed on the disk.
    creating: Mutex<()>,
    closed: AtomicBool,
    syncer: Syncer,
    budget: Budget,
    files: OpenFiles,
    meters: Meters,
}

#[derive(Debug)]
struct Topic {
    spec: TopicSpec,
    partitions: Vec<Arc<Partition>>,
}

impl Engine {
    /// Opens all topics of the directory, which the caller has locked.
    pub(crate) fn open(config: Config, disk: Arc<dyn Disk>) -> Result<Self, crate::Error> {
        let mut topics = HashMap::new();
        for (name, spec) in table::read(&*disk, &config.directory)? {
            topics.insert(name, Topic::open(&config, spec)?);
        }
        Ok(Self {
            disk,
            topics: RwLock::new(topics),
            changing: RwLock::default(),
            creating: Mutex::default(),
            closed: AtomicBool::new(false),
            syncer: Syncer::default(),
            budget: Budget::new(config.tail_cache_bytes),
            files: OpenFiles::new(config.open_files_max),
            meters: Meters::new(),
            config,
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(crate) fn syncer(&self) -> &Syncer {
        &self.syncer
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn files(&self) -> &OpenFiles {
        &self.files
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Unavailable("the log is closed".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn partition(&self, id: &TopicPartition) -> Result<Arc<Partition>, Error> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(&id.topic).and_then(|topic| topic.partition(id)).ok_or_else(|| Error::UnknownTopic(id.to_string()))
    }

    /// Looks up many partitions. Those of one topic should stand together.
    pub(crate) fn lookup<'a>(
        &self,
        ids: impl Iterator<Item = &'a TopicPartition>,
    ) -> Vec<Result<Arc<Partition>, Error>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let mut last: Option<&Topic> = None;
        ids.map(|id| {
            last = last.filter(|last| last.spec.name == id.topic).or_else(|| topics.get(&id.topic));
            last.and_then(|topic| topic.partition(id)).ok_or_else(|| Error::UnknownTopic(id.to_string()))
        })
        .collect()
    }

    /// All partitions, in no promised order.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().flat_map(|topic| topic.partitions.iter().cloned()).collect()
    }

    pub(crate) fn specs(&self) -> Vec<TopicSpec> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let mut specs: Vec<_> = topics.values().map(|topic| topic.spec.clone()).collect();
        specs.sort_by(|a, b| a.name.cmp(&b.name));
        specs
    }

    /// Removes records. Blocks on the disk.
    pub(crate) fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<(), Error> {
        let _changing = self.begin_change()?;
        self.partition(partition)?.delete_before(self.disk(), offset)
    }

    /// The log stays open until the guard is dropped.
    fn begin_change(&self) -> Result<RwLockReadGuard<'_, ()>, Error> {
        let guard = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        Ok(guard)
    }

    /// Creates the topic, or checks that it is like this. Blocks on the disk.
    pub(crate) fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        spec.check()?;
        let _changing = self.begin_change()?;
        let _one_at_a_time = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut specs = self.specs();
        if let Some(existing) = specs.iter().find(|existing| existing.name == spec.name) {
            return existing.check_matches(spec);
        }
        table::create_topic_directory(&self.config.directory, &spec.name)?;
        let topic = Topic::open(&self.config, spec.clone())?;
        specs.push(spec.clone());
        table::write(self.disk(), &self.config.directory, specs.iter())?;
        self.topics.write().unwrap_or_else(PoisonError::into_inner).insert(spec.name.clone(), topic);
        Ok(())
    }
}

impl Topic {
    fn partition(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        self.partitions.get(id.partition as usize).cloned()
    }

    fn open(config: &Config, spec: TopicSpec) -> Result<Self, crate::Error> {
        let directory = table::topic_directory(&config.directory, &spec.name);
        let partitions = (0..spec.partitions)
            .map(|number| {
                let id = TopicPartition { topic: spec.name.clone(), partition: number };
                Ok(Arc::new(Partition::open(id, directory.join(number.to_string()), spec.cleanup)?))
            })
            .collect::<Result<_, crate::Error>>()?;
        Ok(Self { spec, partitions })
    }
}

/// An engine with its thread and its directory: what is alive between open and close.
#[derive(Debug)]
pub(crate) struct Running {
    engine: Arc<Engine>,
    /// Absent once the log was closed.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    threads: Vec<JoinHandle<()>>,
    /// Last, so that it is given back last.
    _lock: DirectoryLock,
}

impl Held {
    /// Waits for the threads, which were told to stop.
    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a sync thread has panicked");
            }
        }
    }
}

impl Running {
    /// Takes the directory, opens what is in it and starts the sync thread.
    pub(crate) fn start(config: Config, disk: Arc<dyn Disk>) -> Result<Self, crate::Error> {
        config.check()?;
        let lock = DirectoryLock::take(&config.directory)?;
        let directory = config.directory.clone();
        let engine = Arc::new(Engine::open(config, disk)?);
        for partition in engine.partitions() {
            partition.tend_at_start(&engine);
        }
        let mut held = Held { threads: Vec::new(), _lock: lock };
        let helpers = if engine.config().sync == SyncPolicy::Group { sync::HELPERS } else { 0 };
        for number in 0..=helpers {
            let thread = engine.clone();
            let run = move || if number == 0 { thread.syncer().run(&thread) } else { thread.syncer().help(&thread) };
            let builder = std::thread::Builder::new().name(format!("log-sync-{number}"));
            match builder.spawn(run) {
                Ok(thread) => held.threads.push(thread),
                Err(source) => {
                    engine.syncer().stop();
                    held.join();
                    return Err(crate::error::at("start the sync threads for", directory)(source));
                }
            }
        }
        Ok(Self { engine, held: Mutex::new(Some(held)) })
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Refuses all calls from now on, makes durable what was appended and gives the directory back. Blocks on the disk.
    pub(crate) fn close(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.closed.store(true, Ordering::Release);
        let Some(mut held) = held.take() else { return };
        // Changes that saw the log open are done when nobody else is in.
        drop(self.engine.changing.write().unwrap_or_else(PoisonError::into_inner));
        let partitions = self.engine.partitions();
        for partition in &partitions {
            // An append that saw the log open is done when its partition's lock is free.
            partition.settle();
            partition.waiters().wake();
        }
        self.engine.syncer().stop();
        held.join();
        for partition in &partitions {
            partition.tend(&self.engine, true);
        }
    }
}

impl Drop for Running {
    /// What was acknowledged is safe without it; this ends the thread and gives the directory back.
    fn drop(&mut self) {
        self.engine.closed.store(true, Ordering::Release);
        if let Some(mut held) = self.held.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            self.engine.syncer().stop();
            held.join();
        }
    }
}
