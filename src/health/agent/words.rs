//! Pure. The line that an agent says, as HAProxy's agent-check reads it (its configuration manual, `agent-check`): words
//! between spaces, tabs or commas, then perhaps `#` and a description. Each kind of word stands for itself; of two of
//! one kind the last counts.

use crate::model::intent::Admin;

/// The longest line that is read; more of it is no line.
pub(super) const LONGEST: usize = 512;
/// How much of a description is kept.
const DESCRIPTION: usize = 100;

/// What a line says; what it does not mention stays as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Said {
    /// `ready`, `drain`, `maint`
    pub(super) admin: Option<Admin>,
    /// `down`, `fail`, `failed`, `stopped` (true); `up` (false)
    pub(super) is_down: Option<bool>,
    /// `75%`: the part of its weight. Above 100 is 100.
    pub(super) percent: Option<u32>,
    /// `maxconn:30`
    pub(super) max_connections: Option<u32>,
    /// What comes after `#`, without what no terminal should see.
    pub(super) why: Option<String>,
}

/// Reads a line, without its end. `None`: no word of it is known, so it says nothing.
pub(super) fn parse(line: &[u8]) -> Option<Said> {
    let line = String::from_utf8_lossy(line);
    let (words, why) = match line.split_once('#') {
        Some((words, why)) => (words, Some(why)),
        None => (&*line, None),
    };
    let mut said = Said::default();
    for word in words.split([' ', '\t', ',', '\r']).filter(|word| !word.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "ready" => said.admin = Some(Admin::Ready),
            "drain" => said.admin = Some(Admin::Drain),
            "maint" => said.admin = Some(Admin::Maintain),
            "up" => said.is_down = Some(false),
            "down" | "fail" | "failed" | "stopped" => said.is_down = Some(true),
            other => {
                if let Some(percent) = other.strip_suffix('%').and_then(number) {
                    said.percent = Some(percent.min(100));
                } else if let Some(most) = other.strip_prefix("maxconn:").and_then(number) {
                    said.max_connections = Some(most);
                }
            }
        }
    }
    if said == Said::default() {
        return None;
    }
    let why = why.map(|why| why.trim().chars().filter(|c| !c.is_control()).take(DESCRIPTION).collect::<String>());
    said.why = why.filter(|why| !why.is_empty());
    Some(said)
}

/// Digits alone: no sign, no space.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_haproxy_reads_them() {
        let none = Said::default;
        let why = |why: &str| Some(why.to_owned());
        let cases: &[(&str, Option<Said>)] = &[
            ("up", Some(Said { is_down: Some(false), ..none() })),
            (
                "up ready 75%",
                Some(Said { is_down: Some(false), admin: Some(Admin::Ready), percent: Some(75), ..none() }),
            ),
            ("DRAIN\r", Some(Said { admin: Some(Admin::Drain), ..none() })),
            ("maint,maxconn:30", Some(Said { admin: Some(Admin::Maintain), max_connections: Some(30), ..none() })),
            ("down # disk full", Some(Said { is_down: Some(true), why: why("disk full"), ..none() })),
            ("stopped#\u{1b}[2Jby hand\u{7}", Some(Said { is_down: Some(true), why: why("[2Jby hand"), ..none() })),
            ("failed", Some(Said { is_down: Some(true), ..none() })),
            ("fail\t0%", Some(Said { is_down: Some(true), percent: Some(0), ..none() })),
            ("250%", Some(Said { percent: Some(100), ..none() })),
            ("down up", Some(Said { is_down: Some(false), ..none() })),
            ("happy 50%", Some(Said { percent: Some(50), ..none() })),
            ("", None),
            ("HTTP/1.1 400 Bad Request", None),
            ("-5% +5% %  maxconn: maxconn:x 99999999999%", None),
            ("# up", None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes()), *expected, "{line:?}");
        }
        let long = parse(format!("down #{}", "é".repeat(LONGEST)).as_bytes()).unwrap();
        assert_eq!(long.why.unwrap().chars().count(), DESCRIPTION);
        assert_eq!(parse(b"\xff\xfe up"), Some(Said { is_down: Some(false), ..none() }));
    }
}
