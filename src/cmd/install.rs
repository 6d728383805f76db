//! `nimscale install`: print what installs nimscale, for `kubectl apply --server-side -f -`.

use crate::cli::InstallArgs;
use crate::install;
use crate::output::{Exit, data};

pub fn run(args: &InstallArgs) -> anyhow::Result<Exit> {
    let text = if args.crds { install::definitions()? } else { install::manifests(args)? };
    data(&text)?;
    Ok(Exit::Done)
}
