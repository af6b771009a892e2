//! The metrics page: walks the current snapshot and Live when it is scraped.
//!
//! There is no registry. A counter is a field of the state it belongs to, a series is there as long as its object is
//! configured, and a label is looked up by nobody. Adding a metric: a count in `model/live`, a family in the room of
//! its subject here.

mod backends;
mod control;
mod family;
mod listeners;
mod pools;
mod process;

use std::time::SystemTime;

use family::Page;

use super::Pages;

/// The media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole page, in Prometheus' text format, as of `now`. Takes some tens of milliseconds with thousands of pools and
/// reads `/proc`: call it where blocking is allowed.
pub fn page(pages: &Pages, now: SystemTime) -> Result<String, prometheus::Error> {
    let snapshot = pages.snapshots.current();
    let mut page = Page::default();
    control::write(&mut page, pages, &snapshot, now)?;
    listeners::write(&mut page, &snapshot, &pages.live)?;
    pools::write(&mut page, &snapshot)?;
    backends::write(&mut page, &snapshot)?;
    process::write(&mut page)?;
    Ok(page.into_text())
}
