//! Reading a partition: from memory at its head, from the disk elsewhere, never beyond the high watermark.

use std::sync::Arc;

use event_log::{Error, Offset, StoredRecord};
use tokio::time::Instant;

use super::Partition;
use crate::batch::{Batch, Damage};
use crate::engine::Engine;
use crate::error::refused;
use crate::files::Holder;
use crate::segment::{Opened, ReadError, Sealed, Stretch};

/// Records that were found, or where to look for them.
#[derive(Debug)]
pub(crate) enum Found {
    /// Batches in memory.
    Head { batches: Vec<Arc<Batch>>, high_watermark: Offset },
    /// A place on the disk: looking there blocks.
    Disk(DiskRead),
}

/// A read that has to go to the disk.
#[derive(Debug)]
pub(crate) struct DiskRead {
    partition: Arc<Partition>,
    source: Source,
    offset: u64,
    limit: u64,
    bytes_max: usize,
}

#[derive(Debug)]
enum Source {
    Sealed(Arc<Sealed>),
    Active(Stretch),
}

impl Partition {
    /// Looks for records from `offset`; `None` at the end of the log. Costs two loads when there is nothing.
    pub(crate) fn find(
        self: &Arc<Self>,
        engine: &Engine,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Found>, Error> {
        self.check_sound()?;
        if offset == self.high_watermark() {
            return Ok(None);
        }
        let mut state = self.state();
        let limit = self.high_watermark();
        if offset < self.start() || offset > limit {
            return Err(self.out_of_range(offset));
        }
        if let Some(batches) = state.tail.read(offset, limit, bytes_max) {
            return Ok(Some(Found::Head { batches, high_watermark: Offset(limit) }));
        }
        let nth = state.sealed.partition_point(|sealed| sealed.extent.end <= offset);
        let mut opened = Opened::Before;
        let source = if let Some(sealed) = state.sealed.get(nth) {
            Source::Sealed(sealed.clone())
        } else {
            let active = state.active.as_mut().ok_or_else(|| self.missing(offset))?;
            let file;
            (file, opened) =
                active.file(&self.directory).map_err(|source| refused(&format!("cannot read {}", self.id), &source))?;
            Source::Active(Stretch::new(file, &active.extent, &active.index, offset))
        };
        drop(state);
        if opened == Opened::Now {
            engine.files().opened(Holder::Active(Arc::downgrade(self)));
        }
        Ok(Some(Found::Disk(DiskRead { partition: self.clone(), source, offset, limit, bytes_max })))
    }

    fn missing(&self, offset: u64) -> Error {
        Error::Failed(format!("offset {offset} of {} is missing", self.id))
    }

    /// The port's error for a batch that cannot be decoded.
    pub(crate) fn undecodable(&self, base: u64, damage: Damage) -> Error {
        Error::Failed(format!("the batch at offset {base} of {} cannot be read: {damage}", self.id))
    }
}

impl DiskRead {
    /// Reads and decodes what was found at this time. Blocks on the disk.
    pub(crate) fn run(self, engine: &Engine, as_of: Instant) -> Result<event_log::FetchedBatch, Error> {
        let Self { partition, source, offset, limit, bytes_max } = self;
        let stretch = match source {
            Source::Active(stretch) => stretch,
            Source::Sealed(sealed) => match sealed.reading() {
                Ok((reading, opened)) => {
                    if opened == Opened::Now {
                        engine.files().opened(Holder::Sealed(Arc::downgrade(&sealed)));
                    }
                    Stretch::new(reading.file.clone(), &sealed.extent, &reading.index, offset)
                }
                // The segment was removed since the offset was looked up.
                Err(_) if offset < partition.start() => return Err(partition.out_of_range(offset)),
                Err(source) => return Err(refused(&format!("cannot read {}", partition.id), &source)),
            },
        };
        let batches = stretch.read(engine.disk(), offset, limit, bytes_max).map_err(|error| match &error {
            ReadError::Io { source, .. } => refused(&format!("cannot read {}", partition.id), source),
            ReadError::Damaged { .. } => {
                Error::Failed(format!("the segment of {} with offset {offset} is damaged {error}", partition.id))
            }
        })?;
        let mut records: Vec<StoredRecord> = Vec::new();
        for batch in batches {
            let base = batch.base();
            let mut decoded = batch.into_records().map_err(|damage| partition.undecodable(base, damage))?;
            if base < offset {
                decoded.retain(|stored| stored.offset.0 >= offset);
            }
            records.append(&mut decoded);
        }
        if records.is_empty() {
            return Err(partition.missing(offset));
        }
        Ok(event_log::FetchedBatch { records, high_watermark: Offset(limit), as_of })
    }
}
