//! Pure. What is asked a second time: `retry_budget:` and `retry_on:`.

use super::Door;
use crate::control::file::node::{Node, Value};

/// Statuses that may be taken for no answer: those that another backend, or the same a moment later, may not give.
const STATUSES: [u16; 9] = [404, 408, 425, 429, 500, 501, 502, 503, 504];

impl Door<'_> {
    /// How many of a hundred; `None` for `none`, and for what is wrong and told.
    pub(super) fn retry_budget(&mut self, node: &Node) -> Option<u8> {
        if node.is("none") {
            return None;
        }
        let parsed = match &node.value {
            Value::Text(text) => text.strip_suffix('%').and_then(|number| number.trim().parse().ok()),
            _ => None,
        };
        let percent = parsed.filter(|percent: &u8| *percent <= 100);
        if percent.is_none() {
            self.faults
                .wrong(node, format_args!("is {}; write a part of the requests from 0% to 100%, or none", node.value));
        }
        percent
    }

    pub(super) fn retry_on(&mut self, node: &Node) -> Vec<u16> {
        let right = STATUSES.map(|status| status.to_string()).join(", ");
        let mut statuses = Vec::new();
        for item in self.faults.list(node, "a list of statuses like [502, 503, 504]") {
            let status = match item.value {
                Value::Whole(number) => u16::try_from(number).ok().filter(|status| STATUSES.contains(status)),
                _ => None,
            };
            match status {
                Some(status) => statuses.push(status),
                None => self.faults.wrong(item, format_args!("is {}; write some of {right}", item.value)),
            }
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }
}
