//! `sluice run`: serve what a file says until told to stop.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check;
use crate::app::{self, App};
use crate::control::file::{self, Loaded, schema};
use crate::observe::log;
use crate::settings::Settings;

/// Serve what a configuration file says.
///
/// SIGHUP or a changed file = reload; SIGTERM = finish what is under way, then exit 0; a second SIGTERM = exit now.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice run --config /etc/sluice/sluice.yaml")]
pub(super) struct Args {
    /// The file; /etc/sluice/sluice.yaml when there is one, else ./sluice.yaml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to log, like `info` or `info,sluice::proxy=debug`; SLUICE_LOG does the same.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Log as JSON, one object a line.
    #[arg(long)]
    log_json: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let format = if args.log_json { log::Format::Json } else { log::Format::Text };
    if let Err(error) = log::start(args.log.as_deref(), format) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    let path = match check::config_file(args.config.clone()) {
        Ok(path) => path,
        Err(wrong) => {
            eprintln!("error: {wrong}");
            return ExitCode::FAILURE;
        }
    };
    let loaded = match file::load(&path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = control_runtime().context("cannot start the control runtime").and_then(|runtime| {
        runtime.block_on(async {
            let app = start(loaded, Some(path))?;
            until_stopped(app).await
        })
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The runtime of everything but the data threads. Two threads: a large list that is being decoded on one must not
/// make a probe on the other late.
pub(super) fn control_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build()
}

/// Starts the app of a loaded file.
pub(super) fn start(loaded: Loaded, path: Option<PathBuf>) -> anyhow::Result<App> {
    raise_descriptors();
    let admin = match &loaded.process.admin {
        schema::Admin::Tcp(address) => address.to_string(),
        schema::Admin::Unix(path) => format!("unix:{}", path.display()),
    };
    let settings = Settings {
        admin,
        workers: loaded.process.workers.unwrap_or_default(),
        drain: loaded.process.drain,
        memory_limit: loaded.process.memory_limit,
    };
    let app = app::start(&settings, loaded, path)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), admin = %app.admin(), threads = settings.threads(), "started");
    Ok(app)
}

/// Serves until a signal says stop, then drains.
pub(super) async fn until_stopped(app: App) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot watch for signals")?;
    let reload = app.reload();
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => reload.notify_one(),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    tokio::select! {
        finished = app.stop() => {
            if finished {
                tracing::info!("stopped");
            } else {
                tracing::warn!("stopped; connections that outlived the drain time were cut");
            }
        }
        _ = signals.terminate.recv() => exit_now(),
        _ = signals.interrupt.recv() => exit_now(),
    }
    Ok(ExitCode::SUCCESS)
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Connections are cut by the end of the process itself.
fn exit_now() -> ! {
    tracing::warn!("told again to stop: exiting now");
    std::process::exit(0)
}

/// Two descriptors a connection: take as many as the system lets us have.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// How often readiness is looked at while a person waits for it.
pub(super) const LOOK: Duration = Duration::from_millis(10);
