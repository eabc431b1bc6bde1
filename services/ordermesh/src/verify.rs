//! `ordermesh state verify`: a line for each store, and an exit code for scripts.
//!
//! It ends well only if something was compared, and all of it agrees.

mod compare;
mod live;

use std::io::Write;

use crate::{Config, Verified, verify_state};
use anyhow::bail;

use crate::cli::Verify;

/// Prints what was found; an error if a store is not what its changelog says, or if nothing can be said of it.
pub(crate) async fn run(config: Config, wanted: &Verify) -> anyhow::Result<()> {
    match &wanted.addr {
        Some(addr) => live::run(config, addr, &wanted.tls, &wanted.token).await,
        None => run_stopped(&config).await,
    }
}

async fn run_stopped(config: &Config) -> anyhow::Result<()> {
    let found = verify_state(config).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<20} {:>10} {:>10} {:<16} {:>10} ", "TASK", "OFFSET", "ROWS", "DIGEST", "SNAPSHOT")?;
    for verified in &found {
        writeln!(out, "{}", line(verified))?;
    }
    let data = config.mesh.data.display();
    let wrong = found.iter().filter(|verified| !verified.agrees()).count();
    if wrong > 0 {
        bail!(
            "{wrong} of {} stores do not hold what their changelogs say: delete {} and they are made anew",
            found.len(),
            config.mesh.data.join("state").display()
        );
    }
    let compared = found.iter().filter(|verified| verified.stored.is_some()).count();
    if compared == 0 {
        bail!(
            "no store in {data} holds anything, so that nothing was compared: is this the directory, and is it this mesh's log?"
        );
    }
    writeln!(out, "{compared} stores hold what their changelogs say")?;
    Ok(())
}

fn line(verified: &Verified) -> String {
    let Verified { task, stored, rebuilt } = verified;
    let Some(stored) = stored else {
        return match rebuilt {
            Ok(_) => format!("{task:<20} {:>10} {:>10} empty", 0, 0),
            Err(problem) => format!("{task:<20} cannot be read: {problem}"),
        };
    };
    // Half of it is enough to tell two apart by eye.
    let digest = (stored.digest >> 64) as u64;
    let verdict = match rebuilt {
        Ok(Some(rebuilt)) if verified.agrees() => {
            rebuilt.snapshot_offset.map_or_else(|| format!("{:>10} ok", "-"), |offset| format!("{offset:>10} ok"))
        }
        Ok(_) => "DIFFERS from its changelog".to_owned(),
        Err(problem) => format!("cannot be rebuilt: {problem}"),
    };
    format!("{task:<20} {:>10} {:>10} {digest:016x} {verdict}", stored.offset, stored.rows)
}
