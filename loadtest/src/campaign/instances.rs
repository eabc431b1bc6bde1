//! The instances of the mesh as processes: started, killed, stopped and continued, each by its own process id.
//!
//! Always: an instance keeps its address, its name and its folder over all its lives; whatever runs when the campaign is
//! dropped is killed.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::proxy::Proxy;

/// How often a process is looked at that is to end.
const LOOK: Duration = Duration::from_millis(10);

/// How instances are run.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub binary: PathBuf,
    /// Another version of it, for faults that change versions.
    pub other: Option<PathBuf>,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Further settings of the environment.
    pub environment: Vec<(String, String)>,
    /// Lets each have a wall clock of its own.
    pub clocks: Option<Clocks>,
}

/// Wall clocks that can be set, by libfaketime.
#[derive(Debug, Clone)]
pub struct Clocks {
    /// Its library for programs of several threads.
    pub library: PathBuf,
    /// How far each instance's clock is off, as libfaketime says it (`+1h`), in order; those that are not named are right.
    pub offsets: Vec<String>,
}

impl Clocks {
    /// How far the clock of an instance is off, by its number.
    pub fn of(&self, number: usize) -> &str {
        self.offsets.get(number).map_or("+0", String::as_str)
    }
}

/// One instance.
#[derive(Debug)]
pub struct Instance {
    /// Its name, which answers carry.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What other instances come through, and where it listens behind that.
    pub door: Option<Proxy>,
    peers: SocketAddr,
    folder: PathBuf,
    launch: Launch,
    /// How far its clock is off as long as nobody sets it, when it has one of its own.
    clock: Option<String>,
    /// Where the brokers are; none for the whole mesh in one process on a log of its own.
    brokers: Option<String>,
    child: Option<Child>,
    /// Whether its next life is one of the other version.
    is_other: bool,
    /// How often it was started.
    pub lives: u32,
}

impl Instance {
    /// An instance with its data under `folder`. It does not run yet.
    ///
    /// # Errors
    /// When the folder cannot be made, or there is no free port.
    pub fn new(
        name: &str,
        folder: &Path,
        launch: &Launch,
        brokers: Option<String>,
        clock: Option<&str>,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
        let (address, peers) = (free()?, free()?);
        let (name, launch, clock) = (name.to_owned(), launch.clone(), clock.map(str::to_owned));
        let instance = Self {
            name,
            address,
            door: None,
            peers,
            folder,
            launch,
            clock,
            brokers,
            child: None,
            is_other: false,
            lives: 0,
        };
        instance.set_clock(None)?;
        Ok(instance)
    }

    /// Sets its wall clock, or puts it where it is when nobody sets it. It sees that within a second.
    ///
    /// # Errors
    /// When the file that says so cannot be written.
    pub fn set_clock(&self, offset: Option<&str>) -> anyhow::Result<()> {
        let Some(offset) = self.clock.as_deref().map(|own| offset.unwrap_or(own)) else { return Ok(()) };
        // Never seen half written.
        let new = self.folder.join("clock.new");
        std::fs::write(&new, format!("{offset}\n"))?;
        std::fs::rename(&new, self.clock_file())?;
        Ok(())
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.join("clock")
    }

    /// Lets other instances come through a proxy.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn put_behind_proxy(&mut self) -> anyhow::Result<()> {
        self.door = Some(Proxy::start(self.peers).await?);
        Ok(())
    }

    /// Makes its next life one of the other version, or of the first one again.
    pub fn change_version(&mut self) {
        self.is_other = !self.is_other;
    }

    fn binary(&self) -> &Path {
        let other = self.launch.other.as_deref().filter(|_| self.is_other);
        other.unwrap_or(&self.launch.binary)
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        let child = self.command(log)?.spawn();
        self.child = Some(child.with_context(|| format!("{} cannot be started", self.binary().display()))?);
        self.lives += 1;
        Ok(())
    }

    fn command(&self, log: File) -> anyhow::Result<Command> {
        let Launch { partitions, arguments, environment, .. } = &self.launch;
        let mut command = Command::new(self.binary());
        match &self.brokers {
            None => command.args(["dev", "--sync", "os"]),
            // The brokers tell the instances of each other.
            Some(brokers) => command.args(["serve", "--brokers", brokers, "--instance", &self.name]),
        };
        if let Some(door) = &self.door {
            command.args(["--peers", &self.peers.to_string(), "--advertise", &door.address.to_string()]);
        }
        command.args(["--workshop", "1000", "--partitions", &partitions.to_string()]);
        command.args(["--listen", &self.address.to_string(), "--data"]).arg(self.folder.join("data"));
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        if let Some(clocks) = &self.launch.clocks {
            command.env("LD_PRELOAD", &clocks.library).env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
            // Only the wall clock; and the file is read again each second.
            command.envs([("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("FAKETIME_CACHE_DURATION", "1")]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Whether it was started and has not ended by itself.
    ///
    /// # Errors
    /// When it has ended by itself: nothing was done to it that it may die of.
    pub fn look(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            self.child = None;
            bail!(
                "instance {} ended by itself ({status}); its log is {}",
                self.name,
                self.folder.join("log").display()
            );
        }
        Ok(())
    }

    /// Kills it as a power cut would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops (SIGSTOP) or continues (SIGCONT) it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn pause(&self, stop: bool) -> anyhow::Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        kill_process(Pid::from_child(child), if stop { Signal::STOP } else { Signal::CONT })?;
        Ok(())
    }

    /// Asks it to leave, and waits until it has; kills it when that takes longer than `patience`.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn leave(&mut self, patience: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        kill_process(Pid::from_child(child), Signal::TERM)?;
        let begin = Instant::now();
        while begin.elapsed() < patience {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(Some(status));
            }
            std::thread::sleep(LOOK);
        }
        self.kill()?;
        Ok(None)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody to tell.
        let _ = self.kill();
    }
}
