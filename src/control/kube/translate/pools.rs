//! Pure. The pools that listeners and routes want, filled with backends.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::intent::{Pool, PoolName, WhenDown};

use super::{Draft, endpoints, reach};

/// Makes every pool that was wanted. One that cannot be filled is told and stays empty: its routes answer 503.
pub(super) fn pools(draft: &mut Draft<'_>) -> BTreeMap<PoolName, Arc<Pool>> {
    let slices = endpoints::slices(draft);
    let machines = reach::machines(draft);
    let mut pools = std::mem::take(&mut draft.refused);
    for (name, wanted) in std::mem::take(&mut draft.wanted) {
        let mut pool = Pool::new(wanted.origin.clone());
        wanted.wishes.apply(&mut pool);
        match reach::backends(draft, &machines, &slices, &wanted) {
            Ok(backends) => pool.backends = backends,
            Err(reason) => {
                draft.problem(&wanted.origin, reason);
                (pool.when_down, pool.is_refused) = (WhenDown::Refuse, true);
            }
        }
        pools.insert(name, Arc::new(pool));
    }
    pools
}
