//! The command line: argv to a subcommand. Exit codes: 0 ok, 1 the thing is wrong, 2 wrong usage.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod check;
mod demo;
pub mod migrate;
pub mod render;
mod run;

/// An edge load balancer for people who run their own Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, about, propagate_version = true, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve what a configuration file says.
    Run(run::Args),
    /// Look at sluice without a cluster, a file or root: four toy backends behind a proxy on loopback.
    Demo(demo::Args),
    /// Say what is wrong with a configuration file; nothing is bound.
    Check(check::CheckArgs),
    /// Print what a file or Kubernetes objects compile to.
    Render(render::RenderArgs),
    /// Say what becomes of the Ingresses of ingress-nginx and of each of their annotations.
    Migrate(migrate::MigrateArgs),
}

/// Runs the command that argv names.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(args),
        Command::Render(args) => render::run(args),
        Command::Migrate(args) => migrate::run(args),
    }
}
