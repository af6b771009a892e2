//! Pure. `clusters:`.

use std::net::SocketAddr;

use super::{Door, SOURCE};
use crate::control::file::node::{Key, Node, Value};
use crate::control::file::read::{Keys, one_or_list};
use crate::control::kube::objects::ObjectName;
use crate::control::kube::spec::{Access, ClusterSpec, IngressSpec, LastGood, LeaseSpec, Publish, Reach, ServiceSpec};
use crate::model::host::Host;

/// A cluster of which only the name and the place of its objects are written.
pub fn usual_cluster(name: &str, access: Access) -> ClusterSpec {
    ClusterSpec {
        name: name.into(),
        access,
        namespaces: Vec::new(),
        reach: Reach::default(),
        services: usual_services(),
        ingress: usual_ingress(),
        lease: LeaseSpec::Usual,
        ingress_nginx: false,
        last_good: Some(LastGood::default()),
    }
}

fn usual_services() -> ServiceSpec {
    ServiceSpec {
        class: "sluice.dev/edge".to_owned(),
        take_unclassed: false,
        addresses: Vec::new(),
        publish: Publish::Same,
    }
}

fn usual_ingress() -> IngressSpec {
    let every = |port: u16| vec![SocketAddr::from(([0, 0, 0, 0], port))];
    IngressSpec { class: "sluice".to_owned(), http: every(80), https: every(443), publish: Publish::Same }
}

