//! Something around a handler of a service, for simulations that plant a bug in a service without a switch in its code.

use std::sync::Arc;

use crate::{Command, Context, Definition, Input, ProcessError, Reply};

/// The service's own handler of a record.
pub type TakesRecord = dyn Fn(&mut Context<'_>, &Input<'_>) -> Result<(), ProcessError> + Send + Sync;
/// The service's own handler of a command.
pub type TakesCommand = dyn Fn(&mut Context<'_>, &Command) -> Result<Reply, ProcessError> + Send + Sync;

impl Definition {
    /// Has `outer` take the records of an input, with the service's own handler to call.
    ///
    /// # Panics
    /// The service does not read the topic.
    #[must_use]
    pub fn around_input<F>(mut self, topic: &str, outer: F) -> Self
    where
        F: Fn(&mut Context<'_>, &Input<'_>, &TakesRecord) -> Result<(), ProcessError> + Send + Sync + 'static,
    {
        let input = self.inputs.iter_mut().find(|(name, _)| name.as_str() == topic);
        let (_, handler) = input.unwrap_or_else(|| panic!("{topic} is not an input"));
        let inner = handler.clone();
        *handler = Arc::new(move |ctx: &mut Context<'_>, input: &Input<'_>| outer(ctx, input, &*inner));
        self
    }

    /// Has `outer` take a command, with the service's own handler to call.
    ///
    /// # Panics
    /// The service has no such command.
    #[must_use]
    pub fn around_command<F>(mut self, name: &str, outer: F) -> Self
    where
        F: Fn(&mut Context<'_>, &Command, &TakesCommand) -> Result<Reply, ProcessError> + Send + Sync + 'static,
    {
        let handler = self.commands.get_mut(name).unwrap_or_else(|| panic!("{name} is not a command"));
        let inner = handler.clone();
        *handler = Arc::new(move |ctx: &mut Context<'_>, command: &Command| outer(ctx, command, &*inner));
        self
    }
}
