//! `nimscale`: one annotation on a NIM Deployment, a correct multi-metric HPA.

mod admin;
mod certs;
mod cli;
mod cmd;
mod controller;
mod crds;
mod flags;
mod hpa;
mod index;
mod install;
mod lease;
mod manifest;
mod nim_service;
mod output;
mod policies;
mod policy_watch;
mod processes;
mod prometheus;
mod remote;
mod scaling_plan;
mod signals;
mod snapshot;
mod telemetry;
mod watch;
mod writer;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let exit = match cli::Cli::parse().command {
        cli::Command::Render(args) => cmd::render::run(&args),
        cli::Command::Lint(args) => cmd::lint::run(&args),
        cli::Command::Explain(args) => cmd::explain::run(&args),
        cli::Command::Presets => cmd::presets::run(),
        cli::Command::Install(args) => cmd::install::run(&args),
        cli::Command::Uninstall(args) => cmd::uninstall::run(&args),
        cli::Command::Status(args) => cmd::status::run(&args),
        cli::Command::Webhook(args) => processes::run(&args.process, Some(&args.webhook), None),
        cli::Command::Controller(args) => processes::run(&args.process, None, Some(&args.controller)),
        cli::Command::Serve(args) => processes::run(&args.process, Some(&args.webhook), Some(&args.controller)),
    };
    exit.unwrap_or_else(|error| {
        output::talk(&format!("nimscale: {error:#}"));
        output::Exit::Unfinished
    })
    .into()
}
