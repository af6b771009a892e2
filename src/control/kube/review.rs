//! Pure. What becomes of the Ingresses of ingress-nginx and of each of their annotations: for those who think of moving.

use std::collections::BTreeMap;

use super::Cluster;
use super::objects::{Kind, NGINX, ObjectName};
use super::translate::nginx::table::Verdict;
use super::translate::nginx::{self, Judged};

/// One Ingress of ingress-nginx.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reviewed {
    /// Which.
    pub name: ObjectName,
    /// Its annotations, in the order of their names, judged with all objects at hand.
    pub annotations: Vec<Judged>,
    /// What else of it cannot be served.
    pub problems: Vec<String>,
}

impl Reviewed {
    /// Whether it is served at all.
    pub fn is_served(&self) -> bool {
        self.annotations.iter().all(|judged| judged.verdict != Verdict::Refused)
    }
}

impl Cluster {
    /// Reviews the Ingresses of ingress-nginx, by name.
    pub fn review(&mut self) -> Vec<Reviewed> {
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for problem in self.translate().problems {
            told.entry(problem.origin.object.to_string()).or_default().push(problem.reason);
        }
        let mut all = Vec::new();
        for (name, ingress) in nginx::ours(&self.store, &self.spec) {
            let mut annotations = nginx::judge(ingress.meta());
            let mut problems = Vec::new();
            for reason in told.remove(&format!("ingress/{name}")).unwrap_or_default() {
                if !settle(&mut annotations, &reason) {
                    problems.push(reason);
                }
            }
            all.push(Reviewed { name, annotations, problems });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// Takes what was told of an annotation for its verdict; false if it is of none. What one alone cannot say, as that its
/// Secret is missing, was found when all objects were seen.
fn settle(annotations: &mut [Judged], reason: &str) -> bool {
    let Some((name, why)) = reason
        .strip_prefix("annotation ")
        .and_then(|rest| rest.strip_prefix(NGINX))
        .and_then(|rest| rest.split_once(": "))
    else {
        return false;
    };
    let Some(judged) = annotations.iter_mut().find(|judged| judged.name == name) else { return false };
    let is_refused = why.ends_with("(until then the object is not served)");
    let found = if is_refused { Verdict::Refused } else { Verdict::Unsafe };
    if found > judged.verdict {
        let end = why.rfind(" (").unwrap_or(why.len());
        (judged.verdict, judged.why) = (found, why[..end].to_owned());
    }
    true
}