impl Door<'_> {
    pub(super) fn clusters(&mut self, node: &Node) -> Vec<ClusterSpec> {
        let mut clusters = Vec::new();
        for (name, node) in self.faults.named(node, "cluster") {
            if name.text == SOURCE {
                self.faults
                    .add(name.at, "a cluster cannot be called \"file\", which means this file; choose another name");
            }
            clusters.extend(self.cluster(name, node));
        }
        clusters
    }

    fn cluster(&mut self, name: &Key, node: &Node) -> Option<ClusterSpec> {
        let known = [
            "kubeconfig",
            "in_cluster",
            "manifests",
            "namespaces",
            "reach",
            "services",
            "ingress",
            "lease",
            "ingress_nginx",
            "last_good",
        ];
        let keys = self.faults.keys(node, &known, &[])?;
        let access = self.access(name, &keys);
        self.origin(format!("cluster {}", name.text), name.at);
        let namespaces = keys.find("namespaces").map(|node| self.namespaces(node)).unwrap_or_default();
        let words = [("auto", Reach::Auto), ("pod", Reach::Pod), ("nodeport", Reach::NodePort)];
        let reach = keys.find("reach").and_then(|node| self.faults.choice(node, &words, &[])).unwrap_or_default();
        let services = self.services(keys.find("services"));
        let ingress = self.ingress(keys.find("ingress"));
        let lease = keys.find("lease").and_then(|node| self.lease(node)).unwrap_or_default();
        let ingress_nginx = keys.find("ingress_nginx").and_then(|node| self.faults.switch(node)).unwrap_or_default();
        let last_good = self.last_good(keys.find("last_good"));
        let name = name.text.as_str().into();
        let access = access?;
        Some(ClusterSpec { name, access, namespaces, reach, services, ingress, lease, ingress_nginx, last_good })
    }

    fn last_good(&mut self, node: Option<&Node>) -> Option<LastGood> {
        let mut last_good = LastGood::default();
        let Some(node) = node else { return Some(last_good) };
        if node.is("none") {
            return None;
        }
        let keys = self.faults.keys(node, &["keep_keys"], &[])?;
        if let Some(keep) = keys.find("keep_keys").and_then(|node| self.faults.switch(node)) {
            last_good.keys = keep;
        }
        Some(last_good)
    }

    fn access(&mut self, name: &Key, keys: &Keys<'_>) -> Option<Access> {
        let ways: Vec<_> = ["kubeconfig", "in_cluster", "manifests"].iter().filter_map(|k| keys.find(k)).collect();
        let [node] = ways[..] else {
            let path = keys.path;
            let wrong = if ways.is_empty() {
                "does not say where its objects are"
            } else {
                "says more than once where its objects are"
            };
            let right = "write one of kubeconfig: ~/.kube/config, in_cluster: true, manifests: ./folder/";
            self.faults.add(name.at, format!("{path}: {wrong}; {right}"));
            return None;
        };
        if keys.find("in_cluster").is_none() {
            let path = self.path(node)?;
            return Some(if keys.find("kubeconfig").is_some() {
                Access::Kubeconfig(path)
            } else {
                Access::Manifests(path)
            });
        }
        match node.value {
            Value::Switch(true) => Some(Access::InCluster),
            _ => {
                self.faults.wrong(node, format_args!("is {}; write true, or name a kubeconfig", node.value));
                None
            }
        }
    }

    fn namespaces(&mut self, node: &Node) -> Vec<String> {
        if node.is("all") {
            return Vec::new();
        }
        let items = one_or_list(node);
        if items.is_empty() {
            self.faults.wrong(node, "is empty, so nothing would be served; write all, or the names of some");
        }
        let mut names = Vec::with_capacity(items.len());
        for item in items {
            let Some(name) = self.faults.text(item, "all, or a list of namespaces") else { continue };
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
                self.faults
                    .wrong(item, format_args!("{} is not the name of a namespace; write one like default", item.value));
            } else if name == "all" {
                self.faults.wrong(item, "all stands alone; write namespaces: all");
            } else if names.contains(&name) {
                self.faults.wrong(item, format_args!("{name} is written twice; keep one"));
            } else {
                names.push(name);
            }
        }
        names
    }

    fn lease(&mut self, node: &Node) -> Option<LeaseSpec> {
        let right = "auto, none, or a namespace and a name like kube-system/sluice";
        if node.is("auto") {
            return Some(LeaseSpec::Usual);
        }
        if node.is("none") {
            return Some(LeaseSpec::None);
        }
        let text = self.faults.text(node, right)?;
        let fits = |part: &str, most: usize| {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
            !part.is_empty() && part.len() <= most && part.chars().all(is_plain)
        };
        match text.split_once('/') {
            Some((namespace, name)) if fits(namespace, 63) && fits(name, 253) => {
                Some(LeaseSpec::Named(ObjectName::new(namespace, name)))
            }
            _ => {
                self.faults.wrong(node, format_args!("{} is no place of a Lease; write {right}", node.value));
                None
            }
        }
    }

    fn services(&mut self, node: Option<&Node>) -> ServiceSpec {
        let mut spec = usual_services();
        let known = ["class", "take_unclassed", "addresses", "publish"];
        let Some(keys) = node.and_then(|node| self.faults.keys(node, &known, &[])) else { return spec };
        if let Some(class) = keys.find("class").and_then(|node| self.class(node)) {
            spec.class = class;
        }
        if let Some(take) = keys.find("take_unclassed").and_then(|node| self.faults.switch(node)) {
            spec.take_unclassed = take;
        }
        if let Some(node) = keys.find("addresses").filter(|node| !node.is("host")) {
            for item in one_or_list(node) {
                if item.is("host") {
                    self.faults.wrong(item, "host stands alone; write addresses: host, or a list of IP addresses");
                } else if let Some(ip) = self.ip(item) {
                    if spec.addresses.contains(&ip) {
                        self.faults.wrong(item, format_args!("{ip} is written twice; keep one"));
                    } else if ip.is_unspecified() {
                        self.faults.wrong(item, format_args!("{ip} stands for every address; write addresses: host"));
                    } else {
                        spec.addresses.push(ip);
                    }
                }
            }
        }
        spec.publish = keys.find("publish").and_then(|node| self.publish(node)).unwrap_or_default();
        spec
    }

    fn ingress(&mut self, node: Option<&Node>) -> IngressSpec {
        let mut spec = usual_ingress();
        let Some(keys) = node.and_then(|node| self.faults.keys(node, &["class", "http", "https", "publish"], &[]))
        else {
            return spec;
        };
        if let Some(class) = keys.find("class").and_then(|node| self.class(node)) {
            spec.class = class;
        }
        if let Some(node) = keys.find("http") {
            spec.http = self.binds(node);
        }
        if let Some(node) = keys.find("https") {
            spec.https = self.binds(node);
            if let Some(both) = spec.https.iter().find(|address| spec.http.contains(address)) {
                self.faults.wrong(node, format_args!("{both} is also under http; give each its own port"));
            }
        }
        spec.publish = keys.find("publish").and_then(|node| self.publish(node)).unwrap_or_default();
        spec
    }

    fn class(&mut self, node: &Node) -> Option<String> {
        let class = self.faults.text(node, "the name of a class, like sluice")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if class.is_empty() || !class.chars().all(fits) {
            self.faults.wrong(node, format_args!("{} is not the name of a class; write one like sluice", node.value));
            return None;
        }
        Some(class)
    }

    fn publish(&mut self, node: &Node) -> Option<Publish> {
        if node.is("same") {
            return Some(Publish::Same);
        }
        let right = "same, an IP address, or a name like edge.example.test";
        let text = self.faults.text(node, right)?;
        if let Ok(ip) = text.parse() {
            return Some(Publish::Address(ip));
        }
        match Host::parse(&text) {
            Ok(host) => Some(Publish::Name(host.as_str().to_owned())),
            Err(error) => {
                self.faults.wrong(node, format_args!("{error}; write {right}"));
                None
            }
        }
    }
}
