//! `sluice demo`: four toy backends, Kubernetes objects from an embedded folder, a proxy on loopback. Needs nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::run as serving;
use crate::control::file::Loaded;
use crate::control::file::schema::{Admin, Process};
use crate::control::kube::spec::{Access, ClusterSpec, IngressSpec, LeaseSpec, Publish, Reach, ServiceSpec};

mod pi;

/// Look at sluice without a cluster, a file or root.
///
/// Four toy backends, "pi-1" to "pi-4", Kubernetes objects from an embedded manifest folder, the proxy, its metrics and
/// its JSON pages, all on loopback. Prints what to try. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice demo\n  sluice demo --port 18080 --admin-port 19650")]
pub(super) struct Args {
    /// The port of the proxy; the next free one is taken when it is in use.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The port of metrics and JSON pages; the next free one is taken when it is in use.
    #[arg(long, default_value_t = 9650)]
    admin_port: u16,
}

/// The embedded manifest folder.
const MANIFESTS: [(&str, &str); 2] = [
    ("shop.yaml", include_str!("../../config/demo/shop.yaml")),
    ("ssh.yaml", include_str!("../../config/demo/ssh.yaml")),
];
const PIS: [&str; 4] = ["pi-1", "pi-2", "pi-3", "pi-4"];
/// What the manifests call the port that the toy backends got.
const PORT_MARK: &str = "65001";
/// How many ports are tried from the wished one on.
const TRIES: u16 = 50;

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let outcome = crate::observe::log::start(Some("warn,sluice::health=info"), Default::default())
        .context("cannot start the log")
        .and_then(|()| serving::control_runtime().context("cannot start the control runtime"))
        .and_then(|runtime| runtime.block_on(serve(args)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &Args) -> anyhow::Result<ExitCode> {
    let (pis, pi_port) = pi::start(&PIS).await.context("cannot start the toy backends")?;
    let http = free_port(args.port)?;
    let admin = free_port(args.admin_port)?;
    let ssh = free_port(http.saturating_add(1))?;
    let app = serving::start(demo_file(http, ssh, admin, pi_port), None)?;
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !app.waiting_for().is_empty() {
            tokio::time::sleep(serving::LOOK).await;
        }
    });
    if waited.await.is_err() {
        anyhow::bail!("not ready after 10 s, still waiting for: {}", app.waiting_for().join(", "));
    }
    print!("{}", welcome(http, ssh, admin, pi_port));
    let code = serving::until_stopped(app).await;
    drop(pis);
    code
}

/// The wished port or the next that nobody has. Another process can still take it before we do; then the error says so.
fn free_port(wished: u16) -> anyhow::Result<u16> {
    (wished..=wished.saturating_add(TRIES))
        .find(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .with_context(|| format!("no free port on 127.0.0.1 from {wished} on; choose another with --port"))
}

/// What a person would write in a file, with the manifests given as text.
fn demo_file(http: u16, ssh: u16, admin: u16, pi_port: u16) -> Loaded {
    let text = |text: &str| text.replace(PORT_MARK, &pi_port.to_string()).replace("65002", &ssh.to_string());
    let manifests = MANIFESTS.iter().map(|(name, body)| ((*name).to_owned(), text(body)));
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let cluster = ClusterSpec {
        name: "demo".into(),
        access: Access::Inline(manifests.collect()),
        namespaces: Vec::new(),
        reach: Reach::Pod,
        services: ServiceSpec {
            class: "sluice.dev/edge".to_owned(),
            take_unclassed: false,
            addresses: vec![loopback],
            publish: Publish::Same,
        },
        ingress: IngressSpec {
            class: "sluice".to_owned(),
            http: vec![SocketAddr::new(loopback, http)],
            https: Vec::new(),
            publish: Publish::Same,
        },
        lease: LeaseSpec::None,
        ingress_nginx: false,
        last_good: None,
    };
    let admin = Admin::Tcp(SocketAddr::new(loopback, admin));
    let process = Process { admin, drain: Duration::from_secs(1), ..Process::default() };
    Loaded { process, clusters: vec![cluster], ..Loaded::default() }
}

fn welcome(http: u16, ssh: u16, admin: u16, pi_port: u16) -> String {
    format!(
        "sluice demo: 4 toy backends on 127.0.0.11-14:{pi_port}, and in front of them

  http://127.0.0.1:{http}/           an Ingress over pi-1 … pi-4
  127.0.0.1:{ssh}                   a LoadBalancer Service, plain TCP
  http://127.0.0.1:{admin}/           status, metrics, JSON

Try, in another terminal:

  for i in 1 2 3 4 5 6 7 8; do curl -s http://127.0.0.1:{http}/; done
  curl -s http://127.0.0.11:{pi_port}/off        # pi-1 loses power for 10 s; run the loop again
  curl -s http://127.0.0.1:{admin}/api/v1/backends

Ctrl-C ends it.
"
    )
}
