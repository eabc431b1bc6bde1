//! Work that needs a process of its own, because it ends in a way that the test itself must survive. The test binary starts
//! itself once more, told by an environment variable what to do.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{crash, damage};

const WORK: &str = "STATE_STORE_TEST_CHILD";

/// A command that does `work` on `directory` in a child process, and prints to a pipe.
pub(crate) fn command(work: &str, directory: &Path, argument: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child::does_the_work_of_a_child_process_when_asked_to", "--exact", "--nocapture"]);
    command.env(WORK, format!("{work}|{}|{argument}", directory.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same, with files limited to `kib`: what would make one longer fails as on a full disk. The system's own answer is a
/// signal that ends the process, so a shell turns that off first.
pub(crate) fn command_with_short_files(kib: u64, work: &str, directory: &Path, argument: &str) -> Command {
    let inner = command(work, directory, argument);
    let mut outer = Command::new("bash");
    outer.arg("-c").arg(format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$0\" \"$@\""));
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    outer
}

#[test]
fn does_the_work_of_a_child_process_when_asked_to() {
    let Some(work) = std::env::var_os(WORK) else { return };
    let work = work.into_string().unwrap();
    let [work, directory, argument] = work.split('|').collect::<Vec<_>>()[..] else { panic!("{work}") };
    let directory = Path::new(directory);
    match work {
        "apply" => crash::apply_for_ever(directory),
        "full-disk" => crash::fill_the_disk(directory),
        "open-damaged" => damage::open_damaged(directory, argument),
        _ => panic!("{work}"),
    }
}
