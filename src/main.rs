//! `nimscale`: one annotation on a NIM Deployment, a correct multi-metric HPA.

mod cli;
mod cmd;
mod crds;
mod manifest;
mod output;
mod policies;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let exit = match cli::Cli::parse().command {
        cli::Command::Render(args) => cmd::render::run(&args),
        cli::Command::Lint(args) => cmd::lint::run(&args),
        cli::Command::Explain(args) => cmd::explain::run(&args),
        cli::Command::Presets => cmd::presets::run(),
    };
    exit.unwrap_or_else(|error| {
        output::talk(&format!("nimscale: {error:#}"));
        output::Exit::Unfinished
    })
    .into()
}
