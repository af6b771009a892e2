//! Pure. What a backend is up to and why, in words from a small closed set, for metrics and pages alike.

use crate::model::intent::Admin;
use crate::model::live::probe::Verdict;
use crate::model::snapshot::BackendPlan;
use crate::model::words::words;

words! {
    /// Where a backend stands. In order of what is most worth telling when one address stands for several backends:
    /// the first that serves.
    pub(super) enum Standing,
    /// Why: one word of these, never the text of an error.
    fn reason {
        /// Its checks succeed.
        ProbePassed = "probe_passed",
        /// It is not checked.
        NotProbed = "not_probed",
        /// Its first verdict is still to come; it takes traffic meanwhile.
        ProbePending = "probe_pending",
        /// Its weight is 0, so it takes nothing new.
        WeightZero = "weight_zero",
        /// Its owner wishes it to finish what it has.
        AdminDrain = "admin_drain",
        /// Its owner wishes it to take nothing.
        AdminMaintain = "admin_maintain",
        /// Its checks fail.
        ProbeFailed = "probe_failed",
    }
}

impl Standing {
    /// Where this backend stands. Its owner's wish comes before what checks find.
    pub(super) fn of(backend: &BackendPlan) -> Self {
        let verdict = backend.probe.as_ref().map(|probe| probe.verdict());
        match (backend.admin, verdict) {
            (Admin::Drain, _) => Self::AdminDrain,
            (Admin::Maintain, _) => Self::AdminMaintain,
            (Admin::Ready, Some(Verdict::Down)) => Self::ProbeFailed,
            (Admin::Ready, _) if backend.weight == 0 => Self::WeightZero,
            (Admin::Ready, None) => Self::NotProbed,
            (Admin::Ready, Some(Verdict::Unknown)) => Self::ProbePending,
            (Admin::Ready, Some(Verdict::Up)) => Self::ProbePassed,
        }
    }

    /// `up`, `idle`, `drain`, `maintain` or `down`.
    pub(super) fn state(self) -> &'static str {
        match self {
            Self::ProbePassed | Self::NotProbed | Self::ProbePending => "up",
            Self::WeightZero => "idle",
            Self::AdminDrain => "drain",
            Self::AdminMaintain => "maintain",
            Self::ProbeFailed => "down",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::model::intent::{Backend, Probe};
    use crate::model::live::{BackendKey, Live, ProbeKey};

    #[test]
    fn the_owners_wish_comes_first_then_checks_then_weight() {
        use Admin::{Drain, Maintain, Ready};
        let cases = [
            (Ready, 1, None, Standing::NotProbed),
            (Ready, 1, Some(Verdict::Unknown), Standing::ProbePending),
            (Ready, 1, Some(Verdict::Up), Standing::ProbePassed),
            (Ready, 1, Some(Verdict::Down), Standing::ProbeFailed),
            (Ready, 0, Some(Verdict::Up), Standing::WeightZero),
            (Ready, 0, Some(Verdict::Down), Standing::ProbeFailed),
            (Drain, 1, Some(Verdict::Down), Standing::AdminDrain),
            (Maintain, 0, None, Standing::AdminMaintain),
        ];
        for (admin, weight, verdict, standing) in cases {
            let live = Live::new(1);
            let key = BackendKey { address: ([127, 0, 0, 1], 1).into(), instance: "".into() };
            let probe = verdict.map(|verdict| {
                let probe = live.probe(&ProbeKey { backend: key.clone(), probe: Probe::default() });
                probe.set(verdict, 0, Some("connection refused by 10.0.0.7".into()));
                probe
            });
            let Backend { address, backup, .. } = Backend::new(key.address);
            let state: Arc<_> = live.backend(&key);
            let plan = BackendPlan { address, weight, admin, backup, state, probe, ramp: None, digest: 0 };
            assert_eq!(Standing::of(&plan), standing);
            assert_eq!(plan.is_available(), standing.state() == "up", "{standing:?}");
        }
    }

    #[test]
    fn every_standing_has_a_reason_of_its_own() {
        assert_eq!(Standing::ALL.iter().map(|s| s.reason()).collect::<BTreeSet<_>>().len(), Standing::ALL.len());
        assert!(Standing::ALL.is_sorted());
    }
}
