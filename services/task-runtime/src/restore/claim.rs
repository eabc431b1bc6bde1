//! Becoming the owner: claim the next epoch, then read up to one's own claim.
//!
//! Fence first, read second: what a deposed owner appends behind the claim is void, and everything before it is known when
//! the first commit is computed.

use event_log::Record;

use crate::TaskError;
use crate::changelog::encode_claim;
use crate::config::answered;
use crate::owner::Timers;
use crate::progress::proven_upto;
use crate::task::Task;

impl Task {
    /// Reads what is new, claims the next epoch, and gets ready to process. After an error nothing but `Fenced` leaves the
    /// task in a state to go on with.
    pub(crate) async fn become_owner(&mut self, random: &mut dyn FnMut() -> u64) -> Result<(), TaskError> {
        // Another life for each claim: what an earlier one has left in the log must not be taken for this one's.
        self.identity.life = random();
        // A standby that has lived through a loss may not know of a claim in the place of what did not count.
        self.next_offset = proven_upto(self.last_counted);
        self.catch_up().await?;
        let first_life = u128::from(random()) << 64 | u128::from(random());
        self.claim(first_life).await?;
        self.timers = Timers::load(&*self.store, self.moment()).map_err(TaskError::from_store)?;
        self.outbox.set_incarnation(self.chain.incarnation.unwrap_or(0));
        tracing::debug!(task = %self.name, epoch = self.chain.epoch, offset = self.next_offset, "task claimed");
        Ok(())
    }

    /// Claims the next epoch, then reads up to the claim.
    async fn claim(&mut self, first_life: u128) -> Result<(), TaskError> {
        let incarnation = self.chain.incarnation.unwrap_or(first_life);
        if self.config.shortcut.takes_over_unclaimed() && self.chain.epoch > 0 {
            self.chain.owner = Some(self.identity.clone());
            return Ok(());
        }
        let entry = encode_claim(incarnation, self.chain.epoch + 1, &self.identity);
        // For those who look at the log later: who owned the task is no question of time.
        let timestamp_ms = self.clock.now_ms();
        // The same claim again is void if the first has landed.
        let append = || {
            let record = Record { value: Some(entry.clone()), timestamp_ms, ..Record::default() };
            self.changelog.log.append(&self.changelog.partition, vec![record])
        };
        let base = answered(&self.config, append).await?.0;
        if base < self.next_offset {
            return Err(self.changelog.regressed(self.next_offset, base));
        }
        if self.config.shortcut.reads_before_fence() {
            let _ = self.chain.read(&entry);
            self.next_offset = base + 1;
            self.board.read(&self.chain);
            return Ok(());
        }
        self.replay(base + 1).await?;
        if self.chain.owner.as_ref() == Some(&self.identity) {
            return Ok(());
        }
        Err(TaskError::Fenced { epoch: self.chain.epoch })
    }
}
