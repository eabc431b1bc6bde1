//! Opening tables that are there, and finding out whether they can be trusted.
//!
//! What always holds: tables that were resumed hold, byte for byte, what was written last.

use fjall::{AbstractTree, Keyspace};

use super::{BEHIND_ROWS, Engine, ROW, STATE_KEY, Tables};
use crate::directory::{Phase, io_error};
use crate::state::State;
use crate::{Error, files};

impl Tables {
    /// Opens the tables that are there, compares every byte of them with its checksum and, if wanted, every row with the
    /// digest. No state says that nothing was ever written.
    pub(crate) fn resume(&self, verify_rows: bool) -> Result<Option<State>, Error> {
        let unfinished = self.directory.unfinished_opens();
        self.directory.mark(Phase::Metadata, unfinished)?;
        let state = self.check_manifests().and_then(|()| {
            let engine = self.open_engine()?;
            self.directory.mark(Phase::Rows, unfinished)?;
            self.check_sequence(engine)?;
            self.check_tables(&engine.keyspace)?;
            let state = self.read_state(&engine.keyspace)?;
            if verify_rows {
                self.check_rows(&engine.keyspace, state.as_ref())?;
            }
            Ok(state)
        });
        if !matches!(state, Err(Error::Damaged { .. })) {
            self.directory.unmark()?;
        }
        state
    }

    fn check_manifests(&self) -> Result<(), Error> {
        let checked = files::check_manifests(&self.path).map_err(io_error("read", &self.path))?;
        checked.map_err(|detail| self.damaged(detail))
    }

    /// fjall orders the versions of a row by number, and without its journal, though that is empty, it starts to count anew:
    /// then old versions would hide new ones.
    fn check_sequence(&self, engine: &Engine) -> Result<(), Error> {
        let tree = &engine.keyspace.tree;
        if tree.get_highest_persisted_seqno().is_some_and(|used| used >= engine.database.supervisor.seqno.get()) {
            return Err(self.damaged("its journal is missing".to_owned()));
        }
        if tree.get_highest_memtable_seqno().is_some() {
            return Err(self.damaged("its journal has content that was never written".to_owned()));
        }
        Ok(())
    }

    fn check_tables(&self, keyspace: &Keyspace) -> Result<(), Error> {
        for table in keyspace.tree.current_version().iter_tables() {
            let found = self.call("read", || Ok(files::checksum(&table.path)?))?;
            if found != table.checksum().into_u128() {
                return Err(self.damaged(format!("table {} does not have its checksum", table.id())));
            }
        }
        Ok(())
    }

    fn read_state(&self, keyspace: &Keyspace) -> Result<Option<State>, Error> {
        let Some(stored) = self.call("read", || keyspace.get(STATE_KEY))? else { return Ok(None) };
        let state = State::decode(&stored).map_err(|detail| self.damaged(detail))?;
        state.check_identity(&self.identity).map_err(|detail| self.damaged(detail))?;
        Ok(Some(state))
    }

    /// Reads all rows and compares them with the state row.
    fn check_rows(&self, keyspace: &Keyspace, state: Option<&State>) -> Result<(), Error> {
        let mut found = State::new(&self.identity);
        self.call("read", || {
            for row in keyspace.range([ROW]..BEHIND_ROWS) {
                let (key, value) = row.into_inner()?;
                found.change(&key[1..], None, Some(&value));
            }
            Ok(())
        })?;
        let written = state.map_or((0, 0), |state| (state.rows, state.digest));
        if (found.rows, found.digest) == written {
            return Ok(());
        }
        Err(self.damaged(format!("{} rows were found, which do not add up to the {} written", found.rows, written.0)))
    }
}
