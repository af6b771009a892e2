//! An API server by script: it lists and watches as the real one does, and does wrong what it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the server behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// As it should.
    Good,
    /// Nobody listens.
    Refuses,
    /// Takes connections and requests, and never answers.
    Hangs,
    /// Breaks every connection off.
    Resets,
    /// Answers everything with this status, and asks for so many seconds of peace.
    Says(u16, Option<u32>),
    /// Ends each list in its middle, and says that all of it came.
    Truncates,
    /// Answers 200 with something that is no list.
    Babbles,
    /// Lists nothing, of an earlier time.
    Forgets,
    /// Ends each watch as soon as it began.
    EndsWatches,
    /// Says of each watch that it is too old.
    Gone,
    /// What is open stays open, and nothing is said on it any more; nor on new connections.
    HalfOpen,
}

/// A kind by its name in URLs.
const KINDS: [(&str, &str); 6] = [
    ("services", "Service"),
    ("endpointslices", "EndpointSlice"),
    ("nodes", "Node"),
    ("ingresses", "Ingress"),
    ("ingressclasses", "IngressClass"),
    ("secrets", "Secret"),
];

#[derive(Default)]
struct Site {
    objects: BTreeMap<(String, String), Value>,
    /// Every change ever made, by version.
    history: Vec<(u64, &'static str, String, Value)>,
    version: u64,
    /// Paths and queries asked for.
    asked: Vec<String>,
}

/// A server by script. Ends when dropped.
pub struct Api {
    pub address: SocketAddr,
    /// Of whose cluster it is, as PEM.
    pub authority: String,
    site: Arc<Mutex<Site>>,
    mode: watch::Sender<Mode>,
    changed: watch::Sender<u64>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Api {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = Arc::new(Mutex::new(Site { version: 100, ..Site::default() }));
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        let api = Self {
            address,
            authority,
            site,
            mode: watch::Sender::new(Mode::Good),
            changed: watch::Sender::new(0),
            accepting: Mutex::default(),
        };
        api.accept(listener);
        api
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        // With an authority of its own, or that of the system would be read, which takes a while.
        kubeconfig(&format!("http://{}", self.address), &self.authority, "{token: t}")
    }

    /// Behaves otherwise from now on.
    pub async fn become_(&self, mode: Mode) {
        let was = *self.mode.borrow();
        if mode == Mode::Refuses
            && let Some(task) = self.accepting.lock().unwrap().take()
        {
            task.abort();
        }
        self.mode.send_replace(mode);
        if was == Mode::Refuses && mode != was {
            self.accept(TcpListener::bind(self.address).await.unwrap());
        }
    }

    /// Makes or changes an object.
    pub fn put(&self, plural: &str, object: Value) {
        self.change("ADDED", plural, object);
    }

    /// How many requests came so far.
    pub fn asked(&self) -> usize {
        self.site.lock().unwrap().asked.len()
    }

    fn change(&self, what: &'static str, plural: &str, mut object: Value) {
        let mut site = self.site.lock().unwrap();
        site.version += 1;
        let version = site.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        site.objects.insert((plural.to_owned(), name), object.clone());
        site.history.push((version, what, plural.to_owned(), object));
        self.changed.send_replace(version);
    }

    fn accept(&self, listener: TcpListener) {
        let (site, mode, changed) = (self.site.clone(), self.mode.subscribe(), self.changed.subscribe());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let caller = Caller { stream, site: site.clone(), mode: mode.clone(), changed: changed.clone() };
                tokio::spawn(caller.serve());
            }
        });
        *self.accepting.lock().unwrap() = Some(task);
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.lock().unwrap().take() {
            task.abort();
        }
    }
}

/// A kubeconfig for a server, with what its cluster and its user have.
pub fn kubeconfig(server: &str, authority: &str, user: &str) -> String {
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    format!(
        "current-context: one\ncontexts: [{{name: one, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\", certificate-authority-data: {authority}}}}}]\n\
         users: [{{name: u, user: {user}}}]\n"
    )
}

/// A Service of type LoadBalancer that is ours.
pub fn service(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "sluice.dev/edge",
            "ports": [{"name": "http", "port": port, "nodePort": 30000 + port % 1000}],
        },
        // So that there is nothing to write.
        "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1", "ipMode": "Proxy"}]}},
    })
}

/// Endpoints of a Service.
pub fn slice(service: &str, addresses: &[&str]) -> Value {
    let endpoint = |address: &&str| json!({"addresses": [address], "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": "default", "name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 8080}],
    })
}

