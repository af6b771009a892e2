//! Some requests go to another pool.

use std::sync::Arc;

use hyper::http::request::Parts;

use super::Filtering;
use crate::model::snapshot::PoolPlan;

/// The pool for this request, which without a canary would go to `pool`.
pub(super) fn choose(_filtering: &Filtering<'_>, _parts: &Parts, pool: Arc<PoolPlan>) -> Arc<PoolPlan> {
    pool
}
