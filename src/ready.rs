//! Named things we still wait for before saying that we are ready. A leaf: all bands may use it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The list of what is waited for. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<Mutex<BTreeMap<String, usize>>>);

/// One thing waited for; dropped when it is there.
#[derive(Debug)]
pub struct Pending {
    list: Ready,
    what: String,
}

impl Ready {
    /// Adds something to wait for.
    pub fn pending(&self, what: impl Into<String>) -> Pending {
        let what = what.into();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what.clone()).or_default() += 1;
        Pending { list: self.clone(), what }
    }

    /// What is still missing, sorted; empty = ready.
    pub fn waiting_for(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut list = self.list.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = list.get_mut(&self.what) {
            *count -= 1;
            if *count == 0 {
                list.remove(&self.what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_waits_for_until_all_of_it_is_there() {
        let ready = Ready::default();
        let (one, two) = (ready.pending("cluster home"), ready.pending("cluster home"));
        drop(one);
        assert_eq!(ready.waiting_for(), ["cluster home"]);
        drop(two);
        assert!(ready.waiting_for().is_empty());
    }
}