struct Caller {
    stream: TcpStream,
    site: Arc<Mutex<Site>>,
    mode: watch::Receiver<Mode>,
    changed: watch::Receiver<u64>,
}

impl Caller {
    /// Serves a connection until it ends, or until the server behaves otherwise.
    async fn serve(mut self) {
        loop {
            let Some(head) = self.head().await else { return };
            let mode = *self.mode.borrow_and_update();
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            self.site.lock().unwrap().asked.push(target.clone());
            let is_over = match mode {
                Mode::Refuses => return,
                Mode::Resets => {
                    self.stream.set_zero_linger().unwrap();
                    return;
                }
                Mode::Hangs | Mode::HalfOpen => {
                    // A server that comes back knows nothing of what hung before.
                    std::future::pending::<()>().await;
                    return;
                }
                Mode::Says(code, after) => self.refuse(code, after).await,
                Mode::Babbles => self.say("200 OK", "", "{\"hello\": \"world\"}").await,
                Mode::Good | Mode::Truncates | Mode::Forgets | Mode::EndsWatches | Mode::Gone => {
                    if target.contains("watch=true") {
                        self.watch(&target, mode).await;
                        return;
                    }
                    self.list(&target, mode).await
                }
            };
            if is_over.is_none() {
                return;
            }
        }
    }

    async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    async fn say(&mut self, status: &str, fields: &str, body: &str) -> Option<()> {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        );
        self.stream.write_all(text.as_bytes()).await.ok()
    }

    async fn refuse(&mut self, code: u16, after: Option<u32>) -> Option<()> {
        let fields = after.map_or_else(String::new, |after| format!("Retry-After: {after}\r\n"));
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "as told",
        });
        self.say(&format!("{code} Told"), &fields, &body.to_string()).await
    }

    async fn list(&mut self, target: &str, mode: Mode) -> Option<()> {
        let (plural, kind) = asked_for(target);
        let (version, items) = {
            let site = self.site.lock().unwrap();
            let of_kind = site.objects.iter().filter(|((of, _), _)| of == plural).map(|(_, object)| object.clone());
            (site.version, of_kind.collect::<Vec<_>>())
        };
        let (version, items) = if mode == Mode::Forgets { (7, Vec::new()) } else { (version, items) };
        let list = json!({
            "kind": format!("{kind}List"), "apiVersion": "v1",
            "metadata": {"resourceVersion": version.to_string()}, "items": items,
        });
        let text = list.to_string();
        let text = if mode == Mode::Truncates { &text[..text.len() / 2] } else { &text };
        self.say("200 OK", "", text).await
    }

    async fn watch(&mut self, target: &str, mode: Mode) {
        let (plural, _) = asked_for(target);
        let number = |key: &str| {
            let found = target.split(['?', '&']).find_map(|pair| pair.strip_prefix(key));
            found.and_then(|value| value.parse::<u64>().ok())
        };
        let mut since = number("resourceVersion=").unwrap_or_default();
        let seconds = Duration::from_secs(number("timeoutSeconds=").unwrap_or(300));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
        if self.stream.write_all(head.as_bytes()).await.is_err() || mode == Mode::EndsWatches {
            return;
        }
        // Or nobody would ask for a list.
        if matches!(mode, Mode::Gone | Mode::Truncates | Mode::Forgets) {
            let gone = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}});
            let _ = self.stream.write_all(format!("{gone}\n").as_bytes()).await;
            return;
        }
        let end = tokio::time::Instant::now() + seconds;
        loop {
            let news: Vec<_> = {
                let site = self.site.lock().unwrap();
                let later = site.history.iter().filter(|(version, _, of, _)| *version > since && of == plural);
                later.map(|(version, what, _, object)| (*version, json!({"type": what, "object": object}))).collect()
            };
            for (version, event) in news {
                since = version;
                if self.stream.write_all(format!("{event}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                _ = self.changed.changed() => {}
                _ = self.mode.changed() => {
                    let now = *self.mode.borrow_and_update();
                    match now {
                        Mode::Good => {}
                        Mode::HalfOpen => std::future::pending::<()>().await,
                        _ => {
                            self.stream.set_zero_linger().unwrap();
                            return;
                        }
                    }
                }
            }
        }
    }
}

fn asked_for(target: &str) -> (&'static str, &'static str) {
    let path = target.split('?').next().unwrap_or_default();
    let plural = path.rsplit('/').next().unwrap_or_default();
    KINDS.into_iter().find(|(known, _)| *known == plural).unwrap_or(("none", "None"))
}
