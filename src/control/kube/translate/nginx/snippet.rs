//! Pure. Snippets: configuration of nginx as text. It is never read as configuration. What is looked at is whether one
//! could be a guard: by the names of its directives, of which only those pass that concern answers, logs, buffers and
//! times. Whoever leaves out another may open what was closed.

use super::Said;
use super::table::Verdict;

/// Directives without which nothing is open that was not.
const HARMLESS: [&str; 38] = [
    "access_log",
    "add_header",
    "break",
    "brotli",
    "brotli_types",
    "charset",
    "chunked_transfer_encoding",
    "client_body_buffer_size",
    "client_body_timeout",
    "client_header_timeout",
    "etag",
    "expires",
    "gzip",
    "gzip_comp_level",
    "gzip_min_length",
    "gzip_proxied",
    "gzip_types",
    "gzip_vary",
    "keepalive_timeout",
    "log_subrequest",
    "more_clear_headers",
    "more_set_headers",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_connect_timeout",
    "proxy_hide_header",
    "proxy_max_temp_file_size",
    "proxy_pass_header",
    "proxy_read_timeout",
    "proxy_request_buffering",
    "proxy_send_timeout",
    "send_timeout",
    "sub_filter",
    "sub_filter_once",
    "sub_filter_types",
    "tcp_nodelay",
];

/// The annotations that hold them, and whether they are of the Ingress' own requests.
const SNIPPETS: [&str; 3] = ["auth-snippet", "configuration-snippet", "server-snippet"];

/// Judges the snippets of an object.
pub(super) fn read(said: &mut Said<'_>) {
    for name in SNIPPETS {
        let Some(text) = said.text(name) else {
            said.say(name, Verdict::Safe, "it is empty");
            continue;
        };
        match directives(text).into_iter().find(|word| !HARMLESS.contains(word)) {
            Some(word) => {
                let word: String = word.chars().take(40).collect();
                let why = format!(
                    "snippets are never read, and {word:?} may be a guard; say it with annotations and take it off"
                );
                // The table's verdict, with what is wrong.
                said.told.insert(name, (Verdict::Refused, why));
            }
            None => {
                let why = "snippets are never read; nothing in it guards, and it is left out".to_owned();
                said.told.insert(name, (Verdict::Unsafe, why));
            }
        }
    }
    if said.text("modsecurity-snippet").is_none() {
        said.say("modsecurity-snippet", Verdict::Safe, "it is empty");
    }
    for name in ["enable-modsecurity", "enable-owasp-core-rules"] {
        if said.values.contains_key(name) && !said.is_true(name) {
            said.told.entry(name).or_insert_with(|| (Verdict::Safe, "it is off".to_owned()));
        }
    }
}

/// The first word of each statement. Quotes are minded, and what stands behind `#`; whatever else the text may be, none
/// of its words is left out.
fn directives(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut begin, mut quote, mut is_comment) = (None, None, false);
    let mut is_first = true;
    for (at, c) in text.char_indices() {
        if is_comment {
            is_comment = c != '\n';
            continue;
        }
        if let Some(mark) = quote {
            if c == mark {
                quote = None;
            }
            continue;
        }
        let ends = c.is_whitespace() || matches!(c, ';' | '{' | '}');
        if let (Some(from), true) = (begin, ends) {
            found.push(&text[from..at]);
            begin = None;
            is_first = false;
        }
        match c {
            ';' | '{' | '}' => is_first = true,
            '#' if begin.is_none() => is_comment = true,
            '"' | '\'' if !is_first => quote = Some(c),
            _ if !ends && is_first && begin.is_none() => begin = Some(at),
            _ => {}
        }
    }
    found.extend(begin.map(|from| &text[from..]));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_is_seen() {
        assert_eq!(
            directives("more_set_headers \"a: b; deny all;\";\n# deny all;\nexpires 1h;"),
            ["more_set_headers", "expires"]
        );
        assert_eq!(directives("if ($x) { deny all; }"), ["if", "deny"]);
        assert_eq!(directives("add_header a b;deny all"), ["add_header", "deny"]);
        assert_eq!(directives("'deny' all;"), ["'deny'"]);
        // An escaped quote ends nothing for nginx; here what follows is taken for statements, and so for guards.
        assert!(directives("add_header a \"x\\\"; deny all; \"; deny all;").contains(&"deny"));
        assert!(directives("access_by_lua_block { ngx.exit(403) }").contains(&"access_by_lua_block"));
        assert_eq!(directives(""), [""; 0]);
    }
}
